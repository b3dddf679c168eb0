#include "format/stamp.h"

#include <algorithm>

#include "crc32c/crc32c.h"
#include "format/bytes.h"

namespace stonelog::format {

namespace {

constexpr size_t kBurst = 64;  // sectors whose checksums are computed in one call

uint32_t placed(uint32_t content_crc, uint64_t index, bool starts_group) {
  return crc32c::extend_u64(content_crc, index | (starts_group ? kGroupStartPlace : 0));
}

}  // namespace

bool is_zero(const uint8_t* bytes, size_t size) {
  uint64_t any = 0;
  size_t at = 0;
  for (; at + 8 <= size; at += 8) any |= load<uint64_t>(bytes + at);
  for (; at < size; at++) any |= bytes[at];
  return any == 0;
}

void clear_stamp(uint8_t* sector) {
  store<uint16_t>(sector + kStampFirstRecord, kNoRecord);
  store<uint16_t>(sector + kStampLsnLow, 0);
}

void set_first_record(uint8_t* sector, uint16_t offset, uint64_t lsn) {
  if (load<uint16_t>(sector + kStampFirstRecord) != kNoRecord) return;
  store<uint16_t>(sector + kStampFirstRecord, offset);
  store<uint16_t>(sector + kStampLsnLow, static_cast<uint16_t>(lsn));
}

void stamp_sectors(uint8_t* sectors, size_t count, uint64_t index, uint32_t tag,
                   bool starts_group) {
  uint32_t crcs[kBurst];
  for (size_t done = 0; done < count;) {
    const size_t burst = std::min(kBurst, count - done);
    uint8_t* base = sectors + done * kSectorBytes;
    for (size_t i = 0; i < burst; i++) store(base + i * kSectorBytes + kStampTag, tag);
    crc32c::many(base, kSectorBytes, kStampCrc, burst, crcs);
    for (size_t i = 0; i < burst; i++) {
      const bool starts = starts_group && done + i == 0;
      store(base + i * kSectorBytes + kStampCrc, placed(crcs[i], index + done + i, starts));
    }
    done += burst;
  }
}

SectorState check_sector(const uint8_t* sector, uint64_t index, uint32_t tag) {
  const auto stamped_tag = load<uint32_t>(sector + kStampTag);
  if (stamped_tag == 0) {
    return is_zero(sector, kSectorBytes) ? SectorState::unwritten : SectorState::damaged;
  }
  const auto crc = load<uint32_t>(sector + kStampCrc);
  const uint32_t content = crc32c::extend(0, sector, kStampCrc);
  const bool continues = placed(content, index, false) == crc;
  if (!continues && placed(content, index, true) != crc) return SectorState::damaged;
  if (stamped_tag != tag) return SectorState::older;
  return continues ? SectorState::valid : SectorState::group_start;
}

size_t first_invalid(const uint8_t* sectors, size_t count, uint64_t index, uint32_t tag,
                     bool starts_group) {
  uint32_t crcs[kBurst];
  for (size_t done = 0; done < count;) {
    const size_t burst = std::min(kBurst, count - done);
    const uint8_t* base = sectors + done * kSectorBytes;
    crc32c::many(base, kSectorBytes, kStampCrc, burst, crcs);
    for (size_t i = 0; i < burst; i++) {
      const uint8_t* sector = base + i * kSectorBytes;
      const bool starts = starts_group && done + i == 0;
      if (load<uint32_t>(sector + kStampTag) != tag ||
          load<uint32_t>(sector + kStampCrc) != placed(crcs[i], index + done + i, starts)) {
        return done + i;
      }
    }
    done += burst;
  }
  return count;
}

}  // namespace stonelog::format
