// Opens crash states of a recording and judges what it finds, with a second crash behind each.
#pragma once

#include <atomic>

#include "states/crash_states.h"
#include "states/ledger.h"

namespace stonelog::states {

struct StateCounters {
  std::atomic<uint64_t> points{0};
  std::atomic<uint64_t> whole_points{0};  // of which every subset was opened
  std::atomic<uint64_t> states{0};
  std::atomic<uint64_t> torn_tails{0};
  std::atomic<uint64_t> second{0};   // states of a second crash
  std::atomic<uint64_t> driver{0};   // opened by the real driver, appended to and closed
  std::atomic<uint64_t> records{0};  // compared
};

struct CheckOptions {
  uint64_t seed = 1;
  Bounds bounds;
  uint64_t second_crashes = 2;  // states of a second crash behind each state
  uint64_t driver_every = 64;   // each n-th state is opened by the real driver, too
};

class StateCheck {
 public:
  StateCheck(const Recording& recording, const Ledger& ledger, const CheckOptions& options,
             StateCounters* counters)
      : recording_(recording), ledger_(ledger), options_(options), counters_(counters) {}

  // What is wrong with one state of the model's point; empty: nothing.
  std::string check(const DiskModel& model, const State& state, uint64_t number, Found* found);

 private:
  std::string crash_again(const Image& image, const Expectation& expected, const Found& found,
                          uint64_t seed);
  std::string open_for_real(const Image& image, const Expectation& expected, const Found& found);

  const Recording& recording_;
  const Ledger& ledger_;
  const CheckOptions options_;
  StateCounters* counters_;
};

// Points at which something is not durable, or at which something became known since the point
// before; in the order of the recording.
std::vector<size_t> interesting_points(const Recording& recording);

}  // namespace stonelog::states
