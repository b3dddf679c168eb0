// The process's own threads for requests that may wait for the disk: opening, verifying, flushing,
// truncating, closing, reading. libuv's thread pool is left to the application.
#pragma once

#include <pthread.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>

#include "driver/parker.h"
#include "io/status.h"

namespace stonelog::driver {

// A thread that says so if the system refuses it; std::thread would end the process.
class Thread {
 public:
  Status start(std::function<void()> body);
  void join();  // one of the two, once, if it was started
  void detach();

 private:
  pthread_t thread_{};
};

// Up to `most` threads, started when there is work and none is free, that run tasks in their order.
// Lives as long as the process: its threads are never joined.
class ThreadPool {
 public:
  // `slice_ns`: what its threads wish for (io::wish_time_slice); 0: what they are given.
  explicit ThreadPool(uint32_t most, uint64_t slice_ns = 0) : most_(most), slice_ns_(slice_ns) {}
  // Fails, without having taken the task, if there is no thread and the system refuses one.
  Status run(std::function<void()> task);

 private:
  void loop();

  const uint32_t most_;
  const uint64_t slice_ns_;
  std::mutex mutex_;
  Parker parker_;
  std::deque<std::function<void()>> tasks_;
  uint32_t threads_ = 0;
  uint32_t idle_ = 0;
};

ThreadPool& request_threads();  // may wait for commits: opens, closes, truncations, verifications
ThreadPool& reader_threads();   // only read, and wait for fetch_threads
ThreadPool& fetch_threads();    // read ahead, wait for nothing

// Calls each(0) to each(count - 1), on the calling thread and on fetch_threads(); returns when all
// returned.
void for_each_parallel(size_t count, const std::function<void(size_t)>& each);

// Of threads that mostly hand work to the device and take it back: some microseconds of work at a
// time, for which the device waits.
inline constexpr uint64_t kShortSliceNs = 100'000;

// How long a commit that an event loop's thread began may be done without anybody's notice. As long
// as a log is at work before it is idle, so that a committer that waits for that looks after it,
// too.
inline constexpr uint64_t kLookAfterNs = 20'000'000;

// Signals are the application's: our threads take none.
void block_signals();

}  // namespace stonelog::driver
