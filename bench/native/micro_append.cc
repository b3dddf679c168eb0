// The append path: the engine alone, an open log with one and with several threads, and reading
// back what they wrote.
#include <benchmark/benchmark.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "crc32c/crc32c.h"
#include "driver/reader.h"
#include "driver/registry.h"
#include "io/posix_file_system.h"
#include "log/engine.h"
#include "log/group_reader.h"

namespace {

using namespace stonelog;

constexpr int kBurst = 64;
constexpr int kBursts = 4000;

// An engine whose writes are completed at once: what a record costs without a device.
class LoneEngine {
 public:
  LoneEngine() { renew(); }

  void renew() {
    engine_ = std::make_unique<log::Engine>(options_, ring_.data(), seal_.data(), start_, 1);
  }
  log::Engine& engine() { return *engine_; }

  void commit() {
    engine_->publish(1);
    log::Op op;
    while (engine_->next_op(1, 0, &op)) {
      if (op.kind != log::OpKind::sync) log::Engine::stamp(op);
      engine_->completed(op, {}, 1);
    }
  }

 private:
  static log::EngineOptions large_options() {
    log::EngineOptions options;
    options.segment_bytes = uint64_t{1} << 30;
    options.zeroes = false;
    return options;
  }

  static log::LifeStart beginning(const log::EngineOptions& options) {
    log::LifeStart start;
    start.segment.sequence = 1;
    start.segment.id = {1, 1, 2, 3};
    start.segment.file_bytes =
        format::segment_file_bytes(options.segment_bytes, options.block_bytes);
    start.segment.written_end = start.segment.file_bytes;
    start.state.epoch.number = 1;
    start.end = uint64_t{3} * options.block_bytes;
    return start;
  }

  const log::EngineOptions options_ = large_options();
  const log::LifeStart start_ = beginning(options_);
  log::AlignedBuffer ring_{log::ring_bytes(options_)};
  log::AlignedBuffer seal_{options_.block_bytes};
  std::unique_ptr<log::Engine> engine_;
};

// A burst of single appends.
void engine_burst(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  LoneEngine lone;
  const std::vector<uint8_t> data(size, 0x5A);
  for (auto _ : state) {
    Code code = Code::ok;
    for (int i = 0; i < kBurst; i++) {
      const uint32_t sum = crc32c::extend(0, data.data(), size);
      if (lone.engine().admit_one(data.data(), size, sum, log::Durability::group, 1, &code) != 0)
        continue;
      state.PauseTiming();  // the segment is full
      lone.renew();
      state.ResumeTiming();
    }
    lone.commit();
  }
  state.SetItemsProcessed(state.iterations() * kBurst);
}
BENCHMARK(engine_burst)->Arg(16)->Arg(100)->Arg(1024)->Arg(4096);

// A burst that JavaScript staged.
void engine_run(benchmark::State& state) {
  const auto size = static_cast<uint32_t>(state.range(0));
  LoneEngine lone;
  const std::vector<uint8_t> data(size_t{kBurst} * size, 0x5A);
  const std::vector<uint32_t> sizes(kBurst, size);
  for (auto _ : state) {
    Code code = Code::ok;
    lone.engine().admit_run(data.data(), sizes.data(), kBurst, log::Durability::group, 1, &code);
    lone.commit();
    if (code == Code::ok) continue;
    state.PauseTiming();  // the segment is full
    lone.renew();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * kBurst);
}
BENCHMARK(engine_run)->Arg(16)->Arg(100)->Arg(1024);

struct Silent : driver::Listener {
  driver::Bell* progress() override { return nullptr; }
  driver::Bell* answer(uint64_t, const Status&, uint64_t) override { return nullptr; }
};

// A log in a directory of its own below $STONELOG_MICRO_DIR, gone when the benchmark is.
class TemporaryLog {
 public:
  TemporaryLog() {
    const char* parent = getenv("STONELOG_MICRO_DIR");
    directory_ = std::string(parent != nullptr ? parent : "build") + "/micro-XXXXXX";
    if (mkdtemp(directory_.data()) == nullptr) abort();
    driver::OpenOptions options;
    options.directory = directory_;
    options.min_free_bytes = 0;
    log::RecoveryReport report;
    if (!driver::open_shared(io::posix_file_system(), options, &log, &report).ok()) abort();
  }
  ~TemporaryLog() {
    (void)driver::close_shared(log);
    if (system(("rm -rf '" + directory_ + "'").c_str()) != 0) abort();
  }
  driver::Log* log = nullptr;

 private:
  std::string directory_;
};

std::unique_ptr<TemporaryLog> shared;

// How long single calls took, nanoseconds, as counters: with several threads that is waiting for
// the lock, and for a processor where there are fewer of them.
void report(benchmark::State& state, std::vector<uint64_t>* calls) {
  if (calls->empty()) return;
  std::sort(calls->begin(), calls->end());
  const auto add = [&](const char* name, size_t per_mille) {
    const size_t index = std::min(calls->size() - 1, calls->size() * per_mille / 1000);
    state.counters[name] =
        benchmark::Counter(static_cast<double>((*calls)[index]), benchmark::Counter::kAvgThreads);
  };
  add("p50_ns", 500);
  add("p99_ns", 990);
  add("p99.9_ns", 999);
}

// Bursts of a thread; where the log has no room, the wait for it is not counted.
void append_bursts(benchmark::State& state) {
  if (state.thread_index() == 0) shared = std::make_unique<TemporaryLog>();
  Silent listener;
  driver::Log::Session session;
  session.listener = &listener;
  bool attached = false;
  const std::vector<uint8_t> data(100, 0x5A);
  std::vector<uint64_t> calls;
  for (auto _ : state) {
    // Only past the barrier of the first iteration is the log there for every thread.
    if (!attached) shared->log->attach(&session);
    attached = true;
    for (int i = 0; i < kBurst; i++) {
      Code code = Code::ok;
      const uint64_t began = driver::now_ns();
      bool first = true;
      while (shared->log->append(&session, data.data(), data.size(), log::Durability::group,
                                 &code) == 0) {
        first = false;
        state.PauseTiming();
        shared->log->kick(&session);
        usleep(200);
        state.ResumeTiming();
      }
      if (first) calls.push_back(driver::now_ns() - began);
    }
    shared->log->kick(&session);
  }
  if (attached) shared->log->detach(&session);
  report(state, &calls);
  state.SetItemsProcessed(state.iterations() * kBurst);
}
// Threads leave through a barrier, so the log of one run is closed by the next or at the end.
BENCHMARK(append_bursts)->Iterations(kBursts)->Threads(1)->Threads(2)->Threads(4)->UseRealTime();

// Everything that was appended, read back and verified.
void scan(benchmark::State& state) {
  TemporaryLog own;
  Silent listener;
  driver::Log::Session session;
  session.listener = &listener;
  own.log->attach(&session);
  const auto size = static_cast<size_t>(state.range(0));
  const std::vector<uint8_t> data(size, 0x5A);
  const auto count = static_cast<uint64_t>((32 << 20) / size);
  for (uint64_t i = 0; i < count;) {
    Code code = Code::ok;
    if (own.log->append(&session, data.data(), size, log::Durability::group, &code) != 0) {
      i++;
    } else {
      own.log->kick();
      usleep(200);
    }
  }
  if (!own.log->flush_and_wait().ok()) abort();
  for (auto _ : state) {
    driver::Reader reader(own.log, 1, UINT64_MAX);
    driver::RecordBatch batch;
    uint64_t seen = 0;
    for (;;) {
      if (!reader.next(&batch).ok()) abort();
      if (batch.empty()) break;
      seen += batch.offsets.size();
    }
    if (seen != count) state.SkipWithError("records are missing");
  }
  own.log->detach(&session);
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(count));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(count * size));
}
BENCHMARK(scan)->Arg(100)->Arg(4096)->Arg(64 << 10)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace

void close_micro_log() { shared.reset(); }
