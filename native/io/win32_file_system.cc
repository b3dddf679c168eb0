#if defined(_WIN32)

#define _CRT_RAND_S
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include "io/win32_file_system.h"

#include <stdlib.h>
#include <windows.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "io/host.h"

namespace stonelog::io {
namespace {

constexpr DWORD share_all = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
// Windows enforces locks: one byte far behind the file's end leaves its text readable.
constexpr uint64_t lock_offset = uint64_t{1} << 62;
constexpr uint32_t block_size_min = 4096;
constexpr DWORD disk_quota_exceeded = 1295;  // ERROR_DISK_QUOTA_EXCEEDED, missing from mingw
constexpr uint64_t lock_patience_ns = 250'000'000;

int errno_of(DWORD error) {
  switch (error) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_INVALID_NAME:
      return ENOENT;
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
    case disk_quota_exceeded:
      return ENOSPC;
    case ERROR_FILE_TOO_LARGE:
      return EFBIG;
    case ERROR_ACCESS_DENIED:
    case ERROR_SHARING_VIOLATION:
    case ERROR_WRITE_PROTECT:
      return EACCES;
    case ERROR_ALREADY_EXISTS:
    case ERROR_FILE_EXISTS:
      return EEXIST;
    case ERROR_DIRECTORY:
      return ENOTDIR;
    case ERROR_INVALID_PARAMETER:
      return EINVAL;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
      return ENOMEM;
    case ERROR_TOO_MANY_OPEN_FILES:
      return EMFILE;
    default:
      return EIO;
  }
}

// The rule of file.h for what an error means; the system's own number goes into the detail.
Status failure(const char* call, const std::string& path, DWORD error) {
  const int number = errno_of(error);
  Code code = Code::io;
  if (number == ENOSPC || number == EFBIG) code = Code::no_space;
  if (number == ENOENT) code = Code::not_found;
  Status status = Status::system(code, call, number, path);
  status.detail = "Windows error " + std::to_string(error);
  return status;
}

Status failure(const char* call, const std::string& path) {
  return failure(call, path, GetLastError());
}

std::wstring wide(const std::string& text) {
  const int size = static_cast<int>(text.size());
  const int units = MultiByteToWideChar(CP_UTF8, 0, text.data(), size, nullptr, 0);
  std::wstring result(static_cast<size_t>(units), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, text.data(), size, result.data(), units);
  return result;
}

std::string narrow(const wchar_t* text) {
  const int bytes = WideCharToMultiByte(CP_UTF8, 0, text, -1, nullptr, 0, nullptr, nullptr);
  std::string result(static_cast<size_t>(std::max(bytes, 1)), '\0');
  WideCharToMultiByte(CP_UTF8, 0, text, -1, result.data(), bytes, nullptr, nullptr);
  result.pop_back();  // its final zero
  return result;
}

class Handle {
 public:
  explicit Handle(HANDLE handle) : handle_(handle) {}
  Handle(Handle&& other) noexcept : handle_(other.handle_) { other.handle_ = INVALID_HANDLE_VALUE; }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (ok()) CloseHandle(handle_);
  }
  bool ok() const { return handle_ != INVALID_HANDLE_VALUE; }
  HANDLE get() const { return handle_; }

 private:
  HANDLE handle_;
};

Handle open_handle(const std::string& path, DWORD access, DWORD disposition, DWORD flags) {
  // No security attributes: a child process does not inherit the handle.
  return Handle(
      CreateFileW(wide(path).c_str(), access, share_all, nullptr, disposition, flags, nullptr));
}

OVERLAPPED at_offset(uint64_t offset) {
  OVERLAPPED place{};
  place.Offset = static_cast<DWORD>(offset);
  place.OffsetHigh = static_cast<DWORD>(offset >> 32);
  return place;
}

// One call of ReadFile or WriteFile moves at most so much; a multiple of every block.
constexpr size_t transfer_max = size_t{1} << 30;

class Win32File final : public File {
 public:
  Win32File(Handle handle, std::string path) : handle_(std::move(handle)), path_(std::move(path)) {}

  Status read(uint64_t offset, uint8_t* data, size_t size, size_t* got) override;
  Status write(uint64_t offset, const Part* parts, int count, WriteMode mode) override;
  Status sync() override;
  Status reserve(uint64_t size, bool* reserved) override;
  // A hole would make the file sparse for ever, and a sparse file reserves nothing.
  Status punch(uint64_t, uint64_t) override { return {}; }
  Status size(uint64_t* bytes) override;
  // Only an unbuffered handle reads from the device; what a buffered one reads is believed.
  Status evict() override { return sync(); }

 private:
  Status write_piece(uint64_t offset, const uint8_t* data, size_t size);

  const Handle handle_;
  const std::string path_;
};

Status Win32File::read(uint64_t offset, uint8_t* data, size_t size, size_t* got) {
  *got = 0;
  while (*got < size) {
    OVERLAPPED place = at_offset(offset + *got);
    const auto wanted = static_cast<DWORD>(std::min(size - *got, transfer_max));
    DWORD count = 0;
    if (ReadFile(handle_.get(), data + *got, wanted, &count, &place) == 0) {
      const DWORD error = GetLastError();
      if (error == ERROR_HANDLE_EOF) return {};
      return failure("ReadFile", path_, error).at(0, offset + *got);
    }
    *got += count;
    if (count < wanted) {
      uint64_t end = 0;
      Status status = this->size(&end);
      if (!status.ok() || offset + *got >= end) return status;
      return failure("ReadFile", path_, ERROR_READ_FAULT).at(0, offset + *got);
    }
  }
  return {};
}

Status Win32File::write_piece(uint64_t offset, const uint8_t* data, size_t size) {
  for (size_t done = 0; done < size;) {
    OVERLAPPED place = at_offset(offset + done);
    const auto wanted = static_cast<DWORD>(std::min(size - done, transfer_max));
    DWORD count = 0;
    if (WriteFile(handle_.get(), data + done, wanted, &count, &place) == 0) {
      return failure("WriteFile", path_).at(0, offset + done);
    }
    // No second try for the rest: half a group on the disk is an event the log has to know about.
    if (count != wanted) return failure("WriteFile", path_, ERROR_WRITE_FAULT).at(0, offset + done);
    done += count;
  }
  return {};
}

Status Win32File::write(uint64_t offset, const Part* parts, int count, WriteMode mode) {
  for (int index = 0; index < count; index++) {
    Status status = write_piece(offset, parts[index].data, parts[index].size);
    if (!status.ok()) return status;
    offset += parts[index].size;
  }
  return mode == WriteMode::dsync ? sync() : Status{};
}

Status Win32File::sync() {
  // Write-through alone is not enough: many drives ignore forced unit access. This flushes the
  // drive's cache, too. Never tried again after a failure.
  if (FlushFileBuffers(handle_.get()) == 0) return failure("FlushFileBuffers", path_);
  return {};
}

Status Win32File::reserve(uint64_t size, bool* reserved) {
  *reserved = false;
  FILE_ALLOCATION_INFO space{};
  space.AllocationSize.QuadPart = static_cast<LONGLONG>(size);
  if (SetFileInformationByHandle(handle_.get(), FileAllocationInfo, &space, sizeof space) == 0) {
    const DWORD error = GetLastError();
    if (error != ERROR_NOT_SUPPORTED && error != ERROR_INVALID_FUNCTION) {
      return failure("SetFileInformationByHandle", path_, error);
    }
  } else {
    *reserved = true;
  }
  FILE_END_OF_FILE_INFO end{};
  end.EndOfFile.QuadPart = static_cast<LONGLONG>(size);
  if (SetFileInformationByHandle(handle_.get(), FileEndOfFileInfo, &end, sizeof end) == 0) {
    return failure("SetFileInformationByHandle", path_);
  }
  return {};
}

Status Win32File::size(uint64_t* bytes) {
  LARGE_INTEGER size{};
  if (GetFileSizeEx(handle_.get(), &size) == 0) return failure("GetFileSizeEx", path_);
  *bytes = static_cast<uint64_t>(size.QuadPart);
  return {};
}

std::string read_text(HANDLE handle) {
  char text[64];
  OVERLAPPED place = at_offset(0);
  DWORD count = 0;
  if (ReadFile(handle, text, sizeof text, &count, &place) == 0) count = 0;
  return std::string(text, count);
}

// The whole text of a lock's file; a short one, so there is nothing to continue.
bool write_text(HANDLE handle, const std::string& text) {
  FILE_END_OF_FILE_INFO end{};
  OVERLAPPED place = at_offset(0);
  DWORD count = 0;
  return SetFileInformationByHandle(handle, FileEndOfFileInfo, &end, sizeof end) != 0 &&
         (text.empty() ||
          WriteFile(handle, text.data(), static_cast<DWORD>(text.size()), &count, &place) != 0);
}

uint64_t pid_in(const std::string& text) {
  uint64_t pid = 0;
  std::from_chars(text.data(), text.data() + text.size(), pid);
  return pid;
}

bool try_lock(HANDLE handle, DWORD flags) {
  OVERLAPPED place = at_offset(lock_offset);
  return LockFileEx(handle, flags | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &place) != 0;
}

// Closing the handle unlocks; so does the end of the process.
class Win32Lock final : public Lock {
 public:
  Win32Lock(Handle handle, std::string path, bool created, std::string found)
      : handle_(std::move(handle)),
        path_(std::move(path)),
        created_(created),
        found_(std::move(found)) {}
  ~Win32Lock() override {
    if (abandoned_ && created_) DeleteFileW(wide(path_).c_str());
    // What fails here does no harm: a stale pid is shown only while somebody else holds the lock.
    (void)write_text(handle_.get(), abandoned_ ? found_ : std::string());
  }
  void abandon() override { abandoned_ = true; }

 private:
  const Handle handle_;
  const std::string path_;
  const bool created_;
  const std::string found_;
  bool abandoned_ = false;
};

}  // namespace

Status Win32FileSystem::open(const std::string& path, Access access, bool direct, uint32_t,
                             std::unique_ptr<File>* file) {
  const DWORD rights = access == Access::read ? GENERIC_READ : GENERIC_READ | GENERIC_WRITE;
  const DWORD disposition = access == Access::create ? OPEN_ALWAYS : OPEN_EXISTING;
  DWORD flags = FILE_ATTRIBUTE_NORMAL;
  if (direct) flags |= FILE_FLAG_NO_BUFFERING | FILE_FLAG_WRITE_THROUGH;
  Handle handle = open_handle(path, rights, disposition, flags);
  if (!handle.ok()) return failure("CreateFile", path);
  if (GetFileType(handle.get()) != FILE_TYPE_DISK) {
    Status status = Status::of(Code::not_a_log, "this is not a regular file");
    status.path = path;
    return status;
  }
  *file = std::make_unique<Win32File>(std::move(handle), path);
  return {};
}

Status Win32FileSystem::rename(const std::string& from, const std::string& to) {
  constexpr DWORD how = MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH;
  if (MoveFileExW(wide(from).c_str(), wide(to).c_str(), how) == 0) {
    return failure("MoveFileEx", from);
  }
  return {};
}

Status Win32FileSystem::unlink(const std::string& path) {
  if (DeleteFileW(wide(path).c_str()) == 0) return failure("DeleteFile", path);
  return {};
}

Status Win32FileSystem::list(const std::string& path, std::vector<std::string>* names) {
  names->clear();
  WIN32_FIND_DATAW entry;
  HANDLE search = FindFirstFileW(wide(path + "/*").c_str(), &entry);
  if (search == INVALID_HANDLE_VALUE) return failure("FindFirstFile", path);
  do {
    std::string name = narrow(entry.cFileName);
    if (name != "." && name != "..") names->push_back(std::move(name));
  } while (FindNextFileW(search, &entry) != 0);
  const DWORD error = GetLastError();
  FindClose(search);
  if (error != ERROR_NO_MORE_FILES) return failure("FindNextFile", path, error);
  std::sort(names->begin(), names->end());
  return {};
}

Status Win32FileSystem::make_directory(const std::string& path, bool* created) {
  *created = CreateDirectoryW(wide(path).c_str(), nullptr) != 0;
  if (*created) return {};
  const DWORD error = GetLastError();
  const DWORD attributes = GetFileAttributesW(wide(path).c_str());
  const bool there = attributes != INVALID_FILE_ATTRIBUTES;
  if (there && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0) return {};
  return failure("CreateDirectory", path, there ? ERROR_DIRECTORY : error);
}

Status Win32FileSystem::sync_directory(const std::string& path) {
  const Handle handle =
      open_handle(path, GENERIC_READ | GENERIC_WRITE, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS);
  if (!handle.ok()) return failure("CreateFile", path);
  if (FlushFileBuffers(handle.get()) == 0) return failure("FlushFileBuffers", path);
  return {};
}

Status Win32FileSystem::free_bytes(const std::string& path, uint64_t* bytes) {
  ULARGE_INTEGER available{};
  if (GetDiskFreeSpaceExW(wide(path).c_str(), &available, nullptr, nullptr) == 0) {
    return failure("GetDiskFreeSpaceEx", path);
  }
  *bytes = available.QuadPart;
  return {};
}

Status Win32FileSystem::identity(const std::string& path, uint64_t* device, uint64_t* inode) {
  const Handle handle = open_handle(path, 0, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS);
  if (!handle.ok()) return failure("CreateFile", path);
  BY_HANDLE_FILE_INFORMATION facts{};
  if (GetFileInformationByHandle(handle.get(), &facts) == 0) {
    return failure("GetFileInformationByHandle", path);
  }
  if ((facts.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) == 0) {
    return failure("GetFileInformationByHandle", path, ERROR_DIRECTORY);
  }
  *device = facts.dwVolumeSerialNumber;
  *inode = static_cast<uint64_t>(facts.nFileIndexHigh) << 32 | facts.nFileIndexLow;
  return {};
}

Status Win32FileSystem::probe(const std::string& directory, DirectIo wish, bool, Probe* probe) {
  *probe = Probe{};
  const Handle handle = open_handle(directory, 0, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS);
  if (!handle.ok()) return failure("CreateFile", directory);
  wchar_t name[MAX_PATH + 1] = {};
  if (GetVolumeInformationByHandleW(handle.get(), nullptr, 0, nullptr, nullptr, nullptr, name,
                                    MAX_PATH) == 0) {
    return failure("GetVolumeInformationByHandle", directory);
  }
  probe->file_system = narrow(name);
  FILE_STORAGE_INFO storage{};
  const bool known =
      GetFileInformationByHandleEx(handle.get(), FileStorageInfo, &storage, sizeof storage) != 0;
  const uint32_t sector = known ? storage.FileSystemEffectivePhysicalBytesPerSectorForAtomicity : 0;
  const bool possible = sector > 0 && sector <= (1u << 16) && (sector & (sector - 1)) == 0;
  if (possible) probe->block_size = std::max(block_size_min, sector);
  probe->direct = possible && wish != DirectIo::off;
  probe->reserves = probe->file_system == "NTFS";
  probe->copy_on_write = probe->file_system == "ReFS";
  if (wish == DirectIo::on && !possible) {
    return Status::of(Code::bad_option, "directIo 'on' is not possible on " + probe->file_system);
  }
  probe->reason = probe->direct ? "unbuffered I/O" : "buffered I/O";
  probe->reason += "; explicit FlushFileBuffers on " + probe->file_system;
  return {};
}

Status Win32FileSystem::lock(const std::string& path, uint32_t, std::unique_ptr<Lock>* lock) {
  const uint64_t give_up = monotonic_ns() + lock_patience_ns;
  for (;;) {
    Handle handle = open_handle(path, GENERIC_READ | GENERIC_WRITE | DELETE, OPEN_ALWAYS,
                                FILE_ATTRIBUTE_NORMAL);
    const bool created = GetLastError() != ERROR_ALREADY_EXISTS;
    if (!handle.ok()) return failure("CreateFile", path);
    if (try_lock(handle.get(), LOCKFILE_EXCLUSIVE_LOCK)) {
      const std::string found = read_text(handle.get());
      // A log on a full disk must open; its holder has no name then.
      (void)write_text(handle.get(), std::to_string(GetCurrentProcessId()) + "\n");
      *lock = std::make_unique<Win32Lock>(std::move(handle), path, created, found);
      return {};
    }
    const DWORD error = GetLastError();
    const bool held = error == ERROR_LOCK_VIOLATION || error == ERROR_IO_PENDING;
    if (held && monotonic_ns() < give_up) {
      Sleep(5);
      continue;
    }
    Status status = failure("LockFileEx", path, error);
    if (held) {
      status.code = Code::locked;
      status.pid = pid_in(read_text(handle.get()));
      status.detail = "another writer holds the lock";
    }
    return status;
  }
}

Status Win32FileSystem::is_locked(const std::string& path, bool* locked, uint64_t* pid) {
  *locked = false;
  *pid = 0;
  const Handle handle = open_handle(path, GENERIC_READ, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL);
  if (!handle.ok()) {
    Status status = failure("CreateFile", path);
    return status.code == Code::not_found ? Status{} : status;
  }
  // There is no question to ask; a shared lock held for an instant is the nearest thing.
  if (try_lock(handle.get(), 0)) return {};
  const DWORD error = GetLastError();
  *locked = error == ERROR_LOCK_VIOLATION || error == ERROR_IO_PENDING;
  if (!*locked) return failure("LockFileEx", path, error);
  *pid = pid_in(read_text(handle.get()));
  return {};
}

uint64_t Win32FileSystem::random64() {
  unsigned low = 0;
  unsigned high = 0;
  // Ids that repeat could make one history pass for another: no guessing from clocks.
  if (rand_s(&low) != 0 || rand_s(&high) != 0) abort();
  return static_cast<uint64_t>(high) << 32 | low;
}

uint64_t Win32FileSystem::wall_micros() {
  constexpr uint64_t from_1601_to_1970 = 11'644'473'600'000'000;
  FILETIME now{};
  GetSystemTimePreciseAsFileTime(&now);
  const uint64_t ticks = static_cast<uint64_t>(now.dwHighDateTime) << 32 | now.dwLowDateTime;
  return ticks / 10 - from_1601_to_1970;
}

FileSystem& host_file_system() {
  // Never destroyed: threads may outlive the end of main.
  static auto* const instance = new Win32FileSystem;
  return *instance;
}

}  // namespace stonelog::io

#endif
