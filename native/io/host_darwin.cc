#if defined(__APPLE__)

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <initializer_list>

#include "io/host.h"

// What libc++ itself waits by; its public successor, os_sync_wait_on_address, came with macOS 14.4.
extern "C" int __ulock_wait(uint32_t operation, void* address, uint64_t value, uint32_t micros);
extern "C" int __ulock_wake(uint32_t operation, void* address, uint64_t value);

namespace stonelog::io {
namespace {

constexpr uint32_t compare_and_wait = 1;
constexpr uint32_t wake_all = 0x100;

}  // namespace

void* map_pages(size_t size, Commit) {
  void* const pages = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
  return pages == MAP_FAILED ? nullptr : pages;
}

void unmap_pages(void* pages, size_t size) { munmap(pages, size); }

void prefer_huge_pages(void*, size_t) {}

void* allocate_aligned(size_t alignment, size_t size) {
  void* memory = nullptr;
  return posix_memalign(&memory, alignment, size) == 0 ? memory : nullptr;
}

void free_aligned(void* memory) { free(memory); }

uint64_t monotonic_ns() { return clock_gettime_nsec_np(CLOCK_UPTIME_RAW); }

void sleep_on(std::atomic<uint32_t>* word, uint32_t value, uint64_t deadline_ns) {
  uint32_t micros = 0;  // for ever
  if (deadline_ns != UINT64_MAX) {
    const uint64_t now = monotonic_ns();
    if (deadline_ns <= now) return;
    // Waking too early is allowed, and a long sleep ends early rather than overflows.
    micros = static_cast<uint32_t>(std::min<uint64_t>((deadline_ns - now) / 1000 + 1, 1u << 30));
  }
  __ulock_wait(compare_and_wait, word, value, micros);
}

void wake_sleepers(std::atomic<uint32_t>* word, int count) {
  __ulock_wake(compare_and_wait | (count > 1 ? wake_all : 0), word, 0);
}

void wish_time_slice(uint64_t) {}

void block_signals() {
  sigset_t set;
  sigfillset(&set);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS})
    sigdelset(&set, fault);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

}  // namespace stonelog::io

#endif
