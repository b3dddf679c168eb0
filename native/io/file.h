// The file seam. Everything the core asks of a file system goes through these two interfaces, so
// that tests can fail the n-th call, tear a write, drop what was not synced and forget un-synced
// names. Implementations: PosixFileSystem (posix_file_system.h), FaultFileSystem
// (fault_file_system.h, wraps another one), sim::SimFileSystem (a disk with a volatile cache).
//
// Rules all implementations keep:
// - No call retries a failed sync. EINTR with nothing transferred is retried; a short write is an
// error.
// - Error statuses carry errno, the syscall's name and the path. Space errors (ENOSPC, EDQUOT,
// EFBIG)
//   have Code::no_space; a missing file Code::not_found; everything else Code::io.
// - Offsets, sizes and addresses of direct files are multiples of Probe::block_size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/status.h"

namespace stonelog::io {

struct Part {  // one contiguous piece of a gathered write
  const uint8_t* data;
  size_t size;
};

enum class WriteMode : uint8_t {
  plain,  // durable only after a later sync()
  dsync,  // on return the bytes (and the metadata to find them) are durable; nothing else is
};

// A DSYNC write that is carried out while the caller goes on; one at a time. Its memory must stay
// until its result was taken. Any thread may begin one, and any thread may take its result, but two
// never at the same time.
class AsyncWrite {
 public:
  enum class Begun : uint8_t {
    yes,
    not_now,  // nothing was begun: the caller writes by itself
    never,    // the same, and it need not be tried again
  };
  // -EAGAIN as a result: the write could not go on without waiting. Nothing is durable, nothing
  // failed; the caller writes by itself.
  virtual ~AsyncWrite() = default;  // waits for the write under way
  // A descriptor that becomes readable with each result, until clear_signal().
  virtual int signal() const = 0;
  virtual void clear_signal() = 0;
  // The bytes written, or -errno, of the write under way; false if it is not done yet.
  virtual bool take(int64_t* result) = 0;
  virtual int64_t wait() = 0;
};

class File {
 public:
  virtual ~File() = default;
  // Reads up to `size` bytes; `*got` < `size` only at the end of the file. An I/O error is an
  // error, never a short count.
  virtual Status read(uint64_t offset, uint8_t* data, size_t size, size_t* got) = 0;
  // Writes every part, back to back, from `offset` on, or fails.
  virtual Status write(uint64_t offset, const Part* parts, int count, WriteMode mode) = 0;
  // Begins a DSYNC write; `write` is one of this file's file system.
  virtual AsyncWrite::Begun begin_write(AsyncWrite*, uint64_t, const Part*, int) {
    return AsyncWrite::Begun::never;
  }
  virtual Status sync() = 0;  // fdatasync
  // Allocates [0, size) and makes it the file's size, without writing data. Where the file system
  // cannot reserve (EOPNOTSUPP), sets the size only and reports *reserved = false. Never glibc's
  // emulation.
  virtual Status reserve(uint64_t size, bool* reserved) = 0;
  // Gives [from, to) back to the file system, keeping the size. Unsupported is not an error.
  virtual Status punch(uint64_t from, uint64_t to) = 0;
  virtual Status size(uint64_t* bytes) = 0;
  // Whether the path it was opened by still names this very file.
  virtual Status is_named(bool* named) {
    *named = true;
    return {};
  }
  // Drops the file's pages from the page cache, so that the next read comes from the device. No-op
  // on direct files.
  virtual Status evict() = 0;
};

enum class Access : uint8_t {
  read,        // the file must exist
  read_write,  // the file must exist
  create,      // created if missing, contents kept if not; read and write
};

// What a directory's file system can do. `reason` is shown in stats and says why this path was
// chosen.
struct Probe {
  uint32_t block_size = 4096;  // max(4096, what STATX_DIOALIGN reports)
  bool direct = false;  // O_DIRECT works: proven by a probe write where the kernel does not say
  bool dsync_trusted =
      false;                 // RWF_DSYNC is honoured: known file systems only; else explicit sync()
  bool reserves = false;     // fallocate guarantees that later writes do not fail for space
  bool async_dsync = false;  // asynchronous DSYNC writes are honoured, too
  bool copy_on_write = false;  // zero-filling ahead buys nothing
  std::string file_system;     // "ext4", "xfs", "btrfs", "tmpfs", …, or "0x<magic>"
  std::string reason;
};

enum class DirectIo : uint8_t { automatic = 0, on = 1, off = 2 };

// A held lock; released by its destructor.
class Lock {
 public:
  virtual ~Lock() = default;
  // The log was refused: the release is to leave the lock's file as it was found, or none.
  virtual void abandon() {}
  // Whether the path of the lock's file still names the file that is locked: if not, others may
  // hold a lock of that name, too.
  virtual bool is_named() { return true; }
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual Status open(const std::string& path, Access access, bool direct, uint32_t mode,
                      std::unique_ptr<File>* file) = 0;
  virtual Status rename(const std::string& from, const std::string& to) = 0;  // replaces `to`
  virtual Status unlink(const std::string& path) = 0;
  // Names in the directory without "." and "..", sorted bytewise.
  virtual Status list(const std::string& path, std::vector<std::string>* names) = 0;
  // Creates one directory; *created is false if it existed as a directory already.
  virtual Status make_directory(const std::string& path, bool* created) = 0;
  virtual Status sync_directory(const std::string& path) = 0;
  virtual Status free_bytes(const std::string& path, uint64_t* bytes) = 0;
  // Identity of an existing directory, the key of the table of open logs.
  virtual Status identity(const std::string& path, uint64_t* device, uint64_t* inode) = 0;
  // `may_write` false: no probe file is written (read-only opens).
  virtual Status probe(const std::string& directory, DirectIo wish, bool may_write,
                       Probe* probe) = 0;
  // Null where the file system has none.
  virtual std::unique_ptr<AsyncWrite> async_write() { return nullptr; }
  // Takes the exclusive advisory lock on `path` (created if missing), writing this process's pid
  // into it. Code::locked with Status::pid when another process holds it, after retrying for 250 ms
  // (a killed process may hold its descriptor that much longer).
  virtual Status lock(const std::string& path, uint32_t mode, std::unique_ptr<Lock>* lock) = 0;
  // Whether somebody holds that lock now; takes nothing, writes nothing. False if the file is
  // missing.
  virtual Status is_locked(const std::string& path, bool* locked, uint64_t* pid) = 0;
  virtual uint64_t random64() = 0;  // identities; seeded in the simulator
  virtual uint64_t
  wall_micros() = 0;  // since 1970-01-01 UTC, for timestamps only, never for ordering
};

// The real file system of this machine; stateless, so any thread may use it.
FileSystem& host_file_system();

// Creates `path` and its missing ancestors, syncing the parent of each directory that was created
// up to the first existing one: else a power cut takes the whole log with the name of its
// directory.
Status make_directories(FileSystem& fs, const std::string& path, bool* created);

}  // namespace stonelog::io
