// Control records: what a start group, a head change, a close and a seal say. Control information
// uses up no LSNs. Everything live is repeated in each start group, so that no single file is
// needed to open a log.
#pragma once

#include <cstdint>
#include <vector>

#include "format/layout.h"

namespace stonelog::format {

struct Predecessor {  // of a segment; sequence 0: none
  uint64_t sequence = 0;
  Id segment_id{};
  uint64_t end = 0;       // bytes of its file that belong to the log; what lies beyond is dead
  uint64_t last_lsn = 0;  // of the log up to that end
};

struct Epoch {
  uint64_t number = 0;
  Id id{};
  uint64_t first_lsn = 0;  // the first LSN that this epoch may give
};

struct Hole {  // LSNs that salvage could not keep, both inclusive
  uint64_t from = 0;
  uint64_t to = 0;
};

struct SealInfo {
  uint64_t first_lsn = 0;
  uint64_t last_lsn = 0;  // of the log up to this segment's end
  uint64_t end = 0;       // bytes
  uint32_t checksum = 0;  // of the segment's last group
};

// The live control state of a log.
struct ControlState {
  uint64_t first_lsn = 1;       // of the oldest segment of the log
  uint64_t first_sequence = 1;  // its sequence
  Epoch epoch;
  std::vector<Epoch> history;      // earlier epochs, oldest first, the last kMaxHistory of them
  std::vector<Hole> holes;         // ascending, disjoint, not adjacent
  std::vector<uint64_t> salvaged;  // segments accepted in spite of damage
};

inline constexpr size_t kMaxHistory = 64;
inline constexpr size_t kMaxHoles = 512;
inline constexpr size_t kMaxSalvaged = 512;

// Appends encoded control records to a stream. `body_sum` is carried along (see
// GroupHeader::body_sum).
class ControlWriter {
 public:
  void predecessor(const Predecessor& value);
  void state(const ControlState& value);  // epoch, head, history, holes, salvaged
  void head(uint64_t first_lsn, uint64_t first_sequence);
  void seal(const SealInfo& value);

  const std::vector<uint8_t>& stream() const { return stream_; }
  uint32_t body_sum() const { return body_sum_; }

 private:
  void record(RecordType type, const std::vector<uint8_t>& payload);

  std::vector<uint8_t> stream_;
  uint32_t body_sum_ = 0;
};

struct ControlContent {  // what one control stream said
  bool has_predecessor = false;
  Predecessor predecessor;
  bool has_state = false;  // an epoch record with everything that follows it
  ControlState state;
  bool has_head = false;
  bool has_seal = false;
  SealInfo seal;
};

// Reads the payload of one control record into `content`. False if it is malformed or unknown and
// not ignorable.
bool read_control_record(uint8_t type, const uint8_t* payload, size_t size,
                         ControlContent* content);

// Applies a later head or state to the state so far.
void apply(const ControlContent& content, ControlState* state);

// Adds [from, to], merging neighbours. False if there would be too many.
bool add_hole(std::vector<Hole>* holes, uint64_t from, uint64_t to);
bool is_hole(const std::vector<Hole>& holes, uint64_t from, uint64_t to);

}  // namespace stonelog::format
