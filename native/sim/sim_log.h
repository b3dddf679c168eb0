// A whole log on the simulated disk, driven one operation at a time: for tests that craft what
// recovery is to judge. Sizes are small: segments of 128 KiB.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "log/engine.h"
#include "log/life.h"
#include "sim/sim_file_system.h"

namespace stonelog::sim {

class SimLog {
 public:
  explicit SimLog(uint64_t seed = 1);

  // For another device than the default one: before the first open.
  void use_device(const io::Probe& probe);

  // Examines and, if the policy accepts what it finds, begins a life.
  Status open(const log::RecoveryPolicy& policy = {});
  Status begin_life();  // of what was examined
  Status examine(const log::RecoveryPolicy& policy = {});
  const log::Examination& examination() const { return examination_; }
  const log::RecoveryReport& report() const { return examination_.report; }

  uint64_t append(const std::string& data, log::Durability durability = log::Durability::group);
  uint64_t append_batch(const std::vector<std::string>& data);
  void run();        // until nothing is left to do
  void wait_idle();  // past the idle watermark
  void rotate();
  // Moves the head to the oldest unsealed segment and removes what lies before it.
  void release();
  bool close();
  void power_cut();  // nothing that is not durable survives
  // One operation, begun but not ended: kept or lost at will.
  bool begin(log::Op* op);
  void land(const log::Op& op);  // it reaches the disk, durably, but its end is never told

  std::vector<std::string> read_all();  // of what the last examination accepted
  std::string path(uint64_t sequence) const;
  void flip(uint64_t sequence, uint64_t offset, int bit = 0);
  void zero(uint64_t sequence, uint64_t from, uint64_t to);

  SimFileSystem fs;
  log::EngineOptions options;
  std::unique_ptr<log::Engine> engine;
  uint64_t now_ns = 1;
  bool all_chores = false;  // zero-filling and giving back, too
  std::function<void(const log::Op&)> on_write;
  std::function<void()> on_completion;

  const format::Id& log_id() const { return log_id_; }

 private:
  void perform(const log::Op& op);
  void chores();
  void prepare(const log::Chore& chore);
  void minor_chore(const log::Chore& chore);

  log::LifeOptions life_;
  log::Examination examination_;
  format::Id log_id_{};
  log::AlignedBuffer ring_;
  log::AlignedBuffer seal_block_;
};

}  // namespace stonelog::sim
