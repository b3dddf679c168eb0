// Records that JavaScript has laid down by itself: a call into native code costs more than copying
// a small record. The log leases LSNs to its only session; JavaScript copies records here and names
// them by the leased LSNs, and one call for all of them admits them. Nothing that is staged is more
// than queued: it is acknowledged like any other record, once it is durable.
//
// Protocol: JavaScript sets `busy`, looks at `revoked`, copies, counts, clears `busy`. Whoever ends
// a lease from another thread sets `revoked` and waits for `busy` to clear. Both are sequentially
// consistent, so one of them sees the other. lib/staging.ts is the other side.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stonelog::driver {

struct Staging {
  static constexpr uint32_t kRecords = 1024;
  static constexpr uint32_t kBytes = 64 << 10;

  int32_t busy;
  int32_t revoked;
  int32_t count;
  int32_t reserved;
  uint32_t lengths[kRecords];
  uint8_t bytes[kBytes];
};

static_assert(offsetof(Staging, lengths) == 16 && offsetof(Staging, bytes) == 16 + 4 * 1024);

}  // namespace stonelog::driver
