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

std::string describe_status(const Status& status) {
  const std::string call =
      status.syscall != nullptr
          ? std::string(status.syscall) + " fails with " + std::strerror(status.error)
          : status.detail;
  return "code " + std::to_string(static_cast<int>(status.code)) + ", " + status.path + " at " +
         std::to_string(status.offset) + ": " + call;
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
  fs_.probe_result.direct = random_.chance(60);
  fs_.probe_result.dsync_trusted = engine.dsync;
  fs_.probe_result.copy_on_write = !engine.zeroes;
  configure_device();
  names_ = random_.chance(50) ? Names::prefix : Names::subset;
  recycles_ = random_.chance(40);
  faults_ = random_.chance(50);
  tight_ = random_.chance(20);
  life_options_.directory = kDirectory;
  life_options_.probe = fs_.probe_result;
  life_options_.segment_bytes = engine.segment_bytes;
  ring_ = std::make_unique<log::AlignedBuffer>(ring_bytes(engine));
  seal_block_ = std::make_unique<log::AlignedBuffer>(engine.block_bytes);
  zeros_ = std::make_unique<log::AlignedBuffer>(engine.segment_bytes);
  std::memset(zeros_->data(), 0, zeros_->size());
}

// Sectors of 512 bytes, 4Kn, and a device that needs blocks of 16 KiB.
void Simulation::configure_device() {
  constexpr uint64_t sectors[] = {512, 512, 4096};
  uint64_t sector = sectors[random_.below(3)];
  if (random_.chance(10)) {
    fs_.probe_result.block_size = engine_options_.block_bytes = 16 << 10;
    engine_options_.segment_bytes *= 2;
    if (random_.chance(50)) sector = 16 << 10;
    coverage_.add("block size 16384");
  }
  fs_.set_sector(sector);
  coverage_.add("tear unit " + std::to_string(sector));
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
  unacknowledged_.clear();
  wishes_.clear();
  space_was_refused_ = false;
  prepare_wanted_ = false;
  fs_.clear_faults();
  if (tight_ && random_.chance(50)) fs_.set_capacity(UINT64_MAX);
  clean_quarantine();
  model_.remember_sectors(fs_.disk());
  for (uint64_t attempt = 0; good(); attempt++) {
    const bool may_crash = attempt < kMostRecoveryCrashes && random_.chance(attempt == 0 ? 40 : 60);
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
    if (attempt + 1 == kMostRecoveryCrashes) coverage_.add("five crashes in a row");
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
    model_.fail("examination fails: " + describe_status(status));
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
  fs_.unguard_below(head.first_sequence);
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
  // A failed device is mostly met by a process that ends, while the machine and its cache live on.
  const uint64_t kills = !fs_.crashed() && engine_->poisoned() ? 60 : 25;
  if (random_.chance(kills)) {
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

Coverage Simulation::coverage() const {
  Coverage out = coverage_;
  const SimulationCounters& c = counters_;
  const DiskCounters& d = fs_.counters();
  constexpr const char* kinds[] = {"read",   "write",          "sync", "allocate", "rename",
                                   "unlink", "directory sync", "open", "list"};
  for (size_t i = 0; i < 9; i++) out.add(std::string("faults: ") + kinds[i], d.faults[i]);
  const std::pair<const char*, uint64_t> counts[] = {
      {"steps", c.steps},
      {"lives", c.lives},
      {"crashes", c.crashes},
      {"crashes in recovery", c.recovery_crashes},
      {"kills", c.kills},
      {"closes", c.closes},
      {"poisonings", c.poisonings},
      {"records admitted", c.records},
      {"records acknowledged", c.acknowledged},
      {"records verified", model_.verified()},
      {"groups proven durable when acknowledged", proven_groups_},
      {"groups in flight, three or more", deep_pipelines_},
      {"torn tails", c.torn_tails},
      {"LSNs cut", c.cut_lsns},
      {"rotations", c.rotations},
      {"refused: no space", c.refused_space},
      {"refused: backpressure", c.refused_queue},
      {"writes kept", d.writes_kept},
      {"writes lost", d.writes_lost},
      {"writes torn", d.writes_torn},
      {"names kept", d.names_kept},
      {"names lost", d.names_lost},
      {"dropped by a failed sync", d.dropped_by_sync},
      {"shown by the page cache, not on the device", d.lying_pages},
      {"such lies evicted", d.evicted_lies},
      {"calls that failed and were done", d.failed_yet_done},
      {"short writes", d.short_writes},
  };
  for (const auto& [what, count] : counts) out.add(what, count);
  return out;
}

}  // namespace stonelog::sim
