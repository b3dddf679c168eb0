#include "crc32c/crc32c.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "crc32c/variants.h"

namespace stonelog::crc32c {
namespace {

constexpr size_t variant_limit = 4;

struct Words {
  ExtendU64 extend_u64;
  ExtendU32 extend_u32;
};

struct Table {
  Variant variants[variant_limit] = {};
  Words words[variant_limit] = {};
  size_t count = 0;

  void add(const Variant& variant, const Words& of_words) {
    variants[count] = variant;
    words[count] = of_words;
    count++;
  }

  // In rising order of speed: the automatic choice is the last supported one.
  Table() {
    add({"portable", true, extend_portable, many_portable},
        {extend_u64_portable, extend_u32_portable});
#if defined(STONELOG_CRC32C_X86)
    const Words words_sse42 = {extend_u64_sse42, extend_u32_sse42};
    add({"sse42", sse42_supported(), extend_sse42, many_sse42}, words_sse42);
    add({"pclmul", pclmul_supported(), extend_pclmul, many_sse42}, words_sse42);
    add({"vpclmul", vpclmul_supported(), extend_vpclmul, many_vpclmul}, words_sse42);
#elif defined(STONELOG_CRC32C_ARM)
    add({"armv8", armv8_supported(), extend_armv8, many_armv8},
        {extend_u64_armv8, extend_u32_armv8});
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
  Words words;

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
    words = all.words[chosen];
  }
};

std::atomic<const Choice*> chosen{nullptr};

const Choice& choose() {
  static const Choice instance;
  chosen.store(&instance, std::memory_order_release);
  return instance;
}

// Every record passes here a few times: the check of a static's guard and a call are saved.
inline const Choice& choice() {
  const Choice* const at_hand = chosen.load(std::memory_order_acquire);
  return at_hand != nullptr ? *at_hand : choose();
}

}  // namespace

uint32_t extend(uint32_t crc, const void* data, size_t size) {
  return choice().variant.extend(crc, static_cast<const uint8_t*>(data), size);
}

uint32_t extend_u64(uint32_t crc, uint64_t value) { return choice().words.extend_u64(crc, value); }

uint32_t extend_u32(uint32_t crc, uint32_t value) { return choice().words.extend_u32(crc, value); }

void many(const uint8_t* base, size_t stride, size_t size, size_t count, uint32_t* out) {
  choice().variant.many(base, stride, size, count, out);
}

const Variant* variants(size_t* count) {
  *count = table().count;
  return table().variants;
}

const char* variant_name() { return choice().variant.name; }

}  // namespace stonelog::crc32c
