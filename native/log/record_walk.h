// The records in a run of sectors that were seen to be intact, where the group they belong to
// cannot be had as a whole: it lost a sector, or the rest of it is not wanted.
//
// Who has the sectors unstamps them back to back, keeps that stream and lends it for the length of
// a walk; nothing of it is copied. What a walk finds refers to the stream by offsets, so it is good
// for as long as its owner keeps the bytes, wherever they move. A walk has no state of its own: it
// begins at a place where a record is known to start (by a stamp, or behind the group's header) and
// ends where no record proves itself any more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace stonelog::log {

struct RecordRef {
  uint32_t payload_bytes = 0;
  uint8_t type = 0;
  uint8_t flags = 0;
  uint64_t payload_offset = 0;  // in the stream
};

struct WalkedRecord {
  uint64_t lsn = 0;
  RecordRef record;
};

struct RecordStream {  // borrowed
  const uint8_t* data = nullptr;
  size_t size = 0;
};

// Where a stamp says that the first record of its sector starts: an offset in the sector's content,
// and the low half of the record's LSN. False if none does. A stamp proves that the sector was
// written so, not that it says anything sane.
bool stamped_start(const uint8_t* sector, bool starts_group, size_t* at, uint16_t* lsn_low);

// Whether the user's record with that LSN is at `at`.
bool is_record(const RecordStream& stream, size_t at, uint64_t lsn);

// Adds the user's records below `end_lsn` from the one at `at` on, whose LSN is `lsn`. Of a batch
// of which the run has not all, in front or at the end, none. Returns the LSN behind the last
// record that is there, whether it was added or not.
uint64_t walk_records(const RecordStream& stream, size_t at, uint64_t lsn, uint64_t end_lsn,
                      std::vector<WalkedRecord>* records);

}  // namespace stonelog::log
