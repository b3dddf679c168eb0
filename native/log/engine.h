// The engine: a deterministic state machine that turns appended records into groups, and
// completions of writes and syncs into acknowledgements. It knows no thread, clock, futex or system
// call: the driver (driver/log.h) and the simulator (sim/) feed it inputs and carry out its
// outputs, under one lock.
//
// Inputs:  admit, publish, demand, set_head, write/sync/seal completed, segment ready or failed,
// tick. Outputs: next_op (writes, syncs, seals, for a committer), next_chore (preparation, for the
// preparer),
//          durable_lsn and poisoned, which the driver turns into acknowledgements and rejections.
//
// Invariants:
// 1. Groups are submitted in LSN order; each one's place in its file is fixed when its first record
// is
//    admitted, and no block is submitted twice in the life of a segment.
// 2. durable_lsn moves only over a prefix of groups each of which was written *and* covered by its
// own
//    DSYNC write or by a sync issued after its write had completed (FAILURES: late joiner, FUA).
// 3. After the first failure nothing is submitted and durable_lsn never moves again.
// 4. A record is admitted only into a file already allocated and synced, so it cannot fail for
// space.
// 5. No group is submitted into blocks that a zeroing write in flight may still overwrite.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "format/control.h"
#include "format/group.h"
#include "format/layout.h"
#include "format/record.h"
#include "io/file.h"
#include "io/status.h"

namespace stonelog::log {

enum class Durability : uint8_t { group = 0, each = 1, interval = 2, none = 3 };

struct EngineOptions {
  uint32_t block_bytes = format::kMinBlockBytes;
  uint64_t segment_bytes = 64 << 20;  // content; the file is format::segment_file_bytes of it
  uint64_t max_record_bytes = 16 << 20;
  uint64_t queue_bytes = 32 << 20;
  uint32_t max_group_bytes = 1 << 20;  // soft: a larger record makes a larger group
  uint32_t max_group_records = 1 << 20;
  uint32_t pipeline_depth = 2;
  uint64_t max_delay_ns = 0;
  uint64_t interval_ns = 100'000'000;
  uint64_t idle_ns = 20'000'000;
  uint64_t prepare_retry_ns = 100'000'000;
  uint32_t prepare_ahead = 1;             // segments kept ready
  uint32_t gather_bytes = 256 << 10;      // what a burst gathers that nobody waits for yet
  uint32_t second_slot_bytes = 64 << 10;  // what must wait before a group joins one in flight
  uint32_t zero_piece_bytes = 512 << 10;
  uint64_t zero_ahead_bytes = 4 << 20;
  // A bulk load: with so much waiting behind a group, it is written without DSYNC and shares a sync
  // with others, and space ahead is not zeroed for it.
  uint64_t bulk_bytes = 2 << 20;
  uint64_t bulk_sync_bytes = 8 << 20;  // what shares a sync
  bool dsync =
      true;  // a DSYNC write makes itself durable; false: an explicit sync follows each group
  bool zeroes = true;  // zero-filling ahead pays on this file system
};

// Bytes of ring memory the engine needs, a multiple of the block size.
uint64_t ring_bytes(const EngineOptions& options);

// A segment file that is allocated, synced and named.
struct SegmentPlace {
  uint64_t sequence = 0;
  format::Id id{};
  uint64_t file_bytes = 0;
  uint64_t written_end = 0;  // blocks below hold data of some kind: overwriting them is cheap
};

// Where a life begins: its segment, whose start group is durable already.
struct LifeStart {
  SegmentPlace segment;
  format::ControlState state;
  uint64_t last_lsn = 0;
  uint64_t end = 0;       // bytes, behind the start group
  uint32_t checksum = 0;  // of the start group
  Status shortage;        // why the segment takes no records: there was no space for a whole one
};

// One record as it is admitted. The payload's sum is computed by the caller, outside of any lock.
struct RecordInput {
  const uint8_t* data = nullptr;
  size_t size = 0;
  format::PayloadSum sum;
};

struct Admission {
  Code code = Code::ok;
  uint64_t first_lsn = 0;
  uint64_t group = 0;
  uint64_t ring = 0;                 // the group's place in the ring
  bool copy_pending = false;         // call copy_payloads() without the lock, then copied() with it
  std::vector<uint64_t> payload_at;  // stream offsets, only if copy_pending
};

enum class OpKind : uint8_t { none, write, sync, seal, stamp };

struct Op {
  OpKind kind = OpKind::none;
  uint64_t segment = 0;  // sequence
  uint64_t group = 0;    // index for write; ticket for sync
  uint64_t offset = 0;
  uint64_t opened_ns = 0;  // of a write: when its group took its first record
  uint64_t first_lsn = 0;  // of a write, and how many records there are
  uint32_t count = 0;
  uint32_t tag = 0;
  io::WriteMode mode = io::WriteMode::dsync;
  uint8_t* parts[2] = {};
  size_t sizes[2] = {};
  int part_count = 0;
  bool stamped = false;  // of a write: all sectors but the first are stamped already
};

enum class ChoreKind : uint8_t { none, prepare, zero, give_back };

struct Chore {
  ChoreKind kind = ChoreKind::none;
  uint64_t sequence = 0;
  uint64_t from = 0;  // zero, give_back: bytes of the file
  uint64_t to = 0;
};

struct EngineCounters {
  uint64_t records = 0;
  uint64_t payload_bytes = 0;
  uint64_t groups = 0;
  uint64_t group_bytes = 0;  // on the disk, control groups and seals included
  uint64_t control_groups = 0;
  uint64_t syncs = 0;
  uint64_t seals = 0;
  uint64_t rotations = 0;
  uint64_t refused_queue = 0;
  uint64_t refused_space = 0;
  uint64_t second_slot = 0;
};

class Engine {
 public:
  // `ring` is ring_bytes(options) of block-aligned memory that outlives the engine, `seal_block`
  // one block.
  Engine(const EngineOptions& options, uint8_t* ring, uint8_t* seal_block, const LifeStart& start,
         uint64_t now_ns);

  // --- Admission. Nothing is given an LSN unless it fits into prepared space and the queue.
  Admission admit(RecordInput* records, size_t count, Durability durability, uint64_t now_ns);
  // The same for one record whose payload is copied at once, so one that is not chunked; the hot
  // path. LSN, or 0 with *code set. With a group open, now_ns may be 0: publish() tells the time.
  uint64_t admit_one(const uint8_t* data, size_t size, uint32_t payload_crc, Durability durability,
                     uint64_t now_ns, Code* code);
  // The same for `count` records that lie one after the other: how many were admitted, fewer only
  // with *code set. What admit_one asks for each is asked once for all that join a group.
  size_t admit_run(const uint8_t* data, const uint32_t* sizes, size_t count, Durability durability,
                   uint64_t now_ns, Code* code);
  void copy_payloads(const Admission& admission, const RecordInput* records, size_t count);
  void copied(const Admission& admission);
  // Whether so many records of at most `bytes` in all would be admitted now and later, as long as
  // nobody else appends.
  bool has_room(uint64_t bytes, uint32_t records) const;
  // After a failure: LSNs that were given away in advance name records that were never written.
  void lose(uint32_t records);
  // Makes everything admitted so far visible to next_op: once per burst.
  void publish() { published_lsn_ = last_lsn_; }
  void publish(uint64_t now_ns) {
    if (has_unpublished()) last_append_ns_ = std::max(last_append_ns_, now_ns);
    publish();
  }
  // Whether the device would be given too little for it to be worth a commit of its own, and no
  // time is set for what there is.
  bool may_gather() const {
    return in_flight_ == 0 && unsynced_since_ns_ == 0 &&
           unsubmitted_bytes_ < options_.gather_bytes && pending_bytes_ < options_.queue_bytes / 8;
  }
  bool has_open_group() const { return has_open_; }
  bool has_unpublished() const { return published_lsn_ < last_lsn_; }
  // Everything up to the last record is to become durable without waiting for company or interval.
  void demand_all();
  // Whether more than one append at the same time, each waiting for its own records.
  void set_several_appenders(bool several) { several_appenders_ = several; }
  // Records a new head, not before the present one; the index of the control group to wait for in
  // *group.
  Code set_head(uint64_t first_lsn, uint64_t first_sequence, uint64_t now_ns, uint64_t* group);
  // Ends the current segment, if it holds records, so that all of it can be released later.
  Code rotate(uint64_t now_ns);
  void begin_close(uint64_t now_ns);

  // --- Work for committers. An op is carried out without the lock, then completed.
  bool next_op(uint64_t now_ns, uint64_t wall_micros, Op* op);
  // A DSYNC write of at most so many bytes while nothing else is in flight: what a thread that may
  // not wait begins without waiting.
  bool may_write_alone(uint64_t now_ns, uint64_t most_bytes) const;
  bool next_lone_write(uint64_t now_ns, uint64_t wall_micros, uint64_t most_bytes, Op* op);
  // Whether next_op would find something other than a write.
  bool owes_sync_or_seal() const;
  // Computes the stamps of a write or seal; touches only the op's own memory.
  static void stamp(const Op& op);
  // Whether next_op would find a write now: whom it pays to wake.
  bool may_submit(uint64_t now_ns) const;
  // While no more writes may be in flight: a group whose stamps can be computed meanwhile. Carried
  // out by stamp(), without the lock, then stamped().
  bool next_stamp(Op* op);
  bool may_stamp() const;
  void stamped(const Op& op);
  void completed(const Op& op, const Status& status, uint64_t now_ns);
  void tick(uint64_t now_ns);
  uint64_t next_deadline(uint64_t now_ns) const;  // ns; UINT64_MAX: none

  // --- Work for the preparer.
  bool next_chore(uint64_t now_ns, Chore* chore);
  bool has_chore(uint64_t now_ns) const;
  uint64_t next_chore_deadline() const;
  void segment_ready(const SegmentPlace& place);
  void segment_failed(Code code, uint64_t now_ns);
  void zeroed(const Chore& chore, const Status& status);
  size_t prepared_count() const { return prepared_.size(); }
  std::vector<SegmentPlace> take_prepared();  // after the close: files to be removed

  // --- State.
  uint64_t last_lsn() const { return last_lsn_; }
  uint64_t durable_lsn() const { return durable_lsn_; }
  uint64_t durable_groups() const {
    return first_group_;
  }  // groups with a smaller index are durable
  bool poisoned() const { return poisoned_; }
  const Status& failure() const { return failure_; }
  void poison(const Status& status);
  // LSNs from here on were never handed to the device; UINT64_MAX while nothing failed.
  uint64_t first_not_written_lsn() const { return first_not_written_; }
  bool closed() const { return close_stage_ == CloseStage::done; }
  bool closing() const { return close_stage_ != CloseStage::open; }
  bool drained() const { return first_group_ == next_group_; }
  bool ready() const;
  bool idle() const {
    return drained() && in_flight_ == 0 && sync_in_flight_ == 0 && !seal_in_flight_;
  }
  const format::ControlState& state() const { return state_; }
  const EngineCounters& counters() const { return counters_; }
  uint64_t pending_bytes() const { return pending_bytes_; }
  bool space_refused() const { return space_refused_; }
  Code space_code() const { return prepare_code_; }

  // What a reader may show: records up to durable_lsn, in files up to these ends.
  struct Live {
    uint64_t sequence;
    uint64_t first_lsn;
    uint64_t durable_end;
    uint64_t last_durable_lsn;
    bool final;  // finished and durable as a whole
  };
  std::vector<Live> live() const;
  size_t live_count() const { return live_.size(); }
  struct Sealed {
    uint64_t sequence;
    uint64_t first_lsn;
    uint64_t last_lsn;
    uint64_t end;
    uint64_t file_bytes;
  };
  std::vector<Sealed> take_sealed();  // since the last call

 private:
  enum class GroupState : uint8_t { open, closed, in_flight, written };
  enum class CloseStage : uint8_t { open, draining, publishing, closing, sealing, done };

  struct Group {
    format::GroupKind kind;
    GroupState state;
    uint16_t flags;
    bool durable_wish;  // at least one record must be acknowledged durable
    bool alone;         // durability `each`
    bool synced;        // covered by its own DSYNC write or by a sync issued after its write
    bool stamped;       // all sectors but the first
    uint32_t copies;    // payloads still being copied, or stamps computed, without the lock
    uint32_t count;
    uint32_t body_sum;
    uint64_t sync_ticket;
    uint64_t segment;
    uint64_t offset;
    uint64_t ring;  // offset of its first byte in the ring's memory
    uint64_t stream_bytes;
    uint64_t file_bytes;
    uint64_t first_lsn;
    uint64_t charge;      // bytes of the queue it occupies
    uint64_t stated_lsn;  // the watermark its header states
    uint64_t opened_ns;
  };

  struct Segment {
    SegmentPlace place;
    uint64_t first_lsn = 0;
    uint64_t last_lsn = 0;
    uint64_t records = 0;
    uint64_t end = 0;  // bytes given to groups
    uint64_t durable_end = 0;
    uint64_t durable_lsn = 0;
    uint64_t start_group = 0;  // index; 0: durable before the engine began
    uint64_t last_group = 0;
    uint32_t checksum = 0;  // of the last group submitted
    bool finished = false;
    bool seal_submitted = false;
    uint64_t zero_from = 0;  // zeroing in flight
    uint64_t zero_to = 0;
  };

  // engine.cc: admission
  Code check(const RecordInput* records, size_t count, uint64_t* charge,
             uint64_t* stream_bytes) const;
  Code make_room(uint64_t stream_bytes, size_t count, uint64_t charge, Durability durability,
                 uint64_t now_ns);
  bool joins_open(uint64_t stream_bytes, size_t count, Durability durability) const;
  uint64_t stream_limit(const Group& open) const;
  size_t join_open(const uint8_t** data, const uint32_t* sizes, size_t count, uint64_t now_ns);
  bool ring_has(uint64_t file_bytes) const;
  bool can_rotate() const;
  Code refuse_space();
  Code refuse_queue();
  void open_group(format::GroupKind kind, uint64_t first_lsn, uint64_t now_ns);
  void close_group();
  void switch_segment(uint64_t now_ns);
  void put_control(format::GroupKind kind, uint16_t flags, const format::ControlWriter& content,
                   uint64_t now_ns);
  bool control_fits(uint64_t stream_bytes, uint64_t spare_blocks) const;
  uint64_t put_record(Group* group, const uint8_t* data, size_t size, uint32_t sum_crc,
                      const std::vector<uint32_t>* table, uint8_t flags, uint64_t lsn, bool copy);
  void extend_group(Group* group, uint64_t stream_end);
  void copy_to_stream(const Group& group, uint64_t at, const uint8_t* data, size_t size);
  void put_plain(Group* open, uint64_t at, const uint8_t* data, size_t size, uint32_t payload_crc,
                 uint64_t lsn);
  uint8_t* ring_at(const Group& group, uint64_t file_offset) const;
  void note_record(Group* group, Durability durability);
  void demand_if_half_full();

  // engine_commit.cc: submission and completion
  bool may_zero(uint64_t* from, uint64_t* to) const;
  bool next_sync(Op* op);
  bool next_seal(uint64_t wall_micros, Op* op);
  bool next_write(uint64_t now_ns, uint64_t wall_micros, Op* op);
  bool is_seal_due(bool* closes) const;
  bool may_join_in_flight(const Group& open) const;
  bool open_group_may_go(uint64_t now_ns) const;
  void submit(Group* group, uint64_t index, uint64_t wall_micros, Op* op);
  void place_op(const Group& group, uint64_t index, Op* op) const;
  bool loads_in_bulk() const { return unsubmitted_bytes_ >= options_.bulk_bytes; }
  bool goes_dsync(const Group& group) const {
    return group.durable_wish && options_.dsync && !loads_in_bulk();
  }
  uint64_t choose_sync_target() const;
  void build_seal(const Segment& segment, bool closes, uint64_t wall_micros);
  void advance(uint64_t now_ns);
  void advance_close(uint64_t now_ns);
  void put_watermark(uint64_t now_ns);
  void seal_completed(uint64_t sequence);

  Group& group(uint64_t index) { return groups_[index & (groups_.size() - 1)]; }
  const Group& group(uint64_t index) const { return groups_[index & (groups_.size() - 1)]; }
  Segment* find_segment(uint64_t sequence);
  const Segment& current() const { return live_.back(); }
  Segment& current() { return live_.back(); }

  EngineOptions options_;
  uint8_t* ring_;
  uint64_t ring_size_;
  uint8_t* seal_block_;
  format::ControlState state_;

  std::vector<Group> groups_;  // power of two; index & (size - 1)
  uint64_t first_group_ = 1;   // the oldest that is not durable
  uint64_t next_submit_ = 1;
  uint64_t written_prefix_ = 1;  // groups with a smaller index are written
  uint64_t next_group_ = 1;
  bool has_open_ = false;      // group next_group_ - 1 takes records
  uint64_t demand_group_ = 0;  // groups up to this index are to become durable now
  uint64_t sync_target_ = 0;   // the groups that the next sync waits for
  bool several_appenders_ = false;
  uint64_t flush_group_ = 0;  // groups up to this index wait for no company

  uint64_t ring_head_ = 0;          // where the next group begins
  uint64_t ring_used_ = 0;          // bytes of groups that are not durable yet
  uint64_t unsubmitted_bytes_ = 0;  // of them, what was not given to the device
  uint64_t pending_bytes_ = 0;

  uint64_t last_lsn_ = 0;
  uint64_t published_lsn_ = 0;
  uint64_t durable_lsn_ = 0;
  uint64_t watermark_lsn_ = 0;  // the highest durable LSN stated by a durable group
  uint32_t last_checksum_ = 0;

  std::deque<Segment> live_;  // unsealed, the last one takes groups
  std::deque<SegmentPlace> prepared_;
  std::vector<Sealed> sealed_;
  std::deque<Chore> give_back_;
  bool preparing_ = false;
  bool zeroing_ = false;
  bool space_refused_ = false;
  Code prepare_code_ = Code::backpressure;  // why no segment is ready
  uint64_t prepare_not_before_ns_ = 0;
  uint64_t next_sequence_ = 0;

  uint32_t in_flight_ = 0;
  uint32_t sync_in_flight_ = 0;
  bool seal_in_flight_ = false;
  uint64_t next_ticket_ = 1;
  uint64_t last_append_ns_ = 0;
  uint64_t unsynced_since_ns_ = 0;  // oldest written `interval` record not synced; 0: none

  CloseStage close_stage_ = CloseStage::open;
  bool poisoned_ = false;
  Status failure_;
  uint64_t first_not_written_ = UINT64_MAX;
  EngineCounters counters_;
};

}  // namespace stonelog::log
