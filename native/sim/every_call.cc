#include "sim/every_call.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "format/group.h"
#include "sim/model.h"
#include "sim/sim_log.h"
#include "sim/simulation.h"

namespace stonelog::sim {

namespace {

struct Kind {
  const char* name;
  uint32_t operations;
  int error;
  Effect effect;
};

constexpr Kind kKinds[] = {
    {"write-eio", kWrites, EIO, Effect::nothing},
    {"write-eio-torn", kWrites, EIO, Effect::chance},
    {"write-eio-done", kWrites, EIO, Effect::whole},
    {"write-short", kWrites, 0, Effect::prefix},
    {"write-enospc", kWrites, ENOSPC, Effect::prefix},
    {"write-edquot", kWrites, EDQUOT, Effect::nothing},
    {"write-efbig", kWrites, EFBIG, Effect::nothing},
    {"sync-eio-dropped", kSyncs, EIO, Effect::nothing},
    {"sync-eio-partly", kSyncs, EIO, Effect::chance},
    {"sync-eio-done", kSyncs, EIO, Effect::whole},
    {"sync-enospc", kSyncs, ENOSPC, Effect::nothing},
    {"allocate-enospc", kReserves, ENOSPC, Effect::nothing},
    {"allocate-edquot", kReserves, EDQUOT, Effect::nothing},
    {"allocate-eio", kReserves, EIO, Effect::nothing},
    {"open-eio", kOpens, EIO, Effect::nothing},
    {"open-emfile", kOpens, EMFILE, Effect::nothing},
    {"open-enospc", kOpens, ENOSPC, Effect::nothing},
    {"rename-eio", kRenames, EIO, Effect::nothing},
    {"rename-eio-done", kRenames, EIO, Effect::whole},
    {"rename-enospc", kRenames, ENOSPC, Effect::nothing},
    {"unlink-eio", kUnlinks, EIO, Effect::nothing},
    {"unlink-eio-done", kUnlinks, EIO, Effect::whole},
    {"directory-sync-eio", kDirectorySyncs, EIO, Effect::nothing},
    {"directory-sync-eio-done", kDirectorySyncs, EIO, Effect::whole},
    {"list-eio", kLists, EIO, Effect::nothing},
    {"read-eio", kReads, EIO, Effect::nothing},
};

// How the life with the fault ends: the process dies, or the power fails.
enum class Ending : uint8_t { kill, power_cut };

struct Device {
  const char* name;
  bool direct;
  bool dsync;
};
constexpr Device kDevices[] = {{"direct", true, true}, {"buffered", false, false}};

class Run {
 public:
  Run(const Kind& kind, const Device& device, bool persists, Ending ending, uint64_t n)
      : kind_(kind), persists_(persists), ending_(ending), n_(n), log_(n * 977 + 13) {
    io::Probe probe = log_.fs.probe_result;
    probe.direct = device.direct;
    probe.dsync_trusted = device.dsync;
    log_.use_device(probe);
    log_.options.zero_piece_bytes = 32 << 10;
    log_.options.zero_ahead_bytes = 64 << 10;
    log_.options.prepare_ahead = 1;
    log_.options.bulk_bytes = 32 << 10;  // so that the large records make a bulk load
    log_.options.bulk_sync_bytes = 64 << 10;
    log_.all_chores = true;
    log_.on_write = [this](const log::Op& op) { submitted(op); };
    log_.on_completion = [this] { note(); };
  }

  // False: the script ended before the n-th such call.
  bool play() {
    log_.fs.add(
        {kind_.operations, n_ - 1, persists_ ? UINT64_MAX : 1, kind_.error, "", kind_.effect});
    script();
    const bool fired = log_.fs.faults_fired() > 0;
    log_.fs.clear_faults();
    if (model_.finding().empty()) aftermath();
    if (!log_.fs.violation().empty()) model_.fail(log_.fs.violation());
    return fired;
  }

  const std::string& finding() const { return model_.finding(); }
  Coverage coverage;

 private:
  bool good() const { return model_.finding().empty(); }
  bool hit() const { return log_.fs.faults_fired() > 0; }

  void submitted(const log::Op& op) {
    if (log_.options.dsync && op.mode == io::WriteMode::plain)
      coverage.add("groups written plainly");
    format::GroupHeader group;
    if (!format::decode_group_header(op.parts[0], log_.options.block_bytes, &group))
      return model_.fail("a group is submitted whose header cannot be decoded");
    for (int i = 0; group.count > 0 && i < op.part_count; i++)
      model_.submitted(op.parts[i], op.sizes[i], group.first_lsn + group.count - 1);
  }

  void note() {
    if (log_.engine->poisoned()) {
      model_.not_written_from(log_.engine->first_not_written_lsn());
      if (log_.engine->durable_lsn() != model_.acknowledged_lsn())
        model_.fail("acknowledged after a failure");
      return;
    }
    model_.acknowledged(log_.engine->durable_lsn());
  }

  // An open that meets the fault says so by its own code, and has changed nothing that matters: the
  // next one finds the log as it was.
  bool open() {
    for (int attempt = 0; attempt < 3 && good(); attempt++) {
      Status status = log_.examine();
      if (status.ok()) {
        model_.check_recovered(log_.examination());
        if (good()) check_records();
        if (good()) status = log_.begin_life();
      }
      if (!good()) return false;
      if (status.ok()) {
        const format::Epoch& epoch = log_.engine->state().epoch;
        model_.begin_life(epoch.number, epoch.id);
        return true;
      }
      coverage.add("opens refused");
      if (status.code != Code::io && status.code != Code::no_space)
        model_.fail("an open meets a failing call and says " + describe_status(status));
      if (!hit()) model_.fail("an open fails without a fault: " + describe_status(status));
    }
    return false;
  }

  // Reading them may meet the fault, which is not what is tested here.
  void check_records() {
    const uint64_t fired = log_.fs.faults_fired();
    if (hit() && persists_ && (kind_.operations & (kReads | kOpens)) != 0) return;
    Model before = model_;
    model_.check_records(log_.fs, log_.fs.probe_result, log_.examination(), false);
    if (log_.fs.faults_fired() > fired) model_ = before;
  }

  // Appends, and where there is no room tries again later, as a caller does: what failed to be
  // prepared once is prepared then. False: it was refused for good.
  bool append(size_t count, size_t size, log::Durability durability) {
    for (int attempt = 0; attempt < 6; attempt++) {
      if (log_.engine->poisoned() || log_.engine->closed()) return false;
      const uint64_t lsn = log_.engine->last_lsn() + 1;
      std::vector<std::string> batch(count, std::string(size, '\0'));
      for (size_t i = 0; i < count; i++)
        fill_payload(model_.life(), lsn + i, reinterpret_cast<uint8_t*>(batch[i].data()), size);
      const uint64_t given =
          count == 1 ? log_.append(batch[0], durability) : log_.append_batch(batch);
      if (given != 0) {
        model_.admitted(given, std::vector<uint32_t>(count, static_cast<uint32_t>(size)));
        coverage.add("records admitted", count);
        if (attempt > 0) coverage.add("resumed after a refusal");
        return true;
      }
      coverage.add("appends refused");
      log_.now_ns += log_.options.prepare_retry_ns;
      log_.run();
    }
    if (!persists_ && !log_.engine->poisoned())
      model_.fail("a fault has passed, but appends are refused for ever");
    return false;
  }

  void run() {
    if (log_.engine->poisoned()) return;
    log_.run();
    note();
  }

  // One life: single records, batches, every durability, rotations, a moved head, a quiet moment.
  void life(bool close) {
    for (int i = 0; i < 4; i++, run()) append(1, 10 + 300 * i, log::Durability::group);
    append(5, 900, log::Durability::group);
    append(1, 20, log::Durability::none);
    append(1, 0, log::Durability::interval);
    run();
    for (int i = 0; i < 5; i++) append(1, 30'000, log::Durability::group);
    run();
    append(1, 100, log::Durability::each);
    if (!log_.engine->poisoned()) log_.rotate();
    append(3, 2000, log::Durability::group);
    run();
    if (!log_.engine->poisoned()) move_head();
    append(1, 7, log::Durability::interval);
    if (!log_.engine->poisoned()) log_.wait_idle();
    run();
    if (!close || log_.engine->poisoned()) return;
    model_.closing();
    if (log_.close()) model_.closed();
    note();
  }

  void move_head() {
    const log::Engine::Live oldest = log_.engine->live().front();
    const Head head{oldest.first_lsn, oldest.sequence};
    if (head == model_.head()) return;
    model_.head_requested(head);
    log_.release();
    if (log_.fs.disk().find(log_.path(head.first_sequence - 1)) == nullptr)
      model_.head_durable(head);
  }

  void end_life() {
    if (log_.engine != nullptr && log_.engine->poisoned()) {
      coverage.add("poisoned");
      log::Op op;
      if (log_.engine->next_op(log_.now_ns, 0, &op))
        model_.fail("something is submitted after a failure");
    }
    log_.engine.reset();
    if (ending_ == Ending::kill)
      log_.fs.kill();
    else
      log_.fs.crash(n_ % 2 == 0 ? Names::subset : Names::prefix);
  }

  void script() {
    for (int i = 0; i < 3 && good(); i++) {
      if (open()) life(i == 1);
      end_life();
      if (hit() && log_.fs.faults_fired() > 0 && !persists_ && i == 1) break;
    }
  }

  // The device works again: the log opens, everything acknowledged is there, and it goes on.
  void aftermath() {
    if (!open()) return model_.fail("the log does not open any more");
    const uint64_t before = model_.acknowledged_lsn();
    if (!append(2, 500, log::Durability::group)) model_.fail("nothing can be appended any more");
    run();
    if (model_.acknowledged_lsn() != before + 2)
      model_.fail("what is appended is not acknowledged any more");
    model_.closing();
    if (!log_.close()) return model_.fail("the log does not close any more");
    model_.closed();
    note();
    log_.power_cut();
    if (log_.examine().ok())
      model_.check_recovered(log_.examination());
    else
      model_.fail("the closed log is refused");
    if (good()) check_records();
    coverage.add("records verified", model_.verified());
  }

  const Kind& kind_;
  const bool persists_;
  const Ending ending_;
  const uint64_t n_;
  SimLog log_;
  Model model_;
};

std::string name_of(const Kind& kind, const Device& device, bool persists, Ending ending,
                    uint64_t n) {
  return std::string(kind.name) + "/" + device.name + (persists ? "/persistent" : "/once") +
         (ending == Ending::kill ? "/kill/" : "/power-cut/") + std::to_string(n);
}

// The calls of one kind, from the first to the last of the script.
void sweep(const Kind& kind, const Device& device, bool persists, Ending ending, uint64_t first,
           const EveryCallOptions& options, EveryCallResult* result) {
  constexpr uint64_t kMost = 100'000;
  for (uint64_t n = first; n < kMost; n += options.stride) {
    const std::string name = name_of(kind, device, persists, ending, n);
    if (!options.only.empty()) {
      const size_t slash = name.rfind('/');
      if (options.only.compare(0, slash + 1, name, 0, slash + 1) != 0) return;
      n = std::stoull(options.only.substr(slash + 1));
    }
    Run run(kind, device, persists, ending, n);
    const bool fired = run.play();
    if (options.verbose) std::printf("  %s%s\n", name.c_str(), fired ? "" : ": past the end");
    result->runs++;
    result->coverage.add(run.coverage);
    if (fired) result->coverage.add(std::string("every call: ") + kind.name);
    if (!run.finding().empty()) {
      result->failed++;
      const std::string which = name_of(kind, device, persists, ending, n);
      result->findings += "FAILED " + which + ": " + run.finding() +
                          "\n  replay: npm run sim -- --every-call --only " + which + "\n";
    }
    if (!fired || !options.only.empty()) return;
  }
}

}  // namespace

EveryCallResult fail_every_call(const EveryCallOptions& options) {
  EveryCallResult result;
  uint64_t row = 0;
  for (const Kind& kind : kKinds) {
    for (const Device& device : kDevices) {
      for (const bool persists : {false, true}) {
        for (const Ending ending : {Ending::kill, Ending::power_cut}) {
          sweep(kind, device, persists, ending, 1 + row++ % options.stride, options, &result);
        }
      }
    }
  }
  return result;
}

}  // namespace stonelog::sim
