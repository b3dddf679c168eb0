// The system calls whose libc wrappers stonelog must not use, in one place with their reasons:
// - fallocate: some libcs emulate it by writing, which reserves nothing and takes minutes;
// - pwritev2:  missing from musl before 1.2.5, and glibc's wrapper emulates it where it can;
// - statx:     missing from musl before 1.2.5; fstat and stat are GLIBC_2.33 symbols, above 2.28.
// All return -1 and set errno, as the calls themselves do.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "io/status.h"

#if defined(__linux__)
#include <sys/syscall.h>
#else
#include <sys/stat.h>
#endif

namespace stonelog::io {

// The rule of file.h for what an errno means.
inline Status system_status(const char* syscall, int error, const std::string& path) {
  Code code = Code::io;
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) code = Code::no_space;
  if (error == ENOENT) code = Code::not_found;
  return Status::system(code, syscall, error, path);
}

namespace call {

// Repeats a call that a signal interrupted before it did anything. Not for syncs: after an
// interrupted one nobody knows what reached the device.
template <typename Call>
inline auto uninterrupted(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

// A write beyond RLIMIT_FSIZE raises SIGXFSZ, which kills a process that does not ignore it. Asking
// before costs 0.1 us and needs neither a handler nor a signal mask, both of which belong to the
// application.
inline bool exceeds_size_limit(uint64_t end) {
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return false;
  return end > limit.rlim_cur;
}

struct FileFacts {
  uint64_t device = 0;
  uint64_t inode = 0;
  bool is_directory = false;
  bool is_regular = false;
  bool direct_known = false;         // the kernel said what O_DIRECT needs:
  uint32_t direct_offset_align = 0;  // 0: O_DIRECT is not possible on this file
  uint32_t direct_memory_align = 0;
};

#if defined(__linux__)

// The kernel's struct statx, an ABI that only ever uses up its spare room; declared here because
// headers before 6.1 lack the two fields about direct I/O.
struct KernelStatx {
  uint32_t mask, block_size;
  uint64_t attributes;
  uint32_t link_count, uid, gid;
  uint16_t mode, spare0;
  uint64_t inode, size, blocks, attributes_mask;
  uint64_t times[8];
  uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
  uint64_t mount_id;
  uint32_t dio_mem_align, dio_offset_align;
  uint64_t spare[12];
};
static_assert(sizeof(KernelStatx) == 256, "the size of the kernel's struct statx");

inline int file_facts(int fd, const char* path, FileFacts* facts) {
  constexpr int at_empty_path = 0x1000;
  constexpr unsigned basic_stats = 0x7FF;
  constexpr unsigned direct_alignment = 0x2000;  // STATX_DIOALIGN; ignored before Linux 6.1
  constexpr unsigned type_mask = 0170000, type_directory = 0040000, type_regular = 0100000;
  KernelStatx statx{};
  constexpr unsigned mask = basic_stats | direct_alignment;
  if (syscall(SYS_statx, fd, path, at_empty_path, mask, &statx) != 0) return -1;
  facts->device = static_cast<uint64_t>(statx.dev_major) << 32 | statx.dev_minor;
  facts->inode = statx.inode;
  facts->is_directory = (statx.mode & type_mask) == type_directory;
  facts->is_regular = (statx.mode & type_mask) == type_regular;
  facts->direct_known = (statx.mask & direct_alignment) != 0;
  facts->direct_offset_align = statx.dio_offset_align;
  facts->direct_memory_align = statx.dio_mem_align;
  return 0;
}

inline int allocate(int fd, int mode, uint64_t offset, uint64_t size) {
  return static_cast<int>(
      syscall(SYS_fallocate, fd, mode, static_cast<off_t>(offset), static_cast<off_t>(size)));
}

inline int punch_hole(int fd, uint64_t offset, uint64_t size) {
  constexpr int keep_size = 0x01, punch = 0x02;
  return allocate(fd, keep_size | punch, offset, size);
}

inline ssize_t write_dsync(int fd, const iovec* parts, int count, uint64_t offset) {
  constexpr int rwf_dsync = 0x02;
  // The offset travels as two longs; on 64-bit kernels the first one holds all of it.
  return static_cast<ssize_t>(syscall(SYS_pwritev2, fd, parts, count, static_cast<long>(offset),
                                      static_cast<long>(offset >> 32), rwf_dsync));
}

inline int sync_data(int fd) { return fdatasync(fd); }

#else

inline int file_facts(int fd, const char* path, FileFacts* facts) {
  struct stat stat {};
  const bool by_path = path[0] != 0;
  if ((by_path ? fstatat(fd, path, &stat, 0) : fstat(fd, &stat)) != 0) return -1;
  facts->device = static_cast<uint64_t>(stat.st_dev);
  facts->inode = static_cast<uint64_t>(stat.st_ino);
  facts->is_directory = S_ISDIR(stat.st_mode);
  facts->is_regular = S_ISREG(stat.st_mode);
  return 0;
}

inline int unsupported() {
  errno = EOPNOTSUPP;
  return -1;
}
#if defined(__APPLE__)
inline int allocate(int fd, int, uint64_t offset, uint64_t size) {
  const off_t end = lseek(fd, 0, SEEK_END);
  const auto wanted = static_cast<off_t>(offset + size);
  if (end < 0 || wanted <= end) return end < 0 ? -1 : 0;
  fstore_t space{};
  space.fst_flags = F_ALLOCATEALL;
  space.fst_posmode = F_PEOFPOSMODE;  // behind what is allocated already
  space.fst_length = wanted - end;
  return fcntl(fd, F_PREALLOCATE, &space);
}
#else
inline int allocate(int, int, uint64_t, uint64_t) { return unsupported(); }
#endif
inline int punch_hole(int, uint64_t, uint64_t) { return unsupported(); }
inline ssize_t write_dsync(int, const iovec*, int, uint64_t) { return unsupported(); }

inline int sync_data(int fd) {
#if defined(F_FULLFSYNC)
  return fcntl(fd, F_FULLFSYNC);  // fsync there stops at the drive's volatile cache
#else
  return fsync(fd);
#endif
}

#endif

}  // namespace call
}  // namespace stonelog::io
