#include "driver/threads.h"

#include <algorithm>
#include <memory>

// glibc 2.34 gave these a second version when it took them out of libpthread. A binary that asks
// for the first one runs on both sides of it; sanitizers replace the second one.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STONELOG_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STONELOG_SANITIZED
#endif
#endif
#if defined(__GLIBC__) && !defined(STONELOG_SANITIZED)
#if defined(__x86_64__)
#define STONELOG_FIRST_VERSION "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define STONELOG_FIRST_VERSION "GLIBC_2.17"
#endif
#endif
#if defined(STONELOG_FIRST_VERSION)
asm(".symver pthread_create, pthread_create@" STONELOG_FIRST_VERSION);
asm(".symver pthread_join, pthread_join@" STONELOG_FIRST_VERSION);
asm(".symver pthread_detach, pthread_detach@" STONELOG_FIRST_VERSION);
#endif

#include "io/host.h"

namespace stonelog::driver {

namespace {

constexpr uint32_t kRequestThreads = 4;
constexpr uint32_t kReaderThreads = 2;
constexpr uint32_t kFetchThreads = 8;

}  // namespace

uint64_t now_ns() { return io::monotonic_ns(); }

void Parker::wait(uint32_t ticket, uint64_t deadline_ns) {
  waiters_.fetch_add(1, std::memory_order_seq_cst);
  if (word_.load(std::memory_order_seq_cst) == ticket) io::sleep_on(&word_, ticket, deadline_ns);
  waiters_.fetch_sub(1, std::memory_order_seq_cst);
}

void Parker::wake(int count) {
  word_.fetch_add(1, std::memory_order_seq_cst);
  if (waiters_.load(std::memory_order_seq_cst) > 0) {
    io::wake_sleepers(&word_, count);
  }
}

void block_signals() { io::block_signals(); }

Status Thread::start(std::function<void()> body) {
  auto owned = std::make_unique<std::function<void()>>(std::move(body));
  const auto entry = [](void* argument) -> void* {
    const std::unique_ptr<std::function<void()>> mine(
        static_cast<std::function<void()>*>(argument));
    (*mine)();
    return nullptr;
  };
  const int error = pthread_create(&thread_, nullptr, entry, owned.get());
  if (error != 0) {
    Status status = Status::system(Code::io, "pthread_create", error);
    status.detail = "the system refuses another thread";
    return status;
  }
  (void)owned.release();
  return {};
}

void Thread::join() { (void)pthread_join(thread_, nullptr); }

void Thread::detach() { (void)pthread_detach(thread_); }

// The thread is made under the lock: whether there is one decides about the task.
Status ThreadPool::run(std::function<void()> task) {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (idle_ < tasks_.size() + 1 && threads_ < most_) {
      Thread thread;
      Status status = thread.start([this] { loop(); });
      if (!status.ok() && threads_ == 0) return status;
      if (status.ok()) {
        thread.detach();
        threads_++;
      }
    }
    tasks_.push_back(std::move(task));
  }
  parker_.wake_one();
  return {};
}

void ThreadPool::loop() {
  block_signals();
  if (slice_ns_ > 0) io::wish_time_slice(slice_ns_);
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    if (!tasks_.empty()) {
      std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
      continue;
    }
    idle_++;
    const uint32_t ticket = parker_.prepare();
    lock.unlock();
    parker_.wait(ticket, UINT64_MAX);
    lock.lock();
    idle_--;
  }
}

void for_each_parallel(size_t count, const std::function<void(size_t)>& each) {
  // Shared with helpers that may come to their turn only after the work is done: the last one frees
  // it.
  struct Work {
    std::atomic<size_t> next{0};
    std::atomic<size_t> done{0};
    std::atomic<uint32_t> users{0};
    size_t count = 0;
    const std::function<void(size_t)>* each = nullptr;
    Parker finished;
  };
  const size_t helpers = std::min<size_t>(kFetchThreads, count > 1 ? count - 1 : 0);
  auto* const work = new Work;
  work->count = count;
  work->each = &each;
  work->users = static_cast<uint32_t>(helpers) + 1;
  const auto take_part = [work] {
    for (size_t i = work->next.fetch_add(1); i < work->count; i = work->next.fetch_add(1)) {
      (*work->each)(i);
      if (work->done.fetch_add(1) + 1 == work->count) work->finished.wake_all();
    }
  };
  const auto leave = [work] {
    if (work->users.fetch_sub(1) == 1) delete work;
  };
  for (size_t i = 0; i < helpers; i++) {
    const Status status = fetch_threads().run([take_part, leave] {
      take_part();
      leave();
    });
    if (!status.ok()) leave();  // without help, then
  }
  take_part();
  for (;;) {
    const uint32_t ticket = work->finished.prepare();
    if (work->done.load() >= count) break;
    work->finished.wait(ticket, UINT64_MAX);
  }
  leave();
}

// Never destroyed: a thread may still be in its last system call when the process ends.
ThreadPool& request_threads() {
  static ThreadPool* const pool = new ThreadPool(kRequestThreads);
  return *pool;
}

ThreadPool& fetch_threads() {
  static ThreadPool* const pool = new ThreadPool(kFetchThreads, kShortSliceNs);
  return *pool;
}

ThreadPool& reader_threads() {
  static ThreadPool* const pool = new ThreadPool(kReaderThreads);
  return *pool;
}

}  // namespace stonelog::driver
