// Records inside a group's stream: self-validating, bounded before anything is allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "format/layout.h"

namespace stonelog::format {

// What of a payload's checksum can be computed before its LSN is known, so outside of any lock.
struct PayloadSum {
  uint32_t crc = 0;             // of the payload, or of the chunk table
  std::vector<uint32_t> table;  // of the chunks; empty unless chunked
};
void sum_payload(const uint8_t* data, size_t size, PayloadSum* sum);
// CRC32C of one chunk and its index.
uint32_t chunk_crc(const uint8_t* data, size_t size, uint32_t index);

// Writes the record header (without chunk table) to `out`; returns its size. `flags` without
// kFlagChunked.
size_t encode_record_header(uint8_t* out, RecordType type, uint8_t flags, size_t payload_bytes,
                            uint64_t lsn, uint32_t payload_sum_crc, uint32_t* record_crc);

struct Record {
  uint8_t type = 0;
  uint8_t flags = 0;
  uint32_t crc = 0;
  size_t payload_offset = 0;  // in the stream
  size_t payload_bytes = 0;
  size_t end = 0;  // offset of the next record
};

enum class RecordState : uint8_t {
  valid,
  truncated,  // would reach beyond the stream: the caller may have more of it
  damaged,    // type 0, a length out of bounds, a checksum that does not match, flags that must be
              // known
};

// Parses and verifies the record at `at` of a stream of `size` bytes. `lsn` is 0 for control
// records: whether the record is one is told by its type.
RecordState decode_record(const uint8_t* stream, size_t size, size_t at, uint64_t lsn,
                          Record* record);

constexpr bool is_user_record(uint8_t type) {
  return (type & ~kTypeIgnorable) == static_cast<uint8_t>(RecordType::user);
}

}  // namespace stonelog::format
