// An open log of this process: the engine and the threads that drive it. All handles of the process
// on one directory share one Log (registry.h).
//
// Threads: an event loop's thread begins small commits by itself, if it is the only one that
// appends (log_async.cc); committers, one more than `pipelineDepth`, carry out the engine's writes,
// syncs and seals and compute stamps while no more writes may be in flight; one preparer makes
// segments, zeroes ahead and gives space back; any thread may append. One mutex guards the engine,
// the catalog and the waiters; no append waits for a system call that touches the disk under it:
// only closing and the stop after a failure make some.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "driver/catalog.h"
#include "driver/histogram.h"
#include "driver/parker.h"
#include "driver/source.h"
#include "driver/staging.h"
#include "driver/threads.h"
#include "driver/waking_mutex.h"
#include "log/engine.h"
#include "log/life.h"
#include "log/recovery.h"

namespace stonelog::driver {

struct OpenOptions {
  std::string directory;
  bool read_only = false;
  bool create = true;
  log::Durability durability = log::Durability::group;
  double interval_ms = 100;
  double max_delay_ms = 0;
  uint64_t max_group_bytes = 1 << 20;
  uint64_t max_group_records = 1 << 20;
  uint32_t pipeline_depth = 2;
  uint64_t segment_bytes = 64 << 20;
  uint64_t max_record_bytes = 16 << 20;
  uint64_t queue_bytes = 32 << 20;
  io::DirectIo direct_io = io::DirectIo::automatic;
  log::RecoveryPolicy policy;
  uint64_t min_free_bytes = 128 << 20;
  uint32_t file_mode = 0600;
};

// What one environment's handle is told. Called from any thread, mostly with the log's mutex held:
// must not block and must not call back. The bell returned is rung once the mutex is free; null:
// whoever is to know need not be woken.
class Listener {
 public:
  virtual ~Listener() = default;
  // durable_lsn moved past something of this handle, or the log is poisoned
  virtual Bell* progress() = 0;
  virtual Bell* answer(uint64_t request, const Status& status, uint64_t value) = 0;
};

struct LogStats {
  log::EngineCounters counters;
  uint64_t pending_bytes = 0;
  uint64_t segments = 0;
  uint64_t prepared_segments = 0;
  uint64_t recycled_segments = 0;
  uint64_t zeroed_bytes = 0;
  uint64_t wakes = 0;
  uint64_t begun = 0;  // commits begun by the appending thread itself
  bool direct = false;
  bool dsync = false;
  bool reserves = false;
  bool poisoned = false;
  std::string file_system;
  std::string io_reason;
  Histogram queue;  // first record admitted until submitted
  Histogram write;  // the device's write, flush included
  Histogram sync;

  void show_path(const io::Probe& probe) {
    direct = probe.direct;
    dsync = probe.dsync_trusted;
    reserves = probe.reserves;
    file_system = probe.file_system;
    io_reason = probe.reason;
  }
};

class Log final : public Source {
 public:
  // Examines, begins a life, starts the threads. May wait for the disk. The lock is held from
  // before the examination on.
  static Status open(io::FileSystem& fs, const OpenOptions& options, Log** log,
                     log::RecoveryReport* report);

  // --- One handle of one environment.
  struct Session {
    Listener* listener = nullptr;
    uint64_t own_lsn = 0;   // the highest LSN it was given
    uint64_t told_lsn = 0;  // the durable LSN of the last progress
    bool told_poisoned = false;
    Code last_code = Code::ok;
    Status refusal;              // why the last append was refused for want of a prepared segment
    Staging* staging = nullptr;  // its records, if it stages any; all of this durability
    log::Durability durability = log::Durability::group;
    bool watches = false;  // its thread calls take_commit() when it is told to
  };
  void attach(Session* session);
  void detach(Session* session);

  uint64_t append(Session* session, const uint8_t* data, size_t size, log::Durability durability,
                  Code* code);
  uint64_t append_batch(Session* session, log::RecordInput* records, size_t count,
                        log::Durability durability, Code* code);
  // The calling thread carries the commit out itself where it can.
  uint64_t append_sync(Session* session, const uint8_t* data, size_t size, Code* code);
  // Where the session stages records from now on: kick() leases it LSNs for them. The memory stays
  // until the session is detached.
  void stage(Session* session, Staging* staging, log::Durability durability);
  // Publishes what was appended and staged. The LSN that the next staged record will have; 0: none
  // may be staged. `more`: more follows within this turn of the event loop, at whose end it is
  // published for certain, and nobody waits for what there is: a little is not published yet.
  uint64_t kick(Session* session = nullptr, bool more = false);
  // Whether this process makes more than a few commits that could be begun by an appending thread:
  // only then it watches them.
  static bool pays_to_begin();
  // From now on the session's thread may begin commits: a descriptor that becomes readable when one
  // is done, for take_commit(); -1 where none is ever begun so. It stays as long as the log.
  int watch_commits(Session* session);
  // What became of that commit, if it is done; what waited behind it is begun.
  void take_commit(Session* session);
  // Answers are given through the listener.
  void flush(Session* session, uint64_t request, uint64_t up_to);
  void ready(Session* session, uint64_t request);
  // Wait for the disk: called on request threads.
  Status truncate_before(uint64_t lsn, uint64_t* first_lsn);
  Status flush_and_wait();
  Status shut_down();  // once, after the last session is gone

  // What the session has staged counts.
  uint64_t last_lsn(Session* session = nullptr);
  uint64_t epoch();
  bool poisoned(Status* failure, uint64_t* durable_lsn, uint64_t* first_not_written);
  LogStats stats(Session* session = nullptr);
  const OpenOptions& options() const { return options_; }
  log::RecoveryReport report();

  // Source
  io::FileSystem& file_system() override { return fs_; }
  std::string segment_path(uint64_t sequence) const override;
  bool direct() const override { return probe_.direct; }
  ReadStart start_of(uint64_t lsn) override;
  bool segment_holding(uint64_t lsn, ReadableSegment* out) override;
  bool segment_now(uint64_t sequence, ReadableSegment* out) override;
  bool segment_after(uint64_t sequence, ReadableSegment* out) override;
  uint64_t first_lsn() override;
  uint64_t durable_lsn() override;
  std::vector<format::Hole> holes() override;
  bool skips_damage() const override { return options_.policy.damage == log::OnDamage::skip; }
  bool owns_files() const override { return true; }
  Status refresh() override { return {}; }

 private:
  Log(io::FileSystem& fs, const OpenOptions& options) : fs_(fs), options_(options) {}
  ~Log() override;

  struct Waiter {
    Session* session;
    uint64_t request;
    uint64_t lsn;
  };
  struct Recyclable {
    std::string path;
    uint32_t tag;
    uint64_t written_end;
  };

  Status start(std::unique_ptr<io::Lock> lock, log::RecoveryReport* report);
  Status begin(log::Examination* examination, log::LifeStart* start);
  Status start_threads();
  void stop_threads();
  void committer(Parker* own);
  void wait_for_progress(std::unique_lock<WakingMutex>* lock, uint64_t deadline_ns = UINT64_MAX);
  void wait_for_work(std::unique_lock<WakingMutex>* lock, Parker* own);
  void preparer();
  // Takes one op, carries it out without the lock, completes it. False if there was none.
  bool commit_one(std::unique_lock<WakingMutex>* lock);
  bool next_op(uint64_t now, uint64_t wall_micros, log::Op* op);
  void finish_op(const log::Op& op, const Status& status, uint64_t device_ns);
  // log_async.cc: the commit that the appending thread began.
  void commit_soon(std::unique_lock<WakingMutex>* lock, const Session* session, uint64_t now);
  bool begins_commits(const Session* session) const;
  bool is_lone(const Session* session) const;
  void count_lone_commit(const Session* session, uint64_t now) const;
  bool begin_commit(std::unique_lock<WakingMutex>* lock, uint64_t now);
  bool must_await_begun() const;
  bool take_begun();
  void await_begun(std::unique_lock<WakingMutex>* lock);
  void finish_begun(int64_t result);
  bool worth_noting(const log::Op& op);
  void note_place(const log::Op& op, uint64_t wall_micros);
  bool stamp_one(std::unique_lock<WakingMutex>* lock);
  bool has_work(uint64_t now_ns) const;
  Status carry_out(const log::Op& op, io::File* file, uint64_t* device_ns);
  void progressed();
  bool is_armed_for(uint64_t deadline_ns) const;
  void wake_for_work();
  void wake_committer();
  void note_sealed();
  void answer(const Waiter& waiter, const Status& status, uint64_t value);
  void fail_waiters();
  void do_chore(std::unique_lock<WakingMutex>* lock, const log::Chore& chore);
  Status check_place();
  Status look_at_directory(io::Lock* held);
  Status look_at_file(uint64_t sequence, uint64_t bytes, io::File* file);
  void release_lock();
  void prepare_segment(std::unique_lock<WakingMutex>* lock, uint64_t sequence);
  Status check_free_space(bool recycles);
  void zero_ahead(std::unique_lock<WakingMutex>* lock, const log::Chore& chore);
  void give_back(std::unique_lock<WakingMutex>* lock, const log::Chore& chore);
  Status release_files(const std::vector<log::SegmentEntry>& released);
  Status wait_until_durable(std::unique_lock<WakingMutex>* lock, uint64_t group);
  Status empty_current(std::unique_lock<WakingMutex>* lock, uint64_t lsn);
  void remove_unused();
  log::SegmentEntry entry_of(const log::Engine::Live& live) const;
  bool readable(log::SegmentEntry* entry, ReadableSegment* out);
  bool find_holding(uint64_t lsn, ReadableSegment* out);
  bool find_after(uint64_t sequence, ReadableSegment* out);
  uint64_t finish_append(Session* session, uint64_t lsn, Code code);
  uint64_t grant_lease(Session* session);
  void note_appender(const Session* session);
  void end_lease();
  void take_lease_away();
  void settle(Session* session, uint32_t count);

  io::FileSystem& fs_;
  const OpenOptions options_;
  io::Probe probe_;
  std::unique_ptr<io::Lock> lock_;
  uint64_t device_ = 0;  // of the directory
  uint64_t inode_ = 0;
  bool refused_ = false;  // by the examination, before anything was changed
  format::Id log_id_{};
  log::RecoveryReport report_;

  // What anybody may look at without the lock: as of the last progressed().
  std::atomic<uint64_t> shown_durable_lsn_{0};
  std::atomic<bool> shown_poisoned_{false};

  WakingMutex mutex_;
  std::unique_ptr<log::AlignedBuffer> ring_;
  // Gone before the ring, whose bytes it writes. Null: not here.
  std::unique_ptr<io::AsyncWrite> async_;
  bool never_async_ = false;     // the kernel said so
  uint32_t large_refusals_ = 0;  // in a row, of more than is always tried
  struct Begun {
    log::Op op;
    uint64_t began_ns;
  };
  std::optional<Begun> begun_;       // the write under way, whoever takes its result
  bool awaiting_begun_ = false;      // by a thread that will take the result
  std::optional<log::Op> returned_;  // begun in vain: for a committer
  // Of begun_, for who looks without the lock.
  std::atomic<bool> shown_begun_{false};
  uint64_t begun_count_ = 0;
  std::unique_ptr<log::AlignedBuffer> seal_block_;
  std::unique_ptr<log::Engine> engine_;
  Catalog catalog_;  // sealed segments and the unsealed ones, all that readers may find
  std::map<uint64_t, std::unique_ptr<io::File>> files_;  // of unsealed and prepared segments
  std::map<uint64_t, format::SegmentHeader> headers_;
  std::vector<Recyclable> recyclable_;
  Status prepare_failure_;  // the last one
  std::vector<Session*> sessions_;
  Session* lease_holder_ = nullptr;  // the only session, while it may stage records
  uint64_t lease_first_lsn_ = 0;
  const Session* last_appender_ = nullptr;  // only compared
  uint32_t bursts_in_a_row_ = 0;
  std::vector<Waiter> flush_waiters_;
  std::vector<Waiter> ready_waiters_;
  std::deque<Parker> committer_parkers_;  // one each
  Parked idle_committers_;
  Parker chores_;    // the preparer
  Parker progress_;  // threads that wait for something to become durable
  std::mutex truncate_mutex_;
  std::vector<Thread> threads_;
  uint64_t armed_deadline_ns_ = UINT64_MAX;  // the earliest one a parked committer waits for
  uint32_t ops_under_way_ = 0;
  uint32_t waiting_threads_ = 0;                    // in wait_for_progress
  uint32_t looks_ = 0;                              // of check_place
  std::vector<std::unique_ptr<io::File>> retired_;  // given up while somebody looked at them
  bool stopping_ = false;
  bool chore_under_way_ = false;
  uint64_t noted_segment_ = 0;  // where places of groups were noted,
  uint64_t noted_to_ = 0;       // and up to where none is worth noting
  uint64_t zeroed_bytes_ = 0;
  uint64_t wakes_ = 0;
  Histogram queue_latency_;
  Histogram write_latency_;
  Histogram sync_latency_;
};

}  // namespace stonelog::driver
