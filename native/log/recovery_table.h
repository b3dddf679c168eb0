// The recovery table: what the evidence proves. One row per combination that decides, in the order
// in which they are asked; the first row whose evidence is present gives the verdict. What is then
// done with a verdict is the recovery mode's affair (lib/recovery.ts).
#pragma once

#include <array>
#include <cstdint>

namespace stonelog::log {

enum class Verdict : uint8_t { clean = 0, torn_tail = 1, corrupt = 2 };

// Evidence bits, gathered by the examination of a log (recovery.h).
enum Evidence : uint32_t {
  kMissingSegment =
      1 << 0,           // a file that a later start group or a seal proves to have existed is gone
  kShortFile = 1 << 1,  // a segment's file is not of the size its header states
  kDamagedHeader = 1 << 2,     // a segment's identity is not intact
  kDamagedSector = 1 << 3,     // a sector neither its group's, nor unwritten, nor of an older life
  kInconsistent = 1 << 4,      // intact sectors that contradict each other
  kSealContradicted = 1 << 5,  // a seal, a close or an accepted end promises more than there is
  kBelowWatermark = 1 << 6,    // something is missing below a surviving durable watermark
  kTrailing = 1 << 7,          // sectors of this life lie behind the last whole group
  kClosed = 1 << 8,            // a close group or the seal of a close ends the log
};

struct RecoveryRow {
  const char* name;
  uint32_t evidence;  // the bit that selects the row; 0: always
  Verdict verdict;
  const char* why;  // why the verdict is safe
};

inline constexpr std::array<RecoveryRow, 10> kRecoveryTable = {{
    {"missing-segment", kMissingSegment, Verdict::corrupt,
     "a segment is named by its successor's start group or by a seal only after it was durable"},
    {"short-file", kShortFile, Verdict::corrupt,
     "a file gets its full size, synced, before it gets its name"},
    {"damaged-header", kDamagedHeader, Verdict::corrupt,
     "the header block is written and synced before the file gets its name, and never again"},
    {"damaged-sector", kDamagedSector, Verdict::corrupt,
     "a sector is written whole or not at all, so a crash leaves it valid, unwritten or of an "
     "older life"},
    {"inconsistent", kInconsistent, Verdict::corrupt,
     "a block is written once in the life of its segment, so no crash mixes contents that "
     "contradict"},
    {"seal-contradicted", kSealContradicted, Verdict::corrupt,
     "a seal, a close or an accepted end is written only after everything before it was durable"},
    {"below-watermark", kBelowWatermark, Verdict::corrupt,
     "a group states as durable only what the device had confirmed before the group was submitted"},
    {"torn-tail", kTrailing, Verdict::torn_tail,
     "groups in flight may survive in part or in any order; none of them was acknowledged, since "
     "what was "
     "acknowledged lies before the first gap"},
    {"closed", kClosed, Verdict::clean, "the close group or its seal ends the log"},
    {"open-end", 0, Verdict::clean, "nothing of this life lies behind the last whole group"},
}};

constexpr const RecoveryRow& decide(uint32_t evidence) {
  for (const RecoveryRow& row : kRecoveryTable) {
    if (row.evidence == 0 || (evidence & row.evidence) != 0) return row;
  }
  return kRecoveryTable.back();
}

}  // namespace stonelog::log
