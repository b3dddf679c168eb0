// What a run asked of its file system, with the order of beginnings and ends, and what it was told
// meanwhile. A point of the recording is a number of events: the crash comes after so many.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "states/image.h"

namespace stonelog::states {

enum class Kind : uint8_t {
  write,           // plain: durable only by a later sync of the same file
  dsync_write,     // durable when it returned, and nothing else with it
  punch,           // as a plain write of zeros
  reserve,         // sets the size
  sync,            // fdatasync
  names,           // create, rename, unlink, mkdir: edits of directories
  sync_directory,  // fsync of a directory
  mark,            // no operation: what the application did or was told
};

enum class Mark : uint8_t {
  none,
  admitted,      // first: LSN; last: hash of the payload
  batch,         // first and last LSN of a batch
  acknowledged,  // last: every LSN up to it was told to be durable
  shown,         // last: a reader was given records up to it
  head_asked,    // last: truncateBefore(last) begins
  head_done,     // last: the first LSN it reported
  opened,        // first, last: of the log as recovery reported it
  closing,
  closed,  // last: the last LSN
  killed,  // the process is dead, the machine is not
};

struct NameEdit {
  std::string path;
  uint64_t node;  // 0: the name goes
};

struct Operation {
  Kind kind = Kind::mark;
  Mark mark = Mark::none;
  bool failed = false;  // the process died while it was under way: nothing was promised
  uint64_t node = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
  uint64_t kept_from = 0;  // of a failed write: the bytes that reached the cache
  uint64_t kept_to = UINT64_MAX;
  uint64_t first = 0;  // of a mark; of names: 1 if a directory is made
  uint64_t last = 0;
  std::shared_ptr<const std::vector<uint8_t>> data;  // null: zeros
  std::vector<NameEdit> edits;
  std::string path;
};

struct Event {
  uint32_t operation;
  bool end;
};

struct Recording {
  Image start;
  io::Probe probe;
  std::vector<Operation> operations;
  std::vector<Event> events;

  std::string describe(size_t operation) const;
  // The last operations before a point, with those that were under way.
  std::string describe_before(size_t point, size_t most) const;
  bool save(const std::string& path) const;
  bool load(const std::string& path);
};

uint64_t hash_of(const uint8_t* data, size_t size);

}  // namespace stonelog::states
