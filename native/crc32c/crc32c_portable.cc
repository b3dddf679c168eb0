// Slicing by eight (Kounavis and Berry, "A systematic approach to building high performance,
// software-based, CRC generators", 2005): eight table look-ups per eight bytes that do not wait for
// one another. Works on any byte order, because words are put together from bytes (compilers make
// one load of that where they can).
#include <array>

#include "crc32c/polynomial.h"
#include "crc32c/variants.h"

namespace stonelog::crc32c {
namespace {

// slices[n][v]: the raw state of byte v followed by n zero bytes.
using Slices = std::array<std::array<uint32_t, 256>, 8>;

constexpr Slices make_slices() {
  Slices slices{};
  for (uint32_t value = 0; value < 256; value++) {
    uint32_t state = value;
    for (int bit = 0; bit < 8; bit++) state = times_x(state);
    slices[0][value] = state;
  }
  for (size_t zeros = 1; zeros < slices.size(); zeros++) {
    for (size_t value = 0; value < 256; value++) {
      const uint32_t before = slices[zeros - 1][value];
      slices[zeros][value] = (before >> 8) ^ slices[0][before & 0xFF];
    }
  }
  return slices;
}

constexpr Slices slices = make_slices();

uint32_t load32(const uint8_t* data) {
  return static_cast<uint32_t>(data[0]) | static_cast<uint32_t>(data[1]) << 8 |
         static_cast<uint32_t>(data[2]) << 16 | static_cast<uint32_t>(data[3]) << 24;
}

uint32_t step(uint32_t state, uint32_t low, uint32_t high) {
  low ^= state;
  return slices[7][low & 0xFF] ^ slices[6][(low >> 8) & 0xFF] ^ slices[5][(low >> 16) & 0xFF] ^
         slices[4][low >> 24] ^ slices[3][high & 0xFF] ^ slices[2][(high >> 8) & 0xFF] ^
         slices[1][(high >> 16) & 0xFF] ^ slices[0][high >> 24];
}

}  // namespace

uint32_t extend_portable(uint32_t crc, const uint8_t* data, size_t size) {
  uint32_t state = ~crc;
  for (; size >= 8; data += 8, size -= 8) state = step(state, load32(data), load32(data + 4));
  for (; size > 0; data++, size--) state = (state >> 8) ^ slices[0][(state ^ *data) & 0xFF];
  return ~state;
}

uint32_t extend_u64_portable(uint32_t crc, uint64_t value) {
  return ~step(~crc, static_cast<uint32_t>(value), static_cast<uint32_t>(value >> 32));
}

uint32_t extend_u32_portable(uint32_t crc, uint32_t value) {
  uint32_t state = ~crc ^ value;
  for (int byte = 0; byte < 4; byte++) state = (state >> 8) ^ slices[0][state & 0xFF];
  return ~state;
}

void many_portable(const uint8_t* base, size_t stride, size_t size, size_t count, uint32_t* out) {
  for (size_t index = 0; index < count; index++) {
    out[index] = extend_portable(0, base + index * stride, size);
  }
}

}  // namespace stonelog::crc32c
