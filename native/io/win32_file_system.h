// The real file system on Windows. Compiled by mingw, never run: see the platform table.
#pragma once

#include "io/file.h"

namespace stonelog::io {

class Win32FileSystem final : public FileSystem {
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
  Status lock(const std::string& path, uint32_t mode, std::unique_ptr<Lock>* lock) override;
  Status is_locked(const std::string& path, bool* locked, uint64_t* pid) override;
  uint64_t random64() override;
  uint64_t wall_micros() override;
};

}  // namespace stonelog::io
