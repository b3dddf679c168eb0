#include "format/segment_header.h"

#include <algorithm>
#include <cstring>

#include "crc32c/crc32c.h"
#include "format/bytes.h"
#include "format/stamp.h"

namespace stonelog::format {

uint32_t tag_of(const Id& segment_id) { return load<uint32_t>(segment_id.data()); }

uint32_t SegmentHeader::tag() const { return tag_of(segment_id); }

void encode_segment_header(const SegmentHeader& header, uint8_t* block) {
  std::memset(block, 0, header.block_bytes);
  std::memcpy(block, kMagic.data(), kMagic.size());
  store<uint16_t>(block + kHeaderVersion, kVersion);
  store<uint16_t>(block + kHeaderSubVersion, kSubVersion);
  store(block + kHeaderPreambleCrc, crc32c::extend(0, block, kHeaderPreambleCrc));
  store(block + kHeaderCompatible, header.compatible);
  store(block + kHeaderReadOnlyCompatible, header.read_only_compatible);
  store(block + kHeaderIncompatible, header.incompatible);
  store(block + kHeaderBlockBytes, header.block_bytes);
  std::memcpy(block + kHeaderLogId, header.log_id.data(), header.log_id.size());
  store(block + kHeaderSequence, header.sequence);
  std::memcpy(block + kHeaderSegmentId, header.segment_id.data(), header.segment_id.size());
  store(block + kHeaderFileBytes, header.file_bytes);
  block[kHeaderChecksum] = kChecksumCrc32c;
  block[kHeaderFlags] = header.recycled ? kHeaderRecycled : 0;
  store<uint16_t>(block + kHeaderSectorBytes, kSectorBytes);
  store(block + kHeaderCreated, header.created_micros);
  const size_t sectors = header.block_bytes / kSectorBytes;
  for (size_t i = 0; i < sectors; i++) clear_stamp(block + i * kSectorBytes);
  stamp_sectors(block, sectors, 0, header.tag(), true);
}

namespace {

// A file whose first sector is not intact is still ours if another sector of block 0 validly
// carries a stamp of any life: a foreign file does not.
bool has_stamped_sector(const uint8_t* block) {
  for (size_t i = 1; i < kMinBlockBytes / kSectorBytes; i++) {
    if (check_sector(block + i * kSectorBytes, i, 0) == SectorState::older) return true;
  }
  return false;
}

bool fields_are_sane(const SegmentHeader& header, const uint8_t* block) {
  return header.sequence >= 1 && header.block_bytes >= kMinBlockBytes &&
         header.block_bytes <= kMaxBlockBytes &&
         (header.block_bytes & (header.block_bytes - 1)) == 0 &&
         header.file_bytes % header.block_bytes == 0 &&
         header.file_bytes >= (kFirstGroupBlock + 1) * header.block_bytes &&
         block[kHeaderChecksum] == kChecksumCrc32c &&
         load<uint16_t>(block + kHeaderSectorBytes) == kSectorBytes;
}

}  // namespace

HeaderState decode_segment_header(const uint8_t* block, SegmentHeader* header, uint32_t* version) {
  *version = 0;
  const bool magic = std::equal(kMagic.begin(), kMagic.end(), block);
  const bool preamble = magic && load<uint32_t>(block + kHeaderPreambleCrc) ==
                                     crc32c::extend(0, block, kHeaderPreambleCrc);
  if (preamble) {
    const uint32_t found = uint32_t{load<uint16_t>(block + kHeaderVersion)} << 16 |
                           load<uint16_t>(block + kHeaderSubVersion);
    *version = found;
    if (found != (uint32_t{kVersion} << 16 | kSubVersion)) return HeaderState::unsupported;
  }
  const auto tag = load<uint32_t>(block + kStampTag);
  const SectorState state = check_sector(block, 0, tag);
  if (state == SectorState::unwritten) {
    return has_stamped_sector(block) ? HeaderState::damaged : HeaderState::unwritten;
  }
  if (state != SectorState::group_start || !preamble) {
    return magic || state == SectorState::group_start || has_stamped_sector(block)
               ? HeaderState::damaged
               : HeaderState::not_a_log;
  }
  header->compatible = load<uint32_t>(block + kHeaderCompatible);
  header->read_only_compatible = load<uint32_t>(block + kHeaderReadOnlyCompatible);
  header->incompatible = load<uint32_t>(block + kHeaderIncompatible);
  header->block_bytes = load<uint32_t>(block + kHeaderBlockBytes);
  std::memcpy(header->log_id.data(), block + kHeaderLogId, header->log_id.size());
  header->sequence = load<uint64_t>(block + kHeaderSequence);
  std::memcpy(header->segment_id.data(), block + kHeaderSegmentId, header->segment_id.size());
  header->file_bytes = load<uint64_t>(block + kHeaderFileBytes);
  header->recycled = (block[kHeaderFlags] & kHeaderRecycled) != 0;
  header->created_micros = load<uint64_t>(block + kHeaderCreated);
  if (!fields_are_sane(*header, block) || header->tag() != tag) return HeaderState::damaged;
  if (first_invalid(block, kMinBlockBytes / kSectorBytes, 0, tag, true) <
      kMinBlockBytes / kSectorBytes) {
    return HeaderState::damaged;
  }
  if ((header->incompatible & ~kKnownIncompatible) != 0) return HeaderState::unsupported;
  return HeaderState::valid;
}

}  // namespace stonelog::format
