// What a run exercised, by name: a simulator that no longer reaches a fault finds nothing in it,
// and nobody would notice.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace stonelog::sim {

class Coverage {
 public:
  void add(const std::string& what, uint64_t count = 1) { counts_[what] += count; }
  void add(const Coverage& other) {
    for (const auto& [what, count] : other.counts_) counts_[what] += count;
  }
  uint64_t of(const std::string& what) const {
    const auto at = counts_.find(what);
    return at == counts_.end() ? 0 : at->second;
  }
  // The names of what a long enough run must have met and did not, one a line; empty: none.
  std::string missing() const;
  std::string describe() const;  // one line each

 private:
  std::map<std::string, uint64_t> counts_;
};

// Steps from which on nothing may be missing.
inline constexpr uint64_t kCoveredSteps = 1'000'000;

}  // namespace stonelog::sim
