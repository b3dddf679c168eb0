// What must not be believed, and what must not go on: a failure that would pass unnoticed, an order
// that would be lost, bytes that would come back.
#include <sys/mman.h>

#include <set>
#include <thread>

#include "log_fixture.h"
#include "sim/sim_log.h"

using namespace stonelog;
using namespace stonelog::test;
using sim::SimLog;

namespace {

struct Fixture {
  explicit Fixture(const char* parent = nullptr) : directory(parent) {}
  Directory directory;
  FaultFileSystem fs{posix_file_system()};
  OpenOptions options = small_options(directory / "log");

  void fill(OpenLog& open, uint64_t count) {
    for (uint64_t i = 0; i < count && !open.is_poisoned(); i++) {
      Code code = Code::ok;
      open.append_sync(text_of(open.log->last_lsn() + 1), &code);
      if (code == Code::backpressure) usleep(200);
    }
  }
  void fail_writes(const char* path) {
    for (const Operation operation : {Operation::write, Operation::dsync_write})
      fs.add({.operation = operation, .path = path, .times = FaultRule::for_ever});
  }
  std::set<std::string> segments() {
    std::vector<std::string> names;
    REQUIRE(posix_file_system().list(options.directory, &names).ok());
    uint64_t ignored = 0;
    std::erase_if(names,
                  [&](const auto& name) { return !log::parse_segment_name(name, &ignored); });
    return {names.begin(), names.end()};
  }
};

bool is_write(Operation operation, const std::string& path) {
  return (operation == Operation::write || operation == Operation::dsync_write) &&
         path.find(".wal") != std::string::npos;
}

// A log on the simulated disk: each record a group of one block, the start group at block 2, LSN n
// at block 2 + n.
struct SimFixture {
  SimLog log;
  SimFixture() { REQUIRE(log.open().ok()); }
  void append(int count) {
    for (int i = 0; i < count; i++) {
      REQUIRE(log.append("record " + std::to_string(log.engine->last_lsn() + 1)) != 0);
      log.run();
    }
  }
  static uint64_t group(uint64_t index) { return (2 + index) * 4096; }
  // LSNs 2 to 4 in three blocks from group(2) on, between two records of their own.
  void append_around_batch() {
    append(1);
    REQUIRE(log.append_batch(
                {std::string(3000, 'a'), std::string(3000, 'b'), std::string(3000, 'c')}) == 2);
    log.run();
    append(1);
    log.wait_idle();
    log.power_cut();
  }
  std::vector<std::string> salvage() {
    log::RecoveryPolicy policy;
    policy.damage = log::OnDamage::skip;
    policy.scan_all = true;
    REQUIRE(log.open(policy).ok());
    return log.read_all();
  }
};

}  // namespace

// ensures that a flush whose sync failed is never acknowledged: the kernel reports a lost page
// once, and a second sync succeeds.
TEST_CASE("fail-stop: a failed sync is final") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  REQUIRE(open.status.ok());
  open.append("not durable", nullptr, Durability::none);
  REQUIRE(open.wait_for([&] { return open.log->stats().write.count() >= 1; }));
  f.fs.add({.operation = Operation::sync, .path = ".wal"});
  open.log->flush(&open.session, 1, 0);
  Status answer;
  REQUIRE(open.wait_for([&] { return open.listener.answered(1, &answer); }));
  CHECK(answer.code == Code::io);
  CHECK(f.fs.failures() == 1);
  uint64_t durable = 1;
  uint64_t not_written = 0;
  CHECK(open.is_poisoned(&durable, &not_written));
  CHECK(durable == 0);
  CHECK(not_written == 2);
}

// ensures that a directory sync that failed while a segment was prepared stops the log: nobody
// knows which names would survive a power cut.
TEST_CASE("fail-stop: a failed directory sync is final") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  REQUIRE(open.wait_for([&] { return open.log->stats().prepared_segments == 8; }));
  f.fs.add({.operation = Operation::sync_directory, .path = "/log"});
  for (int i = 0; i < 200 && f.fs.failures() == 0; i++) f.fill(open, 20);
  REQUIRE(f.fs.failures() == 1);
  REQUIRE(open.wait_for([&] { return open.is_poisoned(); }));
  Code code = Code::ok;
  CHECK(open.append("after the failure", &code) == 0);
  CHECK(code == Code::poisoned);
}

// ensures that a head that could not be recorded releases nothing.
TEST_CASE("fail-stop: nothing is released before the new head is durable") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  f.fill(open, 3000);
  REQUIRE(open.wait_for([&] { return open.log->stats().prepared_segments == 8; }));
  const std::set<std::string> before = f.segments();
  f.fail_writes(".wal");
  uint64_t first = 0;
  CHECK(open.log->truncate_before(open.log->last_lsn(), &first).code == Code::io);
  CHECK(open.is_poisoned());
  CHECK(f.segments() == before);
}

// ensures that a failed log gives up its lock only when nothing of it is on its way to the device:
// a late write would land in what the next log has judged.
TEST_CASE("fail-stop: the lock is held while a write is under way") {
  Fixture f;
  std::atomic<int> writes{0};
  OpenLog open(f.fs, f.options);
  f.fill(open, 3);
  Hang hang(f.fs, [&](Operation operation, const std::string& path) {
    return is_write(operation, path) && writes++ == 0;
  });
  open.append("hangs");
  REQUIRE(open.wait_for([&] { return hang.hung() == 1; }));
  f.fail_writes(".wal");
  open.append(std::string(65'000, 'x'));  // large enough for the second slot
  CHECK(open.wait_for([&] { return open.is_poisoned(); }));
  {
    OpenLog early(f.fs, f.options);
    CHECK(early.status.code == Code::locked);
  }
  hang.release();
  f.fs.clear_rules();
  CHECK(open.wait_for([&] {
    OpenLog again(f.fs, f.options);
    return again.status.ok();
  }));
}

// ensures that a reader of the same log ends before what is not durable.
TEST_CASE("fail-stop: a reader sees nothing of a write in flight") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  f.fill(open, 3);
  Hang hang(f.fs, [](Operation operation, const std::string& path) {
    return operation == Operation::sync && path.find(".wal") != std::string::npos;
  });
  open.append("written, not synced", nullptr, Durability::none);
  open.log->flush(&open.session, 1, 0);
  REQUIRE(open.wait_for([&] { return hang.hung() == 1; }));
  Status status;
  CHECK(open.read_all(&status).size() == 3);
  CHECK(status.ok());
  ReadableSegment live;
  REQUIRE(open.log->segment_holding(4, &live));
  CHECK(live.entry.last_lsn == 3);
  hang.release();
  REQUIRE(open.wait_for([&] { return open.listener.answered(1); }));
  CHECK(open.read_all().size() == 4);
}

// ensures that a file system that is not known to honour RWF_DSYNC is given an explicit sync.
TEST_CASE("fail-stop: where RWF_DSYNC is not trusted every acknowledgement follows a sync") {
  Fixture f("/dev/shm");
  Probe probe;
  REQUIRE(posix_file_system().probe(f.directory.path(), DirectIo::automatic, true, &probe).ok());
  if (probe.dsync_trusted) {
    MESSAGE("/dev/shm is no tmpfs here");
    return;
  }
  OpenLog open(f.fs, f.options);
  REQUIRE(open.status.ok());
  f.fill(open, 20);
  CHECK(open.log->durable_lsn() == 20);
  CHECK(open.log->stats().counters.syncs >= 20);
}

// ensures that a write of which the kernel took only a part is an error. It stops at memory that
// cannot be read.
TEST_CASE("fail-stop: a short write of the kernel is an error") {
  Directory directory;
  const std::unique_ptr<File> file = open_file(posix_file_system(), directory / "a.wal");
  const Blocks one(1, 'x');
  void* const hidden = mmap(nullptr, block, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(hidden != MAP_FAILED);
  const Part parts[] = {one.part(), {static_cast<const uint8_t*>(hidden), block}};
  for (const WriteMode mode : {WriteMode::plain, WriteMode::dsync}) {
    Status status = file->write(0, parts, 2, mode);
    CHECK(status.error == EIO);
    CHECK(status.detail == "short write: 4096 of 8192 bytes");
  }
  munmap(hidden, block);
}

// ensures that without direct I/O nothing of a segment is read that may come from the page cache of
// an earlier process: after a failed write it shows what the device does not have.
TEST_CASE("fail-stop: buffered, everything is read after the cache was dropped") {
  Fixture f;
  f.options.direct_io = DirectIo::off;
  OpenLog open(f.fs, f.options);
  f.fill(open, 1500);
  REQUIRE(open.close().ok());
  std::mutex mutex;
  std::set<std::string> evicted;
  std::set<std::string> believed;
  f.fs.set_hook([&](Operation operation, const std::string& path) {
    const std::lock_guard<std::mutex> guard(mutex);
    if (operation == Operation::evict) evicted.insert(path);
    const bool segment = path.find(".wal") != std::string::npos;
    if (operation == Operation::read && segment && evicted.count(path) == 0) believed.insert(path);
  });
  open.reopen(f.fs, f.options);
  f.fs.set_hook({});
  REQUIRE(open.status.ok());
  CHECK(evicted.size() > 1);
  CHECK(believed.empty());
}

// ensures that what a killed writer had written, but not synced, survives a power cut once an open
// has shown it.
TEST_CASE("fail-stop: what a killed writer left is synced before it is believed") {
  SimFixture f;
  REQUIRE(f.log.append("record 1", Durability::none) == 1);
  f.log.run();
  f.log.engine.reset();
  f.log.fs.kill();
  REQUIRE(f.log.open().ok());
  REQUIRE(f.log.report().last_lsn == 1);
  f.log.power_cut();
  REQUIRE(f.log.open().ok());
  CHECK(f.log.report().last_lsn == 1);
  CHECK(f.log.read_all() == std::vector<std::string>{"record 1"});
}

// ensures that what a life cut is dead by that life's word alone: the bytes may be there still.
TEST_CASE("fail-stop: what a life cut stays dead where its bytes could not be given up") {
  SimFixture f;
  f.append(1);
  f.log.append_batch({std::string(3000, 'a'), std::string(3000, 'b'), std::string(3000, 'c')});
  log::Op op;
  REQUIRE(f.log.begin(&op));
  f.log.land(op);
  f.log.power_cut();
  f.log.zero(1, SimFixture::group(3), SimFixture::group(4));
  f.log.fs.add({sim::kWrites, 0, 1000, EIO, f.log.path(1).substr(4)});
  REQUIRE(f.log.open().ok());
  REQUIRE(f.log.report().last_lsn == 1);
  REQUIRE(f.log.fs.faults_fired() > 0);
  f.log.fs.clear_faults();
  f.append(1);
  f.log.power_cut();
  REQUIRE(f.log.examine().ok());
  CHECK(f.log.report().verdict == log::Verdict::clean);
  CHECK(f.log.report().last_lsn == 2);
  CHECK(f.log.read_all() == std::vector<std::string>{"record 1", "record 2"});
}

// ensures that the epoch of a life that is cut with its start group is known from what else is left
// of it: the LSNs given in it are given again.
TEST_CASE("fail-stop: an epoch that was cut is not used again") {
  SimFixture f;
  f.append(1);
  f.log.power_cut();
  REQUIRE(f.log.open().ok());
  f.append(1);
  f.log.power_cut();
  f.log.flip(2, SimFixture::group(0) + 20);
  log::RecoveryPolicy policy;
  policy.damage = log::OnDamage::cut;
  policy.scan_all = true;
  REQUIRE(f.log.open(policy).ok());
  CHECK(f.log.report().last_lsn == 1);
  CHECK(f.log.report().epoch > 2);
}

// ensures that the loss of the last segment is told from a close: a rotation's seal says that there
// is a successor.
TEST_CASE("fail-stop: the seal of a rotation is no close") {
  SimFixture f;
  f.append(2);
  f.log.rotate();
  f.log.power_cut();
  REQUIRE(f.log.fs.unlink(f.log.path(2)).ok());
  CHECK(f.log.examine().code == Code::corrupt);
  CHECK(f.log.report().row == std::string("missing-segment"));
  CHECK(!f.log.report().closed);
}

TEST_CASE("fail-stop: salvage keeps no part of a batch that lost its beginning") {
  SimFixture f;
  f.append_around_batch();
  f.log.flip(1, SimFixture::group(2) + 700);
  CHECK(f.salvage() == std::vector<std::string>{"record 1", "record 5"});
}

TEST_CASE("fail-stop: salvage keeps no part of a batch that lost its end") {
  SimFixture f;
  f.append_around_batch();
  f.log.flip(1, SimFixture::group(4) + 100);
  CHECK(f.salvage() == std::vector<std::string>{"record 1", "record 5"});
}
