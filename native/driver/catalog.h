// The list of a log's segments, oldest first, with look-up by LSN and by sequence.
#pragma once

#include <cstdint>
#include <vector>

#include "driver/source.h"
#include "log/recovery.h"

namespace stonelog::driver {

class Catalog {
 public:
  void assign(std::vector<log::SegmentEntry> entries) { entries_ = std::move(entries); }
  void add(const log::SegmentEntry& entry) { entries_.push_back(entry); }
  bool empty() const { return entries_.empty(); }
  const std::vector<log::SegmentEntry>& entries() const { return entries_; }

  log::SegmentEntry* find(uint64_t sequence);
  // The last segment whose first LSN is not above `lsn`; null if all are above.
  log::SegmentEntry* holding(uint64_t lsn);
  log::SegmentEntry* after(uint64_t sequence);
  // Where a reader of `lsn` begins in a log of which these are all segments.
  ReadStart start_of(uint64_t lsn, const format::ControlState& state);
  // Removes the segments below `sequence` and returns them.
  std::vector<log::SegmentEntry> release_before(uint64_t sequence);

 private:
  std::vector<log::SegmentEntry> entries_;
};

}  // namespace stonelog::driver
