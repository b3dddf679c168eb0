// The driver over a real file system, with failures at the seam.
#include <thread>

#include "log_fixture.h"

using namespace stonelog;
using namespace stonelog::test;

namespace {

struct Fixture {
  Directory directory;
  FaultFileSystem fs{posix_file_system()};
  OpenOptions options = small_options(directory / "log");

  // Appends until the log refuses or is poisoned; the acknowledged count is the durable LSN.
  void fill(OpenLog& open, uint64_t most) {
    Code code = Code::ok;
    for (uint64_t i = 0; i < most && !open.is_poisoned(); i++) {
      const uint64_t lsn = open.append_sync(text_of(open.log->last_lsn() + 1), &code);
      if (code == Code::backpressure) usleep(200);
      if (code == Code::io || code == Code::poisoned) return;
      (void)lsn;
    }
  }
  void check_prefix(OpenLog& open, uint64_t at_least) {
    Status status;
    const std::vector<std::string> records = open.read_all(&status);
    INFO(status.detail);
    REQUIRE(status.ok());
    REQUIRE(records.size() >= at_least);
    for (size_t i = 0; i < records.size(); i++)
      REQUIRE(records[i] == text_of(open.log->first_lsn() + i));
  }
};

}  // namespace

// ensures that what was acknowledged is read back after a proper close, which is then stated.
TEST_CASE("driver: append, close, reopen") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  REQUIRE(open.status.ok());
  f.fill(open, 2000);
  const uint64_t last = open.log->last_lsn();
  REQUIRE(open.close().ok());
  open.reopen(f.fs, f.options);
  CHECK(open.report.closed);
  CHECK(open.report.verdict == log::Verdict::clean);
  CHECK(open.report.last_lsn == last);
  f.check_prefix(open, last);
}

// ensures that whichever write, sync or directory sync fails, nothing is acknowledged afterwards,
// the directory can be opened again at once, and every acknowledged record is there.
TEST_CASE("driver: the n-th device operation fails") {
  for (const Operation operation :
       {Operation::dsync_write, Operation::sync_directory, Operation::sync, Operation::write}) {
    for (uint64_t skip : {0u, 1u, 2u, 5u, 17u, 60u, 200u}) {
      CAPTURE(operation_name(operation));
      CAPTURE(skip);
      Fixture f;
      OpenLog open(f.fs, f.options);
      REQUIRE(open.status.ok());
      f.fs.add({.operation = operation, .path = {}, .skip = skip});
      f.fill(open, 1500);
      uint64_t durable = open.log->durable_lsn();
      uint64_t not_written = UINT64_MAX;
      const bool poisoned = open.is_poisoned();
      if (poisoned) {
        open.is_poisoned(&durable, &not_written);
        Code code = Code::ok;
        CHECK(open.append_sync("after the failure", &code) == 0);
        CHECK(code == Code::poisoned);
        CHECK(open.log->durable_lsn() == durable);
        CHECK(not_written > durable);
      }
      OpenLog again(f.fs, f.options);
      if (!poisoned) {
        (void)again.close();
        (void)open.close();
        again.reopen(f.fs, f.options);
      }
      INFO(again.status.detail);
      REQUIRE(again.status.ok());
      CHECK(again.report.verdict != log::Verdict::corrupt);
      f.check_prefix(again, durable);
      CHECK(again.log->last_lsn() < not_written);
    }
  }
}

// ensures that a short write is a failure, not progress.
TEST_CASE("driver: short write") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  f.fill(open, 5);
  f.fs.add({.operation = Operation::dsync_write, .path = ".wal", .skip = 3, .short_size = 0});
  f.fill(open, 50);
  uint64_t durable = 0;
  REQUIRE(open.is_poisoned(&durable));
  OpenLog again(f.fs, f.options);
  REQUIRE(again.status.ok());
  f.check_prefix(again, durable);
}

// ensures that appends are refused without an LSN while no segment can be prepared, and that they
// go on by themselves when space returns.
TEST_CASE("driver: no space for the next segment, then space again") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  REQUIRE(open.status.ok());
  REQUIRE(open.wait_for([&] { return open.log->stats().prepared_segments == 8; }));
  f.fs.add(
      {.operation = Operation::reserve, .path = {}, .times = FaultRule::for_ever, .error = ENOSPC});
  Code code = Code::ok;
  uint64_t last = 0;
  for (int i = 0; i < 100000; i++) {
    const uint64_t lsn = open.append_sync(text_of(open.log->last_lsn() + 1), &code);
    if (code == Code::no_space) break;
    if (code == Code::ok) last = lsn;
    if (code == Code::backpressure) usleep(1000);
  }
  REQUIRE(code == Code::no_space);
  CHECK(open.log->last_lsn() == last);
  open.log->ready(&open.session, 7);
  CHECK(!open.listener.answered(7));
  f.fs.clear_rules();
  REQUIRE(open.wait_for([&] { return open.listener.answered(7); }));
  CHECK(open.append_sync(text_of(last + 1), &code) == last + 1);
  f.check_prefix(open, last + 1);
}

// ensures that a full queue is back-pressure, bounded, while a write hangs; that nothing is
// acknowledged by time; and that all goes on when the device answers.
TEST_CASE("driver: hung write") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  f.fill(open, 3);
  std::atomic<bool> hang{true};
  f.fs.set_hook([&](Operation operation, const std::string&) {
    while (operation == Operation::dsync_write && hang) usleep(500);
  });
  Code code = Code::ok;
  uint64_t last = 0;
  for (int i = 0; i < 100000 && code == Code::ok; i++) {
    const uint64_t lsn = open.append(text_of(open.log->last_lsn() + 1), &code);
    if (code == Code::ok) last = lsn;
  }
  CHECK(code == Code::backpressure);
  CHECK(open.log->stats().pending_bytes <= f.options.queue_bytes);
  usleep(50000);
  CHECK(open.log->durable_lsn() == 3);
  hang = false;
  REQUIRE(open.wait_for([&] { return open.log->durable_lsn() == last; }));
  f.check_prefix(open, last);
}

// ensures that handles of one process share one log, that differing options are named, and that
// another process is refused with the holder's pid.
TEST_CASE("driver: second opening") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  OpenLog shared(f.fs, f.options);
  REQUIRE(shared.status.ok());
  CHECK(shared.log == open.log);
  OpenOptions other = f.options;
  other.queue_bytes *= 2;
  OpenLog different(f.fs, other);
  CHECK(different.status.code == Code::bad_option);
  CHECK(different.status.detail.find("queueBytes") != std::string::npos);
  const int seen = in_child([&] {
    std::unique_ptr<io::Lock> lock;
    Status status = posix_file_system().lock(f.options.directory + "/LOCK", 0600, &lock);
    return status.code == Code::locked && status.pid == static_cast<uint64_t>(getppid()) ? 0 : 1;
  });
  CHECK(seen == 0);
}

// ensures that LSNs are dense and every record is the one that was given that LSN, whoever appends.
TEST_CASE("driver: four threads append") {
  Fixture f;
  f.options.queue_bytes = 4 << 20;
  f.options.segment_bytes = 1 << 20;
  OpenLog open(f.fs, f.options);
  std::vector<std::vector<uint64_t>> lsns(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++) {
    threads.emplace_back([&, t] {
      Log::Session session;
      CountingListener listener;
      session.listener = &listener;
      open.log->attach(&session);
      for (int i = 0; i < 5000;) {
        const std::string text = std::to_string(t) + ":" + std::to_string(i);
        Code code = Code::ok;
        const uint64_t lsn =
            open.log->append(&session, reinterpret_cast<const uint8_t*>(text.data()), text.size(),
                             Durability::group, &code);
        if (i % 32 == 0) open.log->kick(&session);
        if (code == Code::ok)
          lsns[static_cast<size_t>(t)].push_back(lsn), i++;
        else
          open.log->kick(&session), usleep(100);
      }
      open.log->kick(&session);
      open.log->detach(&session);
    });
  }
  for (std::thread& thread : threads) thread.join();
  REQUIRE(open.log->flush_and_wait().ok());
  const std::vector<std::string> records = open.read_all();
  REQUIRE(records.size() == 20000);
  for (size_t t = 0; t < 4; t++) {
    for (size_t i = 0; i < 5000; i++)
      REQUIRE(records[lsns[t][i] - 1] == std::to_string(t) + ":" + std::to_string(i));
  }
}

// ensures that the bursts of two handles are written beside each other, and that those of one alone
// are not, whoever else has the log open.
TEST_CASE("driver: bursts of several handles") {
  for (const bool several : {true, false}) {
    CAPTURE(several);
    Fixture f;
    f.options.segment_bytes = 1 << 20;
    OpenLog open(f.fs, f.options);
    CountingListener listener;
    Log::Session other;
    other.listener = &listener;
    open.log->attach(&other);
    const auto burst = [&](Log::Session* session) {
      Code code = Code::ok;
      const std::string text = "a record";
      (void)open.log->append(session, reinterpret_cast<const uint8_t*>(text.data()), text.size(),
                             Durability::group, &code);
      open.log->kick(session);
    };
    for (int i = 0; i < 10; i++) burst(&open.session);
    REQUIRE(open.log->flush_and_wait().ok());
    const uint64_t before = open.log->stats().counters.second_slot;
    {
      const Hang hang(f.fs, [](Operation operation, const std::string& path) {
        return operation == Operation::dsync_write && path.ends_with(".wal");
      });
      burst(&open.session);
      REQUIRE(open.wait_for([&] { return hang.hung() >= 1; }));
      burst(several ? &other : &open.session);
      const auto joined = [&] { return open.log->stats().counters.second_slot > before; };
      CHECK(open.wait_for(joined, several ? 5000 : 50) == several);
    }
    REQUIRE(open.log->flush_and_wait().ok());
    open.log->detach(&other);
  }
}

// ensures that released segments go, that their files are used again, and that reading from below
// is named.
TEST_CASE("driver: truncateBefore releases and recycles") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  for (int round = 0; round < 20; round++) {
    f.fill(open, 3000);
    uint64_t first = 0;
    REQUIRE(open.log->truncate_before(open.log->last_lsn(), &first).ok());
    CHECK(first <= open.log->last_lsn());
    CHECK(open.log->first_lsn() == first);
  }
  CHECK(segment_files(f.options.directory) <= 14);
  Status status;
  OpenLog::read_from(open.log, 1, &status);
  CHECK(status.code == Code::not_found);
  f.check_prefix(open, 1);
  uint64_t first = 0;
  REQUIRE(open.log->truncate_before(open.log->last_lsn() + 1, &first).ok());
  CHECK(first == open.log->last_lsn() + 1);
  CHECK(open.read_all().empty());
  const uint64_t last = open.log->last_lsn();
  REQUIRE(open.close().ok());
  open.reopen(f.fs, f.options);
  CHECK(open.report.first_lsn == last + 1);
  CHECK(open.report.last_lsn == last);
}

// ensures that interval and none are synced when they must be and that flush makes them durable.
TEST_CASE("driver: durability levels that are not durable") {
  Fixture f;
  f.options.interval_ms = 20;
  OpenLog open(f.fs, f.options);
  const uint64_t interval = open.append("interval", nullptr, Durability::interval);
  REQUIRE(open.wait_for([&] { return open.log->durable_lsn() >= interval; }));
  const uint64_t none = open.append("none", nullptr, Durability::none);
  usleep(60000);
  CHECK(open.log->durable_lsn() < none);
  open.log->flush(&open.session, 1, 0);
  REQUIRE(open.wait_for([&] { return open.listener.answered(1); }));
  CHECK(open.log->durable_lsn() == none);
}

// ensures that a reader without the lock sees what an idle writer has acknowledged, and never more.
TEST_CASE("driver: reader beside a writer") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  open.append_up_to(500);
  OpenOptions options = f.options;
  options.read_only = true;
  ReadOnlyLog* reader = nullptr;
  log::RecoveryReport report;
  REQUIRE(ReadOnlyLog::open(f.fs, options, &reader, &report).ok());
  CHECK(report.live);
  REQUIRE(open.wait_for([&] {
    (void)reader->refresh();
    return reader->durable_lsn() == 500;
  }));
  const std::vector<std::string> records = OpenLog::read_from(reader, 1);
  REQUIRE(records.size() == 500);
  CHECK(records[499] == text_of(500));
  reader->release();
}

// ensures that a log of which its writer holds no more than the lock yet is said to be live.
TEST_CASE("driver: a look at a log that is being made") {
  Fixture f;
  bool created = false;
  REQUIRE(f.fs.make_directory(f.options.directory, &created).ok());
  std::unique_ptr<Lock> lock;
  REQUIRE(f.fs.lock(f.options.directory + "/" + log::kLockName, 0600, &lock).ok());
  log::RecoveryReport report;
  REQUIRE(verify(f.fs, f.options.directory, DirectIo::automatic, &report).ok());
  CHECK(report.live);
  lock.reset();
  REQUIRE(verify(f.fs, f.options.directory, DirectIo::automatic, &report).ok());
  CHECK(!report.live);
}

// ensures that an idle log costs nothing: no wakes, no writes. Preparing segments ends some time
// after the last append, later on a busy machine.
TEST_CASE("driver: idle") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  f.fill(open, 10);
  bool quiet = false;
  for (int tries = 0; tries < 150 && !quiet; tries++) {
    const uint64_t operations = f.fs.count(Operation::any);
    usleep(200000);
    quiet = f.fs.count(Operation::any) == operations;
  }
  CHECK(quiet);
}

// ensures that reading can start at any LSN, in segments of many small and of few large groups.
TEST_CASE("driver: read from anywhere") {
  Fixture f;
  f.options.segment_bytes = 1 << 20;
  OpenLog open(f.fs, f.options);
  open.append_up_to(700);
  for (int i = 0; i < 3000; i++) {
    Code code = Code::ok;
    while (open.append(text_of(open.log->last_lsn() + 1), &code) == 0) usleep(100);
  }
  REQUIRE(open.log->flush_and_wait().ok());
  for (uint64_t from = 1; from <= 3701; from += 37) {
    const std::vector<std::string> records = OpenLog::read_from(open.log, from);
    REQUIRE(records.size() == 3701 - from);
    if (!records.empty()) REQUIRE(records.front() == text_of(from));
  }
}

// ensures that a reader at the end goes on when everything before its place was released meanwhile.
TEST_CASE("driver: reader at the end of a log that is emptied") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  open.append_up_to(10);
  Reader reader(open.log, 1, UINT64_MAX);
  RecordBatch batch;
  REQUIRE(reader.next(&batch).ok());
  REQUIRE(batch.offsets.size() == 10);
  REQUIRE(reader.next(&batch).ok());
  REQUIRE(batch.empty());
  uint64_t first = 0;
  REQUIRE(open.log->truncate_before(11, &first).ok());
  REQUIRE(first == 11);
  REQUIRE(reader.next(&batch).ok());
  open.append_up_to(15);
  REQUIRE(reader.next(&batch).ok());
  CHECK(batch.offsets.size() == 5);
}

// ensures that a stream of durable appends does not put off the sync that an earlier record needs.
TEST_CASE("driver: mixed durabilities") {
  Fixture f;
  f.options.segment_bytes = 8 << 20;
  OpenLog open(f.fs, f.options);
  std::atomic<bool> stop{false};
  const uint64_t none = open.append("none", nullptr, Durability::none);
  // In a group of its own: in one with durable records it would need no sync.
  REQUIRE(open.wait_for([&] { return open.log->stats().write.count() >= 1; }));
  std::thread stream([&] {
    while (!stop) {
      open.append("group");
      usleep(20);
    }
  });
  CHECK(open.wait_for([&] { return open.log->durable_lsn() > none; }, 2000));
  const uint64_t syncs = open.log->stats().counters.syncs;
  CHECK(syncs >= 1);
  CHECK(open.log->last_lsn() < none + 2000);
  stop = true;
  stream.join();
}

// ensures that the queue bounds large records, too, whose buffer has more room than the queue
// allows.
TEST_CASE("driver: the queue's bound") {
  Fixture f;
  f.options.segment_bytes = 4 << 20;  // the segment does not bound it either
  OpenLog open(f.fs, f.options);
  Hang hang(f.fs, [](Operation operation, const std::string&) {
    return operation == Operation::dsync_write;
  });
  const std::string record(10'000, 'x');
  Code code = Code::ok;
  uint64_t bytes = 0;
  while (open.append(record, &code) != 0) bytes += record.size();
  CHECK(code == Code::backpressure);
  CHECK(bytes <= f.options.queue_bytes);
  CHECK(bytes > f.options.queue_bytes / 2);
}
