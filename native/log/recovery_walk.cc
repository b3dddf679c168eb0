// What lies in the segments, up to the end that can be accepted, and behind it.
#include <algorithm>

#include "log/examiner.h"

namespace stonelog::log {

using format::HeaderState;

// What the seal of segment k says against what follows it.
void Examiner::judge_seal(size_t k) {
  const LoadedSegment& segment = link(k);
  const bool tip = k + 1 == chain_.size();
  if (segment.seal_defect == Defect::damaged || segment.seal_defect == Defect::inconsistent) {
    note(defect_evidence(segment.seal_defect), segment.sequence, segment.header.block_bytes,
         "the seal is damaged");
  }
  const bool known = !tip && (is_salvaged(link(k + 1).sequence) ||
                              is_salvaged(link(k + 1).start.predecessor.sequence));
  const bool counts = segment.sealed() && !tip && !known && !link(k + 1).life_start();
  if (counts && link(k + 1).start.predecessor.sequence != segment.sequence) {
    // A seal proves the start group of the segment behind it.
    note_missing(link(k + 1).start.predecessor.sequence);
  } else if (counts &&
             (link(k + 1).start.predecessor.end != segment.seal.seal.end || segment.closed())) {
    note(kSealContradicted, segment.sequence, segment.header.block_bytes,
         "the seal and the successor disagree");
  }
  // Beside a writer the successor may have been made after the directory was read.
  if (tip && segment.sealed() && !segment.closed() && !policy_.live) {
    note(kMissingSegment, segment.sequence + 1, 0,
         "the segment that the seal of its predecessor proves is missing");
  }
}

Status Examiner::walk_segment(size_t k) {
  const LoadedSegment& segment = link(k);
  if (is_salvaged(segment.sequence)) return walk_salvaged(k);
  const bool tip = k + 1 == chain_.size();
  SegmentEntry entry;
  entry.header = segment.header;
  entry.first_lsn = segment.start_group.first_lsn;
  entry.epoch = segment.start_group.epoch;
  const bool follows = entry.first_lsn == last_lsn_ + 1 ||
                       (entry.first_lsn > last_lsn_ &&
                        format::is_hole(out_->state.holes, last_lsn_ + 1, entry.first_lsn - 1));
  if (!follows) {
    note(kMissingSegment, segment.sequence, 0, "records before this segment are missing");
    stopped_ = true;
    return {};
  }
  uint64_t proven_last = 0;
  const uint64_t end = proven_end(k, &proven_last);
  judge_seal(k);
  entry.sealed = end != 0;
  entry.cut = entry.sealed && !(segment.sealed() && segment.seal.seal.end == end);
  const bool state_known = !tip || !segment.closed() || segment.seal.has_state;
  if (entry.sealed && !policy_.scan_all && state_known) {
    entry.end = end;
    entry.last_lsn = proven_last;
    last_lsn_ = highest_lsn_ = proven_last;
    seen_watermark_ = std::max(seen_watermark_, proven_last);
    checksum_ = segment.sealed() && segment.seal.seal.end == end ? segment.seal.seal.checksum : 0;
    closed_ = tip && segment.closed();
    out_->segments.push_back(entry);
    return {};
  }
  std::unique_ptr<io::File> file;
  Status status = open_file(segment, !entry.sealed, &file);
  if (!status.ok()) return status;
  out_->report.scanned_segments++;
  status = scan_groups(k, *file, end, &entry);
  entry.last_lsn = last_lsn_;
  out_->segments.push_back(entry);
  if (status.ok() && entry.sealed && !stopped_ && last_lsn_ != proven_last &&
      !(last_lsn_ < proven_last &&
        format::is_hole(out_->state.holes, last_lsn_ + 1, proven_last))) {
    note(kSealContradicted, segment.sequence, entry.end, "the segment ends before its last record");
    stopped_ = true;
  } else if (entry.sealed && !stopped_) {
    const bool sealed_here = segment.sealed() && segment.seal.seal.end == end;
    if (status.ok() && sealed_here && !entry.salvaged && checksum_ != segment.seal.seal.checksum) {
      note(kSealContradicted, segment.sequence, segment.header.block_bytes,
           "the seal is of another last group");
    }
    out_->segments.back().last_lsn = last_lsn_ = proven_last;
    closed_ = tip && segment.closed();
  }
  return status;
}

void Examiner::pass_group(const GroupView& view, SegmentEntry* entry) {
  entry->end = view.offset + view.header.file_bytes;
  checksum_ = view.header.checksum;
  last_lsn_ = view.header.first_lsn + view.header.count - 1;
  highest_lsn_ = std::max(highest_lsn_, last_lsn_);
  out_->highest_epoch = std::max(out_->highest_epoch, view.header.epoch);
  seen_watermark_ = std::max(seen_watermark_, view.header.durable_lsn);
  out_->report.records += view.header.count;
  closed_ =
      view.header.kind == format::GroupKind::control && (view.header.flags & format::kCloses) != 0;
  take_head(view);
}

Status Examiner::scan_groups(size_t k, io::File& file, uint64_t end, SegmentEntry* entry) {
  const LoadedSegment& segment = link(k);
  GroupReader reader(file, segment.header, window_of(segment.header));
  const uint64_t limit =
      end != 0 ? std::min(end, segment.header.file_bytes) : segment.header.file_bytes;
  uint64_t at = format::kFirstGroupBlock * uint64_t{segment.header.block_bytes};
  entry->end = at;
  GroupView view;
  Expectation expected{entry->first_lsn, entry->epoch, checksum_, false};
  while (at < limit || end == 0) {
    Defect defect = Defect::none;
    uint64_t bad_offset = 0;
    Status status = reader.read(at, limit, expected, &view, &defect, &bad_offset);
    if (!status.ok()) return std::move(status).at(segment.sequence, at);
    if (defect == Defect::none) {
      pass_group(view, entry);
      expected = {last_lsn_ + 1, entry->epoch, checksum_, true};
      at = entry->end;
      continue;
    }
    if (end == 0 && policy_.live && (live_goal_ == 0 || last_lsn_ < live_goal_)) {
      bool moved_on = false;
      status = look_again(&reader, file, segment, at, expected, &moved_on);
      if (!status.ok()) return status;
      if (moved_on) continue;
    }
    out_->report.scanned_bytes += entry->end;
    if (end != 0) {
      // What is cut here was durable: it is kept aside before its bytes are given up.
      note(defect_evidence(defect), segment.sequence, bad_offset, defect_reason(defect));
      stopped_ = true;
      out_->tail_end = limit;
      out_->report.truncated_bytes += limit - entry->end;
      return look_at_rest(segment.sequence);
    }
    // The successor states this very end. What the file holds behind it, or that it ends here, is
    // evidence, and takes nothing from what lies before and behind.
    const bool damage = defect != Defect::nothing && defect != Defect::incomplete;
    const bool continues = defect != Defect::incomplete && k + 1 < chain_.size() &&
                           link(k + 1).start.predecessor.end == at &&
                           link(k + 1).start.predecessor.sequence == segment.sequence &&
                           link(k + 1).start.predecessor.last_lsn == last_lsn_;
    if (damage) {
      note(defect_evidence(defect), segment.sequence, bad_offset, defect_reason(defect));
      entry->salvaged = entry->salvaged || continues;
    }
    if (continues) return {};
    stopped_ = true;
    return look_behind(k, file, at);
  }
  out_->report.scanned_bytes += entry->end;
  return {};
}

// Beside a writer a place may be unwritten when it is read and written when what lies behind it is:
// only what is still missing after the evidence against it was seen is missing.
Status Examiner::look_again(GroupReader* reader, io::File& file, const LoadedSegment& segment,
                            uint64_t at, const Expectation& expected, bool* moved_on) {
  TailEvidence tail;
  Status status =
      scan_tail(file, segment.header, at, segment.header.file_bytes, kScanWindowBytes, &tail);
  if (!status.ok()) return status;
  Defect defect = Defect::none;
  uint64_t bad_offset = 0;
  GroupView view;
  reader->window().forget();
  status = reader->read(at, segment.header.file_bytes, expected, &view, &defect, &bad_offset);
  if (!status.ok()) return std::move(status).at(segment.sequence, at);
  *moved_on = defect == Defect::none;
  live_goal_ = std::max(
      {live_goal_, tail.watermark_lsn, uint64_t{1}});  // no further: the writer may be as fast
  if (!*moved_on && tail.watermark_lsn > last_lsn_) {
    note(kBelowWatermark, segment.sequence, at, defect_reason(Defect::incomplete));
  }
  return {};
}

// The chain of groups is broken at `from` in an unsealed segment: what lies behind tells why.
Status Examiner::look_behind(size_t k, io::File& file, uint64_t from) {
  const LoadedSegment& segment = link(k);
  TailEvidence tail;
  tail.base_lsn = last_lsn_;
  // Beside a writer, look_again() has judged this already; what was written since is no evidence.
  if (policy_.live) return {};
  Status status =
      scan_tail(file, segment.header, from, segment.header.file_bytes, kScanWindowBytes, &tail);
  if (!status.ok()) return status;
  out_->report.scanned_bytes += segment.header.file_bytes - from;
  highest_lsn_ = std::max(highest_lsn_, tail.highest_lsn);
  lost_unknown_ = lost_unknown_ || tail.headless;
  out_->highest_epoch = std::max(out_->highest_epoch, tail.highest_epoch);
  if (tail.damaged)
    note(kDamagedSector, segment.sequence, tail.damaged_offset, defect_reason(Defect::damaged));
  if (tail.short_file)
    note(kShortFile, segment.sequence, segment.size, defect_reason(Defect::short_file));
  if (tail.watermark_lsn > last_lsn_ || tail.watermark_end > from) {
    note(kBelowWatermark, segment.sequence, from, defect_reason(Defect::incomplete));
  }
  if (tail.current) note(kTrailing, segment.sequence, from, "a write was torn");
  if (tail.used_end > from) {
    out_->tail_end = tail.used_end;
    out_->report.truncated_bytes += tail.used_end - from;
  }
  return look_at_rest(segment.sequence);
}

// Segments after the last one that was accepted or is broken, of the chain or only prepared.
Status Examiner::look_at_rest(uint64_t sequence) {
  rest_looked_at_ = true;
  for (const LoadedSegment& segment : loaded_) {
    if (segment.sequence <= sequence || !segment.readable() || is_superseded(segment.sequence))
      continue;
    const uint64_t from = format::kFirstGroupBlock * uint64_t{segment.header.block_bytes};
    Status status = look_at(segment, from, true);
    if (!status.ok()) return status;
  }
  return {};
}

Status Examiner::look_at(const LoadedSegment& loaded, uint64_t from, bool whole_file) {
  std::unique_ptr<io::File> file;
  Status status = open_file(loaded, true, &file);
  if (!status.ok()) return status;
  looked_at_.push_back(loaded.sequence);
  TailEvidence tail;
  tail.base_lsn = last_lsn_;
  status = scan_tail(*file, loaded.header, from, loaded.header.file_bytes, kScanWindowBytes, &tail);
  if (!status.ok()) return status;
  out_->report.scanned_bytes += loaded.header.file_bytes - from;
  out_->report.scanned_segments += whole_file ? 1 : 0;
  highest_lsn_ = std::max(highest_lsn_, tail.highest_lsn);
  lost_unknown_ = lost_unknown_ || tail.headless;
  out_->highest_epoch = std::max(out_->highest_epoch, tail.highest_epoch);
  if (loaded.sealed() && loaded.seal.seal.last_lsn > last_lsn_) {
    note(kSealContradicted, loaded.sequence, loaded.header.block_bytes,
         defect_reason(Defect::incomplete));
  }
  if (tail.damaged)
    note(kDamagedSector, loaded.sequence, tail.damaged_offset, defect_reason(Defect::damaged));
  if (tail.watermark_lsn > last_lsn_ || tail.watermark_end > from) {
    note(kBelowWatermark,
         out_->segments.empty() ? loaded.sequence : out_->segments.back().header.sequence,
         out_->segments.empty() ? 0 : out_->segments.back().end, defect_reason(Defect::incomplete));
  }
  if (tail.current) note(kTrailing, loaded.sequence, from, "a write was torn");
  if (tail.current || tail.damaged) {
    used_.push_back(loaded.sequence);
    out_->report.truncated_bytes += tail.used_end - from;
    out_->dead.push_back(loaded.name);
  }
  return {};
}

}  // namespace stonelog::log
