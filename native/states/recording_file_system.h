// A file system in memory that writes down what it is asked: data, names, and in which order the
// calls began and ended. Thread-safe. Calls that a device would answer take a while, so that many
// are under way at once.
#pragma once

#include <mutex>
#include <set>

#include "sim/random.h"
#include "states/recording.h"

namespace stonelog::states {

class RecordingFileSystem final : public io::FileSystem {
 public:
  // With `most_delay_us` 0 no call waits.
  RecordingFileSystem(const Image& start, const io::Probe& probe, uint64_t seed,
                      uint32_t most_delay_us);

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
  uint64_t random64() override;
  uint64_t wall_micros() override;

  void mark(Mark mark, uint64_t first = 0, uint64_t last = 0);
  // The process dies: calls under way reach the cache whole, in part or not at all, and fail, as do
  // all later ones. revive() is the next process on the same machine: it sees the cache.
  void kill();
  void revive();

  Recording recording() const;
  const Recording& recorded() const { return recording_; }  // while nothing is under way
  Image image() const;                                      // as a process sees it now
  uint64_t changes() const { return changes_; }             // calls that changed something

 private:
  friend class RecordedFile;
  class HeldLock;

  Status refuse(const char* syscall, int error, const std::string& path) const;
  size_t begin(Operation op);
  void end(size_t index);
  void pause();
  void edit(std::vector<NameEdit> edits, const std::string& path, bool directory = false);
  Status write(uint64_t node, const std::string& path, uint64_t offset, const io::Part* parts,
               int count, Kind kind);
  Status sync(uint64_t node, const std::string& path);

  mutable std::mutex mutex_;
  sim::Random random_;
  const uint32_t most_delay_us_;
  const uint64_t device_;
  Image now_;
  Recording recording_;
  std::set<std::string> locks_;
  uint64_t wall_micros_ = 1'700'000'000'000'000;
  uint64_t changes_ = 0;
  bool dead_ = false;
};

}  // namespace stonelog::states
