// ARMv8 with the optional CRC extension: three lanes of fixed size in flight, joined by look-up
// tables. Folding by PMULL is left out on purpose: three lanes already saturate the CRC unit of the
// common cores.
#include "crc32c/variants.h"

#if defined(STONELOG_CRC32C_ARM)

#include <cstring>

#if defined(__linux__)
#include <sys/auxv.h>
#endif

#include "crc32c/polynomial.h"

// The builtins instead of <arm_acle.h>: older compilers declare nothing there unless the whole file
// is compiled for the extension.
#if defined(__clang__)
#define STONELOG_ARMV8 __attribute__((target("crc")))
#define STONELOG_CRC32CB __builtin_arm_crc32cb
#define STONELOG_CRC32CH __builtin_arm_crc32ch
#define STONELOG_CRC32CW __builtin_arm_crc32cw
#define STONELOG_CRC32CX __builtin_arm_crc32cd
#else
#define STONELOG_ARMV8 __attribute__((target("+crc")))
#define STONELOG_CRC32CB __builtin_aarch64_crc32cb
#define STONELOG_CRC32CH __builtin_aarch64_crc32ch
#define STONELOG_CRC32CW __builtin_aarch64_crc32cw
#define STONELOG_CRC32CX __builtin_aarch64_crc32cx
#endif

namespace stonelog::crc32c {
namespace {

template <typename Word>
inline Word load(const uint8_t* data) {
  Word word;
  std::memcpy(&word, data, sizeof word);
  return word;
}

STONELOG_ARMV8 inline uint32_t finish(uint32_t state, const uint8_t* data, size_t size) {
  if ((size & 4) != 0) {
    state = STONELOG_CRC32CW(state, load<uint32_t>(data));
    data += 4;
  }
  if ((size & 2) != 0) {
    state = STONELOG_CRC32CH(state, load<uint16_t>(data));
    data += 2;
  }
  if ((size & 1) != 0) state = STONELOG_CRC32CB(state, *data);
  return state;
}

template <size_t lane>
STONELOG_ARMV8 inline uint32_t three_lanes(uint32_t state, const uint8_t* data,
                                           const ShiftTable& table) {
  uint32_t second = 0;
  uint32_t third = 0;
  for (size_t offset = 0; offset < lane; offset += 8) {
    state = STONELOG_CRC32CX(state, load<uint64_t>(data + offset));
    second = STONELOG_CRC32CX(second, load<uint64_t>(data + lane + offset));
    third = STONELOG_CRC32CX(third, load<uint64_t>(data + 2 * lane + offset));
  }
  return shift(table, shift(table, state) ^ second) ^ third;
}

}  // namespace

bool armv8_supported() {
#if defined(__linux__)
  constexpr unsigned long hwcap_crc32 = 1UL << 7;
  return (getauxval(AT_HWCAP) & hwcap_crc32) != 0;
#elif defined(__APPLE__)
  return true;  // every 64-bit ARM processor of a Mac has it
#else
  return false;
#endif
}

STONELOG_ARMV8 uint32_t extend_u64_armv8(uint32_t crc, uint64_t value) {
  return ~STONELOG_CRC32CX(~crc, value);
}

STONELOG_ARMV8 uint32_t extend_u32_armv8(uint32_t crc, uint32_t value) {
  return ~STONELOG_CRC32CW(~crc, value);
}

STONELOG_ARMV8 uint32_t extend_armv8(uint32_t crc, const uint8_t* data, size_t size) {
  uint32_t state = ~crc;
  for (; size >= 3 * long_lane; data += 3 * long_lane, size -= 3 * long_lane) {
    state = three_lanes<long_lane>(state, data, long_shift);
  }
  for (; size >= 3 * short_lane; data += 3 * short_lane, size -= 3 * short_lane) {
    state = three_lanes<short_lane>(state, data, short_shift);
  }
  for (; size >= 8; data += 8, size -= 8) state = STONELOG_CRC32CX(state, load<uint64_t>(data));
  return ~finish(state, data, size);
}

// Four pieces at a time, one stream each: nothing to join.
STONELOG_ARMV8 void many_armv8(const uint8_t* base, size_t stride, size_t size, size_t count,
                               uint32_t* out) {
  for (; count >= 4; base += 4 * stride, out += 4, count -= 4) {
    uint32_t state[4] = {~0u, ~0u, ~0u, ~0u};
    const size_t whole = size & ~size_t{7};
    for (size_t offset = 0; offset < whole; offset += 8) {
      for (size_t piece = 0; piece < 4; piece++) {
        state[piece] =
            STONELOG_CRC32CX(state[piece], load<uint64_t>(base + piece * stride + offset));
      }
    }
    for (size_t piece = 0; piece < 4; piece++) {
      out[piece] = ~finish(state[piece], base + piece * stride + whole, size & 7);
    }
  }
  for (; count > 0; base += stride, out++, count--) *out = extend_armv8(0, base, size);
}

}  // namespace stonelog::crc32c

#endif
