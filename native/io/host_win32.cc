#if defined(_WIN32)

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <malloc.h>
#include <windows.h>

#include <algorithm>

#include "io/host.h"

namespace stonelog::io {

void* map_pages(size_t size, Commit) {
  return VirtualAlloc(nullptr, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void unmap_pages(void* pages, size_t) { VirtualFree(pages, 0, MEM_RELEASE); }

void prefer_huge_pages(void*, size_t) {}  // needs a privilege that applications do not have

void* allocate_aligned(size_t alignment, size_t size) { return _aligned_malloc(size, alignment); }

void free_aligned(void* memory) { _aligned_free(memory); }

uint64_t monotonic_ns() {
  static const uint64_t frequency = [] {
    LARGE_INTEGER per_second;
    QueryPerformanceFrequency(&per_second);
    return static_cast<uint64_t>(per_second.QuadPart);
  }();
  LARGE_INTEGER now;
  QueryPerformanceCounter(&now);
  const auto ticks = static_cast<uint64_t>(now.QuadPart);
  // In two parts: the product of all ticks would overflow after some weeks.
  return ticks / frequency * 1'000'000'000 + ticks % frequency * 1'000'000'000 / frequency;
}

void sleep_on(std::atomic<uint32_t>* word, uint32_t value, uint64_t deadline_ns) {
  DWORD millis = INFINITE;
  if (deadline_ns != UINT64_MAX) {
    const uint64_t now = monotonic_ns();
    if (deadline_ns <= now) return;
    millis = static_cast<DWORD>(std::min<uint64_t>((deadline_ns - now) / 1'000'000 + 1, 1u << 30));
  }
  WaitOnAddress(word, &value, sizeof value, millis);
}

void wake_sleepers(std::atomic<uint32_t>* word, int count) {
  if (count > 1) {
    WakeByAddressAll(word);
  } else {
    WakeByAddressSingle(word);
  }
}

void block_signals() {}  // there are none

void wish_time_slice(uint64_t) {}

}  // namespace stonelog::io

#endif
