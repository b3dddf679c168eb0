// Segments that cannot be prepared, threads that cannot be made: refused, told, and gone on from.
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <thread>

#include "driver/threads.h"
#include "log_fixture.h"

using namespace stonelog;
using namespace stonelog::test;

namespace {

// Appends until the log takes no more for another reason than being in a hurry.
Code append_until_refused(OpenLog& open) {
  Code code = Code::ok;
  for (int i = 0; i < 100000; i++) {
    (void)open.append_sync(text_of(open.log->last_lsn() + 1), &code);
    if (code == Code::backpressure) usleep(1000);
    if (code != Code::ok && code != Code::backpressure) return code;
  }
  return code;
}

// A log of which the preparer's operations can be made to hang: only it reserves space, by which it
// is known.
struct WithPreparer {
  Directory directory;
  FaultFileSystem fs{posix_file_system()};
  // Before the log, whose closing may still ask the hook.
  std::atomic<std::thread::id> preparer{};
  std::atomic<bool> armed{false};
  OpenLog open{fs, small_options(directory / "log")};
  Code code = Code::ok;
  std::unique_ptr<Hang> hang;

  // Those of its operations hang that `concerns` names, once it is armed.
  explicit WithPreparer(const Hang::Condition& concerns) {
    wait_until_prepared();
    hang =
        std::make_unique<Hang>(fs, [this, concerns](Operation operation, const std::string& path) {
          const std::thread::id caller = std::this_thread::get_id();
          if (operation == Operation::reserve) preparer = caller;
          return caller == preparer && armed && concerns(operation, path);
        });
    while (preparer.load() == std::thread::id{}) append();
    wait_until_prepared();
    armed = true;
  }
  void append() {
    (void)open.append_sync(text_of(open.log->last_lsn() + 1), &code);
    if (code == Code::backpressure) usleep(1000);
  }
  void wait_until_prepared() {
    REQUIRE(open.wait_for([&] { return open.log->stats().prepared_segments == 8; }));
  }
};

}  // namespace

// ensures that whatever keeps a segment from being prepared is named, takes no LSN, lets nobody
// wait for ever, is tried again, and is forgotten once it works.
TEST_CASE("preparation: fails for any reason, then works") {
  struct Case {
    Operation operation;
    int error;
    Code code;
  };
  for (const auto& [operation, error, code] :
       {Case{Operation::reserve, EIO, Code::io}, Case{Operation::open, EMFILE, Code::io},
        Case{Operation::open, EACCES, Code::io}, Case{Operation::rename, EROFS, Code::io},
        Case{Operation::open, ENOENT, Code::io}, Case{Operation::reserve, EDQUOT, Code::no_space},
        Case{Operation::reserve, EFBIG, Code::no_space},
        Case{Operation::write, ENOSPC, Code::no_space}}) {
    CAPTURE(operation_name(operation));
    CAPTURE(error);
    Directory directory;
    FaultFileSystem fs{posix_file_system()};
    OpenLog open(fs, small_options(directory / "log"));
    REQUIRE(open.status.ok());
    REQUIRE(open.wait_for([&] { return open.log->stats().prepared_segments == 8; }));
    fs.add({.operation = operation, .times = FaultRule::for_ever, .error = error});
    REQUIRE(append_until_refused(open) == code);
    const uint64_t last = open.log->last_lsn();
    CHECK(open.session.refusal.error == error);
    CHECK(!open.is_poisoned());
    CHECK(open.log->durable_lsn() == last);
    open.log->ready(&open.session, 7);
    Status ready;
    // For space there is nothing to do but wait; everything else is told.
    CHECK(open.listener.answered(7, &ready) == (code == Code::io));
    if (code == Code::io) CHECK(ready.error == error);
    fs.clear_rules();
    Code after = Code::ok;
    REQUIRE(open.wait_for([&] {
      return open.append_sync(text_of(last + 1), &after) == last + 1 && after == Code::ok;
    }));
    Status status;
    CHECK(open.read_all(&status).size() == last + 1);
    CHECK(status.ok());
  }
}

// ensures that a refusal does not make a handle forget what it was given before.
TEST_CASE("preparation: a refused append leaves the earlier ones to be told") {
  Directory directory;
  FaultFileSystem fs{posix_file_system()};
  OpenLog open(fs, small_options(directory / "log"));
  std::atomic<bool> hang{true};
  fs.set_hook([&](Operation operation, const std::string&) {
    while (operation == Operation::dsync_write && hang) usleep(500);
  });
  Code code = Code::ok;
  while (code == Code::ok) (void)open.append("x", &code);
  CHECK(code == Code::backpressure);
  const uint64_t last = open.log->last_lsn();
  CHECK(open.session.own_lsn == last);
  CHECK(open.session.last_code == Code::backpressure);
  hang = false;
  CHECK(open.wait_for([&] { return open.session.told_lsn == last; }));
}

// ensures that those who wait for space are told when preparing turns out to fail.
TEST_CASE("preparation: a wait for space ends when preparing fails for another reason") {
  Directory directory;
  FaultFileSystem fs{posix_file_system()};
  OpenLog open(fs, small_options(directory / "log"));
  REQUIRE(open.wait_for([&] { return open.log->stats().prepared_segments == 8; }));
  fs.add({.operation = Operation::reserve, .times = FaultRule::for_ever, .error = ENOSPC});
  REQUIRE(append_until_refused(open) == Code::no_space);
  open.log->ready(&open.session, 7);
  CHECK(!open.listener.answered(7));
  fs.clear_rules();
  fs.add({.operation = Operation::reserve, .times = FaultRule::for_ever, .error = EIO});
  Status status;
  REQUIRE(open.wait_for([&] { return open.listener.answered(7, &status); }));
  CHECK(status.code == Code::io);
  CHECK(status.error == EIO);
}

// ensures that a log that had to begin small for want of space refuses for that reason from the
// first append on, and not for being in a hurry while the first whole segment is tried.
TEST_CASE("preparation: the first refusal of a log that was opened on a full disk") {
  Directory directory;
  FaultFileSystem fs{posix_file_system()};
  std::unique_ptr<OpenLog> open;
  std::atomic<int> reserves{0};
  // The segment that is too large, the small one, then the preparer's.
  Hang hang(fs, [&](Operation operation, const std::string&) {
    return operation == Operation::reserve && ++reserves > 2;
  });
  fs.add({.operation = Operation::reserve, .error = EFBIG});
  open = std::make_unique<OpenLog>(fs, small_options(directory / "log"));
  REQUIRE(open->status.ok());
  REQUIRE(open->report.events.size() == 1);
  CHECK(open->report.events[0].find("files of that size: opened with") != std::string::npos);
  REQUIRE(open->wait_for([&] { return hang.hung() > 0; }));
  Code code = Code::ok;
  CHECK(open->append("x", &code) == 0);
  CHECK(code == Code::no_space);
  CHECK(open->session.refusal.error == EFBIG);
  hang.release();
  REQUIRE(open->wait_for([&] { return open->append_sync("x") == 1; }));
}

// ensures that a segment that is sealed and released while the preparer looks whether the files are
// in place is not taken for one that somebody else moved.
TEST_CASE("preparation: a segment is released during the look at the files in use") {
  std::atomic<bool> first_look{true};
  WithPreparer f([&](Operation operation, const std::string& path) {
    return operation == Operation::identity && path.ends_with(".wal") && first_look.exchange(false);
  });
  OpenLog& open = f.open;
  Hang& hang = *f.hang;
  uint64_t seals = 0;
  while (hang.hung() == 0 || open.log->stats().counters.seals < seals + 3) {
    if (hang.hung() == 0) seals = open.log->stats().counters.seals;
    f.append();
  }
  uint64_t first = 0;
  REQUIRE(open.log->truncate_before(open.log->last_lsn(), &first).ok());
  REQUIRE(first > 1);
  REQUIRE(hang.hung() == 1);
  hang.release();
  f.wait_until_prepared();
  CHECK(!open.is_poisoned());
  CHECK(open.append_sync("goes on", &f.code) > 0);
}

// ensures that a segment that somebody replaced, or a directory that somebody moved, is met when
// the segment is sealed, though the preparer, which looks once for each segment, gets to it no
// more.
TEST_CASE("place: the last look is that of the seal") {
  for (const bool moves_directory : {false, true}) {
    CAPTURE(moves_directory);
    WithPreparer f([](Operation, const std::string&) { return true; });
    OpenLog& open = f.open;
    f.append();
    ReadableSegment active;
    REQUIRE(open.log->segment_holding(open.log->last_lsn(), &active));
    REQUIRE(!active.final);
    std::string path = open.log->segment_path(active.entry.header.sequence);
    if (moves_directory) {
      path = f.directory / "log";
      std::filesystem::rename(path, f.directory / "moved");
    } else {
      REQUIRE(std::filesystem::copy_file(path, path + ".copy"));
      std::filesystem::rename(path + ".copy", path);
    }
    for (int i = 0; i < 20'000 && !open.is_poisoned(); i++) f.append();
    Status failure;
    uint64_t ignored = 0;
    const bool poisoned = open.log->poisoned(&failure, &ignored, &ignored);
    f.hang->release();
    REQUIRE(poisoned);
    CHECK(failure.path == path);
  }
}

// ensures that a process that may have no more threads gets an error, and keeps running.
TEST_CASE("threads: the system refuses one") {
  const int result = in_child([] {
    if (!refuse(SYS_clone3, ENOSYS) || !refuse(SYS_clone, EAGAIN)) return cannot_try;
    Thread thread;
    const Status status = thread.start([] {});
    if (status.code != Code::io || status.error != EAGAIN) return 1;
    ThreadPool pool(2);
    if (pool.run([] {}).ok()) return 2;
    int done = 0;
    for_each_parallel(20, [&](size_t) { done++; });
    return done == 20 ? 0 : 3;
  });
  if (result != cannot_try) CHECK(result == 0);
}

// ensures that a log whose threads cannot be made is an error, and that the next open is as ever.
TEST_CASE("threads: a log that gets none does not open") {
  Directory directory;
  const OpenOptions options = small_options(directory / "log");
  const int result = in_child([&] {
    if (!refuse(SYS_clone3, ENOSYS) || !refuse(SYS_clone, EAGAIN)) return cannot_try;
    Log* log = nullptr;
    log::RecoveryReport report;
    const Status status = open_shared(posix_file_system(), options, &log, &report);
    return status.code == Code::io && status.error == EAGAIN ? 0 : 1;
  });
  if (result != cannot_try) CHECK(result == 0);
  OpenLog open(posix_file_system(), options);
  REQUIRE(open.status.ok());
  CHECK(open.append_sync("after") == 1);
}
