// What the tests of files share: directories, block-aligned memory, child processes, mounts, and
// system calls that fail.
#pragma once

#include <doctest/doctest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>

#include "io/posix_file_system.h"

namespace stonelog::test {

using namespace stonelog::io;

inline constexpr size_t block = 4096;

// An empty directory on the disk under /tmp (or TMPDIR), removed with all it holds.
class Directory {
 public:
  explicit Directory(const char* parent = nullptr) {
    const char* chosen = parent != nullptr ? parent : getenv("TMPDIR");
    path_ = std::string(chosen != nullptr ? chosen : "/tmp") + "/stonelog-io-XXXXXX";
    REQUIRE(mkdtemp(path_.data()) != nullptr);
  }
  ~Directory() { CHECK(system(("rm -rf '" + path_ + "'").c_str()) == 0); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Memory at a block boundary, filled with `fill`.
class Blocks {
 public:
  Blocks(size_t count, uint8_t fill) : size_(count * block) {
    data_ = static_cast<uint8_t*>(aligned_alloc(block, size_));
    memset(data_, fill, size_);
  }
  ~Blocks() { free(data_); }
  Blocks(const Blocks&) = delete;
  Blocks& operator=(const Blocks&) = delete;
  Part part() const { return {data_, size_}; }
  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  bool all(size_t from, size_t to, uint8_t value) const {
    return std::all_of(data_ + from, data_ + to, [value](uint8_t byte) { return byte == value; });
  }

 private:
  uint8_t* data_;
  size_t size_;
};

inline std::unique_ptr<File> open_file(FileSystem& fs, const std::string& path,
                                       bool direct = false) {
  std::unique_ptr<File> file;
  Status status = fs.open(path, Access::create, direct, 0600, &file);
  INFO("open: errno " << status.error);
  REQUIRE(status.ok());
  return file;
}

inline std::unique_ptr<File> create(FileSystem& fs, const std::string& path,
                                    const std::string& text = {}) {
  auto file = open_file(fs, path);
  const Part part{reinterpret_cast<const uint8_t*>(text.data()), text.size()};
  REQUIRE(file->write(0, &part, 1, WriteMode::plain).ok());
  return file;
}

inline std::string contents(FileSystem& fs, const std::string& path) {
  auto file = open_file(fs, path);
  std::string text(1 << 16, '\0');
  size_t got = 0;
  REQUIRE(file->read(0, reinterpret_cast<uint8_t*>(text.data()), text.size(), &got).ok());
  text.resize(got);
  return text;
}

inline bool direct_works(const std::string& directory) {
  Probe probe;
  REQUIRE(posix_file_system().probe(directory, DirectIo::automatic, true, &probe).ok());
  return probe.direct;
}

// Runs `body` in a child process; its result is the exit status, or 128 + the signal that killed
// it.
template <typename Body>
int in_child(Body body) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) _exit(body());
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

inline constexpr int cannot_try = 77;  // not permitted here: such a test then says nothing

// Runs `body` in a child process that alone sees a file system of the given kind mounted on `path`.
template <typename Body>
int on_mounted(const char* kind, const char* options, const std::string& path, Body body) {
  return in_child([&] {
    if (unshare(CLONE_NEWNS) != 0) return cannot_try;
    if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return cannot_try;
    if (mount(kind, path.c_str(), kind, 0, options) != 0) return cannot_try;
    return body();
  });
}

// From now on the given system call fails in this process.
inline bool refuse(long number, int error) {
  const auto returned = static_cast<uint32_t>(SECCOMP_RET_ERRNO | static_cast<uint32_t>(error));
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, returned),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(filter)), filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// A child process that holds the lock until it is released or killed.
class Holder {
 public:
  explicit Holder(const std::string& path) {
    int ready[2];
    REQUIRE(pipe(ready) == 0);
    pid_ = fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      std::unique_ptr<Lock> lock;
      const bool ok = posix_file_system().lock(path, 0600, &lock).ok();
      if (write(ready[1], ok ? "y" : "n", 1) == 1) pause();
      _exit(0);
    }
    char answer = 0;
    REQUIRE(read(ready[0], &answer, 1) == 1);
    REQUIRE(answer == 'y');
    close(ready[0]);
    close(ready[1]);
  }
  ~Holder() { end(); }
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  uint64_t pid() const { return static_cast<uint64_t>(pid_); }

 private:
  pid_t pid_ = 0;
};

}  // namespace stonelog::test
