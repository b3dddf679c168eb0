// A life of the simulated log, step by step: appends, completions, chores, and what the oracle says
// to each of them.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "crc32c/crc32c.h"
#include "format/segment_header.h"
#include "sim/simulation.h"

namespace stonelog::sim {

using log::ChoreKind;
using log::OpKind;

void Simulation::live() {
  const uint64_t length = random_.chance(20) ? random_.between(1, 30) : random_.between(30, 2000);
  if (faults_ && random_.chance(60)) add_faults();
  if (tight_)
    fs_.set_capacity(fs_.disk().allocated_bytes() +
                     random_.below(5) * engine_options_.segment_bytes);
  if (random_.chance(30)) fs_.crash_after(random_.below(300));
  for (uint64_t i = 0; i < length && good() && !fs_.crashed() && !engine_->closed(); i++) step();
}

void Simulation::add_faults() {
  constexpr uint32_t kinds[] = {kWrites,  kWrites,         kSyncs,   kSyncs, kReserves,
                                kRenames, kDirectorySyncs, kUnlinks, kOpens, kSyncs | kWrites};
  constexpr int errors[] = {EIO, EIO, ENOSPC, EDQUOT};
  constexpr Effect effects[] = {Effect::chance, Effect::chance, Effect::nothing, Effect::whole,
                                Effect::prefix};
  const uint64_t times = random_.chance(60) ? 1 : random_.between(2, 20);
  fs_.add({kinds[random_.below(10)], random_.below(random_.chance(50) ? 20 : 200), times,
           errors[random_.below(4)], "", effects[random_.below(5)]});
}

void Simulation::step() {
  counters_.steps++;
  now_ += random_.below(100'000);
  const uint64_t what = random_.below(100);
  if (what < 22)
    admit_one();
  else if (what < 26)
    admit_run();
  else if (what < 30)
    admit_batch();
  else if (what < 36)
    finish_copy();
  else if (what < 60)
    start_op();
  else if (what < 84)
    finish_op();
  else if (what < 90)
    chore();
  else if (what < 93)
    engine_->tick(now_);
  else if (what < 94)
    engine_->demand_all();
  else if (what < 96)
    move_head();
  else if (what < 97)
    release();
  else if (what < 98)
    now_ += random_.below(40) * kMillisecond;
  else if (random_.rarely(8))
    (void)engine_->rotate(now_);
  else if (random_.rarely(4))
    observe();
  else if (random_.rarely(40))
    check_liveness();
  else if (tight_ && random_.rarely(10))
    fs_.set_capacity(UINT64_MAX);
  else
    engine_->publish();
  note_progress();
}

uint32_t Simulation::record_size() {
  const uint64_t kind = random_.below(100);
  if (kind < 5) return 0;
  if (kind < 60) return static_cast<uint32_t>(random_.below(200));
  if (kind < 85) return static_cast<uint32_t>(random_.below(3000));
  if (kind < 96) return static_cast<uint32_t>(random_.below(20'000));
  return static_cast<uint32_t>(random_.below(70 << 10));
}

log::Durability Simulation::durability() {
  const uint64_t kind = random_.below(100);
  if (kind < 65) return log::Durability::group;
  if (kind < 75) return log::Durability::each;
  return kind < 85 ? log::Durability::interval : log::Durability::none;
}

void Simulation::admit_one() {
  const uint32_t size = record_size();
  if (format::is_chunked(size)) return admit_batch();
  const uint64_t lsn = engine_->last_lsn() + 1;
  payload_.resize(size);
  fill_payload(model_.life(), lsn, payload_.data(), size);
  Code code = Code::ok;
  const log::Durability wish = durability();
  const uint64_t given = engine_->admit_one(
      payload_.data(), size, crc32c::extend(0, payload_.data(), size), wish, now_, &code);
  if (code != Code::ok) {
    if (given != 0 || engine_->last_lsn() != lsn - 1)
      model_.fail("a refused record was given an LSN");
    note_refusal(code);
    return;
  }
  if (space_was_refused_) coverage_.add("resumed after no space");
  space_was_refused_ = false;
  model_.admitted(given, {size});
  note_wish(wish, given);
  counters_.records++;
  if (random_.chance(70)) engine_->publish();
}

// Records as JavaScript stages them: one after the other in memory, and not all may be taken.
void Simulation::admit_run() {
  std::vector<uint32_t> sizes(random_.between(1, 40));
  std::vector<uint8_t> bytes;
  const uint64_t first = engine_->last_lsn() + 1;
  for (size_t i = 0; i < sizes.size(); i++) {
    sizes[i] = record_size() / 4;
    payload_.resize(sizes[i]);
    fill_payload(model_.life(), first + i, payload_.data(), sizes[i]);
    bytes.insert(bytes.end(), payload_.begin(), payload_.end());
  }
  Code code = Code::ok;
  const log::Durability wish = durability();
  const size_t admitted =
      engine_->admit_run(bytes.data(), sizes.data(), sizes.size(), wish, now_, &code);
  if ((code == Code::ok) != (admitted == sizes.size()) ||
      engine_->last_lsn() != first + admitted - 1)
    model_.fail("a run and the LSNs given to it differ");
  if (admitted > 0 && space_was_refused_) coverage_.add("resumed after no space");
  if (admitted > 0) space_was_refused_ = false;
  if (code != Code::ok) note_refusal(code);
  for (size_t i = 0; i < admitted; i++) {
    model_.admitted(first + i, {sizes[i]});
    note_wish(wish, first + i);
  }
  counters_.records += admitted;
  if (random_.chance(70)) engine_->publish();
}

void Simulation::note_refusal(Code code) {
  if (code == Code::no_space) {
    counters_.refused_space++;
    space_was_refused_ = true;
  }
  if (code == Code::backpressure) counters_.refused_queue++;
}

void Simulation::admit_batch() {
  const size_t count = random_.chance(30) ? 1 : static_cast<size_t>(random_.between(1, 12));
  PendingCopy copy;
  std::vector<uint32_t> sizes;
  const uint64_t lsn = engine_->last_lsn() + 1;
  for (size_t i = 0; i < count; i++) {
    sizes.push_back(count == 1 ? static_cast<uint32_t>(random_.below(72 << 10))
                               : record_size() / 2);
    std::vector<uint8_t> payload(sizes.back() + 1);
    fill_payload(model_.life(), lsn + i, payload.data(), sizes.back());
    copy.payloads.push_back(std::move(payload));
  }
  copy.records.resize(count);
  for (size_t i = 0; i < count; i++) {
    copy.records[i].data = copy.payloads[i].data();
    copy.records[i].size = sizes[i];
    format::sum_payload(copy.records[i].data, sizes[i], &copy.records[i].sum);
  }
  const log::Durability wish = durability();
  copy.admission = engine_->admit(copy.records.data(), count, wish, now_);
  if (copy.admission.code != Code::ok) {
    note_refusal(copy.admission.code);
    if (engine_->last_lsn() != lsn - 1) model_.fail("a refused batch was given an LSN");
    return;
  }
  model_.admitted(copy.admission.first_lsn, sizes);
  note_wish(wish, engine_->last_lsn());
  counters_.records += count;
  if (copy.admission.copy_pending) copies_.push_back(std::move(copy));
  if (random_.chance(70)) engine_->publish();
}

void Simulation::finish_copy() {
  if (copies_.empty()) return;
  const size_t at = random_.below(copies_.size());
  PendingCopy& copy = copies_[at];
  engine_->copy_payloads(copy.admission, copy.records.data(), copy.records.size());
  engine_->copied(copy.admission);
  copies_.erase(copies_.begin() + static_cast<ptrdiff_t>(at));
}

void Simulation::note_wish(log::Durability durability, uint64_t last_lsn) {
  if (durability == log::Durability::group || durability == log::Durability::each)
    wishes_.push_back(last_lsn);
}

bool Simulation::is_wished(uint64_t first_lsn, uint64_t last_lsn) {
  bool wished = false;
  for (; !wishes_.empty() && wishes_.front() <= last_lsn; wishes_.pop_front())
    wished = wished || wishes_.front() >= first_lsn;
  return wished;
}

void Simulation::note_write(const log::Op& op, const format::GroupHeader& group,
                            const std::string& path) {
  const uint64_t last_lsn = group.first_lsn + group.count - 1;
  if (group.count > 0) {
    if (group.first_lsn != model_.submitted_lsn() + 1)
      model_.fail("groups are not submitted in LSN order");
    for (int i = 0; i < op.part_count; i++) model_.submitted(op.parts[i], op.sizes[i], last_lsn);
  }
  const bool wished = group.count > 0 && is_wished(group.first_lsn, last_lsn);
  const bool bulk = wished && engine_options_.dsync && op.mode == io::WriteMode::plain;
  Unacknowledged pending{op.group, op.segment, path, op.offset, 0, 0, group.count > 0, bulk};
  for (int i = 0; i < op.part_count; i++) {
    pending.size += op.sizes[i];
    pending.crc = crc32c::extend(pending.crc, op.parts[i], op.sizes[i]);
  }
  unacknowledged_.push_back(std::move(pending));
  if (bulk) coverage_.add("bulk groups written plainly");
  if (op.stamped) coverage_.add("groups stamped ahead");
}

void Simulation::start_op() {
  RunningOp running;
  if (engine_->next_stamp(&running.op)) {
    running_.push_back(running);
    return;
  }
  // What an event loop's thread would begin by itself, or whatever a committer would do.
  const bool lone =
      random_.below(2) == 0 &&
      engine_->next_lone_write(now_, fs_.wall_micros(), uint64_t{64} << 10, &running.op);
  if (lone) coverage_.add("commits of the appending thread");
  if (!lone && !engine_->next_op(now_, fs_.wall_micros(), &running.op)) return;
  const log::Op& op = running.op;
  const std::string path = path_of(op.segment);
  if (op.kind == OpKind::sync) {
    running.ticket = fs_.begin_sync(path);
  } else {
    log::Engine::stamp(op);
    io::Part parts[2];
    for (int i = 0; i < op.part_count; i++) parts[i] = {op.parts[i], op.sizes[i]};
    format::GroupHeader group;
    if (!format::decode_group_header(op.parts[0], engine_options_.block_bytes, &group)) {
      model_.fail("a group is submitted whose header cannot be decoded");
    }
    if (op.kind == OpKind::write) note_write(op, group, path);
    running.ticket = fs_.begin_write(path, op.offset, parts, op.part_count, op.mode);
  }
  if (running_.size() >= 2) deep_pipelines_++;
  running_.push_back(running);
}

void Simulation::finish_op() {
  if (running_.empty()) return;
  const size_t at = random_.chance(60) ? 0 : random_.below(running_.size());
  const RunningOp running = running_[at];
  running_.erase(running_.begin() + static_cast<ptrdiff_t>(at));
  if (running.op.kind == OpKind::stamp) {
    log::Engine::stamp(running.op);
    engine_->stamped(running.op);
    return;
  }
  Status status = fs_.complete(running.ticket);
  if (fs_.crashed()) return;
  const bool was_poisoned = engine_->poisoned();
  if (running.op.kind == OpKind::none)
    engine_->zeroed(running.chore, status);
  else
    engine_->completed(running.op, status, now_);
  if (!status.ok() && !engine_->poisoned())
    model_.fail("a failed operation on a live segment did not poison");
  if (!was_poisoned && engine_->poisoned()) say("poisoned");
  note_progress();
}

void Simulation::chore() {
  if (prepare_wanted_ && random_.chance(60)) return prepare();
  log::Chore next;
  if (!engine_->next_chore(now_, &next)) return;
  if (next.kind == ChoreKind::prepare) {
    prepare_wanted_ = true;
    prepare_chore_ = next;
  } else if (next.kind == ChoreKind::zero) {
    zero(next);
  } else {
    give_back(next);
  }
}

void Simulation::prepare() {
  prepare_wanted_ = false;
  log::SegmentSpec spec;
  spec.directory = kDirectory;
  spec.sequence = prepare_chore_.sequence;
  spec.log_id = log_id_;
  spec.block_bytes = engine_options_.block_bytes;
  spec.file_bytes = format::segment_file_bytes(engine_options_.segment_bytes, spec.block_bytes);
  spec.direct = fs_.probe_result.direct;
  spec.zeroes = engine_options_.zeroes;
  spec.first_piece_bytes = random_.below(3) * (32 << 10);
  if (!recyclable_.empty()) {
    spec.recycle_path = recyclable_.back().path;
    spec.recycle_tag = recyclable_.back().tag;
    spec.recycle_written_end = random_.below(8) * (16 << 10);
    recyclable_.pop_back();
  }
  log::MadeSegment made;
  bool fatal = false;
  Status status = log::make_segment(fs_, spec, &made, &fatal);
  if (fs_.crashed()) return;
  if (status.ok())
    engine_->segment_ready(made.place);
  else if (fatal)
    engine_->poison(status);
  else
    engine_->segment_failed(status.code, now_);
}

void Simulation::zero(const log::Chore& chore) {
  const io::Part part{zeros_->data(), static_cast<size_t>(chore.to - chore.from)};
  const auto mode = engine_options_.dsync ? io::WriteMode::dsync : io::WriteMode::plain;
  RunningOp running;
  running.chore = chore;
  running.ticket = fs_.begin_write(path_of(chore.sequence), chore.from, &part, 1, mode);
  running_.push_back(running);
}

void Simulation::give_back(const log::Chore& chore) {
  std::unique_ptr<io::File> file;
  const std::string path = path_of(chore.sequence);
  if (!fs_.open(path, io::Access::read_write, fs_.probe_result.direct, 0, &file).ok())
    return;  // released
  (void)file->punch(chore.from, chore.to);
}

void Simulation::move_head() {
  const std::vector<log::Engine::Live> live = engine_->live();
  if (sealed_.empty()) return;
  const size_t keep = random_.between(1, sealed_.size());
  Head head{live.front().first_lsn, live.front().sequence};
  if (keep < sealed_.size()) head = {sealed_[keep].first_lsn, sealed_[keep].sequence};
  const Head& newest = pending_heads_.empty() ? model_.head() : pending_heads_.back().head;
  if (newest.first_sequence >= head.first_sequence) return;
  uint64_t group = 0;
  if (engine_->set_head(head.first_lsn, head.first_sequence, now_, &group) != Code::ok) return;
  model_.head_requested(head);
  say("head " + std::to_string(head.first_lsn) + " of segment " +
      std::to_string(head.first_sequence));
  pending_heads_.push_back({head, group});
}

// Only once the new head is durable may the files below it go.
void Simulation::release() {
  while (!sealed_.empty() && sealed_.front().sequence < model_.head().first_sequence &&
         !fs_.crashed()) {
    const std::string path = path_of(sealed_.front().sequence);
    const Inode* inode = fs_.disk().find(path);
    if (recycles_ && inode != nullptr && recyclable_.size() < 2 && random_.chance(70)) {
      const std::string kept =
          std::string(kDirectory) + "/recycle-" + std::to_string(sealed_.front().sequence) + ".tmp";
      uint32_t tag = 0;
      std::memcpy(&tag, inode->visible.page(0) + format::kStampTag, sizeof tag);
      Status status = fs_.rename(path, kept);
      if (status.ok()) status = fs_.sync_directory(kDirectory);
      if (status.ok()) recyclable_.push_back({kept, tag});
      coverage_.add("segments recycled");
    } else {
      (void)fs_.unlink(path);
      coverage_.add("segments released");
    }
    sealed_.erase(sealed_.begin());
  }
}

void Simulation::note_progress() {
  if (fs_.crashed()) return;
  if (engine_->poisoned()) {
    if (engine_->first_not_written_lsn() <= engine_->last_lsn()) coverage_.add("told not written");
    model_.not_written_from(engine_->first_not_written_lsn());
    if (engine_->durable_lsn() != model_.acknowledged_lsn())
      model_.fail("acknowledged after a failure");
    return;
  }
  check_durable();
  const uint64_t before = model_.acknowledged_lsn();
  model_.acknowledged(engine_->durable_lsn());
  counters_.acknowledged += engine_->durable_lsn() - before;
  while (!pending_heads_.empty() && engine_->durable_groups() > pending_heads_.front().group) {
    model_.head_durable(pending_heads_.front().head);
    fs_.unguard_below(pending_heads_.front().head.first_sequence);
    coverage_.add("heads moved");
    pending_heads_.erase(pending_heads_.begin());
  }
  for (const log::Engine::Sealed& sealed : engine_->take_sealed()) {
    sealed_.push_back({sealed.sequence, sealed.first_lsn});
  }
  if (!fs_.violation().empty()) model_.fail(fs_.violation());
}

// Ensures that what the engine calls durable is: at this moment, not only if a crash happens to
// come. From then on the disk itself watches over it.
void Simulation::check_durable() {
  uint64_t bulk = 0;
  while (!unacknowledged_.empty() && unacknowledged_.front().index < engine_->durable_groups()) {
    const Unacknowledged& group = unacknowledged_.front();
    if (!fs_.is_durable(group.path, group.offset, group.size, group.crc)) {
      model_.fail("the group at " + std::to_string(group.offset) + " of " + group.path +
                  " is acknowledged, but a power cut would take it back");
    }
    if (group.records) fs_.guard(group.path, group.sequence, group.offset + group.size);
    proven_groups_++;
    bulk += group.bulk ? 1 : 0;
    unacknowledged_.pop_front();
  }
  if (bulk > 0) coverage_.add("bulk groups acknowledged", bulk);
  if (bulk > 1) coverage_.add("syncs shared by bulk groups");
}

// Everything that can happen without new records happens.
void Simulation::quiesce() {
  uint32_t idle = 0;
  for (int i = 0; i < 5000 && idle < 8 && good() && !fs_.crashed(); i++) {
    const size_t had = running_.size();
    const uint64_t operations = fs_.operations();
    while (!copies_.empty()) finish_copy();
    engine_->publish();
    start_op();
    if (running_.size() == had) {
      finish_op();
      if (prepare_wanted_)
        prepare();
      else
        chore();
      engine_->tick(now_);
      now_ += 30 * kMillisecond;
    }
    note_progress();
    counters_.steps++;
    idle = had == 0 && running_.empty() && operations == fs_.operations() && !prepare_wanted_
               ? idle + 1
               : 0;
  }
}

// Ensures that nothing waits for ever: after a pause all is durable that was to be, and the largest
// record is admitted.
void Simulation::check_liveness() {
  if (!faults_ && engine_->closing() == false) {
    fs_.set_capacity(UINT64_MAX);
    quiesce();
    if (fs_.crashed() || engine_->poisoned() || !good()) return;
    if (!engine_->ready()) {
      return model_.fail("nothing is under way, but the engine does not get ready: " +
                         std::to_string(engine_->pending_bytes()) + " bytes pending, durable LSN " +
                         std::to_string(engine_->durable_lsn()) + " of " +
                         std::to_string(engine_->last_lsn()) + ", " +
                         std::to_string(engine_->live().size()) + " unsealed segments" +
                         (engine_->space_refused() ? ", space refused" : ""));
    }
    const size_t size = static_cast<size_t>(
        std::min(engine_options_.queue_bytes, engine_options_.segment_bytes - (64 << 10)));
    std::vector<uint8_t> payload(size);
    for (int attempt = 0; good(); attempt++) {
      const uint64_t lsn = engine_->last_lsn() + 1;
      fill_payload(model_.life(), lsn, payload.data(), size);
      log::RecordInput record{payload.data(), size, {}};
      format::sum_payload(payload.data(), size, &record.sum);
      const log::Admission admission = engine_->admit(&record, 1, durability(), now_);
      if (admission.code == Code::ok) {
        model_.admitted(lsn, {static_cast<uint32_t>(size)});
        coverage_.add("largest records admitted");
        if (admission.copy_pending) {
          engine_->copy_payloads(admission, &record, 1);
          engine_->copied(admission);
        }
        break;
      }
      if (attempt == 6) model_.fail("the largest record is refused for ever");
      quiesce();
      if (fs_.crashed() || engine_->poisoned()) return;
    }
  }
}

}  // namespace stonelog::sim
