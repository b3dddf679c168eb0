// What the parts of the raw probe share: failing, the time, memory for transfers.
#pragma once

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

namespace raw_probe {

inline constexpr size_t kHugePageBytes = 2 << 20;

[[noreturn]] inline void fail(const char* action, int error) {
  fprintf(stderr, "raw-probe: %s: %s\n", action, strerror(error));
  exit(1);
}

inline uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// Memory with contents that no layer below can compress or recognise as zeros. In a huge page, if
// the kernel has one: a transfer of 1 MiB is then one piece for the device instead of 256, which
// doubles what is read per second.
class Block {
 public:
  explicit Block(size_t size)
      : data_(static_cast<uint64_t*>(aligned_alloc(kHugePageBytes, kHugePageBytes))) {
    if (data_ == nullptr) fail("allocating memory", ENOMEM);
    (void)madvise(data_, kHugePageBytes, MADV_HUGEPAGE);
    uint64_t state = 0x9E3779B97F4A7C15;
    for (size_t i = 0; i < size / sizeof(uint64_t); i++) {
      state ^= state << 13;  // xorshift64, Marsaglia 2003
      state ^= state >> 7;
      state ^= state << 17;
      data_[i] = state;
    }
  }
  ~Block() { free(data_); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  void* data() const { return data_; }

 private:
  uint64_t* data_;
};

}  // namespace raw_probe
