// Leases of LSNs to the only session of a log, and what becomes of the records it staged.
#include <sched.h>

#include "crc32c/crc32c.h"
#include "driver/log.h"

namespace stonelog::driver {

// With the lock held. The next record staged by the session is to have the LSN returned; 0: none.
uint64_t Log::grant_lease(Session* session) {
  Staging* const staging = session == nullptr ? nullptr : session->staging;
  if (staging == nullptr || lease_holder_ != nullptr || sessions_.size() != 1) return 0;
  if (session->durability == log::Durability::each ||
      !engine_->has_room(Staging::kBytes, Staging::kRecords)) {
    return 0;
  }
  lease_holder_ = session;
  lease_first_lsn_ = engine_->last_lsn() + 1;
  staging->count = 0;
  __atomic_store_n(&staging->revoked, 0, __ATOMIC_SEQ_CST);
  return lease_first_lsn_;
}

// With the lock held, on the thread of the session that holds the lease, or when its JavaScript
// runs no more: it is not in the middle of a record.
void Log::end_lease() {
  if (lease_holder_ == nullptr) return;
  Session* const holder = lease_holder_;
  lease_holder_ = nullptr;
  __atomic_store_n(&holder->staging->revoked, 1, __ATOMIC_SEQ_CST);
  settle(holder);
}

// On any other thread. The lock is released while a record is being copied: the holder's
// environment might end just then, which needs it.
void Log::take_lease_away(std::unique_lock<std::mutex>* lock) {
  while (lease_holder_ != nullptr) {
    Staging* const staging = lease_holder_->staging;
    __atomic_store_n(&staging->revoked, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&staging->busy, __ATOMIC_SEQ_CST) == 0) return end_lease();
    lock->unlock();
    sched_yield();
    lock->lock();
  }
}

// Admits what was staged. It was leased where there was room for it, so nothing but a failure of
// the log refuses it.
void Log::settle(Session* session) {
  const Staging& staging = *session->staging;
  const auto count = static_cast<uint32_t>(staging.count);
  if (count == 0) return;
  const uint64_t now = now_ns();
  Code code = count <= Staging::kRecords && engine_->last_lsn() + 1 == lease_first_lsn_
                  ? Code::ok
                  : Code::poisoned;
  uint32_t done = 0;
  for (size_t at = 0; done < count && code == Code::ok; done++) {
    const uint32_t size = staging.lengths[done];
    if (at + size > Staging::kBytes) {
      code = Code::poisoned;
      break;
    }
    const uint8_t* const data = staging.bytes + at;
    engine_->admit_one(data, size, crc32c::extend(0, data, size), session->durability, now, &code);
    if (code != Code::ok) break;
    at += size;
  }
  session->own_lsn = lease_first_lsn_ + count - 1;
  session->last_code = code;
  if (code == Code::ok) return;
  if (!engine_->poisoned()) {
    engine_->poison(Status::of(Code::io, "records that were promised room found none"));
    progressed();
  }
  engine_->lose(count - done);
}

void Log::stage(Session* session, Staging* staging, log::Durability durability) {
  const std::lock_guard<std::mutex> guard(mutex_);
  end_lease();
  session->staging = staging;
  session->durability = durability;
}

}  // namespace stonelog::driver
