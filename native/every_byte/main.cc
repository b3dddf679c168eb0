// every-byte [--seed N] [--all] [--one-in K]: damages small logs in every way this room knows; with
// --all every byte with every pattern, else one byte in K with one.
#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>

#include <sys/prctl.h>

#include "every_byte/damage.h"

using namespace stonelog;
using namespace stonelog::every_byte;

namespace {

bool parse(int argc, char** argv, Thoroughness* how) {
  for (int i = 1; i < argc; i++) {
    if (std::strcmp(argv[i], "--all") == 0) {
      how->all = true;
      continue;
    }
    uint64_t* value = std::strcmp(argv[i], "--seed") == 0     ? &how->seed
                      : std::strcmp(argv[i], "--one-in") == 0 ? &how->one_in
                                                              : nullptr;
    if (value == nullptr || i + 1 == argc) return false;
    char* end = nullptr;
    *value = std::strtoull(argv[++i], &end, 10);
    if (*end != '\0' || *value == 0) return false;
  }
  return true;
}

// Up to the end of what was ever written, and a block of what was not.
uint64_t sectors_of(const Segment& segment) {
  return std::min(segment.end + kBlock, segment.size) / kSector;
}

struct Findings {
  std::mutex mutex;
  std::vector<std::string> texts;
  bool any = false;

  void add(const std::string& text) {
    if (text.empty()) return;
    const std::lock_guard<std::mutex> guard(mutex);
    texts.push_back(text);
  }
};

void damage_all(const Subject& subject, const Thoroughness& how, Counters* counters,
                Findings* findings) {
  std::vector<Place> units;
  for (size_t segment = 0; segment < subject.segments.size(); segment++) {
    for (uint64_t sector = 0; sector < sectors_of(subject.segments[segment]); sector++)
      units.push_back({segment, sector});
    for (uint64_t size = sectors_of(subject.segments[segment]) * kSector;
         size <= subject.segments[segment].size + kBlock; size += 16 * kSector)
      units.push_back({segment, size / kSector});
  }
  findings->add(damage_files(subject, counters));
  std::atomic<size_t> next{0};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < std::clamp(std::thread::hardware_concurrency(), 1u, 4u); i++) {
    threads.emplace_back([&] {
      for (size_t at = next++; at < units.size(); at = next++)
        findings->add(damage_sector(subject, units[at].segment, units[at].sector, how, counters));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main(int argc, char** argv) {
  Thoroughness how;
  if (!parse(argc, argv, &how)) {
    std::fprintf(stderr, "usage: every-byte [--seed N] [--all] [--one-in K]\n");
    return 2;
  }
  // Each examination maps a window of its own: clearing huge pages for it would be most of the
  // work.
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  const auto began = std::chrono::steady_clock::now();
  Counters counters;
  uint64_t failed = 0;
  const std::vector<Subject> subjects = make_subjects(how.seed);
  for (const Subject& subject : subjects) {
    const uint64_t before = counters.damages();
    Findings findings;
    damage_all(subject, how, &counters, &findings);
    uint64_t sectors = 0;
    for (const Segment& segment : subject.segments) sectors += sectors_of(segment);
    std::printf("%s: %zu segments, %zu groups, LSN %" PRIu64 ", %" PRIu64 " bytes, %" PRIu64
                " damages\n",
                subject.name.c_str(), subject.segments.size(), subject.groups.size(),
                subject.expected.required, sectors * kSector, counters.damages() - before);
    for (size_t i = 0; i < std::min<size_t>(findings.texts.size(), 12); i++)
      std::printf("FAILED seed %" PRIu64 ", %s\n", how.seed, findings.texts[i].c_str());
    if (!findings.texts.empty()) {
      failed++;
      std::printf("  %zu findings; replay: every-byte --seed %" PRIu64 "%s --one-in %" PRIu64 "\n",
                  findings.texts.size(), how.seed, how.all ? " --all" : "", how.one_in);
    }
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::printf("%" PRIu64 " flips, %" PRIu64 " zeroed bytes, %" PRIu64
              " under a right stamp, %" PRIu64 " of sectors, %" PRIu64 " of blocks, %" PRIu64
              " of sizes, %" PRIu64 " of files; each opened twice: %" PRIu64 " refused, %" PRIu64
              " stopped at the damage, %" PRIu64 " cut, %" PRIu64 " intact; %" PRIu64
              " repaired and %" PRIu64 " not to be, %" PRIu64 " records compared, %.1f s\n",
              counters.flips.load(), counters.zeroed_bytes.load(), counters.forged.load(),
              counters.sectors.load(), counters.blocks.load(), counters.sizes.load(),
              counters.files.load(), counters.refused.load(), counters.stopped.load(),
              counters.cut.load(), counters.intact.load(), counters.repaired.load(),
              counters.unrepaired.load(), counters.records.load(), took.count());
  std::printf("%" PRIu64 " passed, %" PRIu64 " failed, 0 skipped\n", subjects.size() - failed,
              failed);
  return failed == 0 ? 0 : 1;
}
