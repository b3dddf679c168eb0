// x86-64. The CRC32 instruction takes 8 bytes per cycle but answers after three, so one stream gets
// a third of what the unit gives; everything here is about having at least three streams:
// - sse42:   three lanes of fixed size, joined by look-up tables (processors without PCLMULQDQ);
// - pclmul:  three lanes of any size, joined by one carry-less multiplication each;
// - vpclmul: four 512-bit accumulators folded by carry-less multiplication (Gopal et al., "Fast CRC
//            computation for generic polynomials using PCLMULQDQ", 2009), small pieces as pclmul.
// Every function carries its instruction set in an attribute, so that the file needs no flags of
// its own and nothing outside these functions is compiled into instructions a processor may lack.
#include "crc32c/variants.h"

#if defined(STONELOG_CRC32C_X86)

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the deliberately undefined pass-through operand inside its own AVX-512 intrinsics
// for a use of an uninitialised variable (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include <cstring>

#include "crc32c/polynomial.h"

#define STONELOG_SSE42 __attribute__((target("sse4.2")))
#define STONELOG_PCLMUL __attribute__((target("sse4.2,pclmul")))
#define STONELOG_VPCLMUL \
  __attribute__((target("sse4.2,pclmul,avx2,avx512f,avx512bw,avx512vl,avx512dq,vpclmulqdq")))
#define STONELOG_INLINE inline __attribute__((always_inline))

namespace stonelog::crc32c {
namespace {

// Lane sizes in 8-byte words that pclmul may use; the bound keeps the table at 2 KiB.
constexpr size_t lane_words_max = 256;

// fold[n] moves a state on by n words.
struct WordFolds {
  uint32_t fold[2 * lane_words_max + 1] = {};
  constexpr WordFolds() {
    // Each from the one before: clang's bound on constant evaluation does not suffice for all of
    // them from scratch.
    constexpr uint32_t one_word = x_to_the(64);
    fold[1] = fold_factor(64);
    for (size_t words = 2; words <= 2 * lane_words_max; words++) {
      fold[words] = multiply(fold[words - 1], one_word);
    }
  }
};
constexpr WordFolds word_folds;
static_assert(word_folds.fold[2 * lane_words_max] == fold_factor(64 * 2 * lane_words_max));

// Below this size one stream is as quick as three and a join, which takes some 13 cycles.
constexpr size_t three_way_min = 72;
// From this size on folding 512 bits at a time beats three lanes.
constexpr size_t vpclmul_min = 256;

constexpr size_t cache_line = 64;
// What __builtin_prefetch calls locality: whether fetched memory is to stay in the caches.
constexpr int for_once = 0;
constexpr int to_stay = 3;

// Several streams beside each other are not what a processor's prefetcher looks for: memory that no
// cache holds came at a half to a quarter of the speed. So for each line that the streams take as
// many of those behind them all are asked for, in the order of their addresses, which it does look
// for.
// The place is a number: it may lie behind the end of the memory, where asking does nothing.
template <size_t streams, int locality>
STONELOG_INLINE void fetch_ahead(uintptr_t behind, size_t offset) {
  if (offset % cache_line != 0) return;
  for (size_t line = 0; line < streams; line++) {
    const uintptr_t at = behind + streams * offset + line * cache_line;
    __builtin_prefetch(reinterpret_cast<const void*>(at), 0, locality);
  }
}

STONELOG_INLINE uintptr_t address(const uint8_t* data) { return reinterpret_cast<uintptr_t>(data); }

STONELOG_INLINE uint64_t load64(const uint8_t* data) {
  uint64_t word;
  std::memcpy(&word, data, sizeof word);
  return word;
}

STONELOG_INLINE uint32_t load32(const uint8_t* data) {
  uint32_t word;
  std::memcpy(&word, data, sizeof word);
  return word;
}

STONELOG_SSE42 STONELOG_INLINE uint32_t step(uint32_t state, uint64_t word) {
  return static_cast<uint32_t>(_mm_crc32_u64(state, word));
}

// At most 7 bytes, without a loop: its exit would be mispredicted once per record.
STONELOG_SSE42 STONELOG_INLINE uint32_t finish(uint32_t state, const uint8_t* data, size_t size) {
  if ((size & 4) != 0) {
    state = _mm_crc32_u32(state, load32(data));
    data += 4;
  }
  if ((size & 2) != 0) {
    uint16_t half;
    std::memcpy(&half, data, sizeof half);
    state = _mm_crc32_u16(state, half);
    data += 2;
  }
  if ((size & 1) != 0) state = _mm_crc32_u8(state, *data);
  return state;
}

STONELOG_SSE42 STONELOG_INLINE uint32_t one_way(uint32_t state, const uint8_t* data, size_t size) {
  for (; size >= 8; data += 8, size -= 8) state = step(state, load64(data));
  return finish(state, data, size);
}

template <size_t lane>
STONELOG_SSE42 STONELOG_INLINE uint32_t three_lanes(uint32_t state, const uint8_t* data,
                                                    const ShiftTable& table) {
  uint32_t second = 0;
  uint32_t third = 0;
  for (size_t offset = 0; offset < lane; offset += 8) {
    state = step(state, load64(data + offset));
    second = step(second, load64(data + lane + offset));
    third = step(third, load64(data + 2 * lane + offset));
  }
  return shift(table, shift(table, state) ^ second) ^ third;
}

// The raw state moved on, still 64 bits wide: a CRC32 instruction has to reduce it.
STONELOG_PCLMUL STONELOG_INLINE uint64_t unreduced(uint32_t state, size_t words) {
  const __m128i left = _mm_cvtsi32_si128(static_cast<int>(state));
  const __m128i right = _mm_cvtsi32_si128(static_cast<int>(word_folds.fold[words]));
  return static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_clmulepi64_si128(left, right, 0x00)));
}

// Three lanes of `words` (at least 1) each. The moved states of the first two join the third by XOR
// into its last word: that CRC32 instruction reduces all of them at once. `follow`: how many bytes
// follow that will be wanted next.
template <bool fetch>
STONELOG_PCLMUL STONELOG_INLINE uint32_t three_lanes_of(uint32_t state, const uint8_t* data,
                                                        size_t words, size_t follow) {
  const uint8_t* const second_lane = data + 8 * words;
  const uint8_t* const third_lane = data + 16 * words;
  uint32_t second = 0;
  uint32_t third = 0;
  const size_t last = 8 * (words - 1);
  for (size_t offset = 0; offset < last; offset += 8) {
    if (fetch && 3 * offset < follow)
      fetch_ahead<3, to_stay>(address(third_lane) + 8 * words, offset);
    state = step(state, load64(data + offset));
    second = step(second, load64(second_lane + offset));
    third = step(third, load64(third_lane + offset));
  }
  state = step(state, load64(data + last));
  second = step(second, load64(second_lane + last));
  const uint64_t joined = unreduced(state, 2 * words) ^ unreduced(second, words);
  return step(third, load64(third_lane + last) ^ joined);
}

STONELOG_PCLMUL STONELOG_INLINE uint32_t raw_pclmul(uint32_t state, const uint8_t* data,
                                                    size_t size) {
  constexpr size_t most = 24 * lane_words_max;
  for (; size > most; data += most, size -= most) {
    state = three_lanes_of<true>(state, data, lane_words_max, size - most);
  }
  while (size >= three_way_min) {
    const size_t words = size / 24;
    state = three_lanes_of<false>(state, data, words, 0);
    data += 24 * words;
    size -= 24 * words;
  }
  return one_way(state, data, size);
}

// Both factors that move 128-bit lanes on by `bits`; the low half stands 64 bits before the high.
template <uint64_t bits>
STONELOG_VPCLMUL STONELOG_INLINE __m512i factors() {
  constexpr uint32_t low = fold_factor(bits + 64), high = fold_factor(bits);
  return _mm512_broadcast_i32x4(_mm_set_epi64x(high, low));
}

// value moved on by the distance of `factor`, plus next; 0x96 is the truth table of a XOR of three.
STONELOG_VPCLMUL STONELOG_INLINE __m512i fold(__m512i value, __m512i factor, __m512i next) {
  const __m512i low = _mm512_clmulepi64_epi128(value, factor, 0x00);
  const __m512i high = _mm512_clmulepi64_epi128(value, factor, 0x11);
  return _mm512_ternarylogic_epi64(low, high, next, 0x96);
}

// The four lanes of one accumulator, moved to the place of the last, which is there already.
STONELOG_VPCLMUL STONELOG_INLINE uint32_t reduce(__m512i value) {
  constexpr uint64_t third_low = fold_factor(128 + 64), third_high = fold_factor(128);
  constexpr uint64_t second_low = fold_factor(256 + 64), second_high = fold_factor(256);
  constexpr uint64_t first_low = fold_factor(384 + 64), first_high = fold_factor(384);
  const __m512i factor =
      _mm512_set_epi64(0, 0, third_high, third_low, second_high, second_low, first_high, first_low);
  const __m512i moved = _mm512_xor_si512(_mm512_clmulepi64_epi128(value, factor, 0x00),
                                         _mm512_clmulepi64_epi128(value, factor, 0x11));
  const __m256i half =
      _mm256_xor_si256(_mm512_castsi512_si256(moved), _mm512_extracti64x4_epi64(moved, 1));
  __m128i sum = _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  sum = _mm_xor_si128(sum, _mm512_extracti32x4_epi32(value, 3));
  const uint32_t state = step(0, static_cast<uint64_t>(_mm_cvtsi128_si64(sum)));
  return step(state, static_cast<uint64_t>(_mm_extract_epi64(sum, 1)));
}

// size is a multiple of 64 and not 0.
STONELOG_VPCLMUL STONELOG_INLINE uint32_t raw_blocks(uint32_t state, const uint8_t* data,
                                                     size_t size) {
  const __m512i by_one = factors<512>();
  __m512i first = _mm512_xor_si512(
      _mm512_loadu_si512(data), _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(state))));
  data += 64;
  size -= 64;
  if (size >= 192) {
    const __m512i by_four = factors<2048>();
    __m512i second = _mm512_loadu_si512(data);
    __m512i third = _mm512_loadu_si512(data + 64);
    __m512i fourth = _mm512_loadu_si512(data + 128);
    data += 192;
    size -= 192;
    for (; size >= 256; data += 256, size -= 256) {
      first = fold(first, by_four, _mm512_loadu_si512(data));
      second = fold(second, by_four, _mm512_loadu_si512(data + 64));
      third = fold(third, by_four, _mm512_loadu_si512(data + 128));
      fourth = fold(fourth, by_four, _mm512_loadu_si512(data + 192));
    }
    const __m512i by_two = factors<1024>();
    second = fold(first, by_one, second);
    fourth = fold(third, by_one, fourth);
    first = fold(second, by_two, fourth);
  }
  for (; size >= 64; data += 64, size -= 64) first = fold(first, by_one, _mm512_loadu_si512(data));
  return reduce(first);
}

STONELOG_VPCLMUL STONELOG_INLINE uint32_t raw_vpclmul(uint32_t state, const uint8_t* data,
                                                      size_t size) {
  if (size < vpclmul_min) return raw_pclmul(state, data, size);
  const size_t blocks = size & ~size_t{63};
  state = raw_blocks(state, data, blocks);
  return one_way(state, data + blocks, size - blocks);
}

}  // namespace

// libgcc's and compiler-rt's check covers the operating system's part (XGETBV) too.
bool sse42_supported() { return __builtin_cpu_supports("sse4.2"); }

bool pclmul_supported() { return sse42_supported() && __builtin_cpu_supports("pclmul"); }

bool vpclmul_supported() {
  return pclmul_supported() && __builtin_cpu_supports("avx2") &&
         __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("vpclmulqdq");
}

STONELOG_SSE42 uint32_t extend_u64_sse42(uint32_t crc, uint64_t value) {
  return ~step(~crc, value);
}

STONELOG_SSE42 uint32_t extend_u32_sse42(uint32_t crc, uint32_t value) {
  return ~_mm_crc32_u32(~crc, value);
}

STONELOG_SSE42 uint32_t extend_sse42(uint32_t crc, const uint8_t* data, size_t size) {
  uint32_t state = ~crc;
  for (; size >= 3 * long_lane; data += 3 * long_lane, size -= 3 * long_lane) {
    state = three_lanes<long_lane>(state, data, long_shift);
  }
  for (; size >= 3 * short_lane; data += 3 * short_lane, size -= 3 * short_lane) {
    state = three_lanes<short_lane>(state, data, short_shift);
  }
  return ~one_way(state, data, size);
}

// Four pieces at a time, one stream each: nothing to join. They are sectors on their way to a
// device or from it, so they need not stay in this processor's caches, from where the device (or a
// host's processor that plays one) would have to take them before it fills their memory again: in
// some hours that halved the rate of a replay (docs/performance-notes.md).
STONELOG_SSE42 void many_sse42(const uint8_t* base, size_t stride, size_t size, size_t count,
                               uint32_t* out) {
  for (; count >= 4; base += 4 * stride, out += 4, count -= 4) {
    uint32_t state[4] = {~0u, ~0u, ~0u, ~0u};
    const size_t whole = size & ~size_t{7};
    for (size_t offset = 0; offset < whole; offset += 8) {
      fetch_ahead<4, for_once>(address(base) + 4 * stride, offset);
      state[0] = step(state[0], load64(base + offset));
      state[1] = step(state[1], load64(base + stride + offset));
      state[2] = step(state[2], load64(base + 2 * stride + offset));
      state[3] = step(state[3], load64(base + 3 * stride + offset));
    }
    for (size_t piece = 0; piece < 4; piece++) {
      out[piece] = ~finish(state[piece], base + piece * stride + whole, size & 7);
    }
  }
  for (; count > 0; base += stride, out++, count--) *out = extend_sse42(0, base, size);
}

STONELOG_PCLMUL uint32_t extend_pclmul(uint32_t crc, const uint8_t* data, size_t size) {
  return ~raw_pclmul(~crc, data, size);
}

STONELOG_VPCLMUL uint32_t extend_vpclmul(uint32_t crc, const uint8_t* data, size_t size) {
  return ~raw_vpclmul(~crc, data, size);
}

// One piece after the other: they are short enough for the processor to overlap several itself.
STONELOG_VPCLMUL void many_vpclmul(const uint8_t* base, size_t stride, size_t size, size_t count,
                                   uint32_t* out) {
  for (size_t index = 0; index < count; index++) {
    const uintptr_t behind = address(base) + (index + 4) * stride;
    for (size_t at = 0; at < size; at += cache_line) fetch_ahead<1, for_once>(behind, at);
    out[index] = ~raw_vpclmul(~0u, base + index * stride, size);
  }
}

}  // namespace stonelog::crc32c

#endif
