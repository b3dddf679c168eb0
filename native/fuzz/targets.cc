#include <cstring>

#include "fuzz/target.h"

namespace stonelog::fuzz {

bool thorough = false;

const std::vector<Target>& targets() {
  static const std::vector<Target> all = {
      kStampTarget,  kSegmentHeaderTarget, kGroupHeaderTarget, kNameTarget,
      kRecordTarget, kControlTarget,       kSegmentTarget,     kDirectoryTarget,
  };
  return all;
}

const Target* find_target(const char* name) {
  for (const Target& target : targets()) {
    if (std::strcmp(target.name, name) == 0) return &target;
  }
  return nullptr;
}

}  // namespace stonelog::fuzz
