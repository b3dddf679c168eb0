#include "states/workload.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <thread>

#include "driver/reader.h"
#include "driver/registry.h"

namespace stonelog::states {

namespace {

using log::Durability;

class Observer final : public driver::Listener {
 public:
  driver::Bell* progress() override { return wake(); }
  driver::Bell* answer(uint64_t, const Status&, uint64_t) override { return wake(); }
  // Looks again soon in any case: a bell that rings before anybody waits is not kept.
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, std::chrono::microseconds(300));
  }

 private:
  driver::Bell* wake() {
    changed_.notify_all();
    return nullptr;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
};

class Run {
 public:
  Run(const Workload& workload, const Image& start, const io::Probe& probe)
      : workload_(workload),
        fs_(start, probe, workload.seed, workload.most_delay_us),
        random_(workload.seed * 31 + 7) {}

  void carry(const Found& found, const Expectation& before);
  void life(uint32_t number);
  uint64_t deaths() const { return deaths_; }
  Recording recording() const { return fs_.recording(); }
  std::string finding() {
    const std::lock_guard<std::mutex> guard(mutex_);
    return finding_;
  }

 private:
  void lane_thread(uint32_t life, uint32_t thread);
  void release_thread();
  void read_thread();
  uint64_t append_one(driver::Log::Session* session, sim::Random* random, const std::string& name);
  uint64_t append_some(driver::Log::Session* session, sim::Random* random, const std::string& name);
  bool dead() {
    Status failure;
    uint64_t ignored = 0;
    return log_->poisoned(&failure, &ignored, &ignored);
  }
  void fail(const std::string& text) {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (finding_.empty()) finding_ = text;
  }
  void note(uint64_t lsn, const std::string& payload) {
    fs_.mark(Mark::admitted, lsn,
             hash_of(reinterpret_cast<const uint8_t*>(payload.data()), payload.size()));
  }

  const Workload workload_;
  RecordingFileSystem fs_;
  sim::Random random_;
  driver::Log* log_ = nullptr;
  std::atomic<bool> over_{false};
  std::atomic<uint32_t> appended_{0};
  uint64_t deaths_ = 0;
  std::mutex mutex_;
  std::string finding_;
};

// What the state that the run starts from holds, for the ledger of this recording.
void Run::carry(const Found& found, const Expectation& before) {
  if (found.empty) return;
  for (uint64_t lsn = found.first_lsn; lsn <= found.last_lsn; lsn++) {
    const Appended* appended = before.find(lsn);
    if (appended == nullptr) continue;
    fs_.mark(Mark::admitted, lsn, appended->hash);
    if (appended->batch_last != 0) fs_.mark(Mark::batch, lsn, lsn + 1);
  }
  fs_.mark(Mark::head_asked, 0, found.first_lsn);
  fs_.mark(Mark::opened, found.first_lsn, found.last_lsn);
}

std::string payload_of(sim::Random* random, const std::string& name) {
  const uint64_t size = random->chance(90)   ? random->between(0, 700)
                        : random->chance(80) ? random->between(700, 9'000)
                                             : random->between(17'000, 40'000);
  std::string payload = name + " ";
  payload.resize(std::max<size_t>(payload.size(), size), static_cast<char>('a' + size % 26));
  return payload;
}

uint64_t Run::append_one(driver::Log::Session* session, sim::Random* random,
                         const std::string& name) {
  const std::string payload = payload_of(random, name);
  const auto* data = reinterpret_cast<const uint8_t*>(payload.data());
  const Durability durability = random->chance(85)   ? Durability::group
                                : random->chance(50) ? Durability::each
                                : random->chance(50) ? Durability::interval
                                                     : Durability::none;
  Code code = Code::ok;
  uint64_t lsn = 0;
  if (random->chance(3)) {
    lsn = log_->append_sync(session, data, payload.size(), &code);
    if (lsn != 0) note(lsn, payload);
    if (code == Code::ok && lsn != 0) fs_.mark(Mark::acknowledged, 0, lsn);
    return lsn;
  }
  lsn = log_->append(session, data, payload.size(), durability, &code);
  if (lsn != 0) note(lsn, payload);
  return lsn;
}

uint64_t Run::append_some(driver::Log::Session* session, sim::Random* random,
                          const std::string& name) {
  std::vector<std::string> payloads(random->between(2, 6));
  std::vector<log::RecordInput> records(payloads.size());
  for (size_t i = 0; i < payloads.size(); i++) {
    payloads[i] = payload_of(random, name + " part " + std::to_string(i)).substr(0, 6'000);
    records[i].data = reinterpret_cast<const uint8_t*>(payloads[i].data());
    records[i].size = payloads[i].size();
    format::sum_payload(records[i].data, records[i].size, &records[i].sum);
  }
  Code code = Code::ok;
  const uint64_t first =
      log_->append_batch(session, records.data(), records.size(), Durability::group, &code);
  if (first == 0) return 0;
  for (size_t i = 0; i < payloads.size(); i++) note(first + i, payloads[i]);
  const uint64_t last = first + payloads.size() - 1;
  fs_.mark(Mark::batch, first, last);
  return last;
}

// Keeps its share of the lanes busy: each waits for its record before it appends the next one.
void Run::lane_thread(uint32_t life, uint32_t thread) {
  sim::Random random(workload_.seed * 1'000'003 + life * 101 + thread);
  Observer observer;
  driver::Log::Session session;
  session.listener = &observer;
  log_->attach(&session);
  const size_t lanes = std::max<uint32_t>(1, workload_.lanes / workload_.threads);
  std::deque<uint64_t> waiting;
  uint32_t count = 0;
  while (!over_ && !dead()) {
    bool refused = false;
    while (waiting.size() < lanes && !refused && !over_) {
      const std::string name = "run " + std::to_string(workload_.run) + " life " +
                               std::to_string(life) + " thread " + std::to_string(thread) + " no " +
                               std::to_string(++count);
      const uint64_t lsn = random.chance(6) ? append_some(&session, &random, name)
                                            : append_one(&session, &random, name);
      refused = lsn == 0;
      if (refused) continue;
      waiting.push_back(lsn);
      if (++appended_ >= workload_.records) over_ = true;
    }
    log_->kick();
    if (random.chance(5)) log_->flush(&session, count, 0);
    observer.wait();
    const uint64_t durable = log_->durable_lsn();
    const size_t before = waiting.size();
    while (!waiting.empty() && waiting.front() <= durable) waiting.pop_front();
    if (waiting.size() < before) fs_.mark(Mark::acknowledged, 0, durable);
  }
  log_->detach(&session);
}

void Run::release_thread() {
  while (!over_ && !dead()) {
    usleep(6'000);
    const uint64_t durable = log_->durable_lsn();
    const uint64_t first = log_->first_lsn();
    if (durable < first + 120) continue;
    uint64_t reported = 0;
    fs_.mark(Mark::head_asked, 0, durable - 100);
    if (log_->truncate_before(durable - 100, &reported).ok())
      fs_.mark(Mark::head_done, 0, reported);
  }
}

// What a reader was given is not taken back by any crash.
void Run::read_thread() {
  while (!over_ && !dead()) {
    driver::Reader reader(log_, log_->first_lsn(), UINT64_MAX);
    driver::RecordBatch batch;
    for (;;) {
      const Status status = reader.next(&batch);
      if (status.code == Code::corrupt)
        fail("a reader beside the writer: " + status.path + ": " + status.detail);
      if (!status.ok() || batch.empty()) break;
      const driver::RecordBatch::Run& run = batch.runs.back();
      fs_.mark(Mark::shown, 0, run.first_lsn + batch.offsets.size() - 1 - run.index);
    }
    usleep(2'000);
  }
}

void Run::life(uint32_t number) {
  driver::OpenOptions options = options_of(workload_);
  log::RecoveryReport report;
  const Status status = driver::open_shared(fs_, options, &log_, &report);
  if (!status.ok()) return fail("open: " + status.path + ": " + status.detail);
  fs_.mark(Mark::opened, report.first_lsn, report.last_lsn);
  over_ = false;
  appended_ = 0;
  const bool dies = random_.chance(60);
  std::vector<std::thread> threads;
  for (uint32_t thread = 0; thread < workload_.threads; thread++)
    threads.emplace_back([this, number, thread] { lane_thread(number, thread); });
  threads.emplace_back([this] { release_thread(); });
  threads.emplace_back([this] { read_thread(); });
  if (dies) {
    const uint32_t at = static_cast<uint32_t>(random_.below(workload_.records));
    while (appended_ < at && !over_) usleep(200);
    fs_.kill();
    deaths_++;
    over_ = true;
  }
  for (std::thread& thread : threads) thread.join();
  if (!dies) fs_.mark(Mark::closing);
  const uint64_t last = log_->last_lsn();
  const Status closed = driver::close_shared(log_);
  if (closed.ok() && !dies) fs_.mark(Mark::closed, 0, last);
  if (!closed.ok() && !dies) fail("close: " + closed.path + ": " + closed.detail);
  fs_.revive();
}

}  // namespace

Workload workload_of(uint64_t seed, uint64_t run) {
  sim::Random random(seed * 977 + run);
  Workload workload;
  workload.seed = seed * 100 + run;
  workload.run = seed * 100 + run;
  // By turns the three write paths: direct with DSYNC, buffered with fdatasync, direct but not
  // trusted.
  const uint64_t path = (seed + run) % 3;
  workload.direct = path != 1;
  workload.dsync = path == 0;
  workload.lanes = random.chance(70) ? 64 : static_cast<uint32_t>(random.between(4, 32));
  return workload;
}

std::string describe(const Workload& workload) {
  return std::string(workload.direct ? "direct" : "buffered") + ", " +
         (workload.dsync ? "dsync" : "fdatasync") + ", " + std::to_string(workload.lanes) +
         " lanes, depth " + std::to_string(options_of(workload).pipeline_depth);
}

driver::OpenOptions options_of(const Workload& workload) {
  driver::OpenOptions options;
  options.directory = kLogDirectory;
  options.segment_bytes = 128 << 10;
  options.queue_bytes = 256 << 10;
  options.max_record_bytes = 64 << 10;
  options.max_group_bytes = 32 << 10;
  options.min_free_bytes = 0;
  options.interval_ms = 5;
  options.pipeline_depth = 1 + workload.seed % 4;
  return options;
}

Recorded record(const Workload& workload, const Image& start, const Found& found,
                const Expectation& before) {
  io::Probe probe;
  probe.direct = workload.direct;
  probe.dsync_trusted = workload.dsync;
  probe.reserves = true;
  probe.file_system = "recorded";
  Run run(workload, start, probe);
  Recorded out;
  run.carry(found, before);
  for (uint32_t life = 1; life <= workload.lives && run.finding().empty(); life++) run.life(life);
  out.recording = run.recording();
  out.deaths = run.deaths();
  out.finding = run.finding();
  return out;
}

}  // namespace stonelog::states
