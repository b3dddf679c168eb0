#include "sim/simulation.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "crc32c/crc32c.h"
#include "format/segment_header.h"

namespace stonelog::sim {

using log::ChoreKind;
using log::OpKind;

namespace {

constexpr uint64_t kMostRecoveryCrashes = 5;
constexpr size_t kQuarantineFiles = 12;
constexpr uint64_t kMillisecond = 1'000'000;

}  // namespace

std::string describe_examination(const log::Examination& examination) {
  const log::RecoveryReport& report = examination.report;
  std::string out = report.row + ", LSNs " + std::to_string(report.first_lsn) + " to " +
                    std::to_string(report.last_lsn) + ", epoch " + std::to_string(report.epoch) +
                    ", segments";
  for (const log::SegmentEntry& entry : examination.segments) {
    out += " " + std::to_string(entry.header.sequence) + (entry.sealed ? "s" : "") +
           (entry.cut ? "c" : "") + "[" + std::to_string(entry.first_lsn) + "-" +
           std::to_string(entry.last_lsn) + "]";
  }
  for (const std::string& name : examination.dead) out += " dead " + name;
  for (const std::string& name : examination.leftover) out += " leftover " + name;
  return out;
}

Simulation::Simulation(const SimulationOptions& options)
    : options_(options), random_(options.seed), fs_(options.seed ^ 0x5eed) {
  configure();
}

void Simulation::say(const std::string& text) const {
  if (options_.verbose)
    std::printf("  step %llu: %s\n", static_cast<unsigned long long>(counters_.steps),
                text.c_str());
}

void Simulation::configure() {
  constexpr uint64_t segments[] = {128 << 10, 192 << 10, 256 << 10};
  constexpr uint32_t groups[] = {4 << 10, 32 << 10, 1 << 20};
  log::EngineOptions& engine = engine_options_;
  engine.segment_bytes = segments[random_.below(3)];
  engine.queue_bytes = 256 << 10;
  engine.max_record_bytes = 256 << 10;
  engine.max_group_bytes = groups[random_.below(3)];
  if (random_.chance(20)) engine.max_group_records = static_cast<uint32_t>(random_.between(1, 8));
  engine.pipeline_depth = static_cast<uint32_t>(random_.between(1, 4));
  if (random_.chance(30)) engine.max_delay_ns = random_.between(1, 3) * kMillisecond;
  engine.second_slot_bytes = random_.chance(50) ? 0 : 16 << 10;
  engine.prepare_ahead = static_cast<uint32_t>(random_.between(1, 2));
  engine.zero_piece_bytes = 16 << 10;
  engine.zero_ahead_bytes = 64 << 10;
  engine.bulk_bytes = random_.chance(50) ? 8 << 10 : 2 << 20;
  engine.bulk_sync_bytes = random_.chance(50) ? 16 << 10 : 64 << 10;
  engine.dsync = random_.chance(75);
  engine.zeroes = random_.chance(70);
  fs_.probe_result.direct = random_.chance(70);
  fs_.probe_result.dsync_trusted = engine.dsync;
  fs_.probe_result.copy_on_write = !engine.zeroes;
  names_ = random_.chance(50) ? Names::prefix : Names::subset;
  recycles_ = random_.chance(40);
  faults_ = random_.chance(40);
  tight_ = random_.chance(20);
  life_options_.directory = kDirectory;
  life_options_.probe = fs_.probe_result;
  life_options_.segment_bytes = engine.segment_bytes;
  ring_ = std::make_unique<log::AlignedBuffer>(ring_bytes(engine));
  seal_block_ = std::make_unique<log::AlignedBuffer>(engine.block_bytes);
  zeros_ = std::make_unique<log::AlignedBuffer>(engine.segment_bytes);
  std::memset(zeros_->data(), 0, zeros_->size());
}

std::string Simulation::path_of(uint64_t sequence) const {
  return std::string(kDirectory) + "/" + log::segment_name(sequence);
}

bool Simulation::run() {
  bool created = false;
  if (!io::make_directories(fs_, kDirectory, &created).ok())
    model_.fail("the directory cannot be made");
  while (good() && counters_.steps < options_.steps) {
    recover();
    if (good()) live();
    if (good()) end_life();
    if (good() && random_.chance(25)) damage_scenarios();
  }
  if (!fs_.violation().empty()) model_.fail(fs_.violation());
  return good();
}

// --- Recovery

void Simulation::clean_quarantine() {
  std::vector<std::string> names;
  const std::string directory = std::string(kDirectory) + "/" + log::kQuarantineName;
  if (!fs_.list(directory, &names).ok() || names.size() < kQuarantineFiles) return;
  for (const std::string& name : names) (void)fs_.unlink(directory + "/" + name);
  (void)fs_.sync_directory(directory);
}

void Simulation::recover() {
  engine_.reset();
  running_.clear();
  copies_.clear();
  pending_heads_.clear();
  recyclable_.clear();
  prepare_wanted_ = false;
  fs_.clear_faults();
  if (tight_ && random_.chance(50)) fs_.set_capacity(UINT64_MAX);
  clean_quarantine();
  model_.remember_sectors(fs_.disk());
  for (uint64_t attempt = 0; good(); attempt++) {
    const bool may_crash = attempt < kMostRecoveryCrashes && random_.chance(40);
    if (may_crash) fs_.crash_after(random_.below(40));
    const bool begun = try_recover();
    if (!fs_.crashed()) {
      fs_.no_crash();
      if (begun) break;
      fs_.set_capacity(UINT64_MAX);
      if (attempt > kMostRecoveryCrashes + 2) model_.fail("the log cannot be opened");
      continue;
    }
    counters_.recovery_crashes++;
    if (random_.chance(30))
      fs_.kill();
    else
      fs_.crash(names_);
  }
}

bool Simulation::examine_once(log::Examination* examination) {
  const Disk before = fs_.disk();
  Status status = log::examine(fs_, kDirectory, fs_.probe_result, policy(), examination);
  if (fs_.crashed()) return false;
  if (!status.ok()) {
    model_.fail("examination fails: " + status.path + ": " + status.detail);
    say("refused: " + describe_examination(*examination));
    for (const auto& [name, id] : fs_.disk().names) say("  " + name);
  }
  if (fs_.probe_result.direct && !fs_.disk().looks_like(before))
    model_.fail("the examination changed a file");
  return good();
}

bool Simulation::try_recover() {
  log::Examination examination;
  if (!examine_once(&examination)) return false;
  const uint64_t had = model_.last_lsn();
  say("examined: " + describe_examination(examination));
  model_.check_recovered(examination);
  if (!good()) return false;
  if (examination.report.verdict == log::Verdict::torn_tail) counters_.torn_tails++;
  counters_.cut_lsns += had - model_.last_lsn();
  model_.check_records(fs_, fs_.probe_result, examination, false);
  log::Examination again;
  if (!good() || !examine_once(&again)) return false;
  model_.check_recovered(again);
  const Head head{examination.state.first_lsn, examination.state.first_sequence};
  log::LifeStart start;
  format::SegmentHeader header;
  Status status = log::begin_life(fs_, life_options_, &examination, &start, &header);
  if (good()) model_.check_sectors(fs_.disk(), head);
  if (!good()) say(fs_.crashed() ? "in a crash" : "not in a crash");
  for (const auto& [name, id] : fs_.disk().names)
    if (!good()) say("  " + name);
  for (const std::string& event : examination.report.events) say(event);
  if (fs_.crashed() || !good()) return false;
  if (!status.ok()) {
    if (status.code != Code::no_space) model_.fail("no life can begin: " + status.path);
    return false;
  }
  const Disk now = fs_.disk();
  fs_.crash(names_);  // what was cut is kept even if the power fails at once
  model_.check_sectors(fs_.disk(), head);
  fs_.restore(now);
  if (start.last_lsn != model_.last_lsn())
    model_.fail("the life begins behind another LSN than was recovered");
  model_.begin_life(start.state.epoch.number, start.state.epoch.id);
  log_id_ = header.log_id;
  sealed_.clear();
  for (const log::SegmentEntry& entry : examination.segments) {
    sealed_.push_back({entry.header.sequence, entry.first_lsn});
  }
  engine_ = std::make_unique<log::Engine>(engine_options_, ring_->data(), seal_block_->data(),
                                          start, now_);
  counters_.lives++;
  return good();
}

// --- A life

void Simulation::live() {
  const uint64_t length = random_.chance(20) ? random_.between(1, 30) : random_.between(30, 2000);
  if (faults_ && random_.chance(40)) {
    constexpr uint32_t kinds[] = {kWrites, kSyncs, kReserves, kRenames, kDirectorySyncs, kUnlinks};
    constexpr int errors[] = {EIO, ENOSPC, EDQUOT};
    const uint64_t times = random_.chance(60) ? 1 : random_.between(2, 20);
    fs_.add({kinds[random_.below(6)], random_.below(random_.chance(50) ? 20 : 200), times,
             errors[random_.below(3)], ""});
  }
  if (tight_)
    fs_.set_capacity(fs_.disk().allocated_bytes() +
                     random_.below(5) * engine_options_.segment_bytes);
  if (random_.chance(30)) fs_.crash_after(random_.below(300));
  for (uint64_t i = 0; i < length && good() && !fs_.crashed() && !engine_->closed(); i++) step();
}

void Simulation::step() {
  counters_.steps++;
  now_ += random_.below(100'000);
  const uint64_t what = random_.below(100);
  if (what < 26)
    admit_one();
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
  const uint64_t given = engine_->admit_one(
      payload_.data(), size, crc32c::extend(0, payload_.data(), size), durability(), now_, &code);
  if (code != Code::ok) {
    if (given != 0 || engine_->last_lsn() != lsn - 1)
      model_.fail("a refused record was given an LSN");
    if (code == Code::no_space) counters_.refused_space++;
    return;
  }
  model_.admitted(given, {size});
  counters_.records++;
  if (random_.chance(70)) engine_->publish();
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
  copy.admission = engine_->admit(copy.records.data(), count, durability(), now_);
  if (copy.admission.code != Code::ok) {
    if (engine_->last_lsn() != lsn - 1) model_.fail("a refused batch was given an LSN");
    return;
  }
  model_.admitted(copy.admission.first_lsn, sizes);
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

void Simulation::start_op() {
  RunningOp running;
  if (engine_->next_stamp(&running.op)) {
    running_.push_back(running);
    return;
  }
  if (!engine_->next_op(now_, fs_.wall_micros(), &running.op)) return;
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
    if (op.kind == OpKind::write && group.count > 0) {
      if (group.first_lsn != model_.submitted_lsn() + 1)
        model_.fail("groups are not submitted in LSN order");
      for (int i = 0; i < op.part_count; i++) {
        model_.submitted(op.parts[i], op.sizes[i], group.first_lsn + group.count - 1);
      }
    }
    running.ticket = fs_.begin_write(path, op.offset, parts, op.part_count, op.mode);
  }
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
    } else {
      (void)fs_.unlink(path);
    }
    sealed_.erase(sealed_.begin());
  }
}

void Simulation::note_progress() {
  if (fs_.crashed()) return;
  if (engine_->poisoned()) {
    model_.not_written_from(engine_->first_not_written_lsn());
    if (engine_->durable_lsn() != model_.acknowledged_lsn())
      model_.fail("acknowledged after a failure");
    return;
  }
  const uint64_t before = model_.acknowledged_lsn();
  model_.acknowledged(engine_->durable_lsn());
  counters_.acknowledged += engine_->durable_lsn() - before;
  while (!pending_heads_.empty() && engine_->durable_groups() > pending_heads_.front().group) {
    model_.head_durable(pending_heads_.front().head);
    pending_heads_.erase(pending_heads_.begin());
  }
  for (const log::Engine::Sealed& sealed : engine_->take_sealed()) {
    sealed_.push_back({sealed.sequence, sealed.first_lsn});
  }
  if (!fs_.violation().empty()) model_.fail(fs_.violation());
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

void Simulation::finish_close() {
  engine_->begin_close(now_);
  model_.closing();
  quiesce();
  if (fs_.crashed() || engine_->poisoned() || !good()) return;
  if (!engine_->closed()) return model_.fail("the close does not end");
  if (engine_->durable_lsn() != model_.last_lsn())
    model_.fail("closed, but not all records are durable");
  model_.closed();
  counters_.closes++;
  for (const log::SegmentPlace& place : engine_->take_prepared()) {
    if (random_.chance(80)) (void)fs_.unlink(path_of(place.sequence));
  }
}

void Simulation::after_poisoning() {
  counters_.poisonings++;
  fs_.clear_faults();
  for (int i = 0; i < 20 && good(); i++) {
    log::Op op;
    log::Chore next;
    if (engine_->next_op(now_, 0, &op)) model_.fail("something is submitted after a failure");
    if (engine_->next_chore(now_, &next)) model_.fail("a chore is given out after a failure");
    Code code = Code::ok;
    if (engine_->admit_one(nullptr, 0, 0, log::Durability::group, now_, &code) != 0 ||
        code != Code::poisoned) {
      model_.fail("a record is admitted after a failure");
    }
    finish_op();
    engine_->tick(now_ += kMillisecond);
    note_progress();
  }
}

void Simulation::end_life() {
  counters_.rotations += engine_->counters().rotations;
  if (!fs_.crashed() && engine_->poisoned())
    after_poisoning();
  else if (!fs_.crashed() && random_.chance(15))
    finish_close();
  if (!good()) return;
  if (random_.chance(25)) {
    say("kill");
    fs_.kill();
    counters_.kills++;
  } else {
    say("crash");
    fs_.crash(names_);
    counters_.crashes++;
  }
  fs_.no_crash();
}

std::string Simulation::describe() const {
  char text[400];
  const SimulationCounters& c = counters_;
  const auto n = [](uint64_t value) { return static_cast<unsigned long long>(value); };
  std::snprintf(text, sizeof text,
                "%llu steps, %llu lives, %llu crashes (+%llu in recovery), %llu kills, %llu "
                "closes, %llu failures, "
                "%llu damages, %llu records, %llu acknowledged, %llu torn tails, %llu LSNs cut, "
                "%llu rotations",
                n(c.steps), n(c.lives), n(c.crashes), n(c.recovery_crashes), n(c.kills),
                n(c.closes), n(c.poisonings), n(c.damages), n(c.records), n(c.acknowledged),
                n(c.torn_tails), n(c.cut_lsns), n(c.rotations));
  return text;
}

}  // namespace stonelog::sim
