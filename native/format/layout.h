// The disk format, version 0.1: sizes, kinds, magic numbers. Shared by everything that writes or
// reads; docs/format.md is the specification. All integers are little-endian.
//
// A segment file is a row of 512-byte sectors, grouped into blocks (4096 bytes or the device's
// larger logical block). Block 0 is the header (identity), block 1 the seal, groups follow from
// block 2 on. Every sector that was ever written carries, in its last 12 bytes, a stamp:
//
//   content[500] | first_record u16 | lsn_low u16 | tag u32 | crc u32
//
//   tag           the first 4 bytes of the segment's random id, never 0: an all-zero sector is
//   unwritten crc           CRC32C of the 508 bytes before it and of the sector's place: its index
//   in the file,
//                 with the top bit set in the first sector of a group, so that no payload can pose
//                 as one
//   first_record  offset in content of the first record that starts in this sector, 0xffff if none
//   does;
//                 with lsn_low, the low half of that record's LSN, it lets salvage find its way
//                 back into the record stream behind damage
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace stonelog::format {

inline constexpr uint16_t kVersion = 0;
inline constexpr uint16_t kSubVersion = 1;

// Feature bits: unknown compatible ones are ignored, unknown read-only-compatible ones forbid
// writing, unknown incompatible ones forbid opening.
inline constexpr uint32_t kKnownCompatible = 0;
inline constexpr uint32_t kKnownReadOnlyCompatible = 0;
inline constexpr uint32_t kKnownIncompatible = 0;

inline constexpr size_t kSectorBytes = 512;
inline constexpr size_t kContentBytes = 500;  // of a sector
inline constexpr size_t kStampBytes = kSectorBytes - kContentBytes;
inline constexpr size_t kStampFirstRecord = 500;
inline constexpr size_t kStampLsnLow = 502;
inline constexpr size_t kStampTag = 504;
inline constexpr size_t kStampCrc = 508;
inline constexpr uint16_t kNoRecord = 0xffff;
inline constexpr uint64_t kGroupStartPlace = uint64_t{1} << 63;

inline constexpr uint32_t kMinBlockBytes = 4096;
inline constexpr uint32_t kMaxBlockBytes = 64 * 1024;
inline constexpr uint64_t kHeaderBlock = 0;
inline constexpr uint64_t kSealBlock = 1;
inline constexpr uint64_t kFirstGroupBlock = 2;

// Segment header, in the content of sector 0.
inline constexpr std::array<uint8_t, 8> kMagic = {'s', 't', 'o', 'n', 'e', 'l', 'o', 'g'};
inline constexpr size_t kHeaderVersion = 8;      // u16
inline constexpr size_t kHeaderSubVersion = 10;  // u16
inline constexpr size_t kHeaderPreambleCrc =
    12;  // u32, CRC32C of bytes 0..11: version told from damage
inline constexpr size_t kHeaderCompatible = 16;          // u32
inline constexpr size_t kHeaderReadOnlyCompatible = 20;  // u32
inline constexpr size_t kHeaderIncompatible = 24;        // u32
inline constexpr size_t kHeaderBlockBytes = 28;          // u32
inline constexpr size_t kHeaderLogId = 32;               // 16 bytes
inline constexpr size_t kHeaderSequence = 48;            // u64, >= 1
inline constexpr size_t kHeaderSegmentId = 56;           // 16 bytes
inline constexpr size_t kHeaderFileBytes = 72;           // u64
inline constexpr size_t kHeaderChecksum = 80;            // u8, kChecksumCrc32c
inline constexpr size_t kHeaderFlags = 81;               // u8, kHeaderRecycled
inline constexpr size_t kHeaderSectorBytes = 82;         // u16, 512
inline constexpr size_t kHeaderReserved = 84;            // u32, 0
inline constexpr size_t kHeaderCreated = 88;             // u64, microseconds since 1970
inline constexpr size_t kHeaderBytes = 96;               // the rest of the block is zero
inline constexpr uint8_t kChecksumCrc32c = 1;
inline constexpr uint8_t kHeaderRecycled = 1;  // sectors of older lives may lie in the free blocks

// Group header, at the start of the content of a group's first sector.
inline constexpr uint32_t kGroupMagic = 0x50524753;  // "SGRP"
inline constexpr size_t kGroupKind = 4;              // u8, GroupKind
inline constexpr size_t kGroupCodec = 5;             // u8, 0: stored as is
inline constexpr size_t kGroupFlags = 6;             // u16, GroupFlags
inline constexpr size_t kGroupFileBytes = 8;         // u32, whole blocks
inline constexpr size_t kGroupStoredBytes = 12;      // u32, of the record stream as stored
inline constexpr size_t kGroupRawBytes = 16;         // u32, of the record stream when decoded
inline constexpr size_t kGroupCount = 20;            // u32, records of the user
inline constexpr size_t kGroupFirstLsn = 24;  // u64, of its first record; else the next to be given
inline constexpr size_t kGroupEpoch = 32;     // u64
inline constexpr size_t kGroupDurableLsn = 40;  // u64, the watermark when the group was submitted
inline constexpr size_t kGroupDurableEnd = 48;  // u64, bytes of this file durable by then
inline constexpr size_t kGroupTimestamp = 56;   // u64, microseconds since 1970, for people only
inline constexpr size_t kGroupSequence = 64;    // u64, the segment's
inline constexpr size_t kGroupSegmentId = 72;   // 16 bytes
inline constexpr size_t kGroupLink = 88;       // u32, kGroupChecksum of the group before, 0 if none
inline constexpr size_t kGroupBodySum = 92;    // u32, CRC32C of the records' checksums in order
inline constexpr size_t kGroupChecksum = 96;   // u32, CRC32C of bytes 0..95
inline constexpr size_t kGroupKeyId = 100;     // u32, 0: not encrypted
inline constexpr size_t kGroupNonce = 104;     // 12 bytes, reserved for encryption
inline constexpr size_t kGroupAuthTag = 116;   // 16 bytes, reserved for encryption
inline constexpr size_t kGroupReserved = 132;  // u32, 0
inline constexpr size_t kGroupHeaderBytes = 136;

enum class GroupKind : uint8_t {
  invalid = 0,
  data = 1,     // records of the user
  start = 2,    // a segment's first group: predecessor and live control state
  control = 3,  // watermark, head, close
  seal = 4,     // in block 1 only
};

enum GroupFlags : uint16_t {
  kLifeStart = 1,  // start group: first of a life; the predecessor's end was accepted by recovery
  kCloses = 2,     // control group or seal: the log was closed properly
};

// Record: crc u32 | type u8 | flags u8 | length varint | [chunk table] | payload. The crc covers
// the payload (or, in a chunked record, the table of its chunks' checksums), then the 16 bytes of a
// RecordTail: type, flags, length and LSN. Type 0 is invalid, so zeros never parse.
inline constexpr size_t kRecordFixedBytes = 6;  // crc, type, flags
inline constexpr size_t kMaxVarintBytes = 5;
inline constexpr size_t kMaxRecordHeaderBytes = kRecordFixedBytes + kMaxVarintBytes;
inline constexpr size_t kRecordTailBytes = 16;
inline constexpr size_t kMaxCrcBytes = 64 * 1024;  // one 32-bit CRC covers at most this much
inline constexpr size_t kChunkBytes = kMaxCrcBytes - kRecordTailBytes;
inline constexpr uint64_t kMaxPayloadBytes = 1'000'000'000;

enum class RecordType : uint8_t {
  invalid = 0,
  user = 1,
  // Control records; their LSN is 0.
  predecessor = 16,
  epoch = 17,
  head = 18,
  epoch_history = 19,
  holes = 20,
  salvaged_segments = 21,
  seal = 22,
};
inline constexpr uint8_t kTypeIgnorable =
    0x80;  // a reader that does not know the type skips the record
inline constexpr uint8_t kFlagBatchMore = 0x01;  // more records of the same batch follow
inline constexpr uint8_t kFlagBatchPart = 0x02;  // not the first record of its batch
inline constexpr uint8_t kFlagChunked = 0x04;
inline constexpr uint8_t kFlagsRefused = 0x08;    // unknown: the record is refused
inline constexpr uint8_t kFlagsIgnorable = 0xf0;  // unknown: ignored

// LSNs are JavaScript numbers.
inline constexpr uint64_t kMaxLsn = (uint64_t{1} << 53) - 1;

// Blocks at a segment's end kept free of user records, so that a watermark, head changes and the
// close can always be written.
inline constexpr uint64_t kControlReserveBlocks = 8;

using Id = std::array<uint8_t, 16>;

// Bytes of a group on the disk for a record stream of `stream_bytes`.
constexpr uint64_t group_file_bytes(uint64_t stream_bytes, uint32_t block_bytes) {
  const uint64_t sectors = (kGroupHeaderBytes + stream_bytes + kContentBytes - 1) / kContentBytes;
  const uint64_t within_block = uint64_t{block_bytes} - 1;  // a block is a power of two
  return (sectors * kSectorBytes + within_block) & ~within_block;
}

// The size of a segment's file: `segment_bytes` of content plus stamps, header, seal, start group
// and the control reserve, so that a record of segment_bytes - 64 KiB always fits into an empty
// segment.
constexpr uint64_t segment_file_bytes(uint64_t segment_bytes, uint32_t block_bytes) {
  return group_file_bytes(segment_bytes, block_bytes) + (kControlReserveBlocks + 8) * block_bytes;
}

constexpr size_t varint_bytes(uint64_t value) {
  return value < (1u << 7)    ? 1
         : value < (1u << 14) ? 2
         : value < (1u << 21) ? 3
         : value < (1u << 28) ? 4
                              : 5;
}

constexpr bool is_chunked(uint64_t payload_bytes) { return payload_bytes > kChunkBytes; }

constexpr uint64_t chunk_count(uint64_t payload_bytes) {
  return is_chunked(payload_bytes) ? (payload_bytes + kChunkBytes - 1) / kChunkBytes : 0;
}

// Bytes of a record in the stream.
constexpr uint64_t record_bytes(uint64_t payload_bytes) {
  return kRecordFixedBytes + varint_bytes(payload_bytes) + 4 * chunk_count(payload_bytes) +
         payload_bytes;
}

static_assert(kStampCrc + 4 == kSectorBytes && kStampFirstRecord == kContentBytes);
static_assert(kMinBlockBytes % kSectorBytes == 0);
static_assert(kHeaderBytes <= kContentBytes && kGroupHeaderBytes <= kContentBytes);
static_assert(kGroupReserved + 4 == kGroupHeaderBytes);
static_assert(4 * chunk_count(kMaxPayloadBytes) + kRecordTailBytes <= kMaxCrcBytes);
static_assert(kContentBytes < kNoRecord);

}  // namespace stonelog::format
