// Block 0 of a segment file: identity, written once, before the file gets its name.
#pragma once

#include <cstdint>

#include "format/layout.h"

namespace stonelog::format {

struct SegmentHeader {
  uint32_t compatible = 0;
  uint32_t read_only_compatible = 0;
  uint32_t incompatible = 0;
  uint32_t block_bytes = kMinBlockBytes;
  Id log_id{};
  uint64_t sequence = 0;
  Id segment_id{};
  uint64_t file_bytes = 0;
  bool recycled = false;
  uint64_t created_micros = 0;

  uint32_t tag() const;
};

uint32_t tag_of(const Id& segment_id);

enum class HeaderState : uint8_t {
  valid,
  unwritten,    // the whole sector is zero
  not_a_log,    // no trace of stonelog: a foreign file
  unsupported,  // an intact preamble of another version, or unknown incompatible features
  damaged,      // ours, but not intact
};

// Writes the whole stamped block; `block` holds header.block_bytes.
void encode_segment_header(const SegmentHeader& header, uint8_t* block);

// `block` holds at least kMinBlockBytes of the file's beginning. `version` receives major << 16 |
// sub where the preamble is intact.
HeaderState decode_segment_header(const uint8_t* block, SegmentHeader* header, uint32_t* version);

}  // namespace stonelog::format
