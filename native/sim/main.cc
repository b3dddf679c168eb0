// sim [--seed N] [--seeds K] [--steps M] [--verbose]: runs K seeds from N on, M engine steps each.
// sim --every-call [--stride K] [--only RUN]: fails every (K-th) call of a scripted life.
// A finding prints its seed and the command that replays it, and makes the exit code 1.
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "sim/every_call.h"
#include "sim/simulation.h"

namespace {

struct Arguments {
  uint64_t seed = 1;
  uint64_t seeds = 0;  // 0: one with --seed, else 400
  uint64_t steps = 8'000;
  uint64_t stride = 0;  // with --every-call: 0: none is made to fail
  std::string only;
  bool verbose = false;
};

bool parse(int argc, char** argv, Arguments* arguments) {
  bool seeded = false;
  for (int i = 1; i < argc; i++) {
    if (std::strcmp(argv[i], "--verbose") == 0) {
      arguments->verbose = true;
      continue;
    }
    if (std::strcmp(argv[i], "--every-call") == 0) {
      if (arguments->stride == 0) arguments->stride = 1;
      continue;
    }
    if (std::strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
      arguments->only = argv[++i];
      continue;
    }
    uint64_t* value = std::strcmp(argv[i], "--seed") == 0     ? &arguments->seed
                      : std::strcmp(argv[i], "--seeds") == 0  ? &arguments->seeds
                      : std::strcmp(argv[i], "--steps") == 0  ? &arguments->steps
                      : std::strcmp(argv[i], "--stride") == 0 ? &arguments->stride
                                                              : nullptr;
    if (value == nullptr || i + 1 == argc) return false;
    char* end = nullptr;
    *value = std::strtoull(argv[++i], &end, 10);
    if (*end != '\0' || end == argv[i]) return false;
    seeded = seeded || value == &arguments->seed;
  }
  if (arguments->seeds == 0) arguments->seeds = seeded ? 1 : 400;
  return true;
}

// Returns how many runs failed.
uint64_t fail_calls(const Arguments& arguments) {
  const auto began = std::chrono::steady_clock::now();
  const auto result =
      stonelog::sim::fail_every_call({arguments.stride, arguments.only, arguments.verbose});
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::printf("%s%severy call: %" PRIu64 " runs of the script in %.1f s\n", result.findings.c_str(),
              result.coverage.describe().c_str(), result.runs, took.count());
  std::printf("%" PRIu64 " passed, %" PRIu64 " failed, 0 skipped\n", result.runs - result.failed,
              result.failed);
  return result.failed;
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // what was found is told even if a run crashes
  Arguments arguments;
  if (!parse(argc, argv, &arguments)) {
    std::fprintf(stderr,
                 "usage: sim [--seed N] [--seeds K] [--steps M] [--verbose]\n"
                 "       sim --every-call [--stride K] [--only RUN] [--verbose]\n");
    return 2;
  }
  if (arguments.stride > 0) return fail_calls(arguments) == 0 ? 0 : 1;
  const auto began = std::chrono::steady_clock::now();
  uint64_t failed = 0;
  uint64_t steps = 0;
  stonelog::sim::Coverage coverage;
  for (uint64_t i = 0; i < arguments.seeds; i++) {
    const uint64_t seed = arguments.seed + i;
    stonelog::sim::Simulation simulation({seed, arguments.steps, arguments.verbose});
    const bool passed = simulation.run();
    steps += simulation.counters().steps;
    coverage.add(simulation.coverage());
    std::printf("seed %" PRIu64 ": %s\n", seed, simulation.describe().c_str());
    if (passed) continue;
    failed++;
    std::printf("FAILED seed %" PRIu64 ": %s\n  replay: npm run sim -- --seed %" PRIu64
                " --steps %" PRIu64 " --verbose\n",
                seed, simulation.finding().c_str(), seed, arguments.steps);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::printf("%" PRIu64 " steps in %.1f s, %.2f million a minute\n", steps, took.count(),
              static_cast<double>(steps) * 60 / took.count() / 1e6);
  std::printf("exercised:\n%s", coverage.describe().c_str());
  const std::string missing = coverage.missing();
  uint64_t passed = arguments.seeds - failed;
  if (steps < stonelog::sim::kCoveredSteps) {
    std::printf("too few steps to say what a run must exercise\n");
  } else if (missing.empty()) {
    passed++;  // the coverage is a test of its own
  } else {
    failed++;
    std::printf("FAILED: never exercised:\n%s", missing.c_str());
  }
  std::printf("%" PRIu64 " passed, %" PRIu64 " failed, 0 skipped\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
