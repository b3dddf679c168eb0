#include "driver/slab.h"

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <utility>
#include <vector>

#include "io/host.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace stonelog::driver {

namespace {

constexpr size_t kUnitBytes = 64 << 10;
// Of the process, while anybody reads: slabs that are out and slabs that are kept, together. A
// collection returns dozens of MiB at a time, and all of that is wanted again.
constexpr size_t kMostBytes = 56 << 20;

struct Pool {
  std::mutex mutex;
  std::vector<std::unique_ptr<Slab>> slabs;
  size_t bytes = 0;                // of those
  std::atomic<size_t> mapped = 0;  // of all slabs
  uint32_t users = 0;
};

// Never destroyed: the collector may give a slab back while the process ends.
Pool& pool() {
  static Pool* const only = new Pool;
  return *only;
}

// AddressSanitizer knows nothing of memory that is mapped and pooled: it is told here.
void forbid([[maybe_unused]] const Slab& slab) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(slab.data(), slab.capacity());
#endif
}

void allow([[maybe_unused]] const Slab& slab) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(slab.data(), slab.capacity());
#endif
}

}  // namespace

Slab::Slab(size_t capacity) : capacity_((capacity + kUnitBytes - 1) / kUnitBytes * kUnitBytes) {
  void* const mapped = io::map_pages(capacity_, io::Commit::at_once);
  if (mapped == nullptr) std::abort();  // bounded by a group's size; nothing sane is left
  data_ = static_cast<uint8_t*>(mapped);
  pool().mapped += capacity_;
}

Slab::~Slab() {
  pool().mapped -= capacity_;
  allow(*this);  // whatever is mapped there next
  io::unmap_pages(data_, capacity_);
}

SlabUser::SlabUser() {
  Pool& of = pool();
  const std::lock_guard<std::mutex> guard(of.mutex);
  of.users++;
}

SlabUser::~SlabUser() {
  std::vector<std::unique_ptr<Slab>> dropped;
  Pool& of = pool();
  const std::lock_guard<std::mutex> guard(of.mutex);
  if (--of.users > 0) return;
  dropped.swap(of.slabs);
  of.bytes = 0;
}

std::unique_ptr<Slab> take_slab(size_t capacity) {
  Pool& from = pool();
  std::vector<std::unique_ptr<Slab>> dropped;
  {
    const std::lock_guard<std::mutex> guard(from.mutex);
    for (size_t i = from.slabs.size(); i-- > 0;) {
      // One that is much too large stays for who needs it. Last come, first taken: it is in the
      // cache.
      const size_t has = from.slabs[i]->capacity();
      if (has < capacity || has > 2 * (capacity + kUnitBytes)) continue;
      std::unique_ptr<Slab> slab = std::move(from.slabs[i]);
      from.slabs.erase(from.slabs.begin() + static_cast<ptrdiff_t>(i));
      from.bytes -= has;
      allow(*slab);
      return slab;
    }
    // What is kept does not fit. The oldest go, as far as memory would grow beyond its measure.
    size_t mapped = from.mapped + capacity;
    size_t oldest = 0;
    for (; oldest < from.slabs.size() && mapped > kMostBytes; oldest++) {
      mapped -= from.slabs[oldest]->capacity();
      from.bytes -= from.slabs[oldest]->capacity();
      dropped.push_back(std::move(from.slabs[oldest]));
    }
    from.slabs.erase(from.slabs.begin(), from.slabs.begin() + static_cast<ptrdiff_t>(oldest));
  }
  dropped.clear();
  return std::unique_ptr<Slab>(new Slab(capacity));
}

void give_back(std::unique_ptr<Slab> slab) {
  if (slab == nullptr) return;
  Pool& to = pool();
  slab->size_ = 0;
  const std::lock_guard<std::mutex> guard(to.mutex);
  if (to.users == 0 || to.mapped > kMostBytes) return;
  to.bytes += slab->capacity();
  forbid(*slab);
  to.slabs.push_back(std::move(slab));
}

size_t kept_slab_bytes() {
  Pool& of = pool();
  const std::lock_guard<std::mutex> guard(of.mutex);
  return of.bytes;
}

}  // namespace stonelog::driver
