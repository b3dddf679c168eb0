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
  // The upper bound of the bucket that holds the given share (0..1) of the values; 0 if there are none.
  uint64_t percentile_ns(double share) const {
    const auto wanted = static_cast<uint64_t>(share * static_cast<double>(count_));
    uint64_t seen = 0;
    for (size_t i = 0; i < buckets_.size(); i++) {
      seen += buckets_[i];
      if (buckets_[i] > 0 && seen >= wanted) return upper_of(i) < max_ns_ ? upper_of(i) : max_ns_;
    }
    return max_ns_;
  }

 private:
  static size_t index_of(uint64_t ns) {
    if (ns < 4) return ns;
    const auto log = static_cast<size_t>(std::bit_width(ns)) - 1;
    return log * 4 + ((ns >> (log - 2)) & 3);
  }
  static uint64_t upper_of(size_t index) {
    if (index < 4) return index;
    const size_t log = index / 4;
    return (uint64_t{4} + index % 4 + 1) << (log - 2);
  }

  std::array<uint64_t, 256> buckets_{};
  uint64_t count_ = 0;
  uint64_t sum_ns_ = 0;
  uint64_t max_ns_ = 0;
};

}  // namespace stonelog::driver
