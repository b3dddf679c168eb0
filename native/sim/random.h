// The simulator's only source of chance: one seed gives one run, on every machine.
#pragma once

#include <cstdint>

namespace stonelog::sim {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {  // splitmix64
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint64_t below(uint64_t bound) { return bound == 0 ? 0 : next() % bound; }
  uint64_t between(uint64_t from, uint64_t to) { return from + below(to - from + 1); }
  bool chance(uint64_t percent) { return below(100) < percent; }
  bool rarely(uint64_t one_in) { return below(one_in) == 0; }

 private:
  uint64_t state_;
};

}  // namespace stonelog::sim
