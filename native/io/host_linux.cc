#if defined(__linux__)

#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <initializer_list>

#include "io/host.h"

namespace stonelog::io {
namespace {

long futex(std::atomic<uint32_t>* word, int operation, uint32_t value, const timespec* deadline,
           uint32_t mask) {
  return syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), operation, value, deadline, nullptr,
                 mask);
}

}  // namespace

void* map_pages(size_t size, Commit commit) {
  const int lazy = commit == Commit::when_touched ? MAP_NORESERVE : 0;
  void* const pages =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | lazy, -1, 0);
  return pages == MAP_FAILED ? nullptr : pages;
}

void unmap_pages(void* pages, size_t size) { munmap(pages, size); }

void prefer_huge_pages(void* pages, size_t size) { madvise(pages, size, MADV_HUGEPAGE); }

void* allocate_aligned(size_t alignment, size_t size) {
  return std::aligned_alloc(alignment, size);
}

void free_aligned(void* memory) { std::free(memory); }

uint64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void sleep_on(std::atomic<uint32_t>* word, uint32_t value, uint64_t deadline_ns) {
  timespec deadline{};
  deadline.tv_sec = static_cast<time_t>(deadline_ns / 1'000'000'000);
  deadline.tv_nsec = static_cast<long>(deadline_ns % 1'000'000'000);
  futex(word, FUTEX_WAIT_BITSET_PRIVATE, value, deadline_ns == UINT64_MAX ? nullptr : &deadline,
        FUTEX_BITSET_MATCH_ANY);
}

void wake_sleepers(std::atomic<uint32_t>* word, int count) {
  futex(word, FUTEX_WAKE_BITSET_PRIVATE, static_cast<uint32_t>(count), nullptr,
        FUTEX_BITSET_MATCH_ANY);
}

void block_signals() {
  // Faults of our own stay deliverable, so that a crash is reported like any other. The raw call,
  // since pthread_sigmask became a newer GLIBC symbol than the binaries may ask for.
  uint64_t set = ~uint64_t{0};
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS})
    set &= ~(uint64_t{1} << (fault - 1));
  syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, nullptr, sizeof set);
}

// Linux from 6.12 on takes sched_runtime of an ordinary thread for its slice; before, it is
// ignored. Nothing is asked for where system calls are filtered: some filters end the process for
// this one.
void wish_time_slice(uint64_t ns) {
  if (prctl(PR_GET_SECCOMP) != 0) return;
  struct {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime;
    uint64_t deadline;
    uint64_t period;
  } attributes{};
  attributes.size = sizeof attributes;
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  if (attributes.policy != 0) return;  // SCHED_OTHER: nobody has chosen another one
  attributes.flags = 0;
  attributes.runtime = ns;
  syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace stonelog::io

#endif
