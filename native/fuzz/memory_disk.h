// Files in memory: quick, safe for the driver's threads, and watchful. Reads are bounded: nobody
// may ask for more than the file has and one window, since memory is taken for what is asked.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "io/file.h"

namespace stonelog::fuzz {

class MemoryDisk final : public io::FileSystem {
 public:
  struct Content {
    std::mutex mutex;
    std::vector<uint8_t> bytes;
  };

  void put(const std::string& path, std::vector<uint8_t> bytes);
  // Calls that changed anything, so far.
  uint64_t changes() const { return changes_; }

  Status open(const std::string& path, io::Access access, bool direct, uint32_t mode,
              std::unique_ptr<io::File>* file) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status unlink(const std::string& path) override;
  Status list(const std::string& path, std::vector<std::string>* names) override;
  Status make_directory(const std::string& path, bool* created) override;
  Status sync_directory(const std::string& path) override;
  Status free_bytes(const std::string& path, uint64_t* bytes) override;
  Status identity(const std::string& path, uint64_t* device, uint64_t* inode) override;
  Status probe(const std::string& directory, io::DirectIo wish, bool may_write,
               io::Probe* probe) override;
  Status lock(const std::string& path, uint32_t mode, std::unique_ptr<io::Lock>* lock) override;
  Status is_locked(const std::string& path, bool* locked, uint64_t* pid) override;
  uint64_t random64() override { return random_ += 0x9e3779b97f4a7c15; }
  uint64_t wall_micros() override { return 1; }

 private:
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Content>> files_;  // a null content is a directory
  std::atomic<uint64_t> changes_{0};
  uint64_t random_ = 1;
};

}  // namespace stonelog::fuzz
