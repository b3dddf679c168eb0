// A disk with a volatile cache, in memory. What a crash leaves of it is the weakest that POSIX and
// the device allow:
//
// - A write is durable once a sync of its file that was issued after its completion has returned,
// or, if it
//   is a DSYNC write, once it has returned itself; a DSYNC write makes nothing else durable.
// - Every other write, and every write in flight, is kept, lost or torn in contiguous runs of
// sectors, each
//   independently. Writes to the same sector that did not overlap in time keep their order.
// - Names (create, rename, unlink, mkdir) pend until their directory is synced; a crash keeps a
// prefix of
//   each directory's pending ones (Names::prefix) or any subset (Names::subset).
// - After a failed sync the data is dropped or stays pending, as the device decides (FAILURES.md).
//
// Writes and syncs can be in flight: begin_write() and begin_sync() start them, complete() ends
// them. The io::File interface does both at once. Files are sparse; a copy of the Disk is cheap
// (pages are shared).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/file.h"
#include "sim/random.h"

namespace stonelog::sim {

inline constexpr size_t kPageBytes = 4096;

// The bytes of a file; pages never written are null and read as zeros.
class Content {
 public:
  void read(uint64_t offset, uint8_t* data, size_t size) const;
  void write(uint64_t offset, const uint8_t* data, size_t size);  // null data: zeros
  const uint8_t* page(uint64_t index) const {
    return index < pages_.size() && pages_[index] ? pages_[index]->data() : nullptr;
  }
  uint64_t page_count() const { return pages_.size(); }
  bool operator==(const Content& other) const;

 private:
  using Page = std::array<uint8_t, kPageBytes>;
  std::vector<std::shared_ptr<Page>> pages_;
};

struct UnsyncedWrite {
  uint64_t offset = 0;
  uint64_t size = 0;
  std::vector<uint8_t> data;     // empty: zeros
  uint64_t completed = 0;        // number of its completion, ascending; 0: in flight
  bool dropped = false;          // by a failed sync: a later sync does not make it durable
  std::vector<bool> superseded;  // sectors that a later DSYNC write holds; empty: none
};

struct Inode {
  bool directory = false;
  Content visible;
  Content durable;
  uint64_t size = 0;
  uint64_t durable_size = 0;
  std::vector<UnsyncedWrite> unsynced;  // in the order of their completion
  std::vector<bool> allocated;          // by page
};

struct NameOp {
  struct Edit {
    std::string path;
    uint64_t inode;  // 0: erased
  };
  std::vector<Edit> edits;  // all or none
};

struct Disk {
  std::map<std::string, uint64_t> names;
  std::map<std::string, uint64_t> durable_names;
  std::vector<NameOp> pending;
  std::map<uint64_t, Inode> inodes;
  uint64_t next_inode = 1;

  const Inode* find(const std::string& path) const;
  uint64_t allocated_bytes() const;
  // Whether both show the same names and bytes.
  bool looks_like(const Disk& other) const;
};

std::string parent_of(const std::string& path);

enum class Names : uint8_t { prefix, subset };

enum Faulty : uint32_t {
  kReads = 1,
  kWrites = 2,
  kSyncs = 4,
  kReserves = 8,
  kRenames = 16,
  kUnlinks = 32,
  kDirectorySyncs = 64,
  kOpens = 128,
  kLists = 256,
};

// What a call that fails did nevertheless.
enum class Effect : uint8_t {
  chance,   // as the device decides: nothing, a part or all of it
  nothing,  // a sync: what was not synced is dropped
  whole,
  prefix,  // of a write: a short one
};

struct SimFault {
  uint32_t operations = 0;  // Faulty bits
  uint64_t skip = 0;        // so many pass before
  uint64_t times = 1;       // so many fail then
  int error = 5;            // EIO
  std::string path;         // a substring; empty: every file
  Effect effect = Effect::chance;
};

// What the disk did, so that a run that exercises nothing is visible.
struct DiskCounters {
  uint64_t writes_kept = 0;  // not synced, in a crash
  uint64_t writes_lost = 0;
  uint64_t writes_torn = 0;
  uint64_t names_kept = 0;
  uint64_t names_lost = 0;
  uint64_t dropped_by_sync = 0;  // writes that a failed sync forgot
  uint64_t lying_pages = 0;      // such writes that the page cache goes on to show
  uint64_t evicted_lies = 0;     // and that an eviction brought to light
  uint64_t faults[9] = {};       // by the bit of Faulty
  uint64_t failed_yet_done = 0;  // calls that failed and had their effect
  uint64_t short_writes = 0;
};

class SimFileSystem final : public io::FileSystem {
 public:
  explicit SimFileSystem(uint64_t seed) : random_(seed) { make_root(); }

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
  uint64_t random64() override { return random_.next(); }
  uint64_t wall_micros() override { return wall_micros_ += 10; }

  // Operations in flight. The bytes must not change until complete(); that is checked.
  uint64_t begin_write(const std::string& path, uint64_t offset, const io::Part* parts, int count,
                       io::WriteMode mode);
  uint64_t begin_sync(const std::string& path);
  Status complete(uint64_t ticket);

  // The power fails after so many more changing operations; from then on every operation fails.
  void crash_after(uint64_t operations) { crash_in_ = operations; }
  void no_crash() { crash_in_ = UINT64_MAX; }
  bool crashed() const { return crashed_; }
  // What a power cut now leaves. Everything in flight is gone.
  void crash(Names names);
  // The harshest of them: nothing survives that is not durable.
  void lose_cache();
  // The process dies, the machine lives: what is in flight is kept, lost or torn, the cache stays.
  void kill();

  void add(SimFault fault) { faults_.push_back(fault); }
  void clear_faults() { faults_.clear(); }
  uint64_t faults_fired() const { return faults_fired_; }
  void set_capacity(uint64_t bytes) { capacity_ = bytes; }
  // What the device writes as a whole or not at all: 512 bytes or more.
  void set_sector(uint64_t bytes) { sector_bytes_ = bytes; }
  const DiskCounters& counters() const { return counters_; }

  // Bytes that were acknowledged: from now on a write to them, a hole in them or the loss of their
  // file's name is a violation, until unguard_below() a durable head.
  void guard(const std::string& path, uint64_t sequence, uint64_t end);
  void unguard_below(uint64_t sequence);
  void suspend_guard(bool suspended) { guard_suspended_ = suspended; }
  // Whether a power cut now would keep the file's name and these bytes, given by their checksum.
  bool is_durable(const std::string& path, uint64_t offset, uint64_t size, uint32_t crc) const;

  io::Probe probe_result;
  const Disk& disk() const { return disk_; }
  void restore(const Disk& disk);
  // Changes durable bytes behind everybody's back.
  void damage(const std::string& path, uint64_t offset, const uint8_t* bytes, size_t size);
  void shorten(const std::string& path, uint64_t size);
  void remove(const std::string& path);
  void swap_names(const std::string& one, const std::string& other);
  void copy_file(const std::string& from, const std::string& to);
  // Breaches of the seam's rules by the caller; empty: none.
  const std::string& violation() const { return violation_; }
  uint64_t operations() const { return operations_; }

 private:
  friend class SimFile;
  struct InFlight {
    uint64_t inode = 0;
    std::string path;
    bool is_sync = false;
    uint64_t issued = 0;  // sync: completions before its issue
    uint64_t issued_size = 0;
    io::WriteMode mode = io::WriteMode::plain;
    UnsyncedWrite write;
    std::vector<io::Part> parts;
  };

  void make_root();
  Status enter(Faulty operation, const char* syscall, const std::string& path,
               Effect* effect = nullptr);
  void check_guard(uint64_t inode, uint64_t from, uint64_t to, const char* what);
  void check_guarded_name(const std::string& path, const char* what);
  bool happens(const Status& status, Effect effect);
  bool counts_down();
  Inode& inode(uint64_t id) { return disk_.inodes.at(id); }
  void edit(NameOp op);
  Status allocate(Inode* file, uint64_t from, uint64_t to, const std::string& path,
                  const char* syscall);
  void check_overlap(const InFlight& op);
  void apply_visible(Inode* file, const UnsyncedWrite& write);
  void make_durable(Inode* file, const UnsyncedWrite& write);
  void supersede(Inode* file, const UnsyncedWrite& by);
  void rebuild_visible(Inode* file);
  bool tear(UnsyncedWrite* write);
  Status finish_write(InFlight* op);
  Status finish_sync(const InFlight& op);
  void sync_failed(Inode* file, const InFlight& op, Effect effect);
  bool reaches_disk(UnsyncedWrite* write, Effect effect);
  void evict_lies(Inode* file, uint64_t percent);
  void collect_garbage();
  void restart();

  Random random_;
  Disk disk_;
  std::map<uint64_t, InFlight> in_flight_;
  uint64_t next_ticket_ = 1;
  uint64_t completions_ = 0;
  uint64_t crash_in_ = UINT64_MAX;
  bool crashed_ = false;
  uint64_t capacity_ = UINT64_MAX;
  uint64_t allocated_ = 0;
  std::vector<SimFault> faults_;
  uint64_t faults_fired_ = 0;
  uint64_t operations_ = 0;
  uint64_t wall_micros_ = 1'700'000'000'000'000;
  std::string violation_;
  uint64_t sector_bytes_ = 512;
  struct Guard {
    uint64_t sequence;
    uint64_t end;
  };
  std::map<uint64_t, Guard> guards_;  // by inode
  bool guard_suspended_ = false;
  DiskCounters counters_;
};

}  // namespace stonelog::sim
