// Finds the group that holds an LSN. Groups prove themselves, so this needs no index: one only
// makes it shorter.
#pragma once

#include "driver/group_index.h"
#include "io/file.h"
#include "log/recovery.h"

namespace stonelog::driver {

// The last group of `segment` that starts at or before `lsn`, as far as intact headers tell:
// none if none does. Damage elsewhere in the segment does not matter. What was found is noted in
// `index`.
Status seek(io::File& file, const log::SegmentEntry& segment, uint64_t lsn, GroupIndex* index,
            std::optional<GroupPlace>* place);

}  // namespace stonelog::driver
