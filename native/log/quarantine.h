// quarantine/: what recovery cut or skipped, and a loss report for machines beside it.
#pragma once

#include "log/life.h"

namespace stonelog::log {

// Before the new life is made durable, since nobody looks behind the end that it states: copies the
// cut tail and writes quarantine/loss-<epoch>.json. Needs no space to succeed: what cannot be
// copied stays where it is and is told by an event.
Status keep_aside(io::FileSystem& fs, const LifeOptions& options, uint64_t epoch,
                  Examination* examination);
// Takes the copy back, where its space is needed for the new life.
void drop_aside(io::FileSystem& fs, const LifeOptions& options, uint64_t epoch,
                Examination* examination);

// After the new life is durable: moves files that were cut as a whole, removes leftovers, gives
// back the unused rest of the last segment.
Status clean_up(io::FileSystem& fs, const LifeOptions& options, uint64_t epoch,
                Examination* examination);

// The loss report: {"epoch": …, "verdict": …, "lost": [{"from", "to", "segment", "offset",
// "reason", "quarantine"}]}.
std::string loss_report_json(const RecoveryReport& report, uint64_t epoch);

}  // namespace stonelog::log
