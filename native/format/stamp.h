// Sector stamps: what lets every sector be judged alone (format/layout.h, docs/format.md).
#pragma once

#include <cstddef>
#include <cstdint>

#include "format/layout.h"

namespace stonelog::format {

enum class SectorState : uint8_t {
  unwritten,    // all zero
  valid,        // of this segment's life, at its place
  group_start,  // the same, and the first sector of a group
  older,        // validly stamped at this place by another life of the file
  damaged,      // none of these; no crash explains it
};

// Prepares a sector's stamp fields other than tag and crc.
void clear_stamp(uint8_t* sector);
void set_first_record(uint8_t* sector, uint16_t offset, uint64_t lsn);

// Stamps `count` contiguous sectors, the first of which is sector `index` of its file.
void stamp_sectors(uint8_t* sectors, size_t count, uint64_t index, uint32_t tag, bool starts_group);

SectorState check_sector(const uint8_t* sector, uint64_t index, uint32_t tag);

// The first of `count` sectors that is not a valid continuation (or, for the very first one and
// `starts_group`, not a valid group start); `count` if all are.
size_t first_invalid(const uint8_t* sectors, size_t count, uint64_t index, uint32_t tag,
                     bool starts_group);

bool is_zero(const uint8_t* bytes, size_t size);

}  // namespace stonelog::format
