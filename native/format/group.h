// Groups: the unit of writing. A group starts and ends on block boundaries and carries, in its
// first sector, who wrote it, what precedes it and what was durable when it was written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "format/layout.h"

namespace stonelog::format {

struct GroupHeader {
  GroupKind kind = GroupKind::invalid;
  uint8_t codec = 0;
  uint16_t flags = 0;
  uint32_t file_bytes = 0;
  uint32_t stored_bytes = 0;
  uint32_t raw_bytes = 0;
  uint32_t count = 0;
  uint64_t first_lsn = 0;
  uint64_t epoch = 0;
  uint64_t durable_lsn = 0;
  uint64_t durable_end = 0;
  uint64_t timestamp_micros = 0;
  uint64_t sequence = 0;
  Id segment_id{};
  uint32_t link = 0;
  uint32_t body_sum = 0;
  uint32_t checksum = 0;  // computed by encode, read by decode
  uint32_t key_id = 0;
};

// Writes the header's bytes and sets header->checksum.
void encode_group_header(GroupHeader* header, uint8_t* content);

// Lays out a whole group without its stamps' tags and checksums into `out`, which holds
// group_file_bytes(stream.size(), block_bytes). Fills in the header's sizes.
void encode_group(GroupHeader* header, const std::vector<uint8_t>& stream, uint32_t block_bytes,
                  uint8_t* out);

// Whether the bytes are an intact group header whose sizes agree with each other and with
// `block_bytes`. Unknown codecs and keys are left to the caller, which names them.
bool decode_group_header(const uint8_t* content, uint32_t block_bytes, GroupHeader* header);

// Copies the contents of `sectors` sectors, without their stamps, back to back.
void unstamp(const uint8_t* sectors, size_t count, uint8_t* content);

// Verifies on the way, which saves fetching the sectors twice. Returns what first_invalid does;
// only if that is `count` is all of the content there.
size_t unstamp_valid(const uint8_t* sectors, size_t count, uint64_t index, uint32_t tag,
                     bool starts_group, uint8_t* content);

}  // namespace stonelog::format
