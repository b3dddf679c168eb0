// Some records out of the middle of a large group, without the rest of it: each sector proves
// itself and says which record starts in it, each record proves itself and its LSN.
#pragma once

#include <cstdint>
#include <vector>

#include "log/group_reader.h"

namespace stonelog::log {

// Of a group of data, stored as it is, whose header was seen to be intact or was written by us.
struct GroupExtent {
  uint64_t offset = 0;
  uint64_t file_bytes = 0;
  uint64_t first_lsn = 0;
  uint32_t count = 0;
};

struct GroupPart {
  std::vector<uint8_t> stream;
  std::vector<RecordRef> records;  // the one asked for and those behind it
};

// The record `lsn` of a durable group and as many behind it as are at hand. No records where the
// part has not everything that this takes, damage included: then the group has to be read as a
// whole.
Status read_part(io::File& file, const format::SegmentHeader& segment, const GroupExtent& group,
                 uint64_t lsn, GroupPart* part);

}  // namespace stonelog::log
