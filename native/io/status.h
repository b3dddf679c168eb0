// The one result type of the native core. No exceptions cross any boundary of it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace stonelog {

// Stable numbers: the binding hands them to TypeScript, which owns the `WAL_…` names
// (lib/errors.ts).
enum class Code : int32_t {
  ok = 0,
  corrupt = 1,
  torn_tail = 2,
  locked = 3,
  no_space = 4,
  backpressure = 5,
  poisoned = 6,
  io = 7,
  closed = 8,
  read_only = 9,
  record_too_large = 10,
  bad_option = 11,
  bad_argument = 12,
  not_found = 13,
  unsupported_version = 14,
  not_a_log = 15,
  aborted = 16,
};

struct [[nodiscard]] Status {
  Code code = Code::ok;
  int error = 0;                  // errno, 0 where none applies
  const char* syscall = nullptr;  // a string literal, null where none applies
  std::string path;               // the file or directory concerned, empty where none applies
  uint64_t segment = 0;           // segment sequence, 0 where none applies
  uint64_t offset = 0;            // bytes from the start of that segment's file
  uint64_t pid = 0;               // the holder of a lock, 0 where unknown
  std::string detail;             // one plain sentence without a full stop

  bool ok() const { return code == Code::ok; }

  static Status of(Code code, std::string detail) {
    Status status;
    status.code = code;
    status.detail = std::move(detail);
    return status;
  }
  static Status system(Code code, const char* syscall, int error, std::string path = {}) {
    Status status;
    status.code = code;
    status.error = error;
    status.syscall = syscall;
    status.path = std::move(path);
    return status;
  }
  Status&& at(uint64_t segment_sequence, uint64_t file_offset) && {
    segment = segment_sequence;
    offset = file_offset;
    return std::move(*this);
  }
};

}  // namespace stonelog
