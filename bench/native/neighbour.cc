#include "neighbour.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

namespace raw_probe {

bool Neighbour::knows(const std::string& kind) {
  static const char* const kinds[] = {"overwrite", "zero",   "zero-here", "create",
                                      "name",      "unlink", "punch",     "sync"};
  return std::find(std::begin(kinds), std::end(kinds), kind) != std::end(kinds);
}

void Neighbour::put(int fd, uint64_t offset, int flags) const {
  const iovec part{block_.data(), kNeighbourBytes};
  if (pwritev2(fd, &part, 1, static_cast<off_t>(offset), flags) !=
      static_cast<ssize_t>(kNeighbourBytes)) {
    fail("writing beside", errno);
  }
}

int Neighbour::make_file(const std::string& path, bool written) const {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_DIRECT, 0600);
  if (fd < 0) fail("creating a file beside", errno);
  if (fallocate(fd, 0, 0, static_cast<off_t>(kNeighbourFileBytes)) != 0) fail("allocating", errno);
  for (uint64_t at = 0; written && at < kNeighbourFileBytes; at += kNeighbourBytes) put(fd, at, 0);
  if (fsync(fd) != 0) fail("syncing beside", errno);
  return fd;
}

void Neighbour::unwrite_behind() const {
  const auto from = static_cast<off_t>(behind_);
  const auto bytes = static_cast<off_t>(kNeighbourFileBytes);
  (void)fallocate(commits_fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, bytes);
  if (fallocate(commits_fd_, 0, from, bytes) != 0 || fsync(commits_fd_) != 0)
    fail("allocating behind the commits", errno);
}

Neighbour::Neighbour(const std::string& directory, const std::string& kind, int commits_fd,
                     uint64_t behind)
    : kind_(kind),
      directory_(directory),
      path_(directory + "/raw-beside." + std::to_string(getpid())),
      other_(path_ + ".other"),
      directory_fd_(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
      commits_fd_(commits_fd),
      behind_(behind) {
  if (directory_fd_ < 0) fail("opening the directory", errno);
  fd_ = make_file(path_, kind != "zero");
  if (kind == "zero-here") unwrite_behind();
  if (kind != "unlink") return;
  for (int i = 0; i < kUnlinked; i++) {
    const int fd = open((path_ + std::to_string(i)).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) fail("creating a file beside", errno);
    put(fd, 0, 0);
    put(fd, kNeighbourBytes, RWF_DSYNC);
    close(fd);
  }
}

Neighbour::~Neighbour() {
  close(fd_);
  close(directory_fd_);
  unlink(path_.c_str());
  unlink(other_.c_str());
  for (int i = 0; kind_ == "unlink" && i < kUnlinked; i++)
    unlink((path_ + std::to_string(i)).c_str());
}

void Neighbour::act() {
  const uint64_t offset = at_;
  at_ = (at_ + kNeighbourBytes) % kNeighbourFileBytes;
  if (kind_ == "overwrite") {
    put(fd_, offset, RWF_DSYNC);
  } else if (kind_ == "zero") {
    put(fd_, offset, RWF_DSYNC);
    if (at_ == 0) {
      close(fd_);
      unlink(path_.c_str());
      fd_ = make_file(path_, false);
    }
  } else if (kind_ == "zero-here") {
    put(commits_fd_, behind_ + offset, RWF_DSYNC);
    if (at_ == 0) unwrite_behind();
  } else if (kind_ == "sync") {
    put(fd_, offset, 0);
    if (fdatasync(fd_) != 0) fail("syncing beside", errno);
  } else if (kind_ == "create") {
    const int fd = open(other_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || fallocate(fd, 0, 0, 1 << 20) != 0 || fsync(fd) != 0) fail("creating", errno);
    close(fd);
    unlink(other_.c_str());
  } else if (kind_ == "name") {
    if (rename(path_.c_str(), other_.c_str()) != 0) fail("renaming", errno);
    path_.swap(other_);
    if (fsync(directory_fd_) != 0) fail("syncing the directory", errno);
  } else if (kind_ == "unlink") {
    unlink((path_ + std::to_string(next_unlinked_++ % kUnlinked)).c_str());
    if (fsync(directory_fd_) != 0) fail("syncing the directory", errno);
  } else if (fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                       kNeighbourBytes) != 0) {
    fail("punching", errno);
  }
}

}  // namespace raw_probe
