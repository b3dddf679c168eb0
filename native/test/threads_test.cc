// Parking and waking: a lost wake would hang these tests.
#include <doctest/doctest.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "driver/threads.h"
#include "driver/waking_mutex.h"

using namespace stonelog::driver;

namespace {

// A queue of one number, handed over through two parkers as the log hands work to its committers.
struct Exchange {
  std::mutex mutex;
  Parker filled;
  Parker emptied;
  uint64_t value = 0;
  bool full = false;

  void put(uint64_t next) {
    std::unique_lock<std::mutex> lock(mutex);
    while (full) {
      const uint32_t ticket = emptied.prepare();
      lock.unlock();
      emptied.wait(ticket, UINT64_MAX);
      lock.lock();
    }
    value = next;
    full = true;
    lock.unlock();
    filled.wake_all();
  }
  uint64_t take() {
    std::unique_lock<std::mutex> lock(mutex);
    while (!full) {
      const uint32_t ticket = filled.prepare();
      lock.unlock();
      filled.wait(ticket, UINT64_MAX);
      lock.lock();
    }
    full = false;
    const uint64_t taken = value;
    lock.unlock();
    emptied.wake_all();
    return taken;
  }
};

}  // namespace

// ensures that a wake that comes before the wait is not lost: it changes the word.
TEST_CASE("parker: a wake before the wait") {
  Parker parker;
  const uint32_t ticket = parker.prepare();
  parker.wake_one();
  REQUIRE(parker.prepare() != ticket);
  parker.wait(ticket, UINT64_MAX);
}

// ensures that no wake is lost between looking and sleeping.
TEST_CASE("parker: hand-over") {
  for (const int takers : {1, 3}) {
    Exchange exchange;
    constexpr uint64_t kCount = 20'000;
    std::atomic<uint64_t> sum{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < takers; t++) {
      threads.emplace_back([&] {
        for (uint64_t value = exchange.take(); value != 0; value = exchange.take()) sum += value;
      });
    }
    for (uint64_t i = 1; i <= kCount; i++) exchange.put(i);
    for (int t = 0; t < takers; t++) exchange.put(0);
    for (std::thread& thread : threads) thread.join();
    CHECK(sum == kCount * (kCount + 1) / 2);
  }
}

// ensures that whoever is woken finds the mutex free: it is tried from inside of the wake.
TEST_CASE("waking mutex: wakes come after the release") {
  class Prober final : public Bell {
   public:
    explicit Prober(WakingMutex* mutex) : mutex_(mutex) {}
    void ring() override {
      const std::lock_guard<WakingMutex> guard(*mutex_);  // would wait for ever
      rung++;
    }
    int rung = 0;

   private:
    WakingMutex* mutex_;
  };
  WakingMutex mutex;
  Prober prober(&mutex);
  Parker parker;
  const uint32_t ticket = parker.prepare();
  {
    const std::lock_guard<WakingMutex> guard(mutex);
    mutex.ring_later(&prober);
    mutex.ring_later(nullptr);
    mutex.wake_one_later(&parker);
    mutex.ring_later(&prober);
    CHECK(prober.rung == 0);
    CHECK(parker.prepare() == ticket);
  }
  CHECK(prober.rung == 2);
  CHECK(parker.prepare() != ticket);
}

// ensures that nobody is forgotten where more are to be woken than the mutex can remember.
TEST_CASE("waking mutex: more wakes than places") {
  class Counter final : public Bell {
   public:
    void ring() override { rung++; }
    int rung = 0;
  };
  WakingMutex mutex;
  Counter counter;
  for (const int count : {8, 9, 100}) {
    counter.rung = 0;
    {
      const std::lock_guard<WakingMutex> guard(mutex);
      for (int i = 0; i < count; i++) mutex.ring_later(&counter);
    }
    CHECK(counter.rung == count);
  }
}

// ensures that a wait ends at its deadline, and not long before.
TEST_CASE("parker: deadline") {
  Parker parker;
  const uint64_t began = now_ns();
  const uint32_t ticket = parker.prepare();
  while (now_ns() < began + 5'000'000) parker.wait(ticket, began + 5'000'000);
  CHECK(now_ns() >= began + 5'000'000);
}

// ensures that every task runs, also when more come than there are threads.
TEST_CASE("thread pool: all tasks run") {
  static ThreadPool* const pool = new ThreadPool(3);  // its threads are never joined
  std::atomic<int> done{0};
  for (int i = 0; i < 1000; i++) REQUIRE(pool->run([&] { done++; }).ok());
  for (int i = 0; i < 5000 && done < 1000; i++)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(done == 1000);
}

// ensures that threads which wait for the device get the slice they wish for, where there is such a
// thing.
TEST_CASE("thread pool: a wish for a short slice") {
  // sched_attr: size, policy, flags, nice, priority, runtime (the slice), deadline, period.
  const auto slice_ns = [](ThreadPool* pool) {
    std::atomic<int64_t> slice{-1};
    const auto look = [&slice] {
      std::array<uint64_t, 6> attributes{};
      const bool known =
          syscall(SYS_sched_getattr, 0, attributes.data(), sizeof attributes, 0) == 0;
      slice = known ? static_cast<int64_t>(attributes[3]) : 0;
    };
    REQUIRE(pool->run(look).ok());
    for (int i = 0; i < 5000 && slice < 0; i++)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return slice.load();
  };
  // Their threads are never joined.
  static ThreadPool* const ordinary = new ThreadPool(1);
  static ThreadPool* const hasty = new ThreadPool(1, kShortSliceNs);
  const int64_t usual = slice_ns(ordinary);
  if (usual <= 0 || prctl(PR_GET_SECCOMP) != 0) {
    MESSAGE("SKIPPED: this kernel has no slices for ordinary threads, or filters system calls");
    return;
  }
  CHECK(usual > static_cast<int64_t>(kShortSliceNs));
  CHECK(slice_ns(hasty) == static_cast<int64_t>(kShortSliceNs));
}
