// What the fuzzer drives: one target for each decoder, or family of decoders, of untrusted bytes.
// The same targets are run by libFuzzer (libfuzzer.cc) and, over the committed corpus, by a plain
// program (replay.cc) that any compiler builds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace stonelog::fuzz {

struct Target {
  const char* name;
  size_t max_bytes;
  // Decodes the bytes; a broken promise ends the process.
  void (*run)(const uint8_t* data, size_t size);
  // Makes the checksums of a mutated input right, so that it gets past them; null where the input
  // has none or run() computes them itself.
  void (*mend)(uint8_t* data, size_t size);
  // Mutates the input by its structure; null: only by bytes. Returns the new size.
  size_t (*mutate)(uint8_t* data, size_t size, size_t max_size, uint32_t seed);
};

// Set where inputs are replayed: each is tried in every way that the target knows.
extern bool thorough;

const std::vector<Target>& targets();
const Target* find_target(const char* name);

extern const Target kStampTarget;
extern const Target kSegmentHeaderTarget;
extern const Target kGroupHeaderTarget;
extern const Target kNameTarget;
extern const Target kRecordTarget;
extern const Target kControlTarget;
extern const Target kSegmentTarget;
extern const Target kDirectoryTarget;

// A promise of the code under test: aborts, so that any driver and sanitizer sees it.
#define FUZZ_CHECK(condition)                                                              \
  do {                                                                                     \
    if (!(condition)) {                                                                    \
      std::fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                        \
    }                                                                                      \
  } while (false)

// Takes an input apart; what is missing at its end reads as zeros.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : at_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  size_t left() const { return left_; }
  const uint8_t* rest() const { return at_; }
  template <typename T>
  T take() {
    T value{};
    take_bytes(reinterpret_cast<uint8_t*>(&value), sizeof value);
    return value;
  }
  // Fills `out`; returns how many bytes there were.
  size_t take_bytes(uint8_t* out, size_t size) {
    const size_t got = size < left_ ? size : left_;
    for (size_t i = 0; i < got; i++) out[i] = at_[i];
    at_ += got;
    left_ -= got;
    return got;
  }

 private:
  const uint8_t* at_;
  size_t left_;
};

}  // namespace stonelog::fuzz
