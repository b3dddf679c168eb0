// A few small files as a fuzzer's input: sparse, with checksums that are computed when the input is
// expanded, as far as its flags ask for it. So any mutation gets past the checksums, or is stopped
// by them, as the fuzzer likes.
//
//   image  = (file sectors*)*
//   file   = 'F' flags u8 | sequence u64 | sectors u16
//   sectors = 'S' index u16 | repeat u8 | mode u8 | size u16 | [first_record u16, lsn_low u16] |
//   bytes
//
// What does not fit, and what stands before the first file, is passed over.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace stonelog::fuzz {

enum FileFlags : uint8_t {
  kMendPreamble = 1,  // the segment header's inner checksum
  kMendIdentity = 2,  // groups carry the header's sequence and segment id
  kMendSizes = 4,     // a group header's size follows from its stream's
  kMendSums = 8,      // group checksums, record checksums, chunk tables, body sums
  kMendLinks = 16,    // each group names the one before in its file, the seal the last one
  kMendSeal = 32,     // the seal states the last group's checksum
  kMendAll = 63,
};

enum SectorMode : uint8_t {
  kStamped = 1,      // tag and crc are computed
  kStartsGroup = 2,  // as the first sector of a group
  kOlder = 4,        // with another life's tag
  kFirstRecord = 8,  // first_record and lsn_low are stated
};

inline constexpr size_t kMaxFiles = 6;
inline constexpr size_t kMaxSectors = 640;  // of a file: a segment of 128 KiB has 392

struct SectorEntry {
  uint16_t index = 0;
  uint8_t repeat = 0;  // so many more sectors with the same content
  uint8_t mode = 0;
  uint16_t first_record = 0;
  uint16_t lsn_low = 0;
  std::vector<uint8_t> bytes;  // the rest of the sector is zero
};

struct FileEntry {
  uint8_t flags = 0;
  uint64_t sequence = 0;
  uint16_t sectors = 0;
  std::vector<SectorEntry> entries;
};

struct Image {
  std::vector<FileEntry> files;
};

struct ExpandedFile {
  std::string name;
  std::vector<uint8_t> bytes;
};

Image parse_image(const uint8_t* data, size_t size);
std::vector<uint8_t> format_image(const Image& image);
std::vector<ExpandedFile> expand(const Image& image);
// The entry of a real segment's file, from which expand() makes the same bytes.
FileEntry pack_file(uint64_t sequence, const std::vector<uint8_t>& bytes);

// Changes one thing about an image; for Target::mutate.
size_t mutate_image(uint8_t* data, size_t size, size_t max_size, uint32_t seed);

}  // namespace stonelog::fuzz
