// CRC32C (Castagnoli, RFC 3720 appendix B.4): reflected polynomial 0x82F63B78, initial value and
// final XOR 0xFFFFFFFF. The variant is chosen once, at first use, from what the processor offers;
// the environment variable STONELOG_CRC32C names one to force it for tests.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stonelog::crc32c {

// CRC32C of `size` bytes that continue data whose CRC is `crc` (0 for none):
// extend(extend(0, a), b) == extend(0, a + b).
uint32_t extend(uint32_t crc, const void* data, size_t size);

// extend(crc, the 8 or 4 little-endian bytes of value): places, LSNs, checksums.
uint32_t extend_u64(uint32_t crc, uint64_t value);
uint32_t extend_u32(uint32_t crc, uint32_t value);

// For `count` equally sized, equally spaced pieces: out[i] = extend(0, base + i * stride, size).
// Runs several streams at once, for sector stamps, where one stream would wait for the
// instruction's latency.
void many(const uint8_t* base, size_t stride, size_t size, size_t count, uint32_t* out);

struct Variant {
  const char* name;  // "portable", "sse42", "pclmul", "vpclmul", "armv8"
  bool supported;    // by this processor
  uint32_t (*extend)(uint32_t crc, const uint8_t* data, size_t size);
  void (*many)(const uint8_t* base, size_t stride, size_t size, size_t count, uint32_t* out);
};
// All variants compiled in, portable first; for the tests.
const Variant* variants(size_t* count);
const char* variant_name();  // the one in use

}  // namespace stonelog::crc32c
