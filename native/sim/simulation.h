// One seeded run: lives of a log, each ended by a crash, a kill, a close or a failure, each
// followed by recoveries that may be crashed themselves. Single-threaded; every completion comes
// when chance says.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "log/engine.h"
#include "log/life.h"
#include "sim/coverage.h"
#include "sim/model.h"
#include "sim/sim_file_system.h"

namespace stonelog::sim {

inline constexpr uint64_t kMillisecond = 1'000'000;

struct SimulationOptions {
  uint64_t seed = 1;
  uint64_t steps = 20'000;
  bool verbose = false;
};

struct SimulationCounters {
  uint64_t steps = 0;  // inputs to and outputs of the engine
  uint64_t lives = 0;
  uint64_t crashes = 0;
  uint64_t recovery_crashes = 0;
  uint64_t kills = 0;
  uint64_t closes = 0;
  uint64_t poisonings = 0;
  uint64_t records = 0;
  uint64_t acknowledged = 0;
  uint64_t torn_tails = 0;
  uint64_t cut_lsns = 0;
  uint64_t refused_space = 0;
  uint64_t refused_queue = 0;
  uint64_t damages = 0;
  uint64_t rotations = 0;
};

std::string describe_examination(const log::Examination& examination);

std::string describe_status(const Status& status);

class Simulation {
 public:
  explicit Simulation(const SimulationOptions& options);
  // False: finding() says what was found.
  bool run();
  const std::string& finding() const { return model_.finding(); }
  const SimulationCounters& counters() const { return counters_; }
  std::string describe() const;
  Coverage coverage() const;

 private:
  struct RunningOp {
    log::Op op;
    log::Chore chore;  // zeroing, if op.kind is none
    uint64_t ticket;
  };
  struct PendingCopy {
    log::Admission admission;
    std::vector<log::RecordInput> records;
    std::vector<std::vector<uint8_t>> payloads;
  };
  struct Unacknowledged {  // a group handed to the device
    uint64_t index;
    uint64_t sequence;
    std::string path;
    uint64_t offset;
    uint64_t size;
    uint32_t crc;
    bool records;
    bool bulk;  // to be acknowledged, but written plainly: by a sync alone
  };
  struct PendingHead {
    Head head;
    uint64_t group;
  };

  bool good() const { return model_.finding().empty(); }
  void say(const std::string& text) const;
  void configure();
  void configure_device();
  log::RecoveryPolicy policy() const { return {}; }

  // recovery
  void recover();
  bool try_recover();
  bool examine_once(log::Examination* examination);
  void clean_quarantine();

  // damage.cc: what no crash explains, on a copy of the disk
  struct Place {  // of a group
    std::string path;
    uint64_t sequence;
    uint64_t offset;
    uint64_t size;
    uint64_t first_lsn;
    uint64_t last_lsn;
    bool proven;  // a later group states that it was durable
    bool sealed;
    bool recycled;
  };
  void damage_scenarios();
  std::vector<Place> groups_on_disk();
  void fail_read();
  void damage_group(const std::vector<Place>& places);
  void cut_at_damage(const std::string& what, uint64_t last_lsn, uint64_t sequence);
  void salvage_damage(const std::string& what, const Place& place);
  void live_on(const std::string& what, log::Examination* examination, uint64_t epoch,
               const Head& head, bool salvaged);
  void damage_identity(const std::vector<Place>& places);

  // misplaced.cc: blocks and files that are gone, or where they do not belong
  enum class Expected : uint8_t { refused, opened, either };
  struct Harm {
    std::string kind;
    std::string what;
    Expected verdict = Expected::either;
    std::vector<format::Hole> lost;  // the LSNs that may be lost
    bool hides_head = false;         // released segments may be missed
    bool forgets_cut = false;        // nothing is left that says what was cut before
    bool covers(uint64_t from, uint64_t to) const;
  };
  void judge(const Harm& harm);
  void cut_harm(const Harm& harm, uint64_t first);
  void salvage_harm(const Harm& harm);
  bool leaves_others(const std::vector<Place>& places, const Place& one, const Place& two) const;
  uint64_t highest_name() const;
  void damage_placement(const std::vector<Place>& places);
  void lose_segment(size_t at, Harm* harm);
  void truncate_segment(const std::vector<Place>& places, size_t at, Harm* harm);
  void put_alien(size_t at, Harm* harm);
  void damage_files(const std::vector<Place>& places);

  // observer.cc: a reader beside the writer
  void observe();
  bool may_step() const {
    return good() && !fs_.crashed() && !engine_->poisoned() && !engine_->closed();
  }

  // life.cc
  void live();
  void add_faults();
  void note_refusal(Code code);
  void note_wish(log::Durability durability, uint64_t last_lsn);
  bool is_wished(uint64_t first_lsn, uint64_t last_lsn);
  void note_write(const log::Op& op, const format::GroupHeader& group, const std::string& path);
  void check_durable();
  void step();
  void admit_one();
  void admit_run();
  void admit_batch();
  void finish_copy();
  uint32_t record_size();
  log::Durability durability();
  void start_op();
  void finish_op();
  void chore();
  void prepare();
  void zero(const log::Chore& chore);
  void give_back(const log::Chore& chore);
  void move_head();
  void release();
  void note_progress();
  void quiesce();
  void check_liveness();
  void finish_close();
  void after_poisoning();
  void end_life();
  std::string path_of(uint64_t sequence) const;

  SimulationOptions options_;
  Random random_;
  SimFileSystem fs_;
  Model model_;
  SimulationCounters counters_;

  log::EngineOptions engine_options_;
  log::LifeOptions life_options_;
  Names names_ = Names::prefix;
  bool recycles_ = false;
  bool faults_ = false;
  bool tight_ = false;  // little disk space

  std::unique_ptr<log::AlignedBuffer> ring_;
  std::unique_ptr<log::AlignedBuffer> seal_block_;
  std::unique_ptr<log::AlignedBuffer> zeros_;
  std::unique_ptr<log::Engine> engine_;
  format::Id log_id_{};
  uint64_t now_ = 1;
  std::vector<RunningOp> running_;
  std::vector<PendingCopy> copies_;
  std::vector<PendingHead> pending_heads_;
  struct Sealed {
    uint64_t sequence;
    uint64_t first_lsn;
  };
  std::vector<Sealed> sealed_;
  bool prepare_wanted_ = false;
  log::Chore prepare_chore_;
  struct Recyclable {
    std::string path;
    uint32_t tag;
  };
  std::vector<Recyclable> recyclable_;
  std::vector<uint8_t> payload_;
  std::deque<Unacknowledged> unacknowledged_;
  std::deque<uint64_t> wishes_;  // LSNs, not submitted yet, that are to be acknowledged durable
  Coverage coverage_;
  bool observing_ = false;
  bool space_was_refused_ = false;
  uint64_t deep_pipelines_ = 0;  // ops begun with two or more others in flight
  uint64_t proven_groups_ = 0;
  uint64_t settled_first_lsn_ = 0;
  uint64_t settled_last_lsn_ = 0;
  std::vector<log::SegmentEntry> settled_segments_;
};

}  // namespace stonelog::sim
