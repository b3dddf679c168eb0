// The real file system, through system calls. Every descriptor is O_CLOEXEC: a child process must
// not inherit a log. No call blocks signals, installs handlers or keeps state besides the
// descriptors.
#pragma once

#include "io/file.h"

namespace stonelog::io {

class PosixFileSystem final : public FileSystem {
 public:
  Status open(const std::string& path, Access access, bool direct, uint32_t mode,
              std::unique_ptr<File>* file) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status unlink(const std::string& path) override;
  Status list(const std::string& path, std::vector<std::string>* names) override;
  Status make_directory(const std::string& path, bool* created) override;
  Status sync_directory(const std::string& path) override;
  Status free_bytes(const std::string& path, uint64_t* bytes) override;
  Status identity(const std::string& path, uint64_t* device, uint64_t* inode) override;
  Status probe(const std::string& directory, DirectIo wish, bool may_write, Probe* probe) override;
  std::unique_ptr<AsyncWrite> async_write() override;
  Status lock(const std::string& path, uint32_t mode, std::unique_ptr<Lock>* lock) override;
  Status is_locked(const std::string& path, bool* locked, uint64_t* pid) override;
  uint64_t random64() override;
  uint64_t wall_micros() override;
};

// The one of this process; stateless, so any thread may use it.
FileSystem& posix_file_system();

}  // namespace stonelog::io
