// A log on a file system, written by one thread: the real examination, the real beginning of a life
// and the real engine, one operation after the other. Any segment size.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "log/engine.h"
#include "log/life.h"
#include "states/recording_file_system.h"

namespace stonelog::states {

class LoneWriter {
 public:
  LoneWriter(io::FileSystem& fs, std::string directory, const io::Probe& probe,
             uint64_t segment_bytes);

  Status open(const log::RecoveryPolicy& policy = {});
  uint64_t append(const std::string& payload);  // LSN; 0 if it was refused
  uint64_t append_batch(const std::vector<std::string>& payloads);
  void run();        // until nothing is left to do
  void wait_idle();  // past the idle watermark
  void rotate();
  void release_before(uint64_t lsn);  // truncateBefore; files are recycled
  bool close();
  uint64_t durable_lsn() const { return engine_->durable_lsn(); }
  uint64_t epoch() const { return engine_->state().epoch.number; }
  const log::Examination& examination() const { return examination_; }
  // Bytes of the groups written so far, by segment.
  const std::map<uint64_t, uint64_t>& ends() const { return ends_; }

 private:
  io::File* file(uint64_t sequence);
  std::string path(uint64_t sequence) const;
  void perform(const log::Op& op);
  void chores();

  io::FileSystem& fs_;
  const std::string directory_;
  const io::Probe probe_;
  log::EngineOptions options_;
  log::Examination examination_;
  format::Id log_id_{};
  log::AlignedBuffer ring_;
  log::AlignedBuffer seal_block_;
  std::unique_ptr<log::Engine> engine_;
  std::map<uint64_t, std::unique_ptr<io::File>> files_;
  std::map<uint64_t, uint64_t> ends_;
  std::vector<log::Engine::Sealed> sealed_;
  struct Recyclable {
    std::string path;
    uint32_t tag;
    uint64_t written_end;
  };
  std::vector<Recyclable> recyclable_;
  std::map<uint64_t, uint32_t> tags_;
  uint64_t now_ns_ = 1;
};

}  // namespace stonelog::states
