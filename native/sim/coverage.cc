#include "sim/coverage.h"

#include <cstdio>

namespace stonelog::sim {

namespace {

constexpr const char* kRequired[] = {
    "lives",
    "crashes",
    "crashes in recovery",
    "five crashes in a row",
    "kills",
    "closes",
    "poisonings",
    "records admitted",
    "records acknowledged",
    "records verified",
    "groups proven durable when acknowledged",
    "groups in flight, three or more",
    "bulk groups written plainly",
    "bulk groups acknowledged",
    "syncs shared by bulk groups",
    "groups stamped ahead",
    "commits of the appending thread",
    "told not written",
    "torn tails",
    "LSNs cut",
    "rotations",
    "heads moved",
    "segments recycled",
    "segments released",
    "refused: backpressure",
    "refused: no space",
    "resumed after no space",
    "largest records admitted",
    "writes kept",
    "writes lost",
    "writes torn",
    "names kept",
    "names lost",
    "dropped by a failed sync",
    "shown by the page cache, not on the device",
    "such lies evicted",
    "calls that failed and were done",
    "faults: read",
    "faults: write",
    "faults: sync",
    "faults: allocate",
    "faults: rename",
    "faults: unlink",
    "faults: directory sync",
    "faults: open",
    "faults: list",
    "short writes",
    "tear unit 512",
    "tear unit 4096",
    "tear unit 16384",
    "block size 16384",
    "looks beside the writer",
    "looks during which it wrote",
    "records seen beside the writer",
    "damage: flipped bit",
    "damage: lost sectors",
    "damage: header or seal",
    "damage: block misdirected",
    "damage: block duplicated",
    "damage: blocks swapped",
    "damage: write behind the end",
    "damage: segment lost",
    "damage: newest segment lost",
    "damage: segment truncated",
    "damage: segment duplicated",
    "damage: segments swapped",
    "damage: segment of another log",
    "damage: foreign file",
    "damage refused",
    "damage that proves nothing, opened",
    "opened up to damage",
    "salvaged around damage",
};

}  // namespace

std::string Coverage::missing() const {
  std::string out;
  for (const char* what : kRequired) {
    if (of(what) == 0) out += std::string("  ") + what + "\n";
  }
  return out;
}

std::string Coverage::describe() const {
  std::string out;
  char line[120];
  for (const auto& [what, count] : counts_) {
    std::snprintf(line, sizeof line, "  %-48s %llu\n", what.c_str(),
                  static_cast<unsigned long long>(count));
    out += line;
  }
  return out;
}

}  // namespace stonelog::sim
