#if !defined(_WIN32)

#include "io/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__linux__)
#include <sys/vfs.h>
#endif

#include <algorithm>

#include "io/posix_calls.h"
#include "io/posix_file_system.h"

namespace stonelog::io {
namespace {

// What is known about a file system by its name alone.
//
// dsync: RWF_DSYNC is trusted only where the kernel's own code for it is known to end in a
// forced-unit-access write or a cache flush: ext4 and xfs (iomap's and ext4's write paths finish
// with generic_write_sync or a FUA bio), btrfs (logs the inode and flushes), f2fs
// (generic_write_sync). Network and FUSE file systems may never see the flag (FUSE has no field for
// it), overlayfs may be mounted `volatile` and then ignores syncs; all these, and everything
// unknown, get an explicit fdatasync.
//
// async_dsync: the same of a write that was begun by io_submit: ext4 and xfs finish both kinds in
// the same place (iomap), btrfs has a way of its own.
//
// reserves: a later overwrite of fallocated blocks needs no further space. Not so where data is
// never overwritten in place.
struct Known {
  uint32_t magic;
  const char* name;
  bool dsync;
  bool async_dsync;
  bool reserves;
  bool copy_on_write;
};

constexpr Known known[] = {
    // ext2 and ext3 share the magic and the driver
    {0x0000EF53, "ext4", true, true, true, false},
    {0x58465342, "xfs", true, true, true, false},
    {0x9123683E, "btrfs", true, false, false, true},
    // log-structured: overwrites go to new blocks
    {0xF2F52010, "f2fs", true, false, false, true},
    {0x2FC12FC1, "zfs", false, false, false, true},
    {0xCA451A4E, "bcachefs", false, false, false, true},
    {0x01021994, "tmpfs", false, false, true, false},
    {0x794C7630, "overlayfs", false, false, false, false},
    {0x65735546, "fuse", false, false, false, false},
    {0x00006969, "nfs", false, false, false, false},
    {0xFF534D42, "cifs", false, false, false, false},
    {0xFE534D42, "smb2", false, false, false, false},
    {0x01021997, "9p", false, false, false, false},
    {0x00C36400, "ceph", false, false, false, false},
    {0x7366746E, "ntfs3", false, false, false, false},
    {0x2011BAB0, "exfat", false, false, false, false},
    {0x00004D44, "vfat", false, false, false, false},
};

constexpr uint32_t block_size_min = 4096;
// Beyond this an alignment is not a device's block but nonsense (or would waste too much per
// group).
constexpr uint32_t block_size_max = 1 << 16;

// What was learned about O_DIRECT.
struct Direct {
  bool known = false;  // false: there was no file to try it on
  bool possible = false;
  int error = 0;  // why there was none, if the disk was too full for one
  uint32_t alignment = 0;
  std::string why;
};

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  const int fd_;
};

Known identify(uint32_t magic) {
  for (const Known& entry : known) {
    if (entry.magic == magic) return entry;
  }
  return {magic, nullptr, false, false, false, false};
}

Status file_system_of(const std::string& directory, Known* entry, std::string* name) {
#if defined(__linux__)
  struct statfs facts {};
  if (call::uninterrupted([&] { return ::statfs(directory.c_str(), &facts); }) != 0) {
    return system_status("statfs", errno, directory);
  }
  *entry = identify(static_cast<uint32_t>(facts.f_type));
  char magic[16];
  snprintf(magic, sizeof magic, "0x%x", static_cast<unsigned>(entry->magic));
  *name = entry->name != nullptr ? entry->name : magic;
#else
  if (::access(directory.c_str(), F_OK) != 0) return system_status("access", errno, directory);
  *entry = identify(0);
  *name = "unknown";
#endif
  return {};
}

bool out_of_space(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

#if defined(O_DIRECT)

// One block, read or written at offset 0 of a file whose descriptor has O_DIRECT already; errno or
// 0.
int try_block(int fd, bool writing) {
  void* block = nullptr;
  if (posix_memalign(&block, block_size_min, block_size_min) != 0) return ENOMEM;
  memset(block, 0, block_size_min);
  const ssize_t count = call::uninterrupted([&] {
    return writing ? ::pwrite(fd, block, block_size_min, 0) : ::pread(fd, block, block_size_min, 0);
  });
  const int error = count < 0 ? errno : 0;
  free(block);
  // A block at the end of a small segment may be read short, one of a reserved file may not be
  // written so.
  return writing && count >= 0 && count != static_cast<ssize_t>(block_size_min) ? EIO : error;
}

// O_DIRECT is set on an open descriptor rather than asked for in open(): with O_CREAT a refusing
// file system leaves the new file behind although the call failed.
Direct examine(int fd, bool writing) {
  Direct direct;
  direct.known = true;
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_DIRECT) != 0) {
    direct.why = "the file system refuses O_DIRECT";
    return direct;
  }
  call::FileFacts facts;
  if (call::file_facts(fd, "", &facts) == 0 && facts.direct_known) {
    direct.alignment = std::max(facts.direct_offset_align, facts.direct_memory_align);
    const bool power_of_two = (direct.alignment & (direct.alignment - 1)) == 0;
    direct.possible =
        facts.direct_offset_align > 0 && direct.alignment <= block_size_max && power_of_two;
    direct.why =
        facts.direct_offset_align == 0
            ? "the kernel says that O_DIRECT is not possible here"
            : "the kernel asks for " + std::to_string(direct.alignment) + "-byte alignment";
    return direct;
  }
  direct.error = try_block(fd, writing);
  direct.known = !out_of_space(direct.error);
  direct.possible = direct.error == 0;
  direct.why = direct.possible
                   ? "a probe with O_DIRECT succeeded"
                   : "a probe with O_DIRECT failed with errno " + std::to_string(direct.error);
  return direct;
}

#else

Direct examine(int, bool) {
  Direct direct;
  direct.known = true;
  direct.why = "this platform has no O_DIRECT";
  return direct;
}

#endif

// Tries on a new file, whose name is gone before anything is done with it: a crash leaves nothing
// behind but in the instant between two calls. A disk too full for it leaves direct->known false.
Status probe_by_writing(const std::string& directory, uint64_t token, Direct* direct,
                        bool* allocates) {
  char name[48];
  snprintf(name, sizeof name, "/.probe-%016llx.tmp", static_cast<unsigned long long>(token));
  const std::string path = directory + name;
  const Descriptor fd(call::uninterrupted(
      [&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600); }));
  if (!fd.ok()) {
    direct->error = errno;
    return out_of_space(errno) ? Status{} : system_status("open", errno, path);
  }
  if (::unlink(path.c_str()) != 0) return system_status("unlink", errno, path);
  if (call::exceeds_size_limit(block_size_min)) {
    direct->error = EFBIG;
    return {};
  }
  *allocates =
      call::uninterrupted([&] { return call::allocate(fd.get(), 0, 0, block_size_min); }) == 0 ||
      out_of_space(errno);
  *direct = examine(fd.get(), true);
  return {};
}

// Without writing: on a segment, if there is one.
Status probe_by_reading(const std::string& directory, Direct* direct) {
  std::vector<std::string> names;
  Status status = posix_file_system().list(directory, &names);
  if (!status.ok()) return status;
  for (const std::string& name : names) {
    if (name.size() <= 4 || name.compare(name.size() - 4, 4, ".wal") != 0) continue;
    const std::string path = directory + "/" + name;
    // O_NONBLOCK: a FIFO under a segment's name must not hang the open.
    const Descriptor fd(call::uninterrupted(
        [&] { return ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC); }));
    call::FileFacts facts;
    if (!fd.ok() || call::file_facts(fd.get(), "", &facts) != 0 || !facts.is_regular) continue;
    *direct = examine(fd.get(), false);
    if (direct->known) return {};
  }
  return {};
}

Status find_direct(const std::string& directory, bool may_write, uint64_t token, Direct* direct,
                   bool* allocates) {
  if (may_write) {
    Status status = probe_by_writing(directory, token, direct, allocates);
    if (!status.ok() || direct->known) return status;
  }
  // Read-only, or the disk is full: opening a log needs no space if there is a segment to ask
  // about.
  const int error = direct->error;
  Status status = probe_by_reading(directory, direct);
  if (!status.ok() || direct->known) return status;
  if (error != 0) return system_status("open", error, directory);
  direct->why = "there is no segment to try it on";
  return {};
}

}  // namespace

Status probe_directory(const std::string& directory, DirectIo wish, bool may_write, uint64_t token,
                       Probe* probe) {
  *probe = Probe{};
  Known facts{};
  Status status = file_system_of(directory, &facts, &probe->file_system);
  if (!status.ok()) return status;
  probe->dsync_trusted = facts.dsync;
  probe->copy_on_write = facts.copy_on_write;

  Direct direct;
  bool allocates = facts.reserves;  // what cannot be tried is believed of the file system's name
  status = find_direct(directory, may_write, token, &direct, &allocates);
  if (!status.ok()) return status;
  // Also where O_DIRECT is not used: a log written here may be opened with it later.
  if (direct.possible) probe->block_size = std::max(block_size_min, direct.alignment);
  probe->reserves = facts.reserves && allocates;
  probe->direct = direct.possible && wish != DirectIo::off;
  probe->async_dsync = facts.async_dsync && probe->direct;
  if (wish == DirectIo::on && direct.known && !direct.possible) {
    status = Status::of(Code::bad_option, "directIo 'on' is not possible on " + probe->file_system +
                                              ": " + direct.why);
    status.path = directory;
    return status;
  }

  const char* path = probe->direct ? "direct I/O: " : "buffered I/O: ";
  probe->reason = path + (wish == DirectIo::off ? "directIo is 'off'" : direct.why);
  probe->reason += probe->dsync_trusted ? "; RWF_DSYNC on " : "; explicit fdatasync on ";
  probe->reason += probe->file_system;
  probe->reason += probe->reserves        ? "; space is reserved by fallocate"
                   : probe->copy_on_write ? "; copy-on-write, so space cannot be reserved"
                                          : "; space cannot be reserved";
  return {};
}

}  // namespace stonelog::io

#endif
