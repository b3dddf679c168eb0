// states [--seed N] [--seeds K] [--chain C] [--states M] [--long] [--keep DIR]: for each seed
// records C runs of the real driver, each on a crash state of the one before, and opens M crash
// states of each. states --replay FILE --seed N --point P --state I [--long]: one of them again.
#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include <sys/prctl.h>

#include "states/state_check.h"
#include "states/workload.h"

using namespace stonelog;
using namespace stonelog::states;

namespace {

struct Arguments {
  uint64_t seed = 1;
  uint64_t seeds = 3;
  uint64_t chain = 2;
  uint64_t states = 1'000;
  uint64_t point = 0;
  uint64_t state = 0;
  bool long_run = false;
  std::string keep = "build";
  std::string replay;
};

bool parse(int argc, char** argv, Arguments* arguments) {
  for (int i = 1; i < argc; i++) {
    const std::string name = argv[i];
    if (name == "--long") {
      arguments->long_run = true;
      continue;
    }
    if (i + 1 == argc) return false;
    if (name == "--keep" || name == "--replay") {
      (name == "--keep" ? arguments->keep : arguments->replay) = argv[++i];
      continue;
    }
    uint64_t* value = name == "--seed"     ? &arguments->seed
                      : name == "--seeds"  ? &arguments->seeds
                      : name == "--chain"  ? &arguments->chain
                      : name == "--states" ? &arguments->states
                      : name == "--point"  ? &arguments->point
                      : name == "--state"  ? &arguments->state
                                           : nullptr;
    if (value == nullptr) return false;
    char* end = nullptr;
    *value = std::strtoull(argv[++i], &end, 10);
    if (*end != '\0' || end == argv[i]) return false;
  }
  return true;
}

CheckOptions options_for(const Arguments& arguments, uint64_t seed) {
  CheckOptions options;
  options.seed = seed;
  if (arguments.long_run) {
    options.bounds = {9, 60, 12, true};
    options.second_crashes = 4;
    options.driver_every = 256;
  } else {
    options.bounds = {5, 12, 4, false};
  }
  return options;
}

struct Finding {
  std::string reason;
  size_t point = 0;
  size_t state = 0;
  std::string left;
};

// A state to go on from, taken at random among those that were found good.
struct Next {
  bool known = false;
  Image image;
  Found found;
  Expectation expected;
};

void work(const Recording& recording, const Ledger& ledger, const CheckOptions& options,
          const std::vector<size_t>& points, size_t worker, size_t workers, StateCounters* counters,
          Finding* finding, Next* next) {
  DiskModel model(recording);
  StateCheck check(recording, ledger, options, counters);
  sim::Random random(options.seed + worker);
  for (size_t i = worker; i < points.size() && finding->reason.empty(); i += workers) {
    while (model.point() < points[i]) model.advance();
    if (!model.violation().empty()) {
      *finding = {"the seam's rules are broken: " + model.violation(), model.point(), 0, ""};
      return;
    }
    const std::vector<State> states = model.states(options.bounds, options.seed);
    counters->points++;
    if (model.pending() <= options.bounds.whole) counters->whole_points++;
    for (size_t s = 0; s < states.size(); s++) {
      Found found;
      const std::string reason = check.check(model, states[s], s, &found);
      if (!reason.empty()) {
        *finding = {reason, model.point(), s, model.describe(states[s])};
        return;
      }
      if (model.pending() > 2 && random.rarely(300))
        *next = {true, model.image(states[s]), found, ledger.at(model.point())};
    }
  }
}

// Points in the order of the recording, as many as the number of states allows.
std::vector<size_t> choose_points(const Recording& recording, const CheckOptions& options,
                                  uint64_t states) {
  std::vector<size_t> points = interesting_points(recording);
  sim::Random random(options.seed);
  for (size_t i = points.size(); i > 1; i--) std::swap(points[i - 1], points[random.below(i)]);
  const uint64_t each = (uint64_t{1} << options.bounds.whole) / 2 + options.bounds.torn;
  if (points.size() > states / each + 1) points.resize(states / each + 1);
  std::sort(points.begin(), points.end());
  return points;
}

void print(const Recording& recording, const Finding& finding, uint64_t seed, const Arguments& args,
           const std::string& file) {
  std::printf("FAILED seed %" PRIu64 ", crash after %zu of %zu events: %s\n", seed, finding.point,
              recording.events.size(), finding.reason.c_str());
  std::printf("  what preceded:\n%s  what became of the rest:\n%s",
              recording.describe_before(finding.point, 40).c_str(), finding.left.c_str());
  if (!file.empty())
    std::printf("  replay: states --replay %s --seed %" PRIu64 " --point %zu --state %zu%s\n",
                file.c_str(), seed, finding.point, finding.state, args.long_run ? " --long" : "");
}

bool check_recording(const Recorded& recorded, uint64_t seed, const Arguments& args,
                     StateCounters* counters, Next* next) {
  const Recording& recording = recorded.recording;
  const Ledger ledger(recording, {});
  const CheckOptions options = options_for(args, seed);
  const std::vector<size_t> points = choose_points(recording, options, args.states);
  const size_t workers = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 4);
  std::vector<Finding> findings(workers);
  std::vector<Next> nexts(workers);
  std::vector<std::thread> threads;
  for (size_t w = 0; w < workers; w++) {
    threads.emplace_back([&, w] {
      work(recording, ledger, options, points, w, workers, counters, &findings[w], &nexts[w]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Finding& finding : findings) {
    if (finding.reason.empty()) continue;
    const std::string file = args.keep + "/states-" + std::to_string(seed) + ".rec";
    print(recording, finding, seed, args, recording.save(file) ? file : "");
    return false;
  }
  for (Next& candidate : nexts) {
    if (candidate.known) *next = std::move(candidate);
  }
  return true;
}

int replay(const Arguments& args) {
  Recording recording;
  if (!recording.load(args.replay)) {
    std::fprintf(stderr, "%s cannot be read\n", args.replay.c_str());
    return 2;
  }
  const Ledger ledger(recording, {});
  const CheckOptions options = options_for(args, args.seed);
  StateCounters counters;
  DiskModel model(recording);
  while (model.point() < std::min<size_t>(args.point, recording.events.size())) model.advance();
  const std::vector<State> states = model.states(options.bounds, options.seed);
  if (args.state >= states.size()) return 2;
  StateCheck check(recording, ledger, options, &counters);
  Found found;
  Finding finding{check.check(model, states[args.state], args.state, &found), model.point(),
                  args.state, model.describe(states[args.state])};
  if (!model.violation().empty()) finding.reason = model.violation();
  if (finding.reason.empty()) {
    std::printf("nothing is wrong\n");
    return 0;
  }
  print(recording, finding, args.seed, args, args.replay);
  return 1;
}

// What a recording consists of.
std::string contents_of(const Recording& recording) {
  uint64_t writes = 0;
  uint64_t syncs = 0;
  uint64_t names = 0;
  uint64_t heads = 0;
  uint64_t recycled = 0;
  uint64_t together = 0;
  uint64_t most = 0;
  for (const Event& event : recording.events) {
    const Operation& op = recording.operations[event.operation];
    const bool lasts = op.kind != Kind::mark && op.kind != Kind::names &&
                       op.kind != Kind::reserve && op.kind != Kind::punch;
    if (lasts) together += event.end ? -1 : 1;
    most = std::max(most, together);
    if (!event.end) continue;
    writes += op.kind == Kind::write || op.kind == Kind::dsync_write || op.kind == Kind::punch;
    syncs += op.kind == Kind::sync || op.kind == Kind::sync_directory;
    names += op.kind == Kind::names || op.kind == Kind::reserve;
    heads += op.mark == Mark::head_done;
    recycled += op.kind == Kind::names && op.path.find("recycle-") != std::string::npos &&
                op.edits[0].path.find(".wal") != std::string::npos;
  }
  const auto text = [](uint64_t value) { return std::to_string(value); };
  return text(writes) + " writes, " + text(syncs) + " syncs, " + text(names) +
         " changes of names and sizes, at most " + text(most) + " under way, " + text(heads) +
         " heads, " + text(recycled) + " files recycled";
}

bool run_seed(uint64_t seed, const Arguments& args, StateCounters* counters, uint64_t* operations,
              uint64_t* deaths) {
  Next next;
  next.image = empty_image();
  for (uint64_t run = 1; run <= args.chain; run++) {
    const Workload workload = workload_of(seed, run);
    const Recorded recorded = record(workload, next.image, next.found, next.expected);
    const uint64_t point_seed = seed * 1000 + run;
    const uint64_t before = counters->states;
    *operations += static_cast<uint64_t>(
        std::count_if(recorded.recording.operations.begin(), recorded.recording.operations.end(),
                      [](const Operation& op) { return op.kind != Kind::mark; }));
    *deaths += recorded.deaths;
    bool passed = recorded.finding.empty();
    if (!passed)
      std::printf("FAILED seed %" PRIu64 " run %" PRIu64 ": %s\n", seed, run,
                  recorded.finding.c_str());
    passed = passed && check_recording(recorded, point_seed, args, counters, &next);
    std::printf("seed %" PRIu64 " run %" PRIu64 " (%s): %s, %" PRIu64 " deaths, %" PRIu64
                " states\n",
                seed, run, describe(workload).c_str(), contents_of(recorded.recording).c_str(),
                recorded.deaths, counters->states - before);
    if (!passed) return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments args;
  if (!parse(argc, argv, &args)) {
    std::fprintf(stderr,
                 "usage: states [--seed N] [--seeds K] [--chain C] [--states M] [--long] "
                 "[--keep DIR]\n       states --replay FILE --seed N --point P --state I "
                 "[--long]\n");
    return 2;
  }
  // Each examination maps windows of its own: clearing huge pages for them would be most of the
  // work.
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  if (!args.replay.empty()) return replay(args);
  const auto began = std::chrono::steady_clock::now();
  StateCounters counters;
  uint64_t operations = 0;
  uint64_t deaths = 0;
  uint64_t failed = 0;
  for (uint64_t i = 0; i < args.seeds; i++)
    failed += run_seed(args.seed + i, args, &counters, &operations, &deaths) ? 0 : 1;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::printf("%" PRIu64 " operations recorded, %" PRIu64 " deaths, %" PRIu64
              " crash points (%" PRIu64 " with every subset), %" PRIu64 " states opened (%" PRIu64
              " torn tails), %" PRIu64 " of a second crash, %" PRIu64 " by the driver, %" PRIu64
              " records compared, %.1f s\n",
              operations, deaths, counters.points.load(), counters.whole_points.load(),
              counters.states.load(), counters.torn_tails.load(), counters.second.load(),
              counters.driver.load(), counters.records.load(), took.count());
  std::printf("%" PRIu64 " passed, %" PRIu64 " failed, 0 skipped\n", args.seeds - failed, failed);
  return failed == 0 ? 0 : 1;
}
