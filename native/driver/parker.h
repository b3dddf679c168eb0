// Parking and waking of threads by an event count. std::condition_variable is avoided: its waits need a
// newer GLIBC than the prebuilt binaries may ask for.
//
// Protocol: a waiter reads prepare() while it holds the lock that guards the state it waits for, releases
// the lock, then waits with that ticket. Whoever changes the state does so under the lock and then calls
// wake(). A wake between prepare() and wait() changes the word, so the wait returns at once: none is lost.
#pragma once

#include <atomic>
#include <cstdint>

namespace stonelog::driver {

uint64_t now_ns();  // monotonic

class Parker {
 public:
  uint32_t prepare() {
    waiters_.fetch_add(1, std::memory_order_seq_cst);
    return word_.load(std::memory_order_seq_cst);
  }
  void cancel() { waiters_.fetch_sub(1, std::memory_order_seq_cst); }
  // Returns after a wake since prepare(), at the deadline (of now_ns), or spuriously.
  void wait(uint32_t ticket, uint64_t deadline_ns);
  void wake_one() { wake(1); }
  void wake_all() { wake(INT32_MAX); }
  bool has_waiters() const { return waiters_.load(std::memory_order_seq_cst) > 0; }

 private:
  void wake(int count);

  std::atomic<uint32_t> word_{0};
  std::atomic<uint32_t> waiters_{0};
};

}  // namespace stonelog::driver
