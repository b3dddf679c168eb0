// A file system that fails on command: the tests' way to each "what if this very call fails". It
// wraps another one, passes everything on, counts, and applies a script of rules.
//
//   FaultFileSystem fs(posix_file_system());
//   fs.add({.operation = Operation::sync, .skip = 2, .error = EIO});  // the third sync fails, once
//   fs.add({.operation = Operation::write, .path = ".wal", .short_size = 4096});
//
// Must outlive the files and locks it handed out. Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cerrno>
#include <functional>
#include <mutex>

#include "io/file.h"

namespace stonelog::io {

enum class Operation : uint8_t {
  open,
  read,
  write,        // WriteMode::plain
  dsync_write,  // WriteMode::dsync
  sync,
  reserve,
  punch,
  size,
  evict,
  rename,
  unlink,
  list,
  make_directory,
  sync_directory,
  free_bytes,
  identity,
  probe,
  lock,
  is_locked,
  any,  // in rules only: whatever comes
};

const char* operation_name(Operation operation);

struct FaultRule {
  static constexpr uint64_t for_ever = UINT64_MAX;
  static constexpr size_t no_short_write = SIZE_MAX;

  Operation operation = Operation::any;
  std::string path = {};  // a substring of the path (of either path of a rename); empty matches all
  uint64_t skip = 0;      // so many matches pass before
  uint64_t times = 1;     // so many fail then
  int error = EIO;
  // Writes only: the first `short_size` bytes are written and stay, then `error` is reported. On
  // direct files a multiple of the block, or the wrapped file system refuses the piece.
  size_t short_size = no_short_write;
};

// An asynchronous write of a FaultFileSystem. It is carried out at once, as `dsync_write`; that it
// is done is told when the test says so.
class HeldWrite {
 public:
  using Begun = AsyncWrite::Begun;

  // On command: what the next begin says, what the next results are, when they are told.
  void refuse_next(Begun answer);
  void fail_next(int64_t result);  // instead of the write
  void hold();
  void release();

  uint64_t begun() const;
  uint64_t taken() const;

 private:
  friend class FaultFileSystem;
  friend class FaultFile;
  friend class FaultAsyncWrite;

  void tell();

  mutable std::mutex mutex_;
  std::atomic<uint32_t> news_{0};  // what waiting sleeps on
  Begun answer_ = Begun::yes;
  int64_t forced_ = 0;
  bool held_ = false;
  bool under_way_ = false;
  int64_t result_ = 0;
  uint64_t begun_ = 0;
  uint64_t taken_ = 0;
};

class FaultFileSystem final : public FileSystem {
 public:
  // Called before each operation, outside all locks: it may block, or add rules.
  using Hook = std::function<void(Operation operation, const std::string& path)>;

  explicit FaultFileSystem(FileSystem& wrapped) : wrapped_(wrapped) {}

  void add(FaultRule rule);  // the first rule that has something to say about a call decides
  void clear_rules();
  void set_hook(Hook hook);
  uint64_t count(Operation operation) const;  // calls so far, failed ones too; `any`: all of them
  uint64_t failures() const;                  // calls that a rule failed
  void reset_counts();

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
  std::unique_ptr<AsyncWrite> async_write() override;
  uint64_t random64() override { return wrapped_.random64(); }
  uint64_t wall_micros() override { return wrapped_.wall_micros(); }

  // Offers asynchronous writes, on whatever file system, of one log at a time: `write` outlives it.
  void offer_async(HeldWrite* write) { held_write_ = write; }

  // For the files it hands out: counts, calls the hook and returns the failure to report, if any.
  // *short_size is what a write has to write nevertheless.
  Status enter(Operation operation, const std::string& path, const std::string& other = {},
               size_t* short_size = nullptr);

 private:
  friend class FaultFile;

  struct Armed {
    FaultRule rule;
    uint64_t seen = 0;
  };

  FileSystem& wrapped_;
  HeldWrite* held_write_ = nullptr;
  mutable std::mutex mutex_;
  std::vector<Armed> rules_;  // under mutex_
  Hook hook_;                 // under mutex_, called without it
  std::array<uint64_t, static_cast<size_t>(Operation::any)> counts_{};  // under mutex_
  uint64_t failures_ = 0;                                               // under mutex_
};

}  // namespace stonelog::io
