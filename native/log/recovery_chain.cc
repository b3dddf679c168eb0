// Which segments follow each other, and which of those that are named are missing.
#include <algorithm>

#include "log/examiner.h"

namespace stonelog::log {

// From the newest segment that has a start group down the predecessors it names. A predecessor that
// is missing leaves a gap, behind which the chain goes on with what is there.
void Examiner::find_chain() {
  size_t at = loaded_.size();
  while (at > 0 && !loaded_[at - 1].started()) at--;
  if (at == 0) {
    note(kInconsistent, loaded_.front().sequence, 0, "no segment has an intact start group");
    return;
  }
  const LoadedSegment* cursor = &loaded_[at - 1];
  out_->state = cursor->start.state;
  if (cursor->sealed() && cursor->seal.has_state) out_->state = cursor->seal.state;
  stated_first_lsn_ = out_->state.first_lsn;
  chain_.push_back(cursor);
  for (;;) {
    // Of a segment whose start group is lost and that was accepted nevertheless, nobody knows what
    // it named.
    format::Predecessor wanted{cursor->sequence - 1, {}, 0, 0};
    if (cursor->started()) wanted = cursor->start.predecessor;
    if (wanted.sequence < out_->state.first_sequence) break;
    const LoadedSegment* found = nullptr;
    for (size_t i = at - 1; i-- > 0 && found == nullptr;) {
      const LoadedSegment& candidate = loaded_[i];
      if (candidate.sequence > wanted.sequence || candidate.sequence < out_->state.first_sequence)
        continue;
      if (!candidate.started() && !(is_salvaged(candidate.sequence) && candidate.readable()))
        continue;
      found = &candidate;
      at = i + 1;
    }
    const bool exact = found != nullptr && found->sequence == wanted.sequence &&
                       found->header.segment_id == wanted.segment_id;
    const bool known = is_salvaged(wanted.sequence) || !cursor->started();
    gaps_ = gaps_ || !exact;
    if (!exact && !known) missing_.push_back({wanted.sequence, cursor->life_start()});
    if (found == nullptr) break;
    chain_.push_back(found);
    cursor = found;
  }
  std::reverse(chain_.begin(), chain_.end());
}

// Where segments are missing, a head that moved on in the newest segment may be the reason. Unlinks
// reach the disk in any order: of the released 1, 2 and 3 only 2 may be gone, and then 1 is not of
// the log either.
Status Examiner::move_head_on() {
  if (!gaps_ || chain_.empty()) return {};
  const LoadedSegment& tip = *chain_.back();
  std::unique_ptr<io::File> file;
  Status status = open_file(tip, !tip.closed(), &file);
  if (!status.ok()) return status;
  GroupReader reader(*file, tip.header, window_of(tip.header));
  Expectation expected;
  expected.any = true;
  GroupView view;
  for (uint64_t at = format::kFirstGroupBlock * uint64_t{tip.header.block_bytes};;
       at += view.header.file_bytes) {
    Defect defect = Defect::none;
    uint64_t bad_offset = 0;
    status = reader.read(at, tip.header.file_bytes, expected, &view, &defect, &bad_offset);
    if (!status.ok()) return std::move(status).at(tip.sequence, at);
    if (defect != Defect::none) break;
    take_head(view);
    expected = {view.header.first_lsn + view.header.count, view.header.epoch, view.header.checksum};
  }
  const uint64_t first = out_->state.first_sequence;
  std::erase_if(missing_, [&](const Missing& missing) { return missing.sequence < first; });
  std::erase_if(chain_, [&](const LoadedSegment* segment) { return segment->sequence < first; });
  forget_below_head();
  return {};
}

// What was known of damage that the head has left behind.
void Examiner::forget_below_head() {
  format::ControlState& state = out_->state;
  std::erase_if(state.salvaged, [&](uint64_t sequence) { return sequence < state.first_sequence; });
  std::erase_if(state.holes, [&](const format::Hole& hole) { return hole.to < state.first_lsn; });
}

// The state of the newest start group is known already: older segments, read after it, take nothing
// back.
void Examiner::take_head(const GroupView& view) {
  const bool newer =
      view.control.has_head && view.control.state.first_sequence > out_->state.first_sequence;
  if (view.header.kind == format::GroupKind::control && newer)
    format::apply(view.control, &out_->state);
}

// A head that moved on after the newest start group allows what is below it to be gone, so this is
// judged when the control groups of the tip were read. A file is named in its directory before
// anything names it as a predecessor, but start groups are pipelined: 7 and 8 may be in flight
// together, and only that of 8 survive.
void Examiner::judge_missing() {
  for (const Missing& missing : missing_) {
    if (missing.sequence < out_->state.first_sequence) continue;
    const auto present = std::find_if(
        loaded_.begin(), loaded_.end(),
        [&](const LoadedSegment& segment) { return segment.sequence == missing.sequence; });
    const bool torn = present != loaded_.end() && (present->start_defect == Defect::nothing ||
                                                   present->start_defect == Defect::incomplete);
    if (torn && !missing.accepted && !present->sealed())
      continue;  // the watermarks behind it were judged
    note_missing(missing.sequence);
  }
}

void Examiner::note_missing(uint64_t sequence) {
  const auto present =
      std::find_if(loaded_.begin(), loaded_.end(),
                   [&](const LoadedSegment& segment) { return segment.sequence == sequence; });
  if (present == loaded_.end()) {
    note(kMissingSegment, sequence, 0, "the segment is missing");
    return;
  }
  note(present->started() ? kInconsistent : defect_evidence(present->start_defect), sequence,
       present->start_bad_offset,
       "the segment's start group cannot be read, or is of another segment");
}

// Where segment k ends, if that is proven without scanning it; else 0.
uint64_t Examiner::proven_end(size_t k, uint64_t* last_lsn) const {
  const LoadedSegment& segment = link(k);
  if (k + 1 < chain_.size()) {
    const LoadedSegment& next = link(k + 1);
    const format::Predecessor& stated = next.start.predecessor;
    if (next.life_start() && stated.sequence == segment.sequence) {
      *last_lsn = stated.last_lsn;
      return stated.end;
    }
  }
  if (!segment.sealed()) return 0;
  *last_lsn = segment.seal.seal.last_lsn;
  return segment.seal.seal.end;
}

// The head's segment is not in the chain. A head is durable, and so is the start group of its
// segment, before it is recorded. Where its file is there, but cannot be read, nothing is accepted
// after nothing. Where it is gone, it may have been released by a head that damage hides: the log
// then begins with what is there.
void Examiner::judge_head(uint64_t sequence) {
  for (const LoadedSegment& segment : loaded_) {
    if (segment.sequence != sequence || segment.started()) continue;
    note(defect_evidence(segment.start_defect), sequence, segment.start_bad_offset,
         "the segment's start group cannot be read");
    last_lsn_ = std::min(last_lsn_, out_->state.first_lsn - 1);
    stopped_ = true;
    return;
  }
  note(kMissingSegment, sequence, 0, "the segment is missing");
  if (out_->state.first_lsn <= last_lsn_) {
    out_->report.lost.push_back(
        {out_->state.first_lsn, last_lsn_, sequence, 0, "the segment is missing", ""});
    lost_head_ = {out_->state.first_lsn, last_lsn_};
  }
  out_->state.first_sequence = link(0).sequence;
  out_->state.first_lsn = last_lsn_ + 1;
}

Status Examiner::walk() {
  last_lsn_ = link(0).started() ? link(0).start_group.first_lsn - 1 : out_->state.first_lsn - 1;
  const uint64_t before = link(0).started() ? link(0).start.predecessor.sequence : 0;
  // Of a salvaged segment at the head, its file or a hole is left; else a head that moved on was
  // lost.
  const bool left =
      std::any_of(loaded_.begin(), loaded_.end(),
                  [&](const LoadedSegment& segment) { return segment.sequence == before; }) ||
      last_lsn_ < out_->state.first_lsn ||
      format::is_hole(out_->state.holes, out_->state.first_lsn, last_lsn_);
  if (before >= out_->state.first_sequence) {
    if (is_salvaged(before) && left)
      last_lsn_ = std::min(last_lsn_, out_->state.first_lsn - 1);
    else
      judge_head(before);
  }
  highest_lsn_ = last_lsn_;
  if (!out_->state.salvaged.empty()) {
    Status status = find_begins();
    if (!status.ok()) return status;
  }
  for (size_t k = 0; k < chain_.size() && !stopped_; k++) {
    Status status = walk_segment(k);
    if (!status.ok()) return status;
  }
  return {};
}

}  // namespace stonelog::log
