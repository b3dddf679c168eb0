// Beginning a life: what an open for writing does after the examination accepted the log. The cut
// is recorded first, by the start group of a new segment; only then are bytes given up.
#pragma once

#include <string>

#include "log/engine.h"
#include "log/recovery.h"
#include "log/segment_file.h"

namespace stonelog::log {

struct LifeOptions {
  std::string directory;
  io::Probe probe;
  uint64_t segment_bytes = 64 << 20;
  uint32_t file_mode = 0600;
  uint64_t quarantine_bytes =
      256 << 20;  // the oldest files of quarantine/ go when there would be more
};

// Makes the new segment durable and fills in `start`; examination->segments loses a replaced empty
// one. Then keeps aside what was cut and removes leftovers; failures of that are events, not
// errors, except for a failed directory sync.
Status begin_life(io::FileSystem& fs, const LifeOptions& options, Examination* examination,
                  LifeStart* start, format::SegmentHeader* header);

}  // namespace stonelog::log
