// Arithmetic in GF(2)[x] modulo the Castagnoli polynomial, at compile time: the source of every
// table and folding constant of the variants, so that none is a number somebody has to believe.
//
// All values are bit-reflected as CRC32C itself is: bit 31 is the coefficient of x^0, bit 0 that of
// x^31. "Raw" CRC states are those without the initial and the final XOR: the raw state of a
// message is the message times x^32 modulo P, which is what makes it linear and lets parts be
// computed apart and joined (+ is XOR):
//   raw(A then B) = raw(A) * x^(8 * size of B) + raw(B)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace stonelog::crc32c {

inline constexpr uint32_t polynomial = 0x82F63B78;

constexpr uint32_t times_x(uint32_t value) {
  return (value >> 1) ^ ((value & 1) != 0 ? polynomial : 0);
}

constexpr uint32_t multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (uint32_t bit = 0x80000000; bit != 0; bit >>= 1) {
    if ((a & bit) != 0) product ^= b;
    b = times_x(b);
  }
  return product;
}

constexpr uint32_t x_to_the(uint64_t exponent) {
  uint32_t result = 0x80000000;  // x^0
  uint32_t square = 0x40000000;  // x^1
  for (; exponent != 0; exponent >>= 1) {
    if ((exponent & 1) != 0) result = multiply(result, square);
    square = multiply(square, square);
  }
  return result;
}

// The factor that moves 64 bits of message or state on by `bits` when it is used in a carry-less
// multiplication of reflected operands: such a product stands one bit further than its value, and a
// 32-bit factor in a 64-bit operand another 32, hence the 33 taken off here.
constexpr uint32_t fold_factor(uint64_t bits) { return x_to_the(bits - 33); }

// table[n][v] is the raw state whose byte n is v, moved on by `bytes` zero bytes.
using ShiftTable = std::array<std::array<uint32_t, 256>, 4>;

constexpr ShiftTable shift_table(uint64_t bytes) {
  ShiftTable table{};
  const uint32_t factor = x_to_the(bytes * 8);
  for (uint32_t index = 0; index < 4; index++) {
    for (uint32_t value = 0; value < 256; value++) {
      table[index][value] = multiply(value << (8 * index), factor);
    }
  }
  return table;
}

inline uint32_t shift(const ShiftTable& table, uint32_t state) {
  return table[0][state & 0xFF] ^ table[1][(state >> 8) & 0xFF] ^ table[2][(state >> 16) & 0xFF] ^
         table[3][state >> 24];
}

// Lane sizes in bytes of the three-way variants that join their lanes by table: the long one for
// bulk, the short one so that records of some 200 bytes profit already.
inline constexpr size_t long_lane = 1024;
inline constexpr size_t short_lane = 64;
inline constexpr ShiftTable long_shift = shift_table(long_lane);
inline constexpr ShiftTable short_shift = shift_table(short_lane);

static_assert(x_to_the(32) == polynomial);
static_assert(multiply(x_to_the(1000), x_to_the(24)) == x_to_the(1024));

}  // namespace stonelog::crc32c
