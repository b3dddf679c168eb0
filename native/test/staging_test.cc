// Records that a session stages under a lease of LSNs. The test lays them down as lib/staging.ts
// does.
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "log_fixture.h"

using namespace stonelog;
using namespace stonelog::test;

namespace {

struct Writer {
  Staging staging{};
  Log* log = nullptr;
  uint64_t first = 0;
  uint64_t next = 0;
  uint32_t at = 0;
  uint32_t count = 0;

  // The LSN, or 0 if there is no lease or no room in it.
  uint64_t put(const std::string& text) {
    if (next == 0 || count == Staging::kRecords || at + text.size() > Staging::kBytes) return 0;
    std::copy(text.begin(), text.end(), staging.bytes + at);
    staging.lengths[count] = static_cast<uint32_t>(text.size());
    __atomic_store_n(&staging.count, static_cast<int32_t>(count + 1), __ATOMIC_RELEASE);
    // Only for the compiler: the barrier is the other side's.
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&staging.ended, __ATOMIC_RELAXED) != 0) {
      next = 0;
      const uint64_t lsn = first + count;
      // The log's lock is free only when `taken` is final.
      (void)log->epoch();
      return static_cast<uint32_t>(__atomic_load_n(&staging.taken, __ATOMIC_SEQ_CST)) > count ? lsn
                                                                                              : 0;
    }
    at += static_cast<uint32_t>(text.size());
    count++;
    return next++;
  }
  void renew(uint64_t leased) {
    first = next = leased;
    at = 0;
    count = 0;
  }
};

struct Fixture {
  Directory directory;
  FaultFileSystem fs{posix_file_system()};
  OpenOptions options = small_options(directory / "log");
  Writer writer;

  Fixture() {
    options.queue_bytes = 1 << 20;
    options.segment_bytes = 1 << 20;
  }
  void begin(OpenLog& open) {
    writer.log = open.log;
    open.log->stage(&open.session, &writer.staging, Durability::group);
    writer.renew(open.log->kick(&open.session));
    REQUIRE(writer.next == open.log->last_lsn() + 1);
  }
  static void check(OpenLog& open, uint64_t count) {
    Status status;
    const std::vector<std::string> records = open.read_all(&status);
    REQUIRE(status.ok());
    REQUIRE(records.size() == count);
    for (size_t i = 0; i < count; i++) REQUIRE(records[i] == text_of(i + 1));
  }
};

}  // namespace

// ensures that what was staged gets the LSNs it was named by and becomes durable by a kick.
TEST_CASE("staging: staged and admitted") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  f.begin(open);
  for (uint64_t lsn = 1; lsn <= 300; lsn++) {
    REQUIRE(f.writer.put(text_of(lsn)) == lsn);
    if (lsn % 100 == 0) f.writer.renew(open.log->kick(&open.session));
  }
  REQUIRE(open.log->flush_and_wait().ok());
  CHECK(open.log->last_lsn() == 300);
  Fixture::check(open, 300);
}

// ensures that a record that is appended directly comes after those that were staged before it, and
// ends the lease.
TEST_CASE("staging: a direct append in between") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  f.begin(open);
  REQUIRE(f.writer.put(text_of(1)) == 1);
  Code code = Code::ok;
  CHECK(open.log->append(&open.session, reinterpret_cast<const uint8_t*>(text_of(2).data()),
                         text_of(2).size(), Durability::group, &code) == 2);
  CHECK(f.writer.put("too late") == 0);
  CHECK(open.append_sync(text_of(3)) == 3);
  Fixture::check(open, 3);
}

// ensures that a second session takes the lease away and that LSNs stay unique and in order,
// however its coming falls together with staging.
TEST_CASE("staging: another thread opens the log meanwhile") {
  for (int round = 0; round < 20; round++) {
    Fixture f;
    OpenLog open(f.fs, f.options);
    f.begin(open);
    std::atomic<bool> begun{false};
    std::thread other([&] {
      while (!begun.load()) sched_yield();
      OpenLog second(f.fs, f.options);
      CHECK(second.log == open.log);
      const uint64_t given = second.log->last_lsn();
      Code code = Code::ok;
      const uint64_t lsn = second.append_sync("of the other", &code);
      CHECK(code == Code::ok);
      CHECK(lsn > given);
    });
    uint64_t last = 0;
    uint64_t staged = 0;
    for (int i = 0; i < 400; i++) {
      uint64_t lsn = f.writer.put(text_of(7));
      if (lsn != 0) {
        staged++;
      } else {
        lsn = open.append(text_of(7));
      }
      begun = true;
      if (lsn == 0) continue;  // the queue is full
      CHECK(lsn > last);
      last = lsn;
      if (i % 64 == 63) f.writer.renew(open.log->kick(&open.session));
    }
    other.join();
    REQUIRE(open.log->flush_and_wait().ok());
    CHECK(staged > 0);
    CHECK(open.log->last_lsn() == open.log->durable_lsn());
  }
}

// ensures that a log that has stopped acknowledges nothing that was staged, and that the LSNs given
// away count as given.
TEST_CASE("staging: the log stops meanwhile") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  f.begin(open);
  REQUIRE(f.writer.put(text_of(1)) == 1);
  f.fs.add({.operation = Operation::dsync_write});
  f.writer.renew(open.log->kick(&open.session));
  REQUIRE(f.writer.put(text_of(2)) == 2);
  REQUIRE(f.writer.put(text_of(3)) == 3);
  REQUIRE(open.wait_for([&] { return open.is_poisoned(); }));
  f.writer.renew(open.log->kick(&open.session));
  CHECK(f.writer.next == 0);
  CHECK(open.log->last_lsn() == 3);
  CHECK(open.log->durable_lsn() == 0);
  uint64_t durable = 0;
  uint64_t not_written = 0;
  CHECK(open.is_poisoned(&durable, &not_written));
  CHECK(not_written == 2);
}

// ensures that a burst for which nobody waits becomes one group, however often it is admitted
// midway, and that its end publishes it.
TEST_CASE("staging: a burst gathers") {
  Fixture f;
  f.options.queue_bytes = 4 << 20;
  OpenLog open(f.fs, f.options);
  f.begin(open);
  const uint64_t before = open.log->stats().counters.groups;
  uint64_t lsn = 0;
  for (int part = 0; part < 3; part++) {
    while (f.writer.put(text_of(lsn + 1)) == lsn + 1) lsn++;
    f.writer.renew(open.log->kick(&open.session, true));
  }
  REQUIRE(lsn > 2000);
  usleep(20'000);
  CHECK(open.log->stats().counters.groups == before);
  f.writer.renew(open.log->kick(&open.session));
  REQUIRE(open.wait_for([&] { return open.log->durable_lsn() == lsn; }));
  // But for an idle watermark, on a busy machine.
  const log::EngineCounters after = open.log->stats().counters;
  CHECK(after.groups <= before + 1 + after.control_groups);
  Fixture::check(open, lsn);
}

// ensures that a burst without an end is published all the same, and early where the queue is short
// or the device at work.
TEST_CASE("staging: a burst does not gather for ever") {
  uint64_t queue_bytes = 0;
  SUBCASE("of much") { queue_bytes = 4 << 20; }
  SUBCASE("of an eighth of the queue") { queue_bytes = 512 << 10; }
  Fixture f;
  f.options.queue_bytes = queue_bytes;
  OpenLog open(f.fs, f.options);
  f.begin(open);
  const uint64_t most = std::min<uint64_t>(256 << 10, queue_bytes / 8);
  uint64_t staged = 0;
  uint64_t lsn = 0;
  while (staged < most) {
    while (f.writer.put(text_of(lsn + 1)) == lsn + 1) staged += text_of(++lsn).size();
    f.writer.renew(open.log->kick(&open.session, true));
  }
  // What was staged last may have begun to gather again.
  CHECK(open.wait_for([&] { return open.log->durable_lsn() > 0; }));
}

TEST_CASE("staging: a burst does not gather behind a commit under way") {
  Fixture f;
  f.options.queue_bytes = 4 << 20;
  OpenLog open(f.fs, f.options);
  f.begin(open);
  Hang hang(f.fs, [](Operation operation, const std::string&) {
    return operation == Operation::dsync_write;
  });
  const uint64_t before = open.log->stats().counters.groups;
  REQUIRE(f.writer.put(text_of(1)) == 1);
  f.writer.renew(open.log->kick(&open.session));
  REQUIRE(open.wait_for([&] { return open.log->stats().counters.groups == before + 1; }));
  uint64_t lsn = 1;
  while (f.writer.put(text_of(lsn + 1)) == lsn + 1) lsn++;
  f.writer.renew(open.log->kick(&open.session, true));
  CHECK(open.wait_for([&] { return open.log->stats().counters.second_slot == 1; }));
  hang.release();
  CHECK(open.wait_for([&] { return open.log->durable_lsn() == lsn; }));
}

// ensures that a time that was set for what is queued is kept, whatever it might be gathered with.
TEST_CASE("staging: a burst does not gather beyond its interval") {
  Fixture f;
  f.options.interval_ms = 20;
  OpenLog open(f.fs, f.options);
  REQUIRE(open.wait_for([&] { return open.log->stats().prepared_segments == 8; }));
  usleep(50'000);  // whoever sleeps now does so without a deadline
  REQUIRE(open.admit(text_of(1), nullptr, Durability::interval) == 1);
  (void)open.log->kick(&open.session, true);
  CHECK(open.wait_for([&] { return open.log->durable_lsn() == 1; }));
}

// ensures that whoever is refused for want of room finds some later, also without a further kick.
TEST_CASE("staging: a refusal publishes what has gathered") {
  Fixture f;
  f.options.segment_bytes = 4 << 20;
  f.options.max_record_bytes = 960 << 10;
  OpenLog open(f.fs, f.options);
  REQUIRE(open.admit(std::string(100 << 10, 'x')) == 1);
  (void)open.log->kick(&open.session, true);
  Code code = Code::ok;
  const std::string rest(f.options.max_record_bytes, 'x');
  CHECK(open.append_sync(rest, &code) == 0);
  CHECK(code == Code::backpressure);
  CHECK(open.wait_for([&] { return open.append_sync(rest, &code) == 2; }));
}

// ensures that what a handle admitted midway is published when its end takes it away.
TEST_CASE("staging: a burst whose handle is gone") {
  Fixture f;
  f.options.queue_bytes = 4 << 20;
  OpenLog open(f.fs, f.options);
  REQUIRE(open.admit(text_of(1)) == 1);
  (void)open.log->kick(&open.session, true);
  CountingListener listener;
  Log::Session second;
  second.listener = &listener;
  open.log->attach(&second);
  open.log->detach(&open.session);
  CHECK(open.wait_for([&] { return open.log->durable_lsn() == 1; }));
  open.log->attach(&open.session);
  open.log->detach(&second);
}

// ensures that nothing is leased that the queue could not take, and that refusals go on as before.
TEST_CASE("staging: no lease where there may be no room") {
  Fixture f;
  f.options.queue_bytes = 64 << 10;
  OpenLog open(f.fs, f.options);
  open.log->stage(&open.session, &f.writer.staging, Durability::group);
  CHECK(open.log->kick(&open.session) == 0);
}

// ensures that the room of a lease is not used up by the control groups of truncations.
TEST_CASE("staging: a lease does not outlive truncations") {
  Fixture f;
  f.options.segment_bytes = 512 << 10;
  OpenLog open(f.fs, f.options);
  const std::string large(60'000, 'x');
  const auto append = [&](const std::string& text) {
    Code code = Code::backpressure;
    while (code == Code::backpressure) {
      (void)open.append_sync(text, &code);
      if (code == Code::backpressure) usleep(1000);
    }
    return code;
  };
  while (segment_files(f.options.directory) < 66) REQUIRE(append(large) == Code::ok);
  f.fs.add({.operation = Operation::reserve, .times = FaultRule::for_ever, .error = ENOSPC});
  while (open.log->stats().prepared_segments > 0) REQUIRE(append(large) == Code::ok);
  f.begin(open);
  for (int i = 0; i < 60; i++) {  // blocks of the last segment, until there is just room
    REQUIRE(append("small") == Code::ok);
    const uint64_t leased = open.log->kick(&open.session);
    if (leased == 0) break;
    f.writer.renew(leased);
  }
  uint64_t before = 0;
  for (uint64_t lsn = 1; lsn < open.log->last_lsn(); lsn++) {
    if (!open.log->truncate_before(lsn, &before).ok()) break;
  }
  REQUIRE(before > 300);
  const std::string text(63, 's');
  while (f.writer.put(text) != 0) {
  }
  (void)open.log->kick(&open.session);
  CHECK(!open.is_poisoned());
}

// ensures that nothing staged is acknowledged where the end of its lease cannot be proven: the
// kernel offered the barrier before, and refuses it to the thread that a second session comes from.
TEST_CASE("staging: the barrier is refused") {
  if (!has_barrier()) return;
  Fixture f;
  OpenLog open(f.fs, f.options);
  REQUIRE(open.append_sync(text_of(1)) == 1);
  f.begin(open);
  REQUIRE(f.writer.put(text_of(2)) == 2);
  CountingListener listener;
  Log::Session second;
  second.listener = &listener;
  bool refused = false;
  std::thread([&] {
    refused = refuse(SYS_membarrier, EPERM);
    open.log->attach(&second);
  }).join();
  open.log->detach(&second);
  if (!refused) return;  // not permitted here
  uint64_t durable = 0;
  REQUIRE(open.is_poisoned(&durable));
  CHECK(durable == 1);
  CHECK(f.writer.put("later") == 0);
  Code code = Code::ok;
  CHECK(open.append_sync("later", &code) == 0);
  CHECK(code == Code::poisoned);
  (void)open.close();
  // The next life has what was acknowledged.
  open.reopen(f.fs, f.options);
  REQUIRE(open.status.ok());
  CHECK(open.read_all().at(0) == text_of(1));
}
