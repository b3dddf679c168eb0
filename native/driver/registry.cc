#include "driver/registry.h"

#include <map>
#include <mutex>

#include "driver/parker.h"

namespace stonelog::driver {

namespace {

using Key = std::pair<uint64_t, uint64_t>;  // device, inode

struct Slot {
  Log* log = nullptr;  // null while it is being opened
  uint32_t handles = 0;
  bool closing = false;
};

// The process-wide table; never destroyed, since threads may outlive the end of main.
struct Table {
  std::mutex mutex;
  Parker changed;
  std::map<Key, Slot> slots;
  std::map<Log*, uint32_t> forgotten;  // poisoned logs with the handles they still have
};
Table& table() {
  static Table* const instance = new Table;
  return *instance;
}

const char* first_difference(const OpenOptions& a, const OpenOptions& b) {
  if (a.durability != b.durability) return "durability";
  if (a.interval_ms != b.interval_ms) return "intervalMs";
  if (a.max_delay_ms != b.max_delay_ms) return "maxDelayMs";
  if (a.max_group_bytes != b.max_group_bytes) return "maxGroupBytes";
  if (a.max_group_records != b.max_group_records) return "maxGroupRecords";
  if (a.pipeline_depth != b.pipeline_depth) return "pipelineDepth";
  if (a.segment_bytes != b.segment_bytes) return "segmentBytes";
  if (a.max_record_bytes != b.max_record_bytes) return "maxRecordBytes";
  if (a.queue_bytes != b.queue_bytes) return "queueBytes";
  if (a.direct_io != b.direct_io) return "directIo";
  if (a.policy.torn_tail != b.policy.torn_tail || a.policy.damage != b.policy.damage)
    return "recovery";
  if (a.min_free_bytes != b.min_free_bytes) return "minFreeBytes";
  if (a.file_mode != b.file_mode) return "fileMode";
  return nullptr;
}

// Waits while another thread opens or closes the directory; with the table's lock held.
void wait_for_slot(std::unique_lock<std::mutex>* lock, const Key& key) {
  Table& all = table();
  for (;;) {
    const auto slot = all.slots.find(key);
    if (slot == all.slots.end() || (slot->second.log != nullptr && !slot->second.closing)) return;
    const uint32_t ticket = all.changed.prepare();
    lock->unlock();
    all.changed.wait(ticket, UINT64_MAX);
    lock->lock();
  }
}

Status find_directory(io::FileSystem& fs, const OpenOptions& options, Key* key) {
  if (options.create) {
    bool created = false;
    Status status = io::make_directories(fs, options.directory, &created);
    if (!status.ok()) return status;
  }
  return fs.identity(options.directory, &key->first, &key->second);
}

}  // namespace

Status open_shared(io::FileSystem& fs, const OpenOptions& options, Log** log,
                   log::RecoveryReport* report) {
  Key key;
  Status status = find_directory(fs, options, &key);
  if (!status.ok()) return status;
  Table& all = table();
  std::unique_lock<std::mutex> lock(all.mutex);
  wait_for_slot(&lock, key);
  const auto found = all.slots.find(key);
  if (found != all.slots.end()) {
    Slot& slot = found->second;
    if (const char* name = first_difference(slot.log->options(), options)) {
      return Status::of(Code::bad_option,
                        std::string("option ") + name +
                            " differs from that of the log that this process has open");
    }
    slot.handles++;
    *log = slot.log;
    lock.unlock();  // a log's mutex is never taken inside the table's
    *report = (*log)->report();
    return {};
  }
  all.slots[key] = {};
  lock.unlock();
  status = Log::open(fs, options, log, report);
  lock.lock();
  if (status.ok()) {
    all.slots[key] = {*log, 1, false};
  } else {
    all.slots.erase(key);
  }
  lock.unlock();
  all.changed.wake_all();
  Status failure;
  uint64_t ignored = 0;
  if (status.ok() && (*log)->poisoned(&failure, &ignored, &ignored)) forget_shared(*log);
  return status;
}

Status close_shared(Log* log) {
  Table& all = table();
  std::unique_lock<std::mutex> lock(all.mutex);
  Key key;
  bool last = false;
  bool listed = false;
  for (auto& [at, slot] : all.slots) {
    if (slot.log != log) continue;
    key = at;
    listed = true;
    last = --slot.handles == 0;
    slot.closing = last;
  }
  if (!listed) {
    const auto forgotten = all.forgotten.find(log);
    last = forgotten != all.forgotten.end() && --forgotten->second == 0;
    if (last) all.forgotten.erase(forgotten);
  }
  lock.unlock();
  if (!last) return log->flush_and_wait();
  Status status = log->shut_down();
  lock.lock();
  if (listed) {
    const auto slot = all.slots.find(key);
    if (slot != all.slots.end() && slot->second.log == log) all.slots.erase(slot);
    all.forgotten.erase(log);
  }
  lock.unlock();
  all.changed.wake_all();
  log->release();
  return status;
}

void forget_shared(Log* log) {
  Table& all = table();
  const std::lock_guard<std::mutex> guard(all.mutex);
  for (auto slot = all.slots.begin(); slot != all.slots.end(); ++slot) {
    if (slot->second.log != log) continue;
    if (!slot->second.closing) all.forgotten[log] = slot->second.handles;
    all.slots.erase(slot);
    break;
  }
  all.changed.wake_all();
}

}  // namespace stonelog::driver
