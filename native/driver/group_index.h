// Where some groups of a log lie, so that a look for an LSN need not find it out again: told by
// whoever writes a group or reads one. Only facts are kept, never more than so many; what is not
// known is looked for in the file (seek.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "log/group_part.h"

namespace stonelog::driver {

struct GroupPlace {
  uint64_t sequence = 0;  // the segment's
  uint32_t tag = 0;       // of its life: another one at the same place is another segment
  bool plain = false;     // user's records, stored as they are
  log::GroupExtent extent;
  uint64_t timestamp_micros = 0;

  uint64_t end() const { return extent.offset + extent.file_bytes; }
  uint64_t first_lsn() const { return extent.first_lsn; }
  uint64_t next_lsn() const { return extent.first_lsn + extent.count; }
};

GroupPlace place_of(const format::GroupHeader& header, uint64_t offset);

// Thread-safe.
class GroupIndex {
 public:
  static constexpr size_t kMost = 8 << 10;  // places: 500 KiB of memory
  static constexpr uint64_t kMostSpacing = 1 << 30;
  static constexpr uint64_t kLeastSpacing = 256 << 10;  // bytes of a file between two

  explicit GroupIndex(size_t most = kMost) : most_(most) {}

  // Kept if it is plain and none is known nearby. Full, every second one goes, and the spacing
  // doubles.
  void note(const GroupPlace& place);

  // The nearest ones in the segment of `sequence` and `tag`: the last that starts at or before
  // `lsn`, the first that starts behind it. None that reaches beyond `end` bytes of the file.
  struct Around {
    std::optional<GroupPlace> before;
    std::optional<GroupPlace> after;
  };
  Around around(uint64_t sequence, uint32_t tag, uint64_t lsn, uint64_t end) const;

  void forget_before(uint64_t sequence);
  size_t size() const;

 private:
  bool crowded(std::vector<GroupPlace>::const_iterator at, const GroupPlace& place) const;
  void thin_out();

  const size_t most_;
  mutable std::mutex mutex_;
  uint64_t spacing_ = kLeastSpacing;
  std::vector<GroupPlace> places_;  // by sequence and LSN
};

}  // namespace stonelog::driver
