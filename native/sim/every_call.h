// Every call fails once: a scripted life of a log is run again and again, and in the n-th run the
// n-th call of one kind fails, in one way, once or from then on; for every n until the script ends
// before it.
#pragma once

#include <string>

#include "sim/coverage.h"

namespace stonelog::sim {

struct EveryCallOptions {
  uint64_t stride = 1;  // 1: every n; k: every k-th, each kind of fault beginning at another one
  std::string only;     // one run, as a finding names it
  bool verbose = false;
};

struct EveryCallResult {
  uint64_t runs = 0;
  uint64_t failed = 0;
  std::string findings;  // one line each, with the command that replays it
  Coverage coverage;
};

EveryCallResult fail_every_call(const EveryCallOptions& options);

}  // namespace stonelog::sim
