// What the first blocks of a segment's file say: header, seal and start group. Reads three blocks.
#pragma once

#include <string>

#include "log/group_reader.h"

namespace stonelog::log {

struct LoadedSegment {
  std::string name;
  uint64_t sequence = 0;  // from the name
  uint64_t size = 0;      // of the file
  uint32_t version = 0;
  format::HeaderState header_state = format::HeaderState::unwritten;
  format::SegmentHeader header;
  bool alien = false;           // intact, but of another log, or under another segment's name
  bool header_rebuilt = false;  // damaged or gone, identity taken from a group
  uint64_t rebuilt_epoch = 0;   // of that group
  Defect start_defect = Defect::nothing;
  uint64_t start_bad_offset = 0;
  format::GroupHeader start_group;
  format::ControlContent start;
  Defect seal_defect = Defect::nothing;
  format::GroupHeader seal_group;
  format::ControlContent seal;

  bool readable() const {
    return !alien && (header_state == format::HeaderState::valid || header_rebuilt);
  }
  bool started() const { return !alien && start_defect == Defect::none; }
  bool life_start() const { return started() && (start_group.flags & format::kLifeStart) != 0; }
  bool sealed() const { return !alien && seal_defect == Defect::none; }
  bool closed() const { return sealed() && (seal_group.flags & format::kCloses) != 0; }
};

// `evict`: drop the page cache before reading (buffered mode).
Status load_segment(io::FileSystem& fs, const std::string& path, const io::Probe& probe, bool evict,
                    LoadedSegment* out);

}  // namespace stonelog::log
