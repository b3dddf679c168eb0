// What can be kept behind damage.
#include <algorithm>

#include "log/examiner.h"
#include "log/salvage.h"

namespace stonelog::log {

using format::HeaderState;

namespace {

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
  const auto lose = [&](uint64_t next) {
    if (next <= last_lsn_ + 1 || format::is_hole(out_->state.holes, last_lsn_ + 1, next - 1))
      return;
    *fresh = true;
    if (!may_lose) return;
    out_->report.lost.push_back(
        {last_lsn_ + 1, next - 1, loaded.sequence, entry->end, bad_reason_, ""});
    room = format::add_hole(&out_->state.holes, last_lsn_ + 1, next - 1) && room;
  };
  while (at < limit && (may_lose || !*fresh)) {
    Defect defect = Defect::none;
    uint64_t bad_offset = 0;
    status = reader.read(at, limit, any, &view, &defect, &bad_offset);
    if (!status.ok()) return std::move(status).at(loaded.sequence, at);
    if (defect == Defect::none &&
        view.header.first_lsn + view.header.count > ceiling(view.header.epoch))
      break;
    if (defect == Defect::none && view.header.first_lsn > last_lsn_) {
      lose(view.header.first_lsn);
      pass_group(view, entry);
      at = entry->end;
      continue;
    }
    entry->salvaged = true;
    SalvagedRegion region;
    status = salvage_region(&reader, at, limit, last_lsn_, &region);
    if (!status.ok()) return std::move(status).at(loaded.sequence, at);
    for (const SalvagedRecord& record : region.records) {
      if (record.lsn >= ceiling(entry->epoch)) break;
      lose(record.lsn);
      last_lsn_ = record.lsn;
      out_->report.records++;
      entry->end = region.resume;
    }
    at = region.resume;
  }
  lose(last_lsn + 1);
  if (!room)
    return Status::of(Code::corrupt, "there are more separate losses than a log can record");
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
      if (whole) continue;
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
  out_->report.scanned_segments++;
  out_->report.scanned_bytes += entry.end;
  out_->segments.push_back(entry);
  if (fresh) {
    note(kDamagedSector, segment.sequence, entry.end, defect_reason(Defect::damaged));
    stopped_ = true;
  }
  return {};
}

// Keeps every readable record of all segments; what is missing between them becomes known holes.
Status Examiner::salvage_all() {
  out_->segments.clear();
  out_->dead.clear();
  out_->report.records = 0;
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
  if (out_->segments.empty()) return {};
  const SegmentEntry& last = out_->segments.back();
  for (const LoadedSegment& loaded : loaded_) {
    if (loaded.sequence != last.header.sequence) continue;
    std::unique_ptr<io::File> file;
    Status status = open_file(loaded, false, &file);
    if (!status.ok()) return status;
    TailEvidence tail;
    status =
        scan_tail(*file, loaded.header, last.end, last.header.file_bytes, kScanWindowBytes, &tail);
    if (!status.ok()) return status;
    if (tail.used_end > last.end) out_->tail_end = tail.used_end;
  }
  return {};
}

}  // namespace stonelog::log
