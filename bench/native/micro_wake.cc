// How long it takes until another thread runs: a message there and one back, by what could carry
// it.
#include <benchmark/benchmark.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "driver/parker.h"

namespace {

using stonelog::driver::Parker;

// A place for one number: put() makes it visible and wakes, take() waits for the next one.
class ByParker {
 public:
  void put(uint32_t value) {
    value_.store(value, std::memory_order_release);
    parker_.wake_one();
  }
  void take(uint32_t value) {
    for (;;) {
      const uint32_t ticket = parker_.prepare();
      if (value_.load(std::memory_order_acquire) == value) return;
      parker_.wait(ticket, UINT64_MAX);
    }
  }

 private:
  Parker parker_;
  std::atomic<uint32_t> value_{0};
};

// The same, looking for 40 us before it sleeps.
class BySpinningParker {
 public:
  void put(uint32_t value) {
    value_.store(value, std::memory_order_release);
    parker_.wake_one();
  }
  void take(uint32_t value) {
    for (;;) {
      const uint32_t ticket = parker_.prepare();
      if (value_.load(std::memory_order_acquire) == value) return;
      const uint64_t until = stonelog::driver::now_ns() + 40'000;
      while (parker_.prepare() == ticket && stonelog::driver::now_ns() < until) {
      }
      parker_.wait(ticket, UINT64_MAX);
    }
  }

 private:
  Parker parker_;
  std::atomic<uint32_t> value_{0};
};

class ByEventfd {
 public:
  ByEventfd() : fd_(eventfd(0, EFD_CLOEXEC)) {
    if (fd_ < 0) abort();
  }
  ~ByEventfd() { close(fd_); }
  void put(uint32_t) {
    const uint64_t one = 1;
    if (write(fd_, &one, sizeof one) != sizeof one) abort();
  }
  // As an event loop does: it polls, then reads.
  void take(uint32_t) {
    pollfd entry{fd_, POLLIN, 0};
    if (poll(&entry, 1, -1) != 1) abort();
    uint64_t count = 0;
    if (read(fd_, &count, sizeof count) != sizeof count) abort();
  }

 private:
  int fd_;
};

class ByAtomicWait {
 public:
  void put(uint32_t value) {
    value_.store(value, std::memory_order_release);
    value_.notify_one();
  }
  void take(uint32_t value) {
    for (uint32_t seen = value_.load(std::memory_order_acquire); seen != value;
         seen = value_.load(std::memory_order_acquire)) {
      value_.wait(seen, std::memory_order_acquire);
    }
  }

 private:
  std::atomic<uint32_t> value_{0};
};

template <typename Place>
void round_trip(benchmark::State& state) {
  Place there;
  Place back;
  std::atomic<bool> stop{false};
  std::thread other([&] {
    for (uint32_t i = 1;; i++) {
      there.take(i);
      if (stop.load(std::memory_order_acquire)) return;
      back.put(i);
    }
  });
  uint32_t i = 0;
  for (auto _ : state) {
    there.put(++i);
    back.take(i);
  }
  stop.store(true, std::memory_order_release);
  there.put(++i);
  other.join();
}
BENCHMARK_TEMPLATE(round_trip, ByParker)->UseRealTime();
BENCHMARK_TEMPLATE(round_trip, BySpinningParker)->UseRealTime();
BENCHMARK_TEMPLATE(round_trip, ByEventfd)->UseRealTime();
BENCHMARK_TEMPLATE(round_trip, ByAtomicWait)->UseRealTime();

// What the waker pays when nobody sleeps.
void wake_of_nobody(benchmark::State& state) {
  Parker parker;
  for (auto _ : state) parker.wake_one();
}
BENCHMARK(wake_of_nobody);

}  // namespace
