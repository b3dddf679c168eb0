// Latency histogram: four buckets to each power of two of nanoseconds, so values are within 25%.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace stonelog::driver {

class Histogram {
 public:
  void add(uint64_t ns) {
    count_++;
    sum_ns_ += ns;
    max_ns_ = ns > max_ns_ ? ns : max_ns_;
    buckets_[index_of(ns)]++;
  }
  uint64_t count() const { return count_; }
  uint64_t sum_ns() const { return sum_ns_; }
  uint64_t max_ns() const { return max_ns_; }
  const std::array<uint64_t, 256>& buckets() const { return buckets_; }

 private:
  static size_t index_of(uint64_t ns) {
    if (ns < 4) return ns;
    const auto log = static_cast<size_t>(std::bit_width(ns)) - 1;
    return log * 4 + ((ns >> (log - 2)) & 3);
  }
  std::array<uint64_t, 256> buckets_{};
  uint64_t count_ = 0;
  uint64_t sum_ns_ = 0;
  uint64_t max_ns_ = 0;
};

}  // namespace stonelog::driver
