// What the tests of the driver share: a log in a directory of its own, over a file system that
// fails on command, with verbs.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "driver/read_only_log.h"
#include "driver/reader.h"
#include "driver/registry.h"
#include "io/fault_file_system.h"
#include "io_fixture.h"

namespace stonelog::test {

using namespace stonelog::driver;
using log::Durability;

class CountingListener : public Listener {
 public:
  Bell* progress() override {
    progressed++;
    return nullptr;
  }
  Bell* answer(uint64_t request, const Status& status, uint64_t value) override {
    const std::lock_guard<std::mutex> guard(mutex_);
    answers_[request] = {status, value};
    return nullptr;
  }
  bool answered(uint64_t request, Status* status = nullptr) {
    const std::lock_guard<std::mutex> guard(mutex_);
    const auto found = answers_.find(request);
    if (found == answers_.end()) return false;
    if (status != nullptr) *status = found->second.first;
    return true;
  }
  std::atomic<int> progressed{0};

 private:
  std::mutex mutex_;
  std::map<uint64_t, std::pair<Status, uint64_t>> answers_;
};

inline std::string text_of(uint64_t lsn) {
  return "record " + std::to_string(lsn) + std::string(lsn % 97, '.');
}

inline OpenOptions small_options(const std::string& directory) {
  OpenOptions options;
  options.directory = directory;
  options.segment_bytes = 128 << 10;
  options.queue_bytes = 256 << 10;
  options.max_record_bytes = 64 << 10;
  options.min_free_bytes = 0;
  return options;
}

// An open log and one session on it. close() or the destructor closes it.
class OpenLog {
 public:
  OpenLog(io::FileSystem& fs, const OpenOptions& options) { reopen(fs, options); }
  ~OpenLog() { (void)close(); }

  void reopen(io::FileSystem& fs, const OpenOptions& options) {
    (void)close();
    status = open_shared(fs, options, &log, &report);
    if (!status.ok()) return;
    session = Log::Session{};
    session.listener = &listener;
    log->attach(&session);
    open_ = true;
  }
  Status close() {
    if (!open_) return {};
    open_ = false;
    log->detach(&session);
    return close_shared(log);
  }
  // Without a kick: as in the middle of a turn of the event loop.
  uint64_t admit(const std::string& text, Code* code = nullptr,
                 Durability durability = Durability::group) {
    Code ignored = Code::ok;
    Code* into = code == nullptr ? &ignored : code;
    return log->append(&session, bytes(text), text.size(), durability, into);
  }
  uint64_t append(const std::string& text, Code* code = nullptr,
                  Durability durability = Durability::group) {
    const uint64_t lsn = admit(text, code, durability);
    log->kick();
    return lsn;
  }
  uint64_t append_sync(const std::string& text, Code* code = nullptr) {
    Code ignored = Code::ok;
    return log->append_sync(&session, bytes(text), text.size(), code == nullptr ? &ignored : code);
  }
  // Appends texts until the log ends with that LSN. Segments may be prepared later than they are
  // wanted, on a busy machine by many tries.
  void append_up_to(uint64_t last_lsn) {
    REQUIRE(wait_for([&] {
      Code code = Code::ok;
      while (log->last_lsn() < last_lsn && code == Code::ok)
        (void)append_sync(text_of(log->last_lsn() + 1), &code);
      REQUIRE((code == Code::ok || code == Code::backpressure));
      return log->last_lsn() >= last_lsn;
    }));
  }
  std::vector<std::string> read_all(Status* read_status = nullptr) {
    return read_from(log, log->first_lsn(), read_status);
  }
  static std::vector<std::string> read_from(Source* source, uint64_t from,
                                            Status* read_status = nullptr) {
    Reader reader(source, from, UINT64_MAX);
    RecordBatch batch;
    std::vector<std::string> out;
    for (;;) {
      Status status = reader.next(&batch);
      if (read_status != nullptr) *read_status = status;
      if (!status.ok() || batch.empty()) return out;
      for (size_t i = 0; i < batch.offsets.size(); i++) {
        if (batch.lengths[i] == 0) {
          out.emplace_back();
          continue;
        }
        out.emplace_back(reinterpret_cast<const char*>(batch.slab->data()) + batch.offsets[i],
                         batch.lengths[i]);
      }
    }
  }
  template <typename Condition>
  bool wait_for(Condition condition, int most_ms = 5000) {
    for (int i = 0; i < most_ms; i++) {
      if (condition()) return true;
      usleep(1000);
    }
    return condition();
  }
  bool is_poisoned(uint64_t* durable = nullptr, uint64_t* not_written = nullptr) {
    Status failure;
    uint64_t a = 0;
    uint64_t b = 0;
    const bool poisoned = log->poisoned(&failure, &a, &b);
    if (durable != nullptr) *durable = a;
    if (not_written != nullptr) *not_written = b;
    return poisoned;
  }

  Log* log = nullptr;
  Log::Session session;
  CountingListener listener;
  log::RecoveryReport report;
  Status status;

 private:
  static const uint8_t* bytes(const std::string& text) {
    return reinterpret_cast<const uint8_t*>(text.data());
  }
  bool open_ = false;
};

// Device operations that hang until it is released or goes, as it must before the log: declared
// after it.
class Hang {
 public:
  using Condition = std::function<bool(Operation operation, const std::string& path)>;
  Hang(FaultFileSystem& fs, Condition concerns) {
    fs.set_hook([state = state_, concerns](Operation operation, const std::string& path) {
      if (!concerns(operation, path)) return;
      state->hung++;
      while (!state->released) usleep(500);
    });
  }
  ~Hang() { release(); }
  void release() { state_->released = true; }
  int hung() const { return state_->hung; }  // operations so far

 private:
  struct State {
    std::atomic<int> hung{0};
    std::atomic<bool> released{false};
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

// Changes the sector of a file that `offset` lies in; returns where it begins.
inline uint64_t change_sector(const std::string& path, uint64_t offset,
                              const std::function<void(std::vector<uint8_t>*)>& change) {
  std::unique_ptr<io::File> file;
  REQUIRE(posix_file_system().open(path, io::Access::read_write, false, 0, &file).ok());
  std::vector<uint8_t> sector(512);
  size_t got = 0;
  const uint64_t sector_at = offset / sector.size() * sector.size();
  REQUIRE(file->read(sector_at, sector.data(), sector.size(), &got).ok());
  change(&sector);
  const io::Part part{sector.data(), sector.size()};
  REQUIRE(file->write(sector_at, &part, 1, io::WriteMode::dsync).ok());
  return sector_at;
}
inline uint64_t flip_bit(const std::string& path, uint64_t offset) {
  return change_sector(path, offset, [&](std::vector<uint8_t>* sector) {
    (*sector)[offset % sector->size()] ^= 0x10;
  });
}
// As if it had never been written.
inline uint64_t lose_sector(const std::string& path, uint64_t offset) {
  return change_sector(path, offset,
                       [](std::vector<uint8_t>* sector) { sector->assign(sector->size(), 0); });
}

inline size_t segment_files(const std::string& directory) {
  std::vector<std::string> names;
  REQUIRE(posix_file_system().list(directory, &names).ok());
  uint64_t ignored = 0;
  return static_cast<size_t>(std::count_if(
      names.begin(), names.end(),
      [&](const std::string& name) { return log::parse_segment_name(name, &ignored); }));
}

}  // namespace stonelog::test
