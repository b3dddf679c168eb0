// Parking and waking of threads by an event count. std::condition_variable is avoided: its waits
// need a newer GLIBC than the prebuilt binaries may ask for.
//
// Protocol: a waiter reads prepare() while it holds the lock that guards the state it waits for,
// releases the lock, then waits with that ticket. Whoever changes the state does so under the lock
// and then calls a wake, always: it changes the word, so that a wait with an older ticket returns
// at once. Only the system call is left out where nobody sleeps. None is lost: the waiter counts
// itself before it looks at the word for the last time, the waker changes the word before it looks
// at the count, both sequentially consistent.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

namespace stonelog::driver {

uint64_t now_ns();  // monotonic

class Parker {
 public:
  uint32_t prepare() const { return word_.load(std::memory_order_seq_cst); }
  // Returns after a wake since prepare(), at the deadline (of now_ns), or spuriously.
  void wait(uint32_t ticket, uint64_t deadline_ns);
  void wake_one() { wake(1); }
  void wake_all() { wake(INT32_MAX); }

 private:
  void wake(int count);

  std::atomic<uint32_t> word_{0};
  std::atomic<uint32_t> waiters_{0};
};

// Threads of one kind that wait for work: the one that parked last is woken first, since its stack
// and its core are warmest. Guarded by the lock that guards the work; wakes may come after it was
// released, since the parkers live as long as the threads' owner.
class Parked {
 public:
  void enter(Parker* parker) { parked_.push_back(parker); }
  void leave(Parker* parker) { std::erase(parked_, parker); }  // it may have been taken, or not
  // Whom to wake; null if nobody waits.
  Parker* take() {
    if (parked_.empty()) return nullptr;
    Parker* const last = parked_.back();
    parked_.pop_back();
    return last;
  }

 private:
  std::vector<Parker*> parked_;
};

}  // namespace stonelog::driver
