// What a commit of one block costs by who carries it out: the calling thread, which waits; another
// one, which is woken and wakes back, as a committer does; the kernel, which makes a descriptor
// readable, as small commits are begun by an event loop's thread.
#include <benchmark/benchmark.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "driver/parker.h"
#include "io/posix_file_system.h"

namespace {

using namespace stonelog;

constexpr size_t kBlock = 4096;
constexpr uint64_t kBlocks = 4096;

// A fully written file, whose name is gone.
class Written {
 public:
  Written() : memory_(static_cast<uint8_t*>(aligned_alloc(kPiece, kPiece))) {
    const char* const parent = getenv("STONELOG_MICRO_DIR");
    const std::string path =
        std::string(parent == nullptr ? "build" : parent) + "/micro-commit.tmp";
    io::FileSystem& fs = io::posix_file_system();
    if (memory_ == nullptr || !fs.open(path, io::Access::create, true, 0600, &file_).ok()) abort();
    (void)fs.unlink(path);
    std::fill(memory_, memory_ + kPiece, uint8_t{7});
    const io::Part whole{memory_, kPiece};
    for (uint64_t at = 0; at < kBlocks * kBlock; at += kPiece) {
      if (!file_->write(at, &whole, 1, io::WriteMode::dsync).ok()) abort();
    }
  }
  ~Written() { free(memory_); }
  io::File& file() { return *file_; }
  io::Part block() const { return {memory_, kBlock}; }
  uint64_t next() { return next_++ % kBlocks * kBlock; }
  void commit() {
    const io::Part part = block();
    if (!file_->write(next(), &part, 1, io::WriteMode::dsync).ok()) abort();
  }

 private:
  static constexpr size_t kPiece = 1 << 20;
  uint8_t* memory_;
  std::unique_ptr<io::File> file_;
  uint64_t next_ = 0;
};

void commit_here(benchmark::State& state) {
  Written written;
  for (auto _ : state) written.commit();
}
BENCHMARK(commit_here)->UseRealTime();

void commit_by_a_thread(benchmark::State& state) {
  Written written;
  driver::Parker there;
  driver::Parker back;
  std::atomic<uint64_t> asked{0};
  std::atomic<uint64_t> done{0};
  constexpr uint64_t kStop = UINT64_MAX;
  const auto wait_for = [](driver::Parker* parker, std::atomic<uint64_t>* value, uint64_t seen) {
    for (;;) {
      const uint32_t ticket = parker->prepare();
      if (const uint64_t now = value->load(); now != seen) return now;
      parker->wait(ticket, UINT64_MAX);
    }
  };
  std::thread committer([&] {
    for (uint64_t seen = 0;;) {
      seen = wait_for(&there, &asked, seen);
      if (seen == kStop) return;
      written.commit();
      done.store(seen);
      back.wake_one();
    }
  });
  uint64_t count = 0;
  for (auto _ : state) {
    asked.store(++count);
    there.wake_one();
    (void)wait_for(&back, &done, count - 1);
  }
  asked.store(kStop);
  there.wake_one();
  committer.join();
}
BENCHMARK(commit_by_a_thread)->UseRealTime();

void commit_by_the_kernel(benchmark::State& state) {
  Written written;
  const std::unique_ptr<io::AsyncWrite> async = io::posix_file_system().async_write();
  if (async == nullptr) {
    state.SkipWithError("no asynchronous writes here");
    return;
  }
  for (auto _ : state) {
    const io::Part part = written.block();
    if (written.file().begin_write(async.get(), written.next(), &part, 1) !=
        io::AsyncWrite::Begun::yes) {
      state.SkipWithError("the write was not begun");
      break;
    }
    // As an event loop does it.
    pollfd entry{async->signal(), POLLIN, 0};
    int64_t result = 0;
    while (poll(&entry, 1, -1) != 1) {
    }
    async->clear_signal();
    if (!async->take(&result) || result != static_cast<int64_t>(kBlock)) abort();
  }
}
BENCHMARK(commit_by_the_kernel)->UseRealTime();

}  // namespace
