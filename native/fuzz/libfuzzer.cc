// libFuzzer's entry points: one program for all targets, `--target=NAME` says which (libFuzzer
// itself ignores arguments that begin with two dashes).
#include <algorithm>
#include <cstring>

#include "fuzz/target.h"

using stonelog::fuzz::Target;

namespace {

const Target* target = nullptr;

}  // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" __attribute__((visibility("default"))) int LLVMFuzzerInitialize(int* argc,
                                                                           char*** argv) {
  const char prefix[] = "--target=";
  for (int i = 1; i < *argc; i++) {
    if (std::strncmp((*argv)[i], prefix, sizeof prefix - 1) == 0)
      target = stonelog::fuzz::find_target((*argv)[i] + sizeof prefix - 1);
  }
  if (target != nullptr) return 0;
  std::fprintf(stderr, "usage: fuzz --target=NAME [libFuzzer's options]; the targets:\n");
  for (const Target& one : stonelog::fuzz::targets()) std::fprintf(stderr, "  %s\n", one.name);
  std::exit(2);
}

extern "C" __attribute__((visibility("default"))) int LLVMFuzzerTestOneInput(const uint8_t* data,
                                                                             size_t size) {
  if (size <= target->max_bytes) target->run(data, size);
  return 0;
}

// One of four inputs stays as the bytes fell, so that checksums are met, too.
extern "C" __attribute__((visibility("default"))) size_t LLVMFuzzerCustomMutator(uint8_t* data,
                                                                                 size_t size,
                                                                                 size_t max_size,
                                                                                 unsigned seed) {
  max_size = std::min(max_size, target->max_bytes);
  size = std::min(size, max_size);
  if (target->mutate != nullptr && seed % 4 != 0)
    return target->mutate(data, size, max_size, seed / 4);
  const size_t mutated = LLVMFuzzerMutate(data, size, max_size);
  if (target->mend != nullptr && seed % 4 != 0) target->mend(data, mutated);
  return mutated;
}
