#if !defined(_WIN32)

#include "io/kernel_aio.h"

#if defined(__linux__)

#include <errno.h>
#include <linux/aio_abi.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <mutex>
#include <vector>

namespace stonelog::io {
namespace {

constexpr int kMostParts = 8;
constexpr int kRwfDsync = 0x02;
// Fails with EAGAIN rather than wait for an inode's lock or a free request: the caller's thread is
// an event loop's.
constexpr int kRwfNowait = 0x08;

// A context of the kernel's for one write at a time, and what becomes readable with its result.
struct Context {
  aio_context_t id = 0;
  int signal = -1;
};

// Contexts that are not in use. None is ever destroyed: that waits for some 30 ms in the kernel.
// Never destroyed itself: logs may be closed while the process ends.
struct Pool {
  std::mutex mutex;
  std::vector<Context> contexts;
};

Pool& pool() {
  static Pool* const only = new Pool;
  return *only;
}

bool make_context(Context* context) {
  context->signal = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (context->signal < 0) return false;
  if (syscall(SYS_io_setup, 1, &context->id) == 0) {
    // A sandbox may allow the one and not the other: asked before a result depends on it.
    timespec none{};
    io_event event{};
    if (syscall(SYS_io_getevents, context->id, 0L, 1L, &event, &none) == 0) return true;
    (void)syscall(SYS_io_destroy, context->id);
  }
  (void)::close(context->signal);
  context->signal = -1;
  return false;
}

class KernelAio final : public AsyncWrite {
 public:
  explicit KernelAio(Context context) : context_(context.id), signal_(context.signal) {}
  ~KernelAio() override {
    if (under_way_) (void)wait();
    if (broken_) return;
    clear_signal();
    const std::lock_guard<std::mutex> guard(pool().mutex);
    pool().contexts.push_back({context_, signal_});
  }

  int signal() const override { return signal_; }
  void clear_signal() override {
    uint64_t count = 0;
    (void)!::read(signal_, &count, sizeof count);
  }
  bool take(int64_t* result) override {
    timespec none{};
    return get(&none, result);
  }
  int64_t wait() override {
    int64_t result = 0;
    while (!get(nullptr, &result)) {
    }
    return result;
  }

  Begun begin(int fd, uint64_t offset, const Part* parts, int count) {
    iovec vectors[kMostParts];
    if (count > kMostParts) return Begun::not_now;
    for (int index = 0; index < count; index++) {
      vectors[index].iov_base = const_cast<uint8_t*>(parts[index].data);
      vectors[index].iov_len = parts[index].size;
    }
    iocb control{};
    control.aio_lio_opcode = IOCB_CMD_PWRITEV;
    control.aio_fildes = static_cast<uint32_t>(fd);
    control.aio_buf = reinterpret_cast<uint64_t>(vectors);  // copied by the call
    control.aio_nbytes = static_cast<uint64_t>(count);
    control.aio_offset = static_cast<int64_t>(offset);
    control.aio_flags = IOCB_FLAG_RESFD;
    control.aio_resfd = static_cast<uint32_t>(signal_);
    control.aio_rw_flags = kRwfDsync | kRwfNowait;
    iocb* controls[] = {&control};
    under_way_ = syscall(SYS_io_submit, context_, 1, controls) == 1;
    if (under_way_) return Begun::yes;
    // EINVAL, EOPNOTSUPP, ENOSYS, EPERM: this kernel, file system or sandbox does not do it.
    return errno == EAGAIN || errno == ENOMEM || errno == EINTR ? Begun::not_now : Begun::never;
  }

 private:
  bool get(timespec* patience, int64_t* result) {
    io_event event{};
    const long got = syscall(SYS_io_getevents, context_, 1L, 1L, &event, patience);
    if (got == 1) {
      *result = event.res;
      under_way_ = false;
    }
    if (got >= 0 || errno == EINTR) return got == 1;
    // Nothing but EINTR can be wrong with a context that is ours, unless a sandbox forbids the call
    // meanwhile. What became of the write nobody knows: it failed, and the context is not used
    // again.
    *result = -errno;
    under_way_ = false;
    broken_ = true;
    return true;
  }

  const aio_context_t context_;
  const int signal_;
  bool under_way_ = false;
  bool broken_ = false;
};

}  // namespace

std::unique_ptr<AsyncWrite> kernel_aio() {
  Context context;
  {
    const std::lock_guard<std::mutex> guard(pool().mutex);
    if (!pool().contexts.empty()) {
      context = pool().contexts.back();
      pool().contexts.pop_back();
    }
  }
  if (context.signal < 0 && !make_context(&context)) return nullptr;
  return std::make_unique<KernelAio>(context);
}

AsyncWrite::Begun begin_by_kernel(AsyncWrite* write, int fd, uint64_t offset, const Part* parts,
                                  int count) {
  return static_cast<KernelAio*>(write)->begin(fd, offset, parts, count);
}

}  // namespace stonelog::io

#else

namespace stonelog::io {

std::unique_ptr<AsyncWrite> kernel_aio() { return nullptr; }

AsyncWrite::Begun begin_by_kernel(AsyncWrite*, int, uint64_t, const Part*, int) {
  return AsyncWrite::Begun::never;
}

}  // namespace stonelog::io

#endif
#endif
