// Sector stamps, segment headers, group headers and file names: decoders of a fixed few bytes.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "crc32c/crc32c.h"
#include "format/bytes.h"
#include "format/group.h"
#include "format/segment_header.h"
#include "format/stamp.h"
#include "fuzz/target.h"
#include "log/recovery.h"

namespace stonelog::fuzz {

using namespace format;

namespace {

// A copy whose size is exact: a read beyond it is a sanitizer's finding.
std::unique_ptr<uint8_t[]> exact(const uint8_t* data, size_t size, size_t whole) {
  std::unique_ptr<uint8_t[]> copy(new uint8_t[whole]());
  std::copy(data, data + std::min(size, whole), copy.get());
  return copy;
}

// --- Stamps. Input: place u64, tag u32, sector.
constexpr size_t kStampInput = 8 + 4 + kSectorBytes;

void run_stamp(const uint8_t* data, size_t size) {
  Input input(data, size);
  const auto index = input.take<uint64_t>() & ~kGroupStartPlace;
  const auto tag = input.take<uint32_t>();
  const auto sector = exact(input.rest(), input.left(), kSectorBytes);
  const SectorState state = check_sector(sector.get(), index, tag);

  const auto stamped = load<uint32_t>(sector.get() + kStampTag);
  const auto crc = load<uint32_t>(sector.get() + kStampCrc);
  const uint32_t content = crc32c::extend(0, sector.get(), kStampCrc);
  const bool continues = crc == crc32c::extend_u64(content, index);
  const bool starts = crc == crc32c::extend_u64(content, index | kGroupStartPlace);
  const bool zero = std::all_of(sector.get(), sector.get() + kSectorBytes,
                                [](uint8_t byte) { return byte == 0; });
  const SectorState expected = stamped == 0 ? zero ? SectorState::unwritten : SectorState::damaged
                               : !continues && !starts ? SectorState::damaged
                               : stamped != tag        ? SectorState::older
                               : continues             ? SectorState::valid
                                                       : SectorState::group_start;
  FUZZ_CHECK(state == expected);
  // What reads many sectors at once must agree with what judges one.
  const bool valid_one = first_invalid(sector.get(), 1, index, tag, false) == 1;
  const bool start_one = first_invalid(sector.get(), 1, index, tag, true) == 1;
  if (stamped != 0) {
    FUZZ_CHECK(valid_one == (state == SectorState::valid));
    FUZZ_CHECK(start_one == (starts && stamped == tag));
  }
  const auto again = exact(sector.get(), kSectorBytes, kSectorBytes);
  if (tag == 0) return;
  stamp_sectors(again.get(), 1, index, tag, state == SectorState::group_start);
  FUZZ_CHECK(std::memcmp(again.get(), sector.get(), kStampTag) == 0);
  const bool current = state == SectorState::valid || state == SectorState::group_start;
  if (current) FUZZ_CHECK(std::memcmp(again.get(), sector.get(), kSectorBytes) == 0);
  FUZZ_CHECK(check_sector(again.get(), index, tag) ==
             (state == SectorState::group_start ? state : SectorState::valid));
}

void mend_stamp(uint8_t* data, size_t size) {
  if (size < kStampInput) return;
  const uint64_t index = load<uint64_t>(data) & ~kGroupStartPlace;
  const bool starts = (data[7] & 0x80) != 0;
  uint8_t* const sector = data + 12;
  const uint32_t content = crc32c::extend(0, sector, kStampCrc);
  store(sector + kStampCrc, crc32c::extend_u64(content, index | (starts ? kGroupStartPlace : 0)));
}

// --- Segment header. Input: the beginning of a file.
void run_segment_header(const uint8_t* data, size_t size) {
  const auto block = exact(data, size, kMinBlockBytes);
  SegmentHeader header;
  uint32_t version = 0;
  const HeaderState state = decode_segment_header(block.get(), &header, &version);
  if (state == HeaderState::unwritten) FUZZ_CHECK(is_zero(block.get(), kSectorBytes));
  if (state != HeaderState::valid) return;
  FUZZ_CHECK(version == (uint32_t{kVersion} << 16 | kSubVersion));
  FUZZ_CHECK(header.sequence >= 1 && header.file_bytes >= 3 * uint64_t{header.block_bytes});
  FUZZ_CHECK(header.block_bytes >= kMinBlockBytes && header.block_bytes <= kMaxBlockBytes);
  FUZZ_CHECK(header.file_bytes % header.block_bytes == 0 && header.tag() != 0);
  const std::unique_ptr<uint8_t[]> again(new uint8_t[header.block_bytes]);
  encode_segment_header(header, again.get());
  // Flags but bit 0, the reserved field and the rest of the block have no meaning yet.
  FUZZ_CHECK(std::memcmp(again.get(), block.get(), kHeaderFlags) == 0);
  FUZZ_CHECK(std::memcmp(again.get() + kHeaderSectorBytes, block.get() + kHeaderSectorBytes, 2) ==
             0);
  FUZZ_CHECK(std::memcmp(again.get() + kHeaderCreated, block.get() + kHeaderCreated, 8) == 0);
  SegmentHeader second;
  FUZZ_CHECK(decode_segment_header(again.get(), &second, &version) == HeaderState::valid);
  FUZZ_CHECK(second.recycled == header.recycled && second.file_bytes == header.file_bytes);
}

void mend_segment_header(uint8_t* data, size_t size) {
  if (size < kMinBlockBytes) return;
  store(data + kHeaderPreambleCrc, crc32c::extend(0, data, kHeaderPreambleCrc));
  stamp_sectors(data, kMinBlockBytes / kSectorBytes, 0, load<uint32_t>(data + kHeaderSegmentId),
                true);
}

// --- Group header. Input: block size as a power of two, then the header.
void run_group_header(const uint8_t* data, size_t size) {
  Input input(data, size);
  const uint32_t block_bytes = kMinBlockBytes << input.take<uint8_t>() % 5;
  const auto content = exact(input.rest(), input.left(), kGroupHeaderBytes);
  GroupHeader header;
  if (!decode_group_header(content.get(), block_bytes, &header)) return;
  FUZZ_CHECK(header.file_bytes >= block_bytes && header.file_bytes % block_bytes == 0);
  const uint64_t sectors = header.file_bytes / kSectorBytes;
  FUZZ_CHECK(sectors * kContentBytes >= uint64_t{header.stored_bytes} + kGroupHeaderBytes);
  FUZZ_CHECK(header.first_lsn >= 1 && header.first_lsn <= kMaxLsn + 1);
  FUZZ_CHECK(header.first_lsn + header.count <= kMaxLsn + 1);
  uint8_t again[kGroupHeaderBytes];
  encode_group_header(&header, again);
  // The nonce, the tag and the reserved field are nobody's yet.
  FUZZ_CHECK(std::memcmp(again, content.get(), kGroupNonce) == 0);
}

void mend_group_header(uint8_t* data, size_t size) {
  if (size < 1 + kGroupHeaderBytes) return;
  uint8_t* const header = data + 1;
  const uint32_t block_bytes = kMinBlockBytes << data[0] % 5;
  const auto stored = load<uint32_t>(header + kGroupStoredBytes);
  store(header, kGroupMagic);
  store(header + kGroupFileBytes, static_cast<uint32_t>(group_file_bytes(stored, block_bytes)));
  store(header + kGroupChecksum, crc32c::extend(0, header, kGroupChecksum));
}

// --- Names of files.
void run_name(const uint8_t* data, size_t size) {
  const std::string name(reinterpret_cast<const char*>(data), size);
  uint64_t sequence = 0;
  if (!log::parse_segment_name(name, &sequence)) return;
  FUZZ_CHECK(sequence >= 1 && log::segment_name(sequence) == name);
}

}  // namespace

const Target kStampTarget = {"stamp", kStampInput, run_stamp, mend_stamp, nullptr};
const Target kSegmentHeaderTarget = {"segment-header", kMinBlockBytes, run_segment_header,
                                     mend_segment_header, nullptr};
const Target kGroupHeaderTarget = {"group-header", 1 + kGroupHeaderBytes, run_group_header,
                                   mend_group_header, nullptr};
const Target kNameTarget = {"name", 32, run_name, nullptr, nullptr};

}  // namespace stonelog::fuzz
