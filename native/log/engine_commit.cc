// Submission and completion: which group goes to the device when, and what its completion proves.
#include <algorithm>
#include <cstring>

#include "format/bytes.h"
#include "format/segment_header.h"
#include "format/stamp.h"
#include "log/engine.h"

namespace stonelog::log {

using format::ControlWriter;
using format::GroupHeader;
using format::GroupKind;
using format::kSectorBytes;

Engine::Segment* Engine::find_segment(uint64_t sequence) {
  for (Segment& segment : live_) {
    if (segment.place.sequence == sequence) return &segment;
  }
  return nullptr;
}

bool Engine::next_op(uint64_t now_ns, uint64_t wall_micros, Op* op) {
  if (poisoned_) return false;
  return next_sync(op) || next_seal(wall_micros, op) || next_write(now_ns, wall_micros, op);
}

// The groups that were demanded when the need for a sync arose, so that a flush of many groups
// takes one; not those demanded since, or a stream of appends would put it off for ever. Where a
// sync is cheap, a bulk load takes one now and then: what it frees is filled while it runs.
uint64_t Engine::choose_sync_target() const {
  const bool last_is_open = has_open_ && demand_group_ == next_group_ - 1;
  const uint64_t demanded =
      std::max(first_group_, last_is_open ? demand_group_ - 1 : demand_group_);
  if (!options_.dsync) return demanded;
  uint64_t target = first_group_;
  uint64_t bytes = group(target).file_bytes;
  while (target < demanded && bytes < options_.bulk_sync_bytes) bytes += group(++target).file_bytes;
  return target;
}

// A sync covers the groups of one file that were written before it is issued.
bool Engine::next_sync(Op* op) {
  if (sync_in_flight_ > 0 || first_group_ > demand_group_ || first_group_ >= written_prefix_)
    return false;
  const Group& oldest = group(first_group_);
  const Segment* segment = find_segment(oldest.segment);
  if (sync_target_ < first_group_) sync_target_ = choose_sync_target();
  uint64_t last = sync_target_;
  if (segment->finished) last = std::min(last, segment->last_group);
  if (written_prefix_ <= last) return false;
  const uint64_t ticket = next_ticket_++;
  for (uint64_t i = first_group_; i < written_prefix_ && group(i).segment == oldest.segment; i++) {
    group(i).sync_ticket = ticket;
  }
  op->kind = OpKind::sync;
  op->segment = oldest.segment;
  op->group = ticket;
  sync_in_flight_++;
  counters_.syncs++;
  return true;
}

// A seal proves that the segment's end is durable and that a successor exists, so it is written
// after both are true. The seal of a close has no successor; it follows the close group.
bool Engine::is_seal_due(bool* closes) const {
  const Segment& oldest = live_.front();
  if (seal_in_flight_ || oldest.seal_submitted) return false;
  *closes = close_stage_ == CloseStage::sealing && live_.size() == 1;
  if (*closes) return true;
  if (live_.size() < 2 || !oldest.finished) return false;
  return oldest.last_group < first_group_ && live_[1].start_group < first_group_;
}

bool Engine::next_seal(uint64_t wall_micros, Op* op) {
  bool closes = false;
  if (!is_seal_due(&closes)) return false;
  Segment& oldest = live_.front();
  build_seal(oldest, closes, wall_micros);
  oldest.seal_submitted = true;
  seal_in_flight_ = true;
  op->kind = OpKind::seal;
  op->segment = oldest.place.sequence;
  op->offset = format::kSealBlock * options_.block_bytes;
  op->tag = format::tag_of(oldest.place.id);
  op->mode = options_.dsync ? io::WriteMode::dsync : io::WriteMode::plain;
  op->parts[0] = seal_block_;
  op->sizes[0] = options_.block_bytes;
  op->part_count = 1;
  counters_.seals++;
  counters_.group_bytes += options_.block_bytes;
  return true;
}

void Engine::build_seal(const Segment& segment, bool closes, uint64_t wall_micros) {
  ControlWriter content;
  content.seal({segment.first_lsn, segment.last_lsn, segment.end, segment.checksum});
  if (closes) {
    // The state spares the next open the scan of this segment. Where it does not fit, that scan is
    // done.
    ControlWriter with_state = content;
    with_state.state(state_);
    if (format::group_file_bytes(with_state.stream().size(), options_.block_bytes) ==
        options_.block_bytes) {
      content = with_state;
    }
  }
  GroupHeader header;
  header.kind = GroupKind::seal;
  header.flags = closes ? format::kCloses : 0;
  header.first_lsn = segment.last_lsn + 1;
  header.epoch = state_.epoch.number;
  header.durable_lsn = segment.last_lsn;
  header.durable_end = segment.end;
  header.timestamp_micros = wall_micros;
  header.sequence = segment.place.sequence;
  header.segment_id = segment.place.id;
  header.link = segment.checksum;
  header.body_sum = content.body_sum();
  format::encode_group(&header, content.stream(), options_.block_bytes, seal_block_);
}

// A second small group in flight costs the first one more than it brings, unless somebody waits for
// both. Where several append, those behind the burst in flight are mostly others: they would take
// turns with it else, and each of their records would wait for two commits.
bool Engine::may_join_in_flight(const Group& open) const {
  if (in_flight_ == 0 || open.file_bytes >= options_.second_slot_bytes) return true;
  return several_appenders_ && in_flight_ == 1 && open.durable_wish &&
         2 * open.count >= group(next_submit_ - 1).count;
}

// Greedy, but not hasty.
bool Engine::open_group_may_go(uint64_t now_ns) const {
  const Group& open = group(next_group_ - 1);
  if (open.first_lsn > published_lsn_) return false;
  if (flush_group_ >= next_group_ - 1) return true;
  if (!may_join_in_flight(open)) return false;
  const bool waits_for_company =
      options_.max_delay_ns > 0 && open.stream_bytes < options_.max_group_bytes;
  return !waits_for_company || now_ns >= open.opened_ns + options_.max_delay_ns;
}

bool Engine::may_submit(uint64_t now_ns) const {
  if (poisoned_ || next_submit_ == next_group_ || in_flight_ >= options_.pipeline_depth)
    return false;
  const Group& next = group(next_submit_);
  if (next.copies > 0 || (next.state == GroupState::open && !open_group_may_go(now_ns)))
    return false;
  for (const Segment& segment : live_) {
    if (segment.place.sequence != next.segment) continue;
    return next.offset >= segment.zero_to || segment.zero_from >= next.offset + next.file_bytes;
  }
  return false;
}

bool Engine::next_write(uint64_t now_ns, uint64_t wall_micros, Op* op) {
  if (!may_submit(now_ns)) return false;
  if (group(next_submit_).state == GroupState::open) close_group();
  submit(&group(next_submit_), next_submit_, wall_micros, op);
  return true;
}

bool Engine::may_write_alone(uint64_t now_ns, uint64_t most_bytes) const {
  if (in_flight_ > 0 || owes_sync_or_seal() || !may_submit(now_ns)) return false;
  const Group& next = group(next_submit_);
  return next.file_bytes <= most_bytes && goes_dsync(next);
}

bool Engine::next_lone_write(uint64_t now_ns, uint64_t wall_micros, uint64_t most_bytes, Op* op) {
  return may_write_alone(now_ns, most_bytes) && next_write(now_ns, wall_micros, op);
}

bool Engine::owes_sync_or_seal() const {
  bool closes = false;
  if (poisoned_) return false;
  if (is_seal_due(&closes)) return true;
  return sync_in_flight_ == 0 && first_group_ <= demand_group_ && first_group_ < written_prefix_;
}

void Engine::submit(Group* next, uint64_t index, uint64_t wall_micros, Op* op) {
  Segment* segment = find_segment(next->segment);
  GroupHeader header;
  header.kind = next->kind;
  header.flags = next->flags;
  header.file_bytes = static_cast<uint32_t>(next->file_bytes);
  header.stored_bytes = static_cast<uint32_t>(next->stream_bytes);
  header.raw_bytes = header.stored_bytes;
  header.count = next->count;
  header.first_lsn = next->first_lsn;
  header.epoch = state_.epoch.number;
  header.durable_lsn = durable_lsn_;
  header.durable_end = segment->durable_end;
  header.timestamp_micros = wall_micros;
  header.sequence = segment->place.sequence;
  header.segment_id = segment->place.id;
  header.link = last_checksum_;
  header.body_sum = next->body_sum;
  format::encode_group_header(&header, ring_at(*next, 0));
  last_checksum_ = header.checksum;
  segment->checksum = header.checksum;
  next->stated_lsn = durable_lsn_;
  next->state = GroupState::in_flight;
  if (in_flight_ > 0) counters_.second_slot++;
  in_flight_++;
  next_submit_ = index + 1;
  unsubmitted_bytes_ -= next->file_bytes;
  counters_.groups++;
  counters_.group_bytes += next->file_bytes;

  op->kind = OpKind::write;
  op->opened_ns = next->opened_ns;
  op->first_lsn = next->first_lsn;
  op->count = next->count;
  op->tag = format::tag_of(segment->place.id);
  op->stamped = next->stamped;
  op->mode = goes_dsync(*next) ? io::WriteMode::dsync : io::WriteMode::plain;
  place_op(*next, index, op);
}

void Engine::place_op(const Group& placed, uint64_t index, Op* op) const {
  op->segment = placed.segment;
  op->group = index;
  op->offset = placed.offset;
  const uint64_t until_wrap = ring_size_ - placed.ring;
  op->parts[0] = ring_ + placed.ring;
  op->sizes[0] = std::min(placed.file_bytes, until_wrap);
  op->part_count = 1;
  if (op->sizes[0] < placed.file_bytes) {
    op->parts[1] = ring_;
    op->sizes[1] = placed.file_bytes - op->sizes[0];
    op->part_count = 2;
  }
}

bool Engine::may_stamp() const {
  if (poisoned_ || next_submit_ == next_group_ || in_flight_ < options_.pipeline_depth)
    return false;
  const Group& next = group(next_submit_);
  return next.state == GroupState::closed && next.copies == 0 && !next.stamped;
}

// A closed group does not change any more, but for its header in the first sector.
bool Engine::next_stamp(Op* op) {
  if (!may_stamp()) return false;
  Group& next = group(next_submit_);
  next.copies++;
  op->kind = OpKind::stamp;
  op->tag = format::tag_of(find_segment(next.segment)->place.id);
  place_op(next, next_submit_, op);
  return true;
}

void Engine::stamped(const Op& op) {
  Group& done = group(op.group);
  done.copies--;
  done.stamped = true;
}

void Engine::stamp(const Op& op) {
  if (op.stamped) {
    format::stamp_sectors(op.parts[0], 1, op.offset / kSectorBytes, op.tag, true);
    return;
  }
  uint64_t sector = op.offset / kSectorBytes;
  for (int i = 0; i < op.part_count; i++) {
    const size_t count = op.sizes[i] / kSectorBytes;
    const size_t skipped = i == 0 && op.kind == OpKind::stamp ? 1 : 0;
    format::stamp_sectors(op.parts[i] + skipped * kSectorBytes, count - skipped, sector + skipped,
                          op.tag, i == 0 && skipped == 0);
    sector += count;
  }
}

void Engine::completed(const Op& op, const Status& status, uint64_t now_ns) {
  if (op.kind == OpKind::write) in_flight_--;
  if (op.kind == OpKind::sync) sync_in_flight_--;
  if (op.kind == OpKind::seal) seal_in_flight_ = false;
  if (poisoned_) return;
  if (!status.ok()) {
    poison(status);
    return;
  }
  if (op.kind == OpKind::write) {
    Group& done = group(op.group);
    done.state = GroupState::written;
    if (op.mode == io::WriteMode::dsync) done.synced = true;
    while (written_prefix_ < next_submit_ && group(written_prefix_).state == GroupState::written) {
      written_prefix_++;
    }
  } else if (op.kind == OpKind::sync) {
    for (uint64_t i = first_group_; i < written_prefix_; i++) {
      if (group(i).sync_ticket == op.group) group(i).synced = true;
    }
  } else {
    seal_completed(op.segment);
  }
  advance(now_ns);
}

// Moves the durable prefix on: the only place where anything becomes durable.
void Engine::advance(uint64_t now_ns) {
  while (first_group_ < written_prefix_ && group(first_group_).synced) {
    const Group& done = group(first_group_);
    Segment* segment = find_segment(done.segment);
    segment->durable_end = done.offset + done.file_bytes;
    if (done.count > 0) durable_lsn_ = done.first_lsn + done.count - 1;
    segment->durable_lsn = durable_lsn_;
    watermark_lsn_ = std::max(watermark_lsn_, done.stated_lsn);
    pending_bytes_ -= done.charge;
    ring_used_ -= done.file_bytes;
    first_group_++;
  }
  demand_if_half_full();
  if (first_group_ == next_group_) unsynced_since_ns_ = 0;
  if (closing()) advance_close(now_ns);
}

void Engine::seal_completed(uint64_t sequence) {
  const Segment segment = live_.front();
  sealed_.push_back(
      {sequence, segment.first_lsn, segment.last_lsn, segment.end, segment.place.file_bytes});
  if (close_stage_ == CloseStage::sealing && live_.size() == 1) {
    close_stage_ = CloseStage::done;
    return;
  }
  live_.pop_front();
  if (can_rotate()) space_refused_ = false;
  give_back_.push_back({ChoreKind::give_back, sequence, segment.end, segment.place.file_bytes});
}

void Engine::put_watermark(uint64_t now_ns) {
  put_control(GroupKind::control, 0, ControlWriter(), now_ns);
}

// The close: everything durable, then the watermark that says so, then the close group, then the
// seal. Each step waits for the one before, so that either record of the close proves the end.
void Engine::advance_close(uint64_t now_ns) {
  if (poisoned_ || !drained()) return;
  if (close_stage_ == CloseStage::draining) {
    close_stage_ = CloseStage::publishing;
    if (watermark_lsn_ < durable_lsn_) {
      put_watermark(now_ns);
      return;
    }
  }
  if (close_stage_ == CloseStage::publishing) {
    close_stage_ = CloseStage::closing;
    put_control(GroupKind::control, format::kCloses, ControlWriter(), now_ns);
    return;
  }
  if (close_stage_ == CloseStage::closing) close_stage_ = CloseStage::sealing;
}

void Engine::poison(const Status& status) {
  if (poisoned_) return;
  poisoned_ = true;
  failure_ = status;
  first_not_written_ = next_submit_ < next_group_ ? group(next_submit_).first_lsn : last_lsn_ + 1;
}

void Engine::tick(uint64_t now_ns) {
  if (poisoned_) return;
  if (unsynced_since_ns_ != 0 && now_ns >= unsynced_since_ns_ + options_.interval_ns) {
    demand_all();
    unsynced_since_ns_ = now_ns;
  }
  const bool quiet = drained() && !closing() && now_ns >= last_append_ns_ + options_.idle_ns;
  if (quiet && watermark_lsn_ < durable_lsn_ && control_fits(0, 1)) put_watermark(now_ns);
}

uint64_t Engine::next_deadline(uint64_t now_ns) const {
  if (poisoned_) return UINT64_MAX;
  uint64_t deadline = UINT64_MAX;
  if (unsynced_since_ns_ != 0) deadline = unsynced_since_ns_ + options_.interval_ns;
  if (has_open_ && options_.max_delay_ns > 0) {
    const uint64_t due = group(next_group_ - 1).opened_ns + options_.max_delay_ns;
    if (due > now_ns)
      deadline = std::min(deadline, due);  // else it waits for a completion, not for time
  }
  if (drained() && !closing() && watermark_lsn_ < durable_lsn_ && control_fits(0, 1)) {
    deadline = std::min(deadline, last_append_ns_ + options_.idle_ns);
  }
  return deadline;
}

// Small commits into unwritten blocks cost a commit of the file system's journal each, so blocks
// are zeroed ahead for them. A bulk load shares that cost and would only write everything twice.
bool Engine::may_zero(uint64_t* from, uint64_t* to) const {
  if (!options_.zeroes || zeroing_ || loads_in_bulk()) return false;
  const Segment& segment = current();
  const uint64_t size = segment.place.file_bytes;
  *from = std::max(segment.place.written_end, segment.end);
  if (*from >= size) return false;
  *to = *from + std::min<uint64_t>(options_.zero_piece_bytes, size - *from);
  return *to <= std::min(segment.end + options_.zero_ahead_bytes, size);
}

bool Engine::has_chore(uint64_t now_ns) const {
  if (poisoned_) return false;
  if (!give_back_.empty()) return true;
  if (closing()) return false;
  if (!preparing_ && prepared_.size() < options_.prepare_ahead && now_ns >= prepare_not_before_ns_)
    return true;
  uint64_t from = 0;
  uint64_t to = 0;
  return may_zero(&from, &to);
}

bool Engine::next_chore(uint64_t now_ns, Chore* chore) {
  if (poisoned_) return false;
  if (!give_back_.empty()) {
    *chore = give_back_.front();
    give_back_.pop_front();
    return true;
  }
  if (closing()) return false;
  if (!preparing_ && prepared_.size() < options_.prepare_ahead &&
      now_ns >= prepare_not_before_ns_) {
    preparing_ = true;
    *chore = {ChoreKind::prepare, next_sequence_, 0, 0};
    return true;
  }
  uint64_t from = 0;
  uint64_t to = 0;
  if (!may_zero(&from, &to)) return false;
  Segment& segment = current();
  *chore = {ChoreKind::zero, segment.place.sequence, from, to};
  segment.zero_from = chore->from;
  segment.zero_to = chore->to;
  zeroing_ = true;
  return true;
}

uint64_t Engine::next_chore_deadline() const {
  if (poisoned_ || closing() || preparing_ || prepared_.size() >= options_.prepare_ahead)
    return UINT64_MAX;
  return prepare_not_before_ns_;
}

void Engine::segment_ready(const SegmentPlace& place) {
  prepared_.push_back(place);
  preparing_ = false;
  next_sequence_ = place.sequence + 1;
  if (can_rotate()) space_refused_ = false;
  prepare_code_ = Code::backpressure;
  prepare_not_before_ns_ = 0;
}

void Engine::segment_failed(Code code, uint64_t now_ns) {
  preparing_ = false;
  prepare_code_ = code;
  prepare_not_before_ns_ = now_ns + options_.prepare_retry_ns;
}

void Engine::zeroed(const Chore& chore, const Status& status) {
  zeroing_ = false;
  Segment* segment = find_segment(chore.sequence);
  if (segment == nullptr) return;
  segment->zero_from = segment->zero_to = 0;
  segment->place.written_end = std::max(segment->place.written_end, chore.to);
  if (!status.ok()) poison(status);  // the file is part of the log
}

std::vector<SegmentPlace> Engine::take_prepared() {
  std::vector<SegmentPlace> out(prepared_.begin(), prepared_.end());
  prepared_.clear();
  return out;
}

}  // namespace stonelog::log
