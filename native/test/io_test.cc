#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "io/fault_file_system.h"
#include "io/posix_file_system.h"
#include "test/io_fixture.h"

using namespace stonelog;
using namespace stonelog::io;
using namespace stonelog::test;

TEST_CASE("parts of a gathered write mixed up or lost") {
  // ensures that parts are written back to back from the offset on, in both modes, buffered and
  // direct
  Directory directory;
  FileSystem& fs = posix_file_system();
  for (const bool direct : {false, true}) {
    if (direct && !direct_works(directory.path())) continue;
    for (const WriteMode mode : {WriteMode::plain, WriteMode::dsync}) {
      auto file = open_file(fs, directory / "a.wal", direct);
      const Blocks one(1, 1), two(2, 2), three(1, 3);
      const Part parts[] = {one.part(), two.part(), three.part()};
      REQUIRE(file->write(block, parts, 3, mode).ok());
      REQUIRE(file->sync().ok());
      const Blocks back(8, 0xEE);
      size_t got = 0;
      REQUIRE(file->read(0, back.data(), back.size(), &got).ok());
      CHECK(got == 5 * block);
      CHECK(back.all(0, block, 0));
      CHECK(back.all(block, 2 * block, 1));
      CHECK(back.all(2 * block, 4 * block, 2));
      CHECK(back.all(4 * block, 5 * block, 3));
    }
  }
}

TEST_CASE("the partial block at the end of a file read directly") {
  // ensures that a direct read across an unaligned end gives what is there and then the end, not
  // EINVAL
  Directory directory;
  if (!direct_works(directory.path())) return;
  FileSystem& fs = posix_file_system();
  create(fs, directory / "a.wal", std::string(5000, 'x'));
  auto file = open_file(fs, directory / "a.wal", true);
  const Blocks back(4, 0);
  size_t got = 0;
  REQUIRE(file->read(0, back.data(), back.size(), &got).ok());
  CHECK(got == 5000);
  CHECK(back.all(0, 5000, 'x'));
  REQUIRE(file->read(2 * block, back.data(), block, &got).ok());
  CHECK(got == 0);
}

TEST_CASE("a reservation that shrinks nothing, or is emulated by writing") {
  // ensures that reserve sets the exact size, keeps contents, and takes the blocks where it says so
  Directory directory;
  auto file = create(posix_file_system(), directory / "a.wal", std::string(3 * block, 'x'));
  uint64_t size = 0;
  bool reserved = false;
  REQUIRE(file->reserve(64 * block, &reserved).ok());
  REQUIRE(file->size(&size).ok());
  CHECK(size == 64 * block);
  struct stat facts {};
  REQUIRE(stat((directory / "a.wal").c_str(), &facts) == 0);
  CHECK((static_cast<size_t>(facts.st_blocks) * 512 >= 64 * block) == reserved);
  REQUIRE(file->reserve(2 * block, &reserved).ok());
  REQUIRE(file->size(&size).ok());
  CHECK(size == 2 * block);
  CHECK(contents(posix_file_system(), directory / "a.wal") == std::string(2 * block, 'x'));
}

TEST_CASE("space given back that somebody still needs") {
  // ensures that punch zeroes its range only and keeps the size
  Directory directory;
  auto file = create(posix_file_system(), directory / "a.wal", std::string(4 * block, 'x'));
  REQUIRE(file->punch(block, 3 * block).ok());
  const std::string after = contents(posix_file_system(), directory / "a.wal");
  CHECK(after.size() == 4 * block);
  CHECK(after.substr(0, block) == std::string(block, 'x'));
  CHECK(after.substr(3 * block) == std::string(block, 'x'));
  CHECK(file->evict().ok());
}

TEST_CASE("RWF_DSYNC refused by the kernel or a sandbox") {
  // ensures that an explicit fdatasync takes its place, and that the failure of that one is
  // reported
  Directory directory;
  const int result = in_child([&] {
    const Blocks one(1, 'x');
    const Part part = one.part();
    std::unique_ptr<File> file;
    const std::string path = directory / "a.wal";
    if (!posix_file_system().open(path, Access::create, false, 0600, &file).ok()) return 1;
    if (!refuse(SYS_pwritev2, EOPNOTSUPP)) return cannot_try;
    if (!file->write(0, &part, 1, WriteMode::dsync).ok()) return 2;
    if (contents(posix_file_system(), path) != std::string(block, 'x')) return 3;
    if (!refuse(SYS_fdatasync, EIO)) return 4;
    Status status = file->write(block, &part, 1, WriteMode::dsync);
    if (status.error != EIO || std::string(status.syscall) != "fdatasync") return 5;
    return file->write(block, &part, 1, WriteMode::plain).ok() ? 0 : 6;
  });
  if (result == cannot_try) MESSAGE("not permitted here");
  CHECK((result == 0 || result == cannot_try));
}

TEST_CASE("what an evicted file shows comes from memory") {
  // ensures that evict leaves no page of the file in the page cache, dirty ones included
  Directory directory;
  Probe probe;
  REQUIRE(posix_file_system().probe(directory.path(), DirectIo::off, true, &probe).ok());
  if (probe.file_system != "ext4" && probe.file_system != "xfs") return;
  constexpr size_t pages = 256;
  const std::string path = directory / "a.wal";
  auto file = create(posix_file_system(), path, std::string(pages * block, 'x'));
  const int fd = open(path.c_str(), O_RDONLY);
  void* view = mmap(nullptr, pages * block, PROT_READ, MAP_SHARED, fd, 0);
  REQUIRE(view != MAP_FAILED);
  unsigned char resident[pages] = {};
  REQUIRE(mincore(view, pages * block, resident) == 0);
  CHECK(std::count_if(resident, resident + pages, [](int flags) { return flags & 1; }) == pages);
  REQUIRE(file->evict().ok());
  REQUIRE(mincore(view, pages * block, resident) == 0);
  CHECK(std::count_if(resident, resident + pages, [](int flags) { return flags & 1; }) == 0);
  munmap(view, pages * block);
  close(fd);
}

TEST_CASE("a write beyond RLIMIT_FSIZE") {
  // ensures that it is EFBIG, a space error, and that SIGXFSZ does not kill the process
  Directory directory;
  const int result = in_child([&] {
    signal(SIGXFSZ, SIG_DFL);
    const rlimit limit{4 * block, 4 * block};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    std::unique_ptr<File> file;
    if (!posix_file_system().open(directory / "a.wal", Access::create, false, 0600, &file).ok())
      return 2;
    const Blocks three(3, 1);
    const Part part = three.part();
    if (!file->write(0, &part, 1, WriteMode::dsync).ok()) return 3;
    Status status = file->write(2 * block, &part, 1, WriteMode::dsync);
    if (status.code != Code::no_space || status.error != EFBIG || status.offset != 2 * block)
      return 4;
    bool reserved = false;
    status = file->reserve(5 * block, &reserved);
    if (status.code != Code::no_space || status.error != EFBIG) return 5;
    Probe probe;
    return posix_file_system().probe(directory.path(), DirectIo::automatic, true, &probe).ok() ? 0
                                                                                               : 6;
  });
  CHECK(result == 0);
}

TEST_CASE("misaligned direct write, missing file, directory for a file") {
  // ensures that refused calls name errno, syscall and path, and that a missing file has its own
  // code
  Directory directory;
  FileSystem& fs = posix_file_system();
  std::unique_ptr<File> file;
  Status status = fs.open(directory / "none.wal", Access::read_write, false, 0600, &file);
  CHECK(status.code == Code::not_found);
  CHECK(status.error == ENOENT);
  CHECK(std::string(status.syscall) == "open");
  CHECK(status.path == directory / "none.wal");
  CHECK(fs.unlink(directory / "none.wal").code == Code::not_found);
  CHECK(fs.sync_directory(directory / "none").code == Code::not_found);
  std::vector<std::string> names;
  CHECK(fs.list(directory / "none", &names).code == Code::not_found);
  CHECK(fs.open(directory.path(), Access::create, false, 0600, &file).error == EISDIR);
  if (!direct_works(directory.path())) return;
  auto direct = open_file(fs, directory / "a.wal", true);
  const Blocks blocks(2, 1);
  const Part odd{blocks.data() + 1, block};
  status = direct->write(block, &odd, 1, WriteMode::plain);
  CHECK(status.code == Code::io);
  CHECK(status.error == EINVAL);
  CHECK(status.offset == block);
}

TEST_CASE("a child process inherits the log's files") {
  // ensures that every descriptor is close-on-exec
  Directory directory;
  FileSystem& fs = posix_file_system();
  auto file = open_file(fs, directory / "a.wal");
  std::unique_ptr<Lock> lock;
  REQUIRE(fs.lock(directory / "lock", 0600, &lock).ok());
  std::string found;
  for (int fd = 3; fd < 256; fd++) {
    char target[512] = {};
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    if (readlink(link.c_str(), target, sizeof target - 1) <= 0) continue;
    if (std::string(target).find(directory.path()) != 0) continue;
    found += "+";
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  }
  CHECK(found == "++");
}

TEST_CASE("names in the order of the directory's hash, or with . and ..") {
  // ensures that list gives all names sorted bytewise, and that rename replaces
  Directory directory;
  FileSystem& fs = posix_file_system();
  for (const char* name : {"b", "a", "B", "10", "9", ".x"}) create(fs, directory / name, name);
  std::vector<std::string> names;
  REQUIRE(fs.list(directory.path(), &names).ok());
  CHECK(names == std::vector<std::string>{".x", "10", "9", "B", "a", "b"});
  REQUIRE(fs.rename(directory / "a", directory / "b").ok());
  CHECK(contents(fs, directory / "b") == "a");
  uint64_t free = 0, device = 0, inode = 0, other = 0;
  CHECK(fs.free_bytes(directory.path(), &free).ok());
  CHECK(free > 0);
  CHECK(fs.identity(directory.path(), &device, &inode).ok());
  CHECK(fs.identity(directory / "../" + directory.path().substr(directory.path().rfind('/')),
                    &device, &other)
            .ok());
  CHECK(inode == other);
  CHECK(fs.identity(directory / "b", &device, &inode).error == ENOTDIR);
  CHECK(fs.random64() != fs.random64());
}

TEST_CASE("a power cut takes the new directory's name") {
  // ensures that the parent of every directory created is synced, and that of no other
  Directory directory;
  FaultFileSystem fs(posix_file_system());
  bool created = false;
  REQUIRE(make_directories(fs, directory / "a//b/c/", &created).ok());
  CHECK(created);
  CHECK(fs.count(Operation::sync_directory) == 3);
  fs.reset_counts();
  REQUIRE(make_directories(fs, directory / "a/b/c", &created).ok());
  CHECK_FALSE(created);
  CHECK(fs.count(Operation::any) == 1);
  create(fs, directory / "file");
  CHECK(make_directories(fs, directory / "file/x", &created).error == ENOTDIR);
  CHECK(make_directories(fs, directory / "file", &created).error == ENOTDIR);
  CHECK(make_directories(fs, "", &created).code == Code::not_found);
  fs.add({.operation = Operation::sync_directory, .path = "/d", .error = EIO});
  CHECK(make_directories(fs, directory / "d/e", &created).error == EIO);
  CHECK_FALSE(created);
}

TEST_CASE("two processes open the log") {
  // ensures that the second one gets WAL_LOCKED with the holder's pid, after having retried for 250
  // ms
  Directory directory;
  FileSystem& fs = posix_file_system();
  Holder holder(directory / "lock");
  std::unique_ptr<Lock> lock;
  const auto start = std::chrono::steady_clock::now();
  Status status = fs.lock(directory / "lock", 0600, &lock);
  CHECK(std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(250));
  CHECK(status.code == Code::locked);
  CHECK(status.pid == holder.pid());
  holder.end();
  CHECK(fs.lock(directory / "lock", 0600, &lock).ok());
  CHECK(contents(fs, directory / "lock") == std::to_string(getpid()) + "\n");
}

TEST_CASE("the lock dropped because some code closed another descriptor of the file") {
  // ensures that the lock belongs to its descriptor alone (a POSIX record lock would be gone here)
  Directory directory;
  FileSystem& fs = posix_file_system();
  std::unique_ptr<Lock> lock, second;
  REQUIRE(fs.lock(directory / "lock", 0600, &lock).ok());
  close(open((directory / "lock").c_str(), O_RDWR));
  Status status = fs.lock(directory / "lock", 0600, &second);
  CHECK(status.code == Code::locked);
  CHECK(status.pid == static_cast<uint64_t>(getpid()));
}

TEST_CASE("a holder that dies while the next one waits") {
  // ensures that a lock freed within the 250 ms is taken
  Directory directory;
  Holder holder(directory / "lock");
  std::thread killer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    holder.end();
  });
  std::unique_ptr<Lock> lock;
  CHECK(posix_file_system().lock(directory / "lock", 0600, &lock).ok());
  killer.join();
}

TEST_CASE("asking for the lock takes it or changes the file") {
  // ensures that is_locked works without write permission, tells the pid, and takes and writes
  // nothing
  Directory directory;
  FileSystem& fs = posix_file_system();
  bool locked = true;
  uint64_t pid = 1;
  REQUIRE(fs.is_locked(directory / "lock", &locked, &pid).ok());
  CHECK_FALSE(locked);
  CHECK(access((directory / "lock").c_str(), F_OK) != 0);
  {
    Holder holder(directory / "lock");
    REQUIRE(chmod((directory / "lock").c_str(), 0400) == 0);
    REQUIRE(fs.is_locked(directory / "lock", &locked, &pid).ok());
    CHECK(locked);
    CHECK(pid == holder.pid());
  }
  REQUIRE(fs.is_locked(directory / "lock", &locked, &pid).ok());
  CHECK_FALSE(locked);
  CHECK(pid == 0);
}

TEST_CASE("a probe that leaves a file behind, or writes when it may not") {
  // ensures that the directory is as before, and that read-only probing learns the same from a
  // segment
  Directory directory;
  FileSystem& fs = posix_file_system();
  Probe writing, empty, reading, off;
  REQUIRE(fs.probe(directory.path(), DirectIo::automatic, true, &writing).ok());
  std::vector<std::string> names;
  REQUIRE(fs.list(directory.path(), &names).ok());
  CHECK(names.empty());
  REQUIRE(fs.probe(directory.path(), DirectIo::on, false, &empty).ok());
  CHECK_FALSE(empty.direct);
  CHECK(empty.reason.find("no segment") != std::string::npos);
  create(fs, directory / "0001.wal", std::string(8192, 'x'));
  REQUIRE(fs.probe(directory.path(), DirectIo::automatic, false, &reading).ok());
  CHECK(reading.direct == writing.direct);
  CHECK(reading.block_size == writing.block_size);
  REQUIRE(fs.probe(directory.path(), DirectIo::off, true, &off).ok());
  CHECK_FALSE(off.direct);
  CHECK(off.reason.find("'off'") != std::string::npos);
  CHECK(fs.probe(directory / "none", DirectIo::automatic, true, &off).code == Code::not_found);
  MESSAGE(writing.file_system << ": " << writing.reason);
}

TEST_CASE("direct I/O demanded where there is none") {
  // ensures that directIo 'on' is refused with the reason, and that 'automatic' falls back to
  // buffers
  Directory directory;
  const int result = on_mounted("ramfs", "", directory.path(), [&] {
    FileSystem& fs = posix_file_system();
    Probe probe;
    if (!fs.probe(directory.path(), DirectIo::automatic, true, &probe).ok()) return 1;
    if (probe.direct || probe.dsync_trusted || probe.reserves) return 2;
    if (probe.file_system != "0x858458f6") return 3;
    Status status = fs.probe(directory.path(), DirectIo::on, true, &probe);
    if (status.code != Code::bad_option) return 4;
    if (status.detail.find("refuses O_DIRECT") == std::string::npos) return 5;
    std::unique_ptr<File> file;
    if (fs.open(directory / "a.wal", Access::create, true, 0600, &file).error != EINVAL) return 6;
    // A file system without fallocate: the size is set, and nothing claimed.
    bool reserved = true;
    if (!fs.open(directory / "b.wal", Access::create, false, 0600, &file).ok()) return 7;
    if (!file->reserve(4 * block, &reserved).ok() || reserved) return 8;
    uint64_t size = 0;
    if (!file->size(&size).ok() || size != 4 * block) return 9;
    return file->punch(0, block).ok() ? 0 : 10;
  });
  if (result == cannot_try) MESSAGE("not permitted here");
  CHECK((result == 0 || result == cannot_try));
}

TEST_CASE("a full disk") {
  // ensures that reserving and writing give space errors, that half a write is an error too, and
  // that a log with a segment can still be probed there
  Directory directory;
  const int result = on_mounted("tmpfs", "size=64k", directory.path(), [&] {
    FileSystem& fs = posix_file_system();
    std::unique_ptr<File> file;
    if (!fs.open(directory / "0001.wal", Access::create, false, 0600, &file).ok()) return 1;
    bool reserved = false;
    Status status = file->reserve(100 * block, &reserved);
    if (status.code != Code::no_space || status.error != ENOSPC || reserved) return 2;
    if (!file->reserve(14 * block, &reserved).ok() || !reserved) return 3;
    const Blocks four(4, 1);
    const Part part = four.part();
    status = file->write(14 * block, &part, 1, WriteMode::plain);
    if (status.code != Code::io || status.error != EIO) return 4;
    if (status.detail != "short write: 8192 of 16384 bytes") return 5;
    status = file->write(16 * block, &part, 1, WriteMode::dsync);
    if (status.code != Code::no_space || status.error != ENOSPC) return 6;
    Probe probe;
    if (!fs.probe(directory.path(), DirectIo::automatic, true, &probe).ok()) return 7;
    uint64_t free = 1;
    if (!fs.free_bytes(directory.path(), &free).ok() || free != 0) return 8;
    return probe.file_system == "tmpfs" && !probe.dsync_trusted ? 0 : 9;
  });
  if (result == cannot_try) MESSAGE("not permitted here");
  CHECK((result == 0 || result == cannot_try));
}

TEST_CASE("the n-th call fails") {
  // ensures that a rule skips, fails so many times with its errno, and lets pass afterwards
  Directory directory;
  FaultFileSystem fs(posix_file_system());
  auto file = create(fs, directory / "a.wal", "x");
  auto other = create(fs, directory / "b.wal", "x");
  fs.add({.operation = Operation::sync, .path = "a.wal", .skip = 1, .times = 2, .error = ENOSPC});
  CHECK(file->sync().ok());
  CHECK(other->sync().ok());
  Status status = file->sync();
  CHECK(status.code == Code::no_space);
  CHECK(status.error == ENOSPC);
  CHECK(status.path == directory / "a.wal");
  CHECK(file->sync().error == ENOSPC);
  CHECK(other->sync().ok());
  CHECK(file->sync().ok());
  CHECK(fs.count(Operation::sync) == 6);
  CHECK(fs.failures() == 2);
  fs.add({.operation = Operation::any, .times = FaultRule::for_ever});
  std::vector<std::string> names;
  CHECK(fs.list(directory.path(), &names).error == EIO);
  CHECK(fs.rename(directory / "a.wal", directory / "c.wal").error == EIO);
  fs.clear_rules();
  CHECK(fs.rename(directory / "a.wal", directory / "c.wal").ok());
}

TEST_CASE("a torn write") {
  // ensures that a short write leaves exactly its first bytes and reports the error
  Directory directory;
  FaultFileSystem fs(posix_file_system());
  auto file = create(fs, directory / "a.wal", std::string(3 * block, '-'));
  fs.add({.operation = Operation::dsync_write, .short_size = block + 10});
  const Blocks one(1, 'a'), two(1, 'b');
  const Part parts[] = {one.part(), two.part()};
  Status status = file->write(block, parts, 2, WriteMode::dsync);
  CHECK(status.error == EIO);
  CHECK(status.offset == block);
  const std::string expected = std::string(block, '-') + std::string(block, 'a') +
                               std::string(10, 'b') + std::string(block - 10, '-');
  CHECK(contents(fs, directory / "a.wal") == expected);
  CHECK(file->write(block, parts, 2, WriteMode::dsync).ok());
}

TEST_CASE("a sync held back") {
  // ensures that the hook may block one operation while others go on
  Directory directory;
  FaultFileSystem fs(posix_file_system());
  auto file = create(fs, directory / "a.wal", "x");
  std::atomic<bool> entered{false}, release{false};
  fs.set_hook([&](Operation operation, const std::string&) {
    if (operation != Operation::sync) return;
    entered = true;
    while (!release) std::this_thread::yield();
  });
  std::thread syncer([&] { CHECK(file->sync().ok()); });
  while (!entered) std::this_thread::yield();
  uint64_t size = 0;
  CHECK(file->size(&size).ok());
  CHECK(fs.count(Operation::sync) == 0);
  release = true;
  syncer.join();
  CHECK(fs.count(Operation::sync) == 1);
}

TEST_CASE("operations without a name") {
  // ensures that the table of names keeps up with the list of operations
  CHECK(std::string(operation_name(Operation::open)) == "open");
  CHECK(std::string(operation_name(Operation::sync_directory)) == "sync_directory");
  CHECK(std::string(operation_name(Operation::is_locked)) == "is_locked");
  CHECK(std::string(operation_name(Operation::any)) == "any");
}
