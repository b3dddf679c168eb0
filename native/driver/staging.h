// Records that JavaScript has laid down by itself: a call into native code costs more than copying
// a small record. The log leases LSNs to its only session; JavaScript copies records here and names
// them by the leased LSNs, and one call for all of them admits them. Nothing that is staged is more
// than queued: it is acknowledged like any other record, once it is durable.
//
// Protocol: JavaScript copies a record, counts it, and then looks at `ended`. Whoever ends the
// lease sets `ended` and then looks at the count, from another thread with a barrier on all threads
// of the process in between (membarrier), so that the copying side needs none: either the record is
// counted for the one who ends the lease, or JavaScript sees that it has ended. A second barrier
// stands between looking at the count and at the records. What was taken
// stands in `taken`, final once the log's lock is free: a record beyond it was not admitted.
// lib/staging.ts is the other side.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stonelog::driver {

struct Staging {
  static constexpr uint32_t kRecords = 1024;
  static constexpr uint32_t kBytes = 64 << 10;

  int32_t ended;
  int32_t count;
  int32_t taken;
  int32_t reserved;
  uint32_t lengths[kRecords];
  uint8_t bytes[kBytes];
};

static_assert(offsetof(Staging, lengths) == 16 && offsetof(Staging, bytes) == 16 + 4 * 1024);

// Whether the kernel offers the barrier; without it nothing is leased. Asked once.
bool has_barrier();

}  // namespace stonelog::driver
