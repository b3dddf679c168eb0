// Little-endian loads and stores at unaligned places.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace stonelog::format {

static_assert(std::endian::native == std::endian::little,
              "stonelog supports little-endian targets only");

template <typename T>
inline T load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <typename T>
inline void store(uint8_t* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

}  // namespace stonelog::format
