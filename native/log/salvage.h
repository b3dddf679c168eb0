// Finding records again behind damage: sectors say where the next record starts and the low half of
// its LSN, and each record proves itself by its checksum.
#pragma once

#include <cstdint>
#include <vector>

#include "log/group_reader.h"

namespace stonelog::log {

struct SalvagedRecord {
  uint64_t lsn = 0;
  size_t payload_offset = 0;  // in SalvagedRegion::payloads
  size_t payload_bytes = 0;
};

struct SalvagedRegion {
  uint64_t resume = 0;                  // where intact groups go on; the limit if none do
  std::vector<SalvagedRecord> records;  // ascending LSNs, all above last_lsn
  std::vector<uint8_t> payloads;
};

// Reads what can be read in [from, limit), where the group at `from` cannot be read as a whole.
// Batches of which a part is lost are left out. Memory: the payloads found, at most one damaged
// group's worth plus the gap to the next intact one.
Status salvage_region(GroupReader* reader, uint64_t from, uint64_t limit, uint64_t last_lsn,
                      SalvagedRegion* region);

}  // namespace stonelog::log
