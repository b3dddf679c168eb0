#include "crc32c/crc32c.h"

#include <cstdlib>
#include <cstring>

#include "crc32c/variants.h"

namespace stonelog::crc32c {
namespace {

constexpr size_t variant_limit = 4;

struct Table {
  Variant variants[variant_limit] = {};
  ExtendU64 extend_u64[variant_limit] = {};
  size_t count = 0;

  void add(const Variant& variant, ExtendU64 u64) {
    variants[count] = variant;
    extend_u64[count] = u64;
    count++;
  }

  // In rising order of speed: the automatic choice is the last supported one.
  Table() {
    add({"portable", true, extend_portable, many_portable}, extend_u64_portable);
#if defined(STONELOG_CRC32C_X86)
    add({"sse42", sse42_supported(), extend_sse42, many_sse42}, extend_u64_sse42);
    add({"pclmul", pclmul_supported(), extend_pclmul, many_sse42}, extend_u64_sse42);
    add({"vpclmul", vpclmul_supported(), extend_vpclmul, many_vpclmul}, extend_u64_sse42);
#elif defined(STONELOG_CRC32C_ARM)
    add({"armv8", armv8_supported(), extend_armv8, many_armv8}, extend_u64_armv8);
#endif
  }
};

// Function-local statics: initialised once, by whichever thread comes first, without a constructor
// that would run when the addon is loaded.
const Table& table() {
  static const Table instance;
  return instance;
}

struct Choice {
  Variant variant;
  ExtendU64 extend_u64;

  Choice() {
    const Table& all = table();
    const char* wish = std::getenv("STONELOG_CRC32C");
    size_t chosen = 0;
    for (size_t index = 0; index < all.count; index++) {
      if (!all.variants[index].supported) continue;
      chosen = index;
      if (wish != nullptr && std::strcmp(wish, all.variants[index].name) == 0) break;
    }
    variant = all.variants[chosen];
    extend_u64 = all.extend_u64[chosen];
  }
};

const Choice& choice() {
  static const Choice instance;
  return instance;
}

}  // namespace

uint32_t extend(uint32_t crc, const void* data, size_t size) {
  return choice().variant.extend(crc, static_cast<const uint8_t*>(data), size);
}

uint32_t extend_u64(uint32_t crc, uint64_t value) { return choice().extend_u64(crc, value); }

void many(const uint8_t* base, size_t stride, size_t size, size_t count, uint32_t* out) {
  choice().variant.many(base, stride, size, count, out);
}

const Variant* variants(size_t* count) {
  *count = table().count;
  return table().variants;
}

const char* variant_name() { return choice().variant.name; }

}  // namespace stonelog::crc32c
