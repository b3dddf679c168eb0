// Where a reader gets its segments from: an open log of this process, or one that another process
// writes.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "driver/group_index.h"
#include "format/control.h"
#include "io/file.h"
#include "log/recovery.h"

namespace stonelog::driver {

// A segment as it can be read now. `end` and `last_lsn` speak of durable bytes and records only.
struct ReadableSegment {
  log::SegmentEntry entry;
  bool final = false;  // nothing will be added
};

// Where a reader begins. All of it is of one moment: whoever asks for it piece by piece beside a
// writer that makes, or releases, what it asks about gets answers that contradict each other, and
// takes a log that has just been made for one that was released.
struct ReadStart {
  enum class Place : uint8_t {
    segment,  // `segment` holds the LSN, or is the last one if that lies beyond
    hole,     // known to be missing up to the first LSN of `segment`
    nowhere,  // released
    unmade,   // there is no log here yet
    gone,     // there was one: its files were deleted or moved
  };
  Place place = Place::nowhere;
  uint64_t lsn = 0;  // that was asked for; the first one, if that was 0
  ReadableSegment segment;
};

class Source {
 public:
  virtual ~Source() = default;
  virtual io::FileSystem& file_system() = 0;
  virtual std::string segment_path(uint64_t sequence) const = 0;
  virtual bool direct() const = 0;
  virtual ReadStart start_of(uint64_t lsn) = 0;  // 0: the first there is
  // The segment that holds `lsn`, or the last one if that lies beyond; false if there is none that
  // could, because it was released.
  virtual bool segment_holding(uint64_t lsn, ReadableSegment* out) = 0;
  // The segment `sequence` as it is now; false if it was released.
  virtual bool segment_now(uint64_t sequence, ReadableSegment* out) = 0;
  virtual bool segment_after(uint64_t sequence, ReadableSegment* out) = 0;
  virtual uint64_t first_lsn() = 0;
  virtual uint64_t durable_lsn() = 0;
  virtual std::vector<format::Hole> holes() = 0;
  virtual bool skips_damage() const = 0;  // opened under salvage
  // Looks for what another process has made durable since; nothing to do for a log of this process.
  // Whether no file of it goes without its doing: then one that is gone was lost, not released.
  virtual bool owns_files() const { return false; }
  virtual Status refresh() = 0;
  GroupIndex& group_index() { return group_index_; }

  void retain() { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 private:
  std::atomic<uint32_t> references_{1};
  GroupIndex group_index_;
};

}  // namespace stonelog::driver
