// Examination of a log's files: reads, judges, changes nothing. What follows from it for a log that
// is opened for writing is life.h.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "format/control.h"
#include "format/segment_header.h"
#include "io/file.h"
#include "log/group_reader.h"
#include "log/recovery_table.h"

namespace stonelog::log {

enum class OnDamage : uint8_t { refuse = 0, cut = 1, skip = 2 };

struct RecoveryPolicy {
  OnDamage torn_tail = OnDamage::cut;
  OnDamage damage = OnDamage::refuse;
  bool scan_all = false;  // sealed segments, too
  bool live = false;      // a writer is at work: its unfinished groups are no evidence
  bool writing =
      false;  // the log is to be written: features that only readers may ignore are refused
  // Calls each(0) to each(count - 1), on several threads if the driver has some; in order if not
  // set.
  std::function<void(size_t count, const std::function<void(size_t)>& each)> parallel;
  bool sync = true;  // sync unsealed files before believing them (never while live)
};

struct LostRange {
  uint64_t from = 0;  // LSNs, both inclusive
  uint64_t to = 0;
  uint64_t segment = 0;
  uint64_t offset = 0;
  std::string reason;
  std::string quarantine;  // path relative to the log's directory, empty if nothing was kept
};

struct RecoveryReport {
  Verdict verdict = Verdict::clean;
  bool closed = false;
  bool live = false;
  uint64_t first_lsn = 1;
  uint64_t last_lsn = 0;
  uint64_t epoch = 0;
  uint64_t scanned_segments = 0;
  uint64_t scanned_bytes = 0;
  uint64_t truncated_bytes = 0;
  uint64_t records = 0;  // counted in the segments that were scanned
  double duration_ms = 0;
  std::string row;
  // Where the first evidence of a verdict that is not clean lies; no reason, then there is none.
  uint64_t evidence_segment = 0;
  uint64_t evidence_offset = 0;
  std::string evidence_reason;
  std::vector<LostRange> lost;
  std::vector<std::string> events;
};

// A segment of the accepted log.
struct SegmentEntry {
  format::SegmentHeader header;
  uint64_t first_lsn = 0;  // the first that it may hold
  uint64_t last_lsn = 0;   // of the log up to `end`
  uint64_t end = 0;        // bytes that belong to the log
  uint64_t epoch = 0;
  bool sealed = false;  // the end is proven; the current segment of a writer is not
  bool cut =
      false;  // the end is what a later life accepted: behind it may lie what is nowhere else
  bool salvaged = false;  // accepted in spite of damage: what cannot be read is a known hole
};

struct Examination {
  bool empty = true;  // no segment at all: a new log
  RecoveryReport report;
  std::vector<SegmentEntry> segments;  // oldest first
  format::ControlState state;
  format::Id log_id{};
  uint32_t last_checksum = 0;  // of the last accepted group
  uint64_t highest_sequence = 0;
  uint64_t highest_epoch = 0;       // of any group that was seen
  format::Predecessor before_last;  // of the last accepted segment
  uint64_t tail_end = 0;            // end of what is cut from the last accepted segment; 0: nothing
  std::string tail_copy;  // its copy in the quarantine, relative to the directory; empty: none
  std::vector<std::string> dead;  // files that are cut as a whole: to be quarantined
  std::vector<std::string>
      leftover;  // files that never were or no longer are of the log: to be removed
};

// Fails with Code::torn_tail or Code::corrupt where the policy refuses, with the report filled in;
// with the read error, Code::not_a_log or Code::unsupported_version where it cannot judge.
Status examine(io::FileSystem& fs, const std::string& directory, const io::Probe& probe,
               const RecoveryPolicy& policy, Examination* out);

std::string segment_name(uint64_t sequence);
bool parse_segment_name(const std::string& name, uint64_t* sequence);

inline constexpr size_t kScanWindowBytes = 1 << 20;
inline constexpr char kKnownHole[] = "known-hole";  // the reason of a loss that is no news
inline constexpr char kLockName[] = "LOCK";
inline constexpr char kQuarantineName[] = "quarantine";
inline constexpr char kTemporarySuffix[] =
    ".tmp";  // files of preparation and recycling, never of the log

}  // namespace stonelog::log
