// What a crash may leave at a point of a recording, by the weakest POSIX and device: what is proven
// durable is there; of everything else each part is there or not, on its own.
//
// - A plain write is durable once a sync of its file that began after the write had ended has
// ended; a
//   DSYNC write once it has ended itself, and it makes nothing else durable.
// - Every other write is kept, lost, or torn: a run of its sectors is kept, or lost, or it is cut
// into
//   several runs. Writes to one sector that did not overlap in time keep their order.
// - Sizes are durable as data is; an un-synced one is kept or lost.
// - Each edit of a directory is kept or lost on its own until a sync of that directory that began
//   after it has ended; a rename within a directory is one edit. Of a rename into another directory
//   the new name may survive beside the old one.
#pragma once

#include <string>
#include <vector>

#include "sim/random.h"
#include "states/recording.h"

namespace stonelog::states {

struct PendingWrite {
  uint32_t operation = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
  const uint8_t* data = nullptr;  // null: zeros
  size_t ended = 0;               // the point at which it ended; 0: under way
  std::vector<bool> superseded;   // sectors that a later durable write holds; empty: none
};

struct PendingSize {
  uint32_t operation = 0;
  uint64_t size = 0;
  size_t ended = 0;
};

struct PendingNames {
  uint32_t operation = 0;
  std::vector<NameEdit> edits;
  size_t ended = 0;
};

struct Fate {
  enum Kind : uint8_t { lost, kept, run_kept, run_lost, runs, addition_only } kind = lost;
  uint64_t from = 0;  // sectors of a run; the seed of runs
  uint64_t to = 0;
};

// One state: a fate for each part that is not durable, in the order of DiskModel::pending().
using State = std::vector<Fate>;

struct Bounds {
  size_t whole = 6;        // up to so many parts every subset is tried
  size_t sampled = 24;     // with more, so many besides the four extremes
  size_t torn = 6;         // torn states of each point
  bool every_run = false;  // every contiguous run of every short write
};

class DiskModel {
 public:
  explicit DiskModel(const Recording& recording);
  // Goes on by one event. What the seam forbids, such as two writes of the same sectors under way
  // at once, is a finding.
  void advance();
  size_t point() const { return point_; }
  size_t pending() const;
  bool writes_pending() const;
  const std::string& violation() const { return violation_; }

  // States to be tried here; the same for the same seed.
  std::vector<State> states(const Bounds& bounds, uint64_t seed) const;
  Image image(const State& state) const;
  std::string describe(const State& state) const;

 private:
  struct File {
    std::vector<PendingWrite> writes;  // ended ones first, in the order of their ends
    std::vector<PendingSize> sizes;
  };

  void begin(uint32_t index);
  void end(uint32_t index);
  void end_write(uint32_t index, const Operation& op);
  void sync_file(const Operation& op, size_t began);
  void sync_directory(const std::string& path, size_t began);
  bool matters(const PendingWrite& write) const;
  void add_torn(const Bounds& bounds, sim::Random* random, std::vector<State>* out) const;
  std::vector<uint64_t> sectors() const;  // of each pending part; 0 where it is no write

  const Recording& recording_;
  size_t point_ = 0;
  Image durable_;
  std::map<uint64_t, File> files_;
  std::vector<PendingNames> names_;
  std::vector<size_t> began_;  // by operation
  std::string violation_;
};

}  // namespace stonelog::states
