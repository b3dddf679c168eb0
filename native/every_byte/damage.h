// One way of damaging a subject after the other, and what must come of each.
#pragma once

#include <atomic>
#include <functional>

#include "every_byte/subject.h"

namespace stonelog::every_byte {

struct Counters {
  std::atomic<uint64_t> flips{0};
  std::atomic<uint64_t> zeroed_bytes{0};
  std::atomic<uint64_t> forged{0};  // under a right stamp
  std::atomic<uint64_t> sectors{0};
  std::atomic<uint64_t> blocks{0};
  std::atomic<uint64_t> sizes{0};
  std::atomic<uint64_t> files{0};
  std::atomic<uint64_t> refused{0};
  std::atomic<uint64_t> stopped{0};     // opened, and the reader stopped at the damage
  std::atomic<uint64_t> cut{0};         // opened without what no byte can prove to have been there
  std::atomic<uint64_t> intact{0};      // opened with everything
  std::atomic<uint64_t> repaired{0};    // opened by a mode that gets over damage
  std::atomic<uint64_t> unrepaired{0};  // of which no such mode may make a log
  std::atomic<uint64_t> records{0};

  uint64_t damages() const {
    return flips + zeroed_bytes + forged + sectors + blocks + sizes + files;
  }
};

// What the rules of docs/durability.md make of a damage.
struct Ruling {
  bool refuse_all = false;    // an examination that reads everything must refuse
  bool refuse_quick = false;  // an ordinary open must refuse, too
  uint64_t floor = 0;         // where it opens, every LSN up to here is there
  const char* rule = "";
};

struct Place {
  size_t segment = 0;
  uint64_t sector = 0;
};

Ruling rule(const Subject& subject, const states::Image& damaged,
            const std::vector<Place>& changed);

struct Thoroughness {
  bool all = false;      // every byte with every pattern
  uint64_t one_in = 24;  // else one byte in so many, with one pattern
  uint64_t seed = 1;
};

// All damages that begin in one sector of one segment's file; what went wrong, or empty.
std::string damage_sector(const Subject& subject, size_t segment, uint64_t sector,
                          const Thoroughness& how, Counters* counters);
// Files deleted, emptied, exchanged, taken from another log or an earlier time.
std::string damage_files(const Subject& subject, Counters* counters);

}  // namespace stonelog::every_byte
