// Leases of LSNs to the only session of a log, and what becomes of the records it staged.
#include <algorithm>
#include <numeric>

#include "driver/log.h"

#if defined(__linux__)
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace stonelog::driver {

namespace {

// A full barrier on every thread of the process that is running.
bool barrier_on_all_threads([[maybe_unused]] bool registering) {
#if defined(__linux__)
  const int command =
      registering ? MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED : MEMBARRIER_CMD_PRIVATE_EXPEDITED;
  return syscall(SYS_membarrier, command, 0, 0) == 0;
#else
  return false;
#endif
}

uint32_t counted(const Staging& staging) {
  return static_cast<uint32_t>(__atomic_load_n(&staging.count, __ATOMIC_ACQUIRE));
}

}  // namespace

bool has_barrier() {
  static const bool has = barrier_on_all_threads(true);
  return has;
}

// With the lock held. The next record staged by the session is to have the LSN returned; 0: none.
uint64_t Log::grant_lease(Session* session) {
  Staging* const staging = session == nullptr ? nullptr : session->staging;
  if (staging == nullptr || lease_holder_ != nullptr || sessions_.size() != 1 || !has_barrier())
    return 0;
  if (session->durability == log::Durability::each ||
      !engine_->has_room(Staging::kBytes, Staging::kRecords)) {
    return 0;
  }
  lease_holder_ = session;
  lease_first_lsn_ = engine_->last_lsn() + 1;
  __atomic_store_n(&staging->count, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&staging->taken, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&staging->ended, 0, __ATOMIC_SEQ_CST);
  return lease_first_lsn_;
}

// With the lock held, on the thread of the session that holds the lease, or when its JavaScript
// runs no more.
void Log::end_lease() {
  if (lease_holder_ == nullptr) return;
  Session* const holder = lease_holder_;
  lease_holder_ = nullptr;
  __atomic_store_n(&holder->staging->ended, 1, __ATOMIC_SEQ_CST);
  settle(holder, counted(*holder->staging));
}

// With the lock held, on any other thread. A record may be counted after the first barrier. On
// processors that reorder stores its bytes may be seen later than its count, but not later than the
// second barrier.
void Log::take_lease_away() {
  if (lease_holder_ == nullptr) return;
  Session* const holder = lease_holder_;
  lease_holder_ = nullptr;
  __atomic_store_n(&holder->staging->ended, 1, __ATOMIC_SEQ_CST);
  const bool ended = barrier_on_all_threads(false);
  const uint32_t count = counted(*holder->staging);
  // Without a barrier it is not known what was staged, so none of it may be acknowledged.
  if ((!ended || !barrier_on_all_threads(false)) && !engine_->poisoned()) {
    engine_->poison(Status::of(Code::io, "the kernel refused a barrier that it had offered"));
    progressed();
  }
  settle(holder, count);
}

// Admits what was staged. It was leased where there was room for it, so nothing but a failure of
// the log refuses it.
void Log::settle(Session* session, uint32_t count) {
  Staging& staging = *session->staging;
  __atomic_store_n(&staging.taken, static_cast<int32_t>(count), __ATOMIC_SEQ_CST);
  if (count == 0) return;
  Code code = Code::poisoned;
  size_t done = 0;
  if (count <= Staging::kRecords && engine_->last_lsn() + 1 == lease_first_lsn_) {
    // What JavaScript could write is read once, so that what was checked is what is used.
    uint32_t sizes[Staging::kRecords];
    std::copy_n(staging.lengths, count, sizes);
    if (std::accumulate(sizes, sizes + count, uint64_t{0}) <= uint64_t{Staging::kBytes})
      done = engine_->admit_run(staging.bytes, sizes, count, session->durability, now_ns(), &code);
  }
  session->own_lsn = lease_first_lsn_ + count - 1;
  session->last_code = code;
  if (code == Code::ok) return;
  if (!engine_->poisoned()) {
    engine_->poison(Status::of(Code::io, "records that were promised room found none"));
    progressed();
  }
  engine_->lose(count - static_cast<uint32_t>(done));
}

void Log::stage(Session* session, Staging* staging, log::Durability durability) {
  const std::lock_guard<WakingMutex> guard(mutex_);
  end_lease();
  session->staging = staging;
  session->durability = durability;
}

}  // namespace stonelog::driver
