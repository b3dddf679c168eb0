// A small log with everything in it, and what its own bytes prove about each other.
#pragma once

#include <string>
#include <vector>

#include "states/ledger.h"
#include "states/lone_writer.h"

namespace stonelog::every_byte {

inline constexpr uint64_t kBlock = 4096;
inline constexpr uint64_t kSector = 512;

struct Group {
  size_t file = 0;
  uint64_t offset = 0;
  uint64_t end = 0;
  uint64_t first_lsn = 0;
  uint64_t last_lsn = 0;  // first_lsn - 1 where it holds no record
  uint64_t epoch = 0;
  uint64_t durable_lsn = 0;
  uint64_t durable_end = 0;
};

struct Segment {
  std::string path;
  uint64_t sequence = 0;
  uint64_t size = 0;
  uint64_t end = 0;  // of its groups
  uint64_t first_lsn = 0;
  bool recycled = false;
  bool sealed = false;       // block 1 holds a seal
  uint64_t accepted = 0;     // the end that a later life states; 0: none does
  bool seal_before = false;  // the seal of its predecessor proves that it existed
};

// A log at rest, what was acknowledged in it, and where everything lies.
struct Subject {
  std::string name;
  states::Image image;
  states::Image older;    // the same files at an earlier time
  states::Image foreign;  // another log of the same shape
  states::Expectation expected;
  std::vector<Segment> segments;
  std::vector<Group> groups;
};

// Closed, left idle, killed after an acknowledgement, killed with a torn write, recycled.
std::vector<Subject> make_subjects(uint64_t seed);
io::Probe probe();

}  // namespace stonelog::every_byte
