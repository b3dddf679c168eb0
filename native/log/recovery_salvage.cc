// What can be kept behind damage.
#include <algorithm>

#include "log/examiner.h"
#include "log/salvage.h"

namespace stonelog::log {

using format::HeaderState;

namespace {

constexpr char kTooManyHoles[] = "there are more separate losses than a log can record";

// What can be read of a file that may have been cut short anywhere: direct reads want whole blocks.
uint64_t whole_blocks(const LoadedSegment& loaded) {
  const uint64_t block = loaded.header.block_bytes;
  return std::min(loaded.header.file_bytes, loaded.size / block * block);
}

}  // namespace

// Where lives begin, for segments of which nobody states the end any more.
Status Examiner::find_begins() {
  for (const LoadedSegment& loaded : loaded_) {
    // A segment under another one's name tells as well where its life begins.
    const bool ours = !loaded.alien || loaded.header.log_id == out_->log_id;
    if (ours && loaded.start_defect == Defect::none)
      begins_.push_back({loaded.sequence, loaded.start_group.epoch, loaded.start_group.first_lsn});
    if (loaded.started() || !loaded.readable()) continue;
    std::unique_ptr<io::File> file;
    Status status = open_file(loaded, false, &file);
    if (!status.ok()) return status;
    TailEvidence tail;
    const uint64_t from = format::kFirstGroupBlock * uint64_t{loaded.header.block_bytes};
    status =
        scan_tail(*file, loaded.header, from, loaded.header.file_bytes, kScanWindowBytes, &tail);
    if (!status.ok()) return std::move(status).at(loaded.sequence, from);
    out_->highest_epoch = std::max(out_->highest_epoch, tail.highest_epoch);
    if (tail.first_lsn != 0) begins_.push_back({loaded.sequence, tail.first_epoch, tail.first_lsn});
  }
  return {};
}

uint64_t Examiner::epoch_of(const LoadedSegment& segment) const {
  for (const Begin& begin : begins_) {
    if (begin.sequence == segment.sequence) return begin.epoch;
  }
  return out_->state.epoch.number;
}

// The first LSN that a later life gave: from there on, what an earlier one wrote was cut. With the
// start group of the later life its statement of the cut is lost, but not the LSNs of its records.
uint64_t Examiner::ceiling(uint64_t epoch) const {
  uint64_t lowest = UINT64_MAX;
  for (const Begin& begin : begins_) {
    if (begin.epoch > epoch) lowest = std::min(lowest, begin.first_lsn);
  }
  for (const format::Epoch& known : out_->state.history) {
    if (known.number > epoch) lowest = std::min(lowest, known.first_lsn);
  }
  const format::Epoch& newest = out_->state.epoch;
  if (newest.number > epoch && newest.first_lsn > 0) lowest = std::min(lowest, newest.first_lsn);
  return lowest;
}

// Reads on behind damage. What is missing becomes a known hole or, where only known ones are
// allowed, is new damage: *fresh.
Status Examiner::scan_damaged(const LoadedSegment& loaded, uint64_t limit, uint64_t last_lsn,
                              bool may_lose, SegmentEntry* entry, bool* fresh) {
  std::unique_ptr<io::File> file;
  Status status = open_file(loaded, false, &file);
  if (!status.ok()) return status;
  GroupReader reader(*file, loaded.header, window_of(loaded.header));
  GroupView view;
  Expectation any;
  any.any = true;
  bool room = true;
  uint64_t at = format::kFirstGroupBlock * uint64_t{loaded.header.block_bytes};
  entry->end = at;
  rest_from_ = 0;
  // A seal may be older than the cut.
  last_lsn = std::min(last_lsn, ceiling(entry->epoch) - 1);
  const auto lose = [&](uint64_t next) {
    if (next <= last_lsn_ + 1 || format::is_hole(out_->state.holes, last_lsn_ + 1, next - 1))
      return;
    *fresh = true;
    if (!may_lose) return;
    out_->report.lost.push_back(
        {last_lsn_ + 1, next - 1, loaded.sequence, entry->end, bad_reason_, ""});
    room = format::add_hole(&out_->state.holes, last_lsn_ + 1, next - 1) && room;
  };
  while (at < limit) {
    Defect defect = Defect::none;
    uint64_t bad_offset = 0;
    status = reader.read(at, limit, any, &view, &defect, &bad_offset);
    if (!status.ok()) return std::move(status).at(loaded.sequence, at);
    if (defect == Defect::none &&
        view.header.first_lsn + view.header.count > ceiling(view.header.epoch))
      break;
    if (defect == Defect::none && view.header.first_lsn > last_lsn_) {
      lose(view.header.first_lsn);
      if (*fresh && !may_lose) return {};
      pass_group(view, entry);
      at = entry->end;
      rest_from_ = 0;
      continue;
    }
    entry->salvaged = true;
    rest_from_ = at;
    rest_base_ = last_lsn_;
    SalvagedRegion region;
    status = salvage_region(&reader, at, limit, last_lsn_, &region);
    if (!status.ok()) return std::move(status).at(loaded.sequence, at);
    const uint64_t end_before = entry->end;
    uint64_t kept = 0;
    for (const SalvagedRecord& record : region.records) {
      if (record.lsn >= ceiling(entry->epoch)) break;
      lose(record.lsn);
      if (*fresh && !may_lose) {
        // Nothing in such a region says where its records end: it is given up from its beginning.
        last_lsn_ = rest_base_;
        entry->end = end_before;
        return {};
      }
      last_lsn_ = record.lsn;
      entry->end = region.resume;
      kept++;
    }
    out_->report.records += kept;
    at = region.resume;
  }
  lose(last_lsn + 1);
  if (*fresh && !may_lose) return {};
  if (!room) return Status::of(Code::corrupt, kTooManyHoles);
  last_lsn_ = std::max(last_lsn_, last_lsn);
  highest_lsn_ = std::max(highest_lsn_, last_lsn_);
  entry->last_lsn = last_lsn_;
  return {};
}

// Salvage of one segment. `stated` is where a later life says that it ends, its end 0 if none does.
Status Examiner::salvage_segment(const LoadedSegment& loaded, const format::Predecessor& stated) {
  SegmentEntry entry;
  entry.header = loaded.header;
  entry.first_lsn = loaded.started() ? loaded.start_group.first_lsn : last_lsn_ + 1;
  entry.epoch = epoch_of(loaded);
  uint64_t limit = whole_blocks(loaded);
  uint64_t last_lsn = 0;
  if (stated.end != 0) {
    limit = std::min(limit, stated.end);
    last_lsn = stated.last_lsn;
  } else if (loaded.sealed()) {
    limit = std::min(limit, loaded.seal.seal.end);
    last_lsn = loaded.seal.seal.last_lsn;
  }
  const bool proven = stated.end != 0 || loaded.sealed();
  bool fresh = false;
  Status status = scan_damaged(loaded, limit, last_lsn, true, &entry, &fresh);
  if (!status.ok()) return status;
  // An end that nothing proves is not followed by what follows it now: it is scanned like this from
  // now on.
  const bool seal_hurt =
      loaded.seal_defect == Defect::damaged || loaded.seal_defect == Defect::inconsistent;
  const bool whole = !entry.salvaged && !fresh && proven && loaded.started() &&
                     !loaded.header_rebuilt && !seal_hurt &&
                     loaded.size == loaded.header.file_bytes;
  entry.salvaged = !whole || is_salvaged(loaded.sequence);
  entry.sealed = true;
  entry.cut = stated.end != 0 && !(loaded.sealed() && loaded.seal.seal.end == stated.end);
  if (entry.salvaged) accept_damaged(loaded.sequence);
  out_->segments.push_back(entry);
  return {};
}

// Point-in-time keeps what precedes the first loss, in files that may be damaged where no record
// lies.
void Examiner::accept_kept_files() {
  for (SegmentEntry& entry : out_->segments) {
    for (const LoadedSegment& loaded : loaded_) {
      if (loaded.sequence != entry.header.sequence || loaded.alien) continue;
      const bool seal_hurt =
          loaded.seal_defect == Defect::damaged || loaded.seal_defect == Defect::inconsistent;
      const bool whole = loaded.header_state == HeaderState::valid &&
                         loaded.size == loaded.header.file_bytes && !seal_hurt;
      if (whole && !entry.salvaged) continue;
      entry.salvaged = true;
      accept_damaged(loaded.sequence);
    }
  }
}

void Examiner::accept_damaged(uint64_t sequence) {
  if (!is_salvaged(sequence)) out_->state.salvaged.push_back(sequence);
}

bool Examiner::is_salvaged(uint64_t sequence) const {
  return std::count(out_->state.salvaged.begin(), out_->state.salvaged.end(), sequence) > 0;
}

// A segment accepted in spite of damage: what cannot be read must be a known hole; else it is new
// damage.
Status Examiner::walk_salvaged(size_t k) {
  const LoadedSegment& segment = link(k);
  SegmentEntry entry;
  entry.header = segment.header;
  entry.first_lsn = segment.started() ? segment.start_group.first_lsn : last_lsn_ + 1;
  entry.epoch = epoch_of(segment);
  entry.sealed = entry.salvaged = true;
  uint64_t last_lsn = 0;
  const uint64_t end = proven_end(k, &last_lsn);
  entry.cut = end != 0 && !(segment.sealed() && segment.seal.seal.end == end);
  const uint64_t limit = whole_blocks(segment);
  bool fresh = false;
  Status status = scan_damaged(segment, end != 0 ? std::min(end, limit) : limit, last_lsn, false,
                               &entry, &fresh);
  if (!status.ok()) return status;
  entry.last_lsn = last_lsn_;
  out_->report.scanned_segments++;
  out_->report.scanned_bytes += entry.end;
  if (fresh) note(kDamagedSector, segment.sequence, entry.end, defect_reason(Defect::damaged));
  stopped_ = fresh;
  // The end of the log lies before a segment of which nothing is taken.
  if (fresh && entry.end == format::kFirstGroupBlock * uint64_t{segment.header.block_bytes})
    return {};
  out_->segments.push_back(entry);
  if (!fresh) return {};
  std::unique_ptr<io::File> file;
  status = open_file(segment, false, &file);
  return status.ok() ? look_behind(k, *file, entry.end) : status;
}

// Keeps every readable record of all segments; what is missing between them becomes known holes.
Status Examiner::salvage_all() {
  out_->segments.clear();
  out_->dead.clear();
  out_->report.records = 0;
  out_->report.truncated_bytes = 0;
  out_->tail_end = 0;
  for (const Missing& missing : missing_) {
    if (missing.sequence >= out_->state.first_sequence) accept_damaged(missing.sequence);
  }
  if (chain_.empty()) assume_state();
  begins_.clear();
  Status found = find_begins();
  if (!found.ok()) return found;
  last_lsn_ = out_->state.first_lsn - 1;
  for (const LoadedSegment& loaded : loaded_) {
    if (loaded.sequence < out_->state.first_sequence && !loaded.alien) continue;
    if (!loaded.readable()) {
      out_->dead.push_back(loaded.name);
      continue;
    }
    if (is_superseded(loaded.sequence)) continue;
    format::Predecessor end;
    for (size_t k = 0; k < chain_.size(); k++) {
      const format::Predecessor& stated = link(k).start.predecessor;
      if (link(k).life_start() && stated.sequence == loaded.sequence) end = stated;
    }
    Status status;
    bool used = loaded.started() || loaded.start_defect != Defect::nothing;
    if (!used) status = find_use(loaded, &used);
    if (status.ok() && !used) continue;  // only prepared
    if (status.ok()) status = salvage_segment(loaded, end);
    if (!status.ok()) return status;
  }
  closed_ = false;
  // The log still begins where it began, unless its head moved on later: what is gone is a hole as
  // any other.
  if (lost_head_.to != 0 && out_->state.first_lsn == lost_head_.to + 1) {
    out_->state.first_lsn = lost_head_.from;
    if (!format::add_hole(&out_->state.holes, lost_head_.from, lost_head_.to))
      return Status::of(Code::corrupt, kTooManyHoles);
  }
  // What lies between the head and the first segment that is kept was not kept.
  for (const SegmentEntry& entry : out_->segments) {
    if (entry.header.sequence < out_->state.first_sequence) continue;
    if (!format::add_hole(&out_->state.holes, out_->state.first_lsn, entry.first_lsn - 1))
      return Status::of(Code::corrupt, kTooManyHoles);
    break;
  }
  // A head that was behind the damage leaves nothing to miss below it.
  const uint64_t first = std::min(out_->state.first_lsn, stated_first_lsn_);
  std::erase_if(out_->state.holes, [&](const format::Hole& hole) { return hole.to < first; });
  std::erase_if(out_->report.lost, [&](const LostRange& lost) { return lost.to < first; });
  for (format::Hole& hole : out_->state.holes) hole.from = std::max(hole.from, first);
  for (LostRange& lost : out_->report.lost) lost.from = std::max(lost.from, first);
  return keep_rest();
}

// Without any start group, the log begins with the first group that can be read.
void Examiner::assume_state() {
  for (const LoadedSegment& loaded : loaded_) {
    if (!loaded.readable()) continue;
    std::unique_ptr<io::File> file;
    TailEvidence found;
    const uint64_t from = format::kFirstGroupBlock * uint64_t{loaded.header.block_bytes};
    if (!open_file(loaded, false, &file).ok()) continue;
    if (!scan_tail(*file, loaded.header, from, loaded.header.file_bytes, kScanWindowBytes, &found)
             .ok())
      continue;
    out_->highest_epoch = std::max(out_->highest_epoch, found.highest_epoch);
    if (found.first_lsn == 0) continue;
    out_->state.first_sequence = loaded.sequence;
    out_->state.first_lsn = found.first_lsn;
    return;
  }
}

// What lies behind the last record that was salvaged is kept aside before its bytes are given up.
Status Examiner::keep_rest() {
  // Beside a writer, what was written since the end was looked for is no evidence.
  if (out_->segments.empty() || policy_.live) return {};
  const SegmentEntry& last = out_->segments.back();
  for (const LoadedSegment& loaded : loaded_) {
    if (loaded.sequence != last.header.sequence) continue;
    std::unique_ptr<io::File> file;
    Status status = open_file(loaded, false, &file);
    if (!status.ok()) return status;
    // Where records were picked out of the last groups, what is missing lies between them.
    const uint64_t from = rest_from_ != 0 ? std::min(rest_from_, last.end) : last.end;
    TailEvidence tail;
    tail.base_lsn = rest_from_ != 0 ? rest_base_ : last_lsn_;
    status = scan_tail(*file, loaded.header, from, last.header.file_bytes, kScanWindowBytes, &tail);
    if (!status.ok()) return status;
    if (tail.used_end > last.end) {
      out_->tail_end = tail.used_end;
      out_->report.truncated_bytes = tail.used_end - last.end;
    }
    return lose_rest(*file, loaded, from, tail);
  }
  return {};
}

// LSNs that were given and that damage took are holes at the end as they are in the middle: nothing
// else gets them. What a crash tore was never acknowledged, and is cut.
Status Examiner::lose_rest(io::File& file, const LoadedSegment& loaded, uint64_t from,
                           const TailEvidence& tail) {
  SegmentEntry& last = out_->segments.back();
  const uint64_t seen = tail.highest_lsn;
  // Nothing says how many: as after a tear, at least one is named. A seal would say.
  if (seen <= last_lsn_ && tail.damaged && tail.headless && !loaded.sealed())
    out_->report.lost.push_back(
        {last_lsn_ + 1, last_lsn_ + 1, loaded.sequence, last.end, bad_reason_, ""});
  if (seen <= last_lsn_) return {};
  bool damaged = tail.damaged || tail.short_file || tail.watermark_lsn > last_lsn_;
  if (!damaged) {
    GroupReader reader(file, loaded.header, window_of(loaded.header));
    Expectation any;
    any.any = true;
    GroupView view;
    Defect defect = Defect::none;
    uint64_t bad_offset = 0;
    Status status = reader.read(from, whole_blocks(loaded), any, &view, &defect, &bad_offset);
    if (!status.ok()) return std::move(status).at(loaded.sequence, from);
    damaged = defect != Defect::nothing && defect != Defect::incomplete;
  }
  if (!damaged) return {};
  out_->report.lost.push_back({last_lsn_ + 1, seen, loaded.sequence, last.end, bad_reason_, ""});
  if (!format::add_hole(&out_->state.holes, last_lsn_ + 1, seen))
    return Status::of(Code::corrupt, kTooManyHoles);
  last.last_lsn = last_lsn_ = seen;
  highest_lsn_ = std::max(highest_lsn_, seen);
  last.salvaged = true;
  accept_damaged(loaded.sequence);
  return {};
}

}  // namespace stonelog::log
