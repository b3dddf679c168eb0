#if !defined(_WIN32)

#include "io/posix_file_system.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#if defined(__APPLE__)
#include <sys/random.h>
#endif

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <thread>

#include "io/kernel_aio.h"
#include "io/posix_calls.h"
#include "io/probe.h"

namespace stonelog::io {
namespace {

constexpr int parts_max = 8;  // the core gathers a header, records and padding; far below IOV_MAX

bool unsupported(int error) { return error == EOPNOTSUPP || error == ENOTSUP || error == ENOSYS; }

class PosixFile final : public File {
 public:
  PosixFile(int fd, bool direct, std::string path)
      : fd_(fd), direct_(direct), path_(std::move(path)) {}
  // Nothing is lost if close reports an error here: whatever had to be durable was synced before.
  ~PosixFile() override { ::close(fd_); }
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  Status read(uint64_t offset, uint8_t* data, size_t size, size_t* got) override;
  Status write(uint64_t offset, const Part* parts, int count, WriteMode mode) override;
  AsyncWrite::Begun begin_write(AsyncWrite* write, uint64_t offset, const Part* parts,
                                int count) override;
  Status sync() override;
  Status reserve(uint64_t size, bool* reserved) override;
  Status punch(uint64_t from, uint64_t to) override;
  Status size(uint64_t* bytes) override;
  Status is_named(bool* named) override;
  Status evict() override;

 private:
  Status failed(const char* syscall, int error, uint64_t offset = 0) const {
    return system_status(syscall, error, path_).at(0, offset);
  }

  const int fd_;
  const bool direct_;
  const std::string path_;
  // Learned from the first refusal, which so costs one failed call per file, not one per commit.
  std::atomic<bool> dsync_refused_{false};
};

Status PosixFile::read(uint64_t offset, uint8_t* data, size_t size, size_t* got) {
  constexpr size_t direct_unit = 512;  // the smallest alignment any device asks for
  *got = 0;
  while (*got < size) {
    const uint64_t at = offset + *got;
    const ssize_t count = call::uninterrupted(
        [&] { return ::pread(fd_, data + *got, size - *got, static_cast<off_t>(at)); });
    if (count < 0) return failed("pread", errno, at);
    if (count == 0) return {};
    *got += static_cast<size_t>(count);
    if (direct_ && *got < size && *got % direct_unit != 0) {
      // The partial block at the end of the file; asking on from an odd offset would be EINVAL.
      // Anywhere else a count like this would be a broken kernel, and not to be taken for the end.
      uint64_t end = 0;
      Status status = this->size(&end);
      if (!status.ok()) return status;
      if (offset + *got < end) return failed("pread", EIO, at);
      return {};
    }
  }
  return {};
}

Status PosixFile::write(uint64_t offset, const Part* parts, int count, WriteMode mode) {
  if (count < 0 || count > parts_max) return failed("pwritev", EINVAL);
  iovec vectors[parts_max];
  size_t total = 0;
  for (int index = 0; index < count; index++) {
    vectors[index].iov_base = const_cast<uint8_t*>(parts[index].data);
    vectors[index].iov_len = parts[index].size;
    total += parts[index].size;
  }
  if (total == 0) return {};
  if (call::exceeds_size_limit(offset + total)) return failed("pwritev", EFBIG, offset);

  ssize_t written = -1;
  bool sync_after = mode == WriteMode::dsync && dsync_refused_.load(std::memory_order_relaxed);
  const char* name = "pwritev2";
  if (mode == WriteMode::dsync && !sync_after) {
    written = call::uninterrupted([&] { return call::write_dsync(fd_, vectors, count, offset); });
    if (written < 0 && unsupported(errno)) {
      dsync_refused_.store(true, std::memory_order_relaxed);
      sync_after = true;
    }
  }
  if (mode == WriteMode::plain || sync_after) {
    name = "pwritev";
    written = call::uninterrupted(
        [&] { return ::pwritev(fd_, vectors, count, static_cast<off_t>(offset)); });
  }
  if (written < 0) return failed(name, errno, offset);
  if (static_cast<size_t>(written) != total) {
    // No second try for the rest: the kernel had a reason, and half a group on the disk is an event
    // that the log has to know about.
    Status status = failed(name, EIO, offset);
    status.detail =
        "short write: " + std::to_string(written) + " of " + std::to_string(total) + " bytes";
    return status;
  }
  return sync_after ? sync() : Status{};
}

AsyncWrite::Begun PosixFile::begin_write(AsyncWrite* write, uint64_t offset, const Part* parts,
                                         int count) {
  uint64_t end = offset;
  for (int index = 0; index < count; index++) end += parts[index].size;
  // Through the page cache the call would write before it returns.
  if (!direct_ || dsync_refused_.load(std::memory_order_relaxed)) return AsyncWrite::Begun::never;
  if (call::exceeds_size_limit(end)) return AsyncWrite::Begun::not_now;
  return begin_by_kernel(write, fd_, offset, parts, count);
}

Status PosixFile::sync() {
  // Not even EINTR is tried again: after one failure the kernel may have dropped the dirty pages
  // and would report success for them ("fsyncgate").
  if (call::sync_data(fd_) != 0) return failed("fdatasync", errno);
  return {};
}

Status PosixFile::reserve(uint64_t size, bool* reserved) {
  *reserved = false;
  if (call::exceeds_size_limit(size)) return failed("fallocate", EFBIG);
  if (size > 0) {
    if (call::uninterrupted([&] { return call::allocate(fd_, 0, 0, size); }) == 0) {
      *reserved = true;
    } else if (!unsupported(errno)) {
      return failed("fallocate", errno);
    }
  }
  // fallocate only grows a file, a recycled one may be longer; unsupported, nothing has grown yet.
  uint64_t now = 0;
  Status status = this->size(&now);
  if (!status.ok()) return status;
  if (now == size) return {};
  if (call::uninterrupted([&] { return ::ftruncate(fd_, static_cast<off_t>(size)); }) != 0) {
    return failed("ftruncate", errno);
  }
  return {};
}

Status PosixFile::punch(uint64_t from, uint64_t to) {
  if (from >= to) return {};
  if (call::uninterrupted([&] { return call::punch_hole(fd_, from, to - from); }) != 0 &&
      !unsupported(errno)) {
    return failed("fallocate", errno);
  }
  return {};
}

Status PosixFile::size(uint64_t* bytes) {
  // All reads and writes carry their offset, so the descriptor's own one is free for this.
  const off_t end = ::lseek(fd_, 0, SEEK_END);
  if (end < 0) return failed("lseek", errno);
  *bytes = static_cast<uint64_t>(end);
  return {};
}

Status PosixFile::is_named(bool* named) {
  *named = false;
  call::FileFacts ours;
  call::FileFacts found;
  if (call::file_facts(fd_, "", &ours) != 0) return failed("statx", errno);
  if (call::file_facts(AT_FDCWD, path_.c_str(), &found) != 0) {
    return errno == ENOENT || errno == ENOTDIR ? Status{} : failed("statx", errno);
  }
  *named = ours.device == found.device && ours.inode == found.inode;
  return {};
}

Status PosixFile::evict() {
  if (direct_) return {};
  // Dirty pages cannot be dropped: what an earlier process left unsynced must be written first.
  Status status = sync();
  if (!status.ok()) return status;
#if defined(POSIX_FADV_DONTNEED)
  const int error = ::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
  if (error != 0) return failed("posix_fadvise", error);
#endif
  return {};
}

// An advisory lock that belongs to the open file description: POSIX record locks would be dropped
// as soon as any code of this process closed any descriptor of the file. 0, or -1 with errno;
// EAGAIN: held.
int try_lock(int fd) {
#if defined(F_OFD_SETLK)
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  if (::fcntl(fd, F_OFD_SETLK, &range) == 0) return 0;
#else
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return 0;
#endif
  if (errno == EACCES || errno == EWOULDBLOCK) errno = EAGAIN;
  return -1;
}

// The holder's pid as it wrote it: the kernel does not know one for locks of open file
// descriptions. 0 if the file says nothing, as in the moment between locking and writing.
uint64_t read_pid(int fd) {
  char text[24] = {};
  const ssize_t count = call::uninterrupted([&] { return ::pread(fd, text, sizeof text, 0); });
  uint64_t pid = 0;
  // Not strtoull: with the headers of glibc 2.38 and later that is a symbol above our floor.
  if (count > 0) std::from_chars(text, text + count, pid);
  return pid;
}

// Whether the locked descriptor is still the file of that name: an abandoned lock file is unlinked.
bool is_file_of(int fd, const std::string& path) {
  call::FileFacts locked;
  call::FileFacts named;
  return call::file_facts(fd, "", &locked) == 0 &&
         call::file_facts(AT_FDCWD, path.c_str(), &named) == 0 && locked.device == named.device &&
         locked.inode == named.inode;
}

class PosixLock final : public Lock {
 public:
  PosixLock(int fd, const std::string& path, bool created, const std::string& found)
      : fd_(fd), pid_(::getpid()), path_(path), created_(created), found_(found) {}
  // A forked child that never called exec shares the lock, and must not erase its holder's pid.
  // What fails here does no harm: a stale pid is only shown while somebody else holds the lock and
  // overwrites it.
  ~PosixLock() override {
    if (::getpid() == pid_) {
      const std::string text = abandoned_ ? found_ : std::string();
      if (abandoned_ && created_) (void)::unlink(path_.c_str());
      if (::ftruncate(fd_, 0) != 0 || ::pwrite(fd_, text.data(), text.size(), 0) < 0)
        abandoned_ = false;
    }
    ::close(fd_);
  }
  void abandon() override { abandoned_ = true; }
  // What cannot be asked proves nothing.
  bool is_named() override {
    call::FileFacts locked;
    call::FileFacts named;
    if (call::file_facts(fd_, "", &locked) != 0) return true;
    if (call::file_facts(AT_FDCWD, path_.c_str(), &named) != 0)
      return errno != ENOENT && errno != ENOTDIR;
    return locked.device == named.device && locked.inode == named.inode;
  }
  PosixLock(const PosixLock&) = delete;
  PosixLock& operator=(const PosixLock&) = delete;

 private:
  const int fd_;
  const pid_t pid_;
  const std::string path_;
  const bool created_;
  const std::string found_;  // the file's content before
  bool abandoned_ = false;
};

std::string read_text(int fd) {
  char text[64];
  const ssize_t got = ::pread(fd, text, sizeof text, 0);
  return got > 0 ? std::string(text, static_cast<size_t>(got)) : std::string();
}

Status write_pid(int fd, const std::string& path) {
  const std::string text = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd, 0) != 0) return system_status("ftruncate", errno, path);
  if (call::exceeds_size_limit(text.size())) return system_status("pwrite", EFBIG, path);
  const ssize_t written =
      call::uninterrupted([&] { return ::pwrite(fd, text.data(), text.size(), 0); });
  if (written == static_cast<ssize_t>(text.size())) return {};
  return system_status("pwrite", written < 0 ? errno : EIO, path);
}

Status not_regular(const std::string& path) {
  Status status = Status::of(Code::not_a_log, "this is not a regular file");
  status.path = path;
  return status;
}

}  // namespace

Status PosixFileSystem::open(const std::string& path, Access access, bool direct, uint32_t mode,
                             std::unique_ptr<File>* file) {
  int flags = O_CLOEXEC | O_NONBLOCK | (access == Access::read ? O_RDONLY : O_RDWR);
  if (access == Access::create) flags |= O_CREAT;
#if defined(O_DIRECT)
  if (direct) flags |= O_DIRECT;
#else
  if (direct) return system_status("open", EINVAL, path);
#endif
  const int fd = call::uninterrupted([&] { return ::open(path.c_str(), flags, mode); });
  if (fd < 0) {
    const int error = errno;
    // A directory is refused in other words by each mode and file system.
    call::FileFacts facts;
    const bool odd = access != Access::create && (error == EINVAL || error == EISDIR);
    if (odd && call::file_facts(AT_FDCWD, path.c_str(), &facts) == 0 && !facts.is_regular)
      return not_regular(path);
    return system_status("open", error, path);
  }
  // Opening a FIFO would wait for its other end, were it not for O_NONBLOCK, which regular files
  // ignore.
  call::FileFacts facts;
  if (call::file_facts(fd, "", &facts) == 0 && !facts.is_regular) {
    ::close(fd);
    return not_regular(path);
  }
  *file = std::make_unique<PosixFile>(fd, direct, path);
  return {};
}

Status PosixFileSystem::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return system_status("rename", errno, from);
  return {};
}

Status PosixFileSystem::unlink(const std::string& path) {
  if (::unlink(path.c_str()) != 0) return system_status("unlink", errno, path);
  return {};
}

Status PosixFileSystem::list(const std::string& path, std::vector<std::string>* names) {
  names->clear();
  DIR* directory = ::opendir(path.c_str());
  if (directory == nullptr) return system_status("opendir", errno, path);
  int error = 0;
  for (;;) {
    errno = 0;  // the only way to tell the end from an error
    const dirent* entry = ::readdir(directory);
    if (entry == nullptr) {
      error = errno;
      break;
    }
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names->push_back(name);
  }
  ::closedir(directory);
  if (error != 0) return system_status("readdir", error, path);
  std::sort(names->begin(), names->end());
  return {};
}

Status PosixFileSystem::make_directory(const std::string& path, bool* created) {
  *created = false;
  if (::mkdir(path.c_str(), 0777) == 0) {  // less the umask, as `mkdir -p` does
    *created = true;
    return {};
  }
  if (errno != EEXIST) return system_status("mkdir", errno, path);
  call::FileFacts facts;
  if (call::file_facts(AT_FDCWD, path.c_str(), &facts) != 0) {
    return system_status("statx", errno, path);
  }
  return facts.is_directory ? Status{} : system_status("mkdir", ENOTDIR, path);
}

Status PosixFileSystem::sync_directory(const std::string& path) {
  const int fd =
      call::uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (fd < 0) return system_status("open", errno, path);
  const int error = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  return error == 0 ? Status{} : system_status("fsync", error, path);
}

Status PosixFileSystem::free_bytes(const std::string& path, uint64_t* bytes) {
  struct statvfs facts {};
  if (call::uninterrupted([&] { return ::statvfs(path.c_str(), &facts); }) != 0) {
    return system_status("statvfs", errno, path);
  }
  *bytes = static_cast<uint64_t>(facts.f_bavail) * facts.f_frsize;
  return {};
}

Status PosixFileSystem::identity(const std::string& path, uint64_t* device, uint64_t* inode) {
  call::FileFacts facts;
  if (call::file_facts(AT_FDCWD, path.c_str(), &facts) != 0) {
    return system_status("statx", errno, path);
  }
  if (!facts.is_directory) return system_status("statx", ENOTDIR, path);
  *device = facts.device;
  *inode = facts.inode;
  return {};
}

Status PosixFileSystem::probe(const std::string& directory, DirectIo wish, bool may_write,
                              Probe* probe) {
  return probe_directory(directory, wish, may_write, random64(), probe);
}

Status PosixFileSystem::lock(const std::string& path, uint32_t mode, std::unique_ptr<Lock>* lock) {
  using std::chrono::milliseconds;
  const auto give_up = std::chrono::steady_clock::now() + milliseconds(250);
  for (;;) {
    bool created = true;
    int fd = call::uninterrupted(
        [&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode); });
    if (fd < 0 && errno == EEXIST) {
      created = false;
      fd = call::uninterrupted([&] { return ::open(path.c_str(), O_RDWR | O_CLOEXEC); });
      if (fd < 0 && errno == ENOENT) continue;  // abandoned meanwhile
    }
    if (fd < 0) return system_status("open", errno, path);
    int error = 0;
    while (try_lock(fd) != 0 && (error = errno) == EINTR) error = 0;
    if (error == 0 && is_file_of(fd, path)) {
      const std::string found = read_text(fd);
      Status status = write_pid(fd, path);
      if (status.code == Code::no_space)
        status = {};  // a log on a full disk must open; its holder has no name
      *lock = std::make_unique<PosixLock>(fd, path, created, found);
      if (!status.ok()) lock->reset();
      return status;
    }
    const bool held = error == EAGAIN;
    if (error == 0 || (held && std::chrono::steady_clock::now() < give_up)) {
      ::close(fd);
      if (held) std::this_thread::sleep_for(milliseconds(5));
      continue;
    }
    Status status = system_status("fcntl", error, path);
    if (held) {
      status.code = Code::locked;
      status.pid = read_pid(fd);
      status.detail = "another writer holds the lock";
    }
    ::close(fd);
    return status;
  }
}

Status PosixFileSystem::is_locked(const std::string& path, bool* locked, uint64_t* pid) {
  *locked = false;
  *pid = 0;
  const int fd = call::uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); });
  if (fd < 0) return errno == ENOENT ? Status{} : system_status("open", errno, path);
  int error = 0;
#if defined(F_OFD_GETLK)
  // The question works on a read-only descriptor and disturbs nobody who wants the lock meanwhile.
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  if (::fcntl(fd, F_OFD_GETLK, &range) != 0) error = errno;
  *locked = error == 0 && range.l_type != F_UNLCK;
#else
  // flock has no question; a shared lock held for an instant is the nearest thing.
  if (::flock(fd, LOCK_SH | LOCK_NB) != 0) {
    *locked = errno == EWOULDBLOCK;
    error = *locked ? 0 : errno;
  }
#endif
  if (*locked) *pid = read_pid(fd);
  ::close(fd);
  return error == 0 ? Status{} : system_status("fcntl", error, path);
}

uint64_t PosixFileSystem::random64() {
  uint64_t value = 0;
  if (::getentropy(&value, sizeof value) == 0) return value;
  // Ids that repeat could make one history pass for another: no guessing from clocks.
  const int fd = ::open("/dev/urandom", O_RDONLY | O_CLOEXEC);
  const bool got =
      fd >= 0 && ::read(fd, &value, sizeof value) == static_cast<ssize_t>(sizeof value);
  if (fd >= 0) ::close(fd);
  if (!got) {
    fputs("stonelog: the system has no source of random numbers\n", stderr);
    abort();
  }
  return value;
}

uint64_t PosixFileSystem::wall_micros() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

std::unique_ptr<AsyncWrite> PosixFileSystem::async_write() { return kernel_aio(); }

FileSystem& posix_file_system() {
  // Never destroyed: threads may outlive the end of main.
  static auto* const instance = new PosixFileSystem;
  return *instance;
}

FileSystem& host_file_system() { return posix_file_system(); }

}  // namespace stonelog::io

#endif
