// What must be in a log after a crash, from the marks of a recording; and the check that it is.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "log/recovery.h"
#include "states/recording_file_system.h"

namespace stonelog::states {

inline constexpr char kLogDirectory[] = "/data/log";

struct Appended {
  uint64_t hash = 0;
  uint64_t batch_last = 0;  // of the batch it is part of but not the end of; 0: none
};

using Records = std::unordered_map<uint64_t, Appended>;  // by LSN

struct Expectation {
  struct Layer {  // of one period, between two openings
    std::shared_ptr<const Records> records;
    uint64_t last = UINT64_MAX;  // what a later opening left of it
  };
  std::shared_ptr<const std::vector<Layer>> layers;  // what may be there; newest last
  uint64_t required = 0;                             // what must be: every LSN up to it
  uint64_t least_head = 1;
  uint64_t most_head = 1;
  bool exists = false;  // an open returned: the log is there
  bool closing = false;
  bool closed = false;

  const Appended* find(uint64_t lsn) const;
  // Nothing behind `last` may be there any more.
  void clip(uint64_t last);
};

class Ledger {
 public:
  // `before`: what was to be expected of the state that the recording starts from.
  Ledger(const Recording& recording, const Expectation& before);
  const Expectation& at(size_t point) const { return points_[point]; }

 private:
  std::vector<Expectation> points_;  // by number of events
};

struct Found {
  uint64_t first_lsn = 1;
  uint64_t last_lsn = 0;
  uint64_t epoch = 0;
  uint64_t records = 0;  // compared byte for byte
  bool empty = true;
  log::Verdict verdict = log::Verdict::clean;
};

// Examines the log as an open would, reads all that was accepted and compares it. What is wrong;
// empty: nothing.
std::string check_log(io::FileSystem& fs, const io::Probe& probe, const Expectation& expected,
                      Found* found);

// Every record of what an examination accepted, in order; a reason to stop, or empty.
std::string read_records(io::FileSystem& fs, const io::Probe& probe, const std::string& directory,
                         const log::Examination& examination,
                         const std::function<std::string(uint64_t, const uint8_t*, size_t)>& each);

}  // namespace stonelog::states
