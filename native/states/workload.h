// A run of the real driver with its real threads over a recording file system: lanes that append,
// readers, truncation, rotation, recycling, closes, deaths, recoveries.
#pragma once

#include "driver/log.h"
#include "states/ledger.h"

namespace stonelog::states {

struct Workload {
  uint64_t seed = 1;
  uint64_t run = 1;  // stands in every record
  bool direct = true;
  bool dsync = true;
  uint32_t lanes = 64;
  uint32_t threads = 4;
  uint32_t lives = 3;
  uint32_t records = 300;  // of each life, about
  uint32_t most_delay_us = 300;
};

struct Recorded {
  Recording recording;
  uint64_t deaths = 0;
  std::string finding;  // what the run itself saw go wrong
};

// The variant that a seed stands for: write path, depth, lanes.
Workload workload_of(uint64_t seed, uint64_t run);
std::string describe(const Workload& workload);
driver::OpenOptions options_of(const Workload& workload);

// Begins with `start`, in which `found` was found; an empty image for a new log.
Recorded record(const Workload& workload, const Image& start, const Found& found,
                const Expectation& before);

}  // namespace stonelog::states
