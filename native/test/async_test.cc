// Commits that the appending thread begins by itself: whoever comes by takes the result, nobody
// waits for ever, and a failure is one.
#include <thread>

#include "log_fixture.h"

using namespace stonelog;
using namespace stonelog::test;
using Begun = io::AsyncWrite::Begun;

namespace {

struct Fixture {
  Directory directory;
  HeldWrite held;
  FaultFileSystem fs{posix_file_system()};
  OpenOptions options = small_options(directory / "log");
  std::unique_ptr<OpenLog> open;

  explicit Fixture(uint64_t segment_bytes = 128 << 10) {
    options.segment_bytes = segment_bytes;
    options.queue_bytes = 4 << 20;
    fs.offer_async(&held);
    open = std::make_unique<OpenLog>(fs, options);
    REQUIRE(open->status.ok());
    (void)open->log->watch_commits(&open->session);
    REQUIRE(open->session.watches);
  }
  ~Fixture() { held.release(); }
  Log& log() { return *open->log; }

  // As the event loop's thread does it, which kicks at the end of its turn.
  uint64_t admit(const std::string& text) {
    Code code = Code::ok;
    const uint64_t lsn = open->admit(text, &code);
    REQUIRE(code == Code::ok);
    return lsn;
  }
  uint64_t append(const std::string& text) {
    const uint64_t lsn = admit(text);
    (void)log().kick(&open->session);
    return lsn;
  }
  // From another thread, which is to be joined: meanwhile somebody waits for what is held.
  std::thread release_soon() {
    return std::thread([this] {
      usleep(30'000);
      held.release();
    });
  }
  // As its event loop calls it.
  void take() { log().take_commit(&open->session); }
};

}  // namespace

TEST_CASE("ensures that a small commit is begun by the thread that appends, and none is woken") {
  Fixture f(8 << 20);  // no rotation: seals are the committers'

  f.append("first");  // whatever is armed for the first time
  REQUIRE(f.open->wait_for([&] { return f.log().durable_lsn() == 1; }));
  const LogStats before = f.log().stats();
  for (uint64_t lsn = 2; lsn <= 400; lsn++) {
    CHECK(f.append(text_of(lsn)) == lsn);
    f.take();
    REQUIRE(f.open->wait_for([&] { return f.log().durable_lsn() == lsn; }));
  }
  const LogStats after = f.log().stats();
  CHECK(after.begun - before.begun > 350);
  CHECK(after.wakes - before.wakes < 200);  // now and then, to look after what was begun
  CHECK(f.open->listener.progressed >= 399);
}

TEST_CASE("ensures that durable_lsn tells of a commit whose thread does not return to its loop") {
  Fixture f;
  const uint64_t lsn = f.append("busy");
  CHECK(f.log().durable_lsn() == lsn);
}

TEST_CASE("ensures that a commit nobody asks about becomes known, and what waits behind it goes") {
  Fixture f;
  f.held.hold();
  f.append("first");
  f.append("second");  // waits: a small one does not join another
  CHECK(f.held.begun() == 1);
  f.held.release();
  // The thread is busy for ever. Nobody asks for the durable LSN.
  CHECK(f.open->wait_for([&] { return f.open->listener.progressed >= 2; }));
  CHECK(f.held.taken() == 1);
  CHECK(f.open->read_all() == std::vector<std::string>{"first", "second"});
}

TEST_CASE("ensures that no result is waited for by one thread and taken by another") {
  Fixture f;
  f.held.hold();
  f.append("first");
  std::thread waiting([&] { CHECK(f.log().flush_and_wait().ok()); });
  usleep(20'000);
  f.take();  // its result is another's now
  f.held.release();
  waiting.join();
  CHECK(f.held.taken() == 1);
  CHECK(f.log().durable_lsn() == 1);
}

TEST_CASE("ensures that appendSync behind a commit under way waits for it itself") {
  Fixture f;
  f.held.hold();
  f.append("first");
  std::thread releasing = f.release_soon();
  CHECK(f.open->append_sync("second") == 2);
  releasing.join();
  CHECK(f.log().durable_lsn() == 2);
}

TEST_CASE("ensures that a write that would have had to wait is carried out by a committer") {
  Fixture f;
  f.held.fail_next(-EAGAIN);
  f.append("first");
  f.take();
  CHECK(f.open->wait_for([&] { return f.log().durable_lsn() == 1; }));
  f.held.refuse_next(Begun::not_now);
  f.append("second");
  CHECK(f.open->wait_for([&] { return f.log().durable_lsn() == 2; }));
  f.append("third");
  f.take();
  CHECK(f.log().durable_lsn() == 3);
  CHECK_FALSE(f.open->is_poisoned());
  CHECK(f.open->read_all() == std::vector<std::string>{"first", "second", "third"});
  CHECK(f.held.begun() == 2);
}

TEST_CASE("ensures that a kernel that cannot do it is asked once") {
  Fixture f;
  f.held.refuse_next(Begun::never);
  for (int i = 0; i < 5; i++) f.append("record");
  CHECK(f.log().flush_and_wait().ok());
  CHECK(f.held.begun() == 0);
  CHECK(f.open->read_all().size() == 5);
}

TEST_CASE("ensures that a failed or short asynchronous write is final, its records indeterminate") {
  for (const int64_t result :
       {int64_t{-EIO}, int64_t{-ENOSPC}, int64_t{-ECANCELED}, int64_t{512}}) {
    CAPTURE(result);
    Fixture f;
    f.append("good");
    f.take();
    f.held.fail_next(result);
    f.held.hold();
    f.append("bad");
    f.append("never handed over");
    f.held.release();
    f.take();
    uint64_t durable = 0;
    uint64_t not_written = 0;
    REQUIRE(f.open->is_poisoned(&durable, &not_written));
    CHECK(durable == 1);
    CHECK(not_written == 3);
    // The directory is free at once.
    FaultFileSystem other{posix_file_system()};
    OpenLog again(other, f.options);
    CHECK(again.status.ok());
    CHECK(again.report.last_lsn == 1);
    CHECK_FALSE(f.open->close().ok());
  }
}

TEST_CASE("ensures that a log that stops keeps its lock while a commit is under way") {
  Fixture f;
  f.held.hold();
  f.append("first");
  CHECK(f.held.begun() == 1);
  f.fs.add({.operation = Operation::identity, .times = 1000, .error = ENOENT});
  uint64_t ignored = 0;
  CHECK_FALSE(f.log().truncate_before(1, &ignored).ok());  // the directory is gone
  REQUIRE(f.open->is_poisoned());
  usleep(20'000);
  FaultFileSystem other{posix_file_system()};
  bool locked = false;
  uint64_t pid = 0;
  REQUIRE(other.is_locked(f.options.directory + "/" + log::kLockName, &locked, &pid).ok());
  CHECK(locked);
  f.held.release();
  CHECK(f.open->wait_for([&] {
    REQUIRE(other.is_locked(f.options.directory + "/" + log::kLockName, &locked, &pid).ok());
    return !locked;
  }));
}

TEST_CASE("ensures that a second handle is not kept waiting by the thread of the first") {
  Fixture f;
  f.held.hold();
  f.append("of the first");
  Log::Session second;
  CountingListener listener;
  second.listener = &listener;
  f.log().attach(&second);
  Code code = Code::ok;
  const std::string text = "of the second";
  CHECK(f.log().append(&second, reinterpret_cast<const uint8_t*>(text.data()), text.size(),
                       Durability::group, &code) == 2);
  (void)f.log().kick(&second);
  f.held.release();
  // The first one's thread does nothing any more.
  CHECK(f.open->wait_for([&] { return listener.progressed > 0; }));
  f.append("of the first again");
  CHECK(f.open->wait_for([&] { return f.log().durable_lsn() == 3; }));
  CHECK(f.held.begun() == 1);
  f.log().detach(&second);
}

TEST_CASE("ensures that closing waits for the commit under way, and the log is whole") {
  Fixture f;
  f.held.hold();
  f.append("first");
  std::thread releasing = f.release_soon();
  CHECK(f.open->close().ok());
  releasing.join();
  OpenLog again(f.fs, f.options);
  CHECK(again.report.closed);
  CHECK(again.read_all() == std::vector<std::string>{"first"});
}

TEST_CASE("ensures that rotations go on where one thread begins all commits") {
  Fixture f;
  std::vector<std::string> texts;
  for (uint64_t lsn = 1; lsn <= 200; lsn++) {
    texts.push_back(text_of(lsn));
    Code code = Code::ok;
    while (f.log().append(&f.open->session, reinterpret_cast<const uint8_t*>(texts.back().data()),
                          texts.back().size(), Durability::group, &code) == 0)
      usleep(200);
    (void)f.log().kick(&f.open->session);
    REQUIRE(f.open->wait_for([&] { return f.log().durable_lsn() == lsn; }));
  }
  CHECK(f.log().stats().counters.rotations > 2);
  CHECK(f.held.begun() > 100);
  CHECK(f.open->read_all() == texts);
}

TEST_CASE(
    "ensures that large groups, bulk loads and what is not to be durable are not begun here") {
  Fixture f(1 << 20);
  Code code = Code::ok;
  CHECK(f.open->append("not durable", &code, Durability::none) == 1);
  (void)f.log().kick(&f.open->session);
  CHECK(f.held.begun() == 0);
  CHECK(f.log().flush_and_wait().ok());
  const std::string text(60 << 10, 'x');
  for (int i = 0; i < 4; i++) (void)f.admit(text);
  const uint64_t last = f.append(text);
  CHECK(f.held.begun() == 0);
  CHECK(f.open->wait_for([&] { return f.log().durable_lsn() == last; }));
}

TEST_CASE("ensures that a flush takes what is done, and begins what waits behind it") {
  Fixture f;
  f.append("first");
  CHECK(f.held.begun() == 1);
  (void)f.admit("second");
  f.log().flush(&f.open->session, 1, 0);
  CHECK(f.held.begun() == 2);
  f.take();
  CHECK(f.open->listener.answered(1));
}

TEST_CASE("ensures that what the device never takes in one request is not begun for ever") {
  Fixture f(4 << 20);
  const std::string text(60 << 10, 'x');
  const auto append_large = [&] {
    (void)f.admit(text);
    const uint64_t lsn = f.append(text);
    REQUIRE(f.open->wait_for([&] { return f.log().durable_lsn() == lsn; }));
  };
  // Where the preparer is just zeroing nothing is begun.
  const auto begin_large = [&](int64_t error) {
    const uint64_t before = f.held.begun();
    if (error != 0) f.held.fail_next(error);
    REQUIRE(f.open->wait_for([&] {
      append_large();
      return f.held.begun() > before;
    }));
  };
  for (const int64_t error : {-EAGAIN, -EAGAIN, 0, -EAGAIN, -EAGAIN, -EAGAIN}) begin_large(error);
  const uint64_t before = f.held.begun();
  for (int i = 0; i < 5; i++) append_large();
  CHECK(f.held.begun() == before);
  CHECK(f.open->wait_for([&] {
    (void)f.append("small");
    return f.held.begun() > before;
  }));
}

// ensures that a flush at the end of a burst has no thread woken either.
TEST_CASE("ensures that a burst is begun by the thread that flushes it") {
  Fixture f(4 << 20);
  const std::string text(60 << 10, 'x');
  uint64_t request = 0;
  // Where the preparer is just zeroing nothing is begun.
  CHECK(f.open->wait_for([&] {
    const uint64_t before = f.held.begun();
    for (int i = 0; i < 3; i++) {
      (void)f.admit(text);
      (void)f.log().kick(&f.open->session, true);
    }
    CHECK(f.held.begun() == before);
    f.log().flush(&f.open->session, ++request, 0);
    const bool begun = f.held.begun() == before + 1;
    f.take();
    REQUIRE(f.open->wait_for([&] { return f.open->listener.answered(request); }));
    return begun;
  }));
}

TEST_CASE("ensures that the kernel's own asynchronous write is durable, and says when") {
  Directory directory;
  FileSystem& fs = posix_file_system();
  io::Probe probe;
  REQUIRE(fs.probe(directory.path(), io::DirectIo::automatic, true, &probe).ok());
  const std::unique_ptr<io::AsyncWrite> async = fs.async_write();
  if (async == nullptr || !probe.async_dsync) {
    MESSAGE("SKIPPED: no asynchronous writes here");
    return;
  }
  std::unique_ptr<io::File> file;
  REQUIRE(fs.open(directory / "file", io::Access::create, true, 0600, &file).ok());
  const Blocks zeros(8, 0);
  const Blocks ones(2, 1);
  const io::Part whole = zeros.part();
  REQUIRE(file->write(0, &whole, 1, io::WriteMode::dsync).ok());
  int64_t result = 0;
  CHECK_FALSE(async->take(&result));
  const io::Part part = ones.part();
  REQUIRE(file->begin_write(async.get(), 2 * block, &part, 1) == Begun::yes);
  CHECK(async->wait() == static_cast<int64_t>(2 * block));
  CHECK_FALSE(async->take(&result));
  Blocks back(8, 7);
  size_t got = 0;
  REQUIRE(file->read(0, back.data(), back.size(), &got).ok());
  CHECK(back.all(0, 2 * block, 0));
  CHECK(back.all(2 * block, 4 * block, 1));
  CHECK(back.all(4 * block, 8 * block, 0));
}

TEST_CASE(
    "ensures that what waits behind a commit that durable_lsn told of is begun by its thread") {
  Fixture f;
  f.append("armed");
  f.take();
  f.held.hold();
  f.append("first");
  f.append("second");  // waits: a small one does not join another
  f.held.release();
  CHECK(f.log().durable_lsn() == 2);  // a reader looks, or the application
  f.take();                           // the descriptor is readable all the same
  CHECK(f.held.begun() == 3);
  CHECK(f.log().durable_lsn() == 3);
}

TEST_CASE("ensures that a commit that came back is counted once") {
  Fixture f;
  f.held.fail_next(-EAGAIN);
  f.append("first");
  f.take();
  REQUIRE(f.open->wait_for([&] { return f.log().durable_lsn() == 1; }));
  const LogStats stats = f.log().stats();
  CHECK(stats.queue.count() == stats.write.count());
}

TEST_CASE("ensures that a write the kernel does not support is carried out by a committer") {
  Fixture f;
  f.held.fail_next(-EOPNOTSUPP);
  f.append("first");
  f.take();
  CHECK(f.open->wait_for([&] { return f.log().durable_lsn() == 1; }));
  CHECK_FALSE(f.open->is_poisoned());
}

TEST_CASE("ensures that groups that are closed go beside a commit that was begun") {
  Fixture f;
  f.append("armed");
  f.take();
  f.held.hold();
  Code code = Code::ok;
  const std::string text = "each";
  for (int i = 0; i < 2; i++)
    (void)f.log().append(&f.open->session, reinterpret_cast<const uint8_t*>(text.data()),
                         text.size(), Durability::each, &code);
  (void)f.log().kick(&f.open->session);
  CHECK(f.held.begun() == 2);
  CHECK(f.open->wait_for([&] { return f.log().stats().counters.second_slot > 0; }, 10));
  f.held.release();
}

TEST_CASE("ensures that a log that stopped is not shut down before a write that is being begun") {
  Fixture f;
  {
    std::atomic<bool> released{false};
    std::atomic<bool> hung{false};
    f.fs.set_hook([&](Operation operation, const std::string&) {
      if (operation != Operation::dsync_write) return;
      hung = true;
      while (!released) usleep(500);
    });
    // As the event loop's thread begins what waited, from the descriptor's callback.
    std::thread loop([&] { f.append("being begun"); });
    while (!hung) usleep(500);
    // More than once: a segment that is still being prepared looks, too.
    f.fs.add({.operation = Operation::identity, .times = 1000, .error = ENOENT});
    uint64_t ignored = 0;
    CHECK_FALSE(f.log().truncate_before(1, &ignored).ok());
    REQUIRE(f.open->is_poisoned());
    std::atomic<bool> closed{false};
    f.log().retain();
    std::thread closing([&] {
      CHECK_FALSE(f.open->close().ok());  // as a request thread does
      closed = true;
    });
    usleep(100'000);
    CHECK_FALSE(closed);
    FaultFileSystem other{posix_file_system()};
    bool locked = false;
    uint64_t pid = 0;
    REQUIRE(other.is_locked(f.options.directory + "/" + log::kLockName, &locked, &pid).ok());
    CHECK(locked);
    released = true;
    loop.join();
    closing.join();
    f.open->log->release();
  }
  f.fs.set_hook({});
}
