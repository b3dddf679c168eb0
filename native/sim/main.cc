// sim [--seed N] [--seeds K] [--steps M] [--verbose]: runs K seeds from N on, M engine steps each.
// A finding prints its seed and the command that replays it, and makes the exit code 1.
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "sim/simulation.h"

namespace {

struct Arguments {
  uint64_t seed = 1;
  uint64_t seeds = 400;
  uint64_t steps = 8'000;
  bool verbose = false;
};

bool parse(int argc, char** argv, Arguments* arguments) {
  for (int i = 1; i < argc; i++) {
    if (std::strcmp(argv[i], "--verbose") == 0) {
      arguments->verbose = true;
      continue;
    }
    uint64_t* value = std::strcmp(argv[i], "--seed") == 0    ? &arguments->seed
                      : std::strcmp(argv[i], "--seeds") == 0 ? &arguments->seeds
                      : std::strcmp(argv[i], "--steps") == 0 ? &arguments->steps
                                                             : nullptr;
    if (value == nullptr || i + 1 == argc) return false;
    char* end = nullptr;
    *value = std::strtoull(argv[++i], &end, 10);
    if (*end != '\0' || end == argv[i]) return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!parse(argc, argv, &arguments)) {
    std::fprintf(stderr, "usage: sim [--seed N] [--seeds K] [--steps M] [--verbose]\n");
    return 2;
  }
  const auto began = std::chrono::steady_clock::now();
  uint64_t failed = 0;
  uint64_t steps = 0;
  for (uint64_t i = 0; i < arguments.seeds; i++) {
    const uint64_t seed = arguments.seed + i;
    stonelog::sim::Simulation simulation({seed, arguments.steps, arguments.verbose});
    const bool passed = simulation.run();
    steps += simulation.counters().steps;
    std::printf("seed %" PRIu64 ": %s\n", seed, simulation.describe().c_str());
    if (passed) continue;
    failed++;
    std::printf("FAILED seed %" PRIu64 ": %s\n  replay: sim --seed %" PRIu64
                " --seeds 1 --steps %" PRIu64 " --verbose\n",
                seed, simulation.finding().c_str(), seed, arguments.steps);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::printf("%" PRIu64 " steps in %.1f s, %.2f million a minute\n", steps, took.count(),
              static_cast<double>(steps) * 60 / took.count() / 1e6);
  std::printf("%" PRIu64 " passed, %" PRIu64 " failed, 0 skipped\n", arguments.seeds - failed,
              failed);
  return failed == 0 ? 0 : 1;
}
