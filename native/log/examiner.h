// The examination of one log, in the order of recovery of docs/durability.md. The members are what
// is known so far. Its functions stand in recovery.cc (files and verdict), recovery_chain.cc (which
// segments follow each other), recovery_walk.cc (what lies in them) and recovery_salvage.cc (what
// can be kept behind damage).
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "log/loaded_segment.h"
#include "log/recovery.h"

namespace stonelog::log {

const char* defect_reason(Defect defect);
uint32_t defect_evidence(Defect defect);

class Examiner {
 public:
  Examiner(io::FileSystem& fs, const std::string& directory, const io::Probe& probe,
           const RecoveryPolicy& policy, Examination* out)
      : fs_(fs), directory_(directory), probe_(probe), policy_(policy), out_(out) {}

  Status run();

 private:
  Status load_all();
  Status judge_header(LoadedSegment* loaded);
  void find_aliens();
  void find_rebuilt_aliens();
  bool is_vouched_for(const LoadedSegment& rebuilt) const;
  bool is_superseded(uint64_t sequence) const;
  void judge_files();
  void find_chain();
  Status move_head_on();
  void take_head(const GroupView& view);
  void judge_missing();
  void note_missing(uint64_t sequence);
  void judge_head(uint64_t sequence);
  void forget_below_head();
  Status walk();
  Status walk_segment(size_t k);
  void judge_seal(size_t k);
  Status scan_groups(size_t k, io::File& file, uint64_t proven_end, SegmentEntry* entry);
  void pass_group(const GroupView& view, SegmentEntry* entry);
  Status look_again(GroupReader* reader, io::File& file, const LoadedSegment& segment, uint64_t at,
                    const Expectation& expected, bool* moved_on);
  Status look_behind(size_t k, io::File& file, uint64_t from);
  Status look_at_rest(uint64_t sequence);
  Status look_at(const LoadedSegment& loaded, uint64_t from, bool whole_file);
  Status salvage_all();
  Status keep_rest();
  Status lose_rest(io::File& file, const LoadedSegment& loaded, uint64_t from,
                   const TailEvidence& tail);
  void assume_state();
  Status find_begins();
  uint64_t epoch_of(const LoadedSegment& segment) const;
  uint64_t ceiling(uint64_t epoch) const;
  Status scan_damaged(const LoadedSegment& loaded, uint64_t limit, uint64_t last_lsn, bool may_lose,
                      SegmentEntry* entry, bool* fresh);
  Status salvage_segment(const LoadedSegment& loaded, const format::Predecessor& stated);
  Status walk_salvaged(size_t k);
  void accept_damaged(uint64_t sequence);
  void accept_kept_files();
  bool is_salvaged(uint64_t sequence) const;
  Status finish();
  Status find_use(const LoadedSegment& loaded, bool* used);
  bool hides_life(const LoadedSegment& loaded) const;
  Status sort_files();
  bool was_closed() const;
  void report_loss(const RecoveryRow& row);
  Status refuse(const RecoveryRow& row) const;

  Status open_file(const LoadedSegment& loaded, bool sync, std::unique_ptr<io::File>* file);
  void note(uint32_t evidence, uint64_t segment, uint64_t offset, const std::string& reason);
  uint64_t proven_end(size_t k, uint64_t* last_lsn) const;
  const LoadedSegment& link(size_t k) const { return *chain_[k]; }
  // Fresh memory costs its zeroing: no more of it than the file can fill.
  static size_t window_of(const format::SegmentHeader& header) {
    return static_cast<size_t>(std::min<uint64_t>(kScanWindowBytes, header.file_bytes));
  }

  io::FileSystem& fs_;
  const std::string directory_;
  const io::Probe probe_;
  const RecoveryPolicy policy_;
  Examination* out_;

  std::vector<LoadedSegment> loaded_;
  std::vector<const LoadedSegment*> chain_;  // oldest first
  std::vector<std::string> temporary_;
  struct Begin {
    uint64_t sequence;
    uint64_t epoch;
    uint64_t first_lsn;
  };
  std::vector<Begin> begins_;
  std::vector<uint64_t> used_;       // of those without a start group, the ones that hold something
  std::vector<uint64_t> looked_at_;  // segments whose contents behind the accepted end were judged
  struct Missing {
    uint64_t sequence;
    bool accepted;  // the life that names it accepted it
  };
  std::vector<Missing> missing_;  // predecessors that are named but not there
  bool gaps_ = false;             // known ones included
  format::Hole lost_head_;        // what lay in the head's segment, if that is gone
  uint64_t live_goal_ = 0;  // beside a writer: the watermark up to which everything must be there
  uint64_t stated_first_lsn_ =
      UINT64_MAX;  // the head by the newest start group, before damage moved it
  uint32_t evidence_ = 0;
  uint64_t bad_segment_ = 0;  // the first damage met
  uint64_t bad_offset_ = 0;
  std::string bad_reason_;

  bool stopped_ = false;         // the accepted end is found
  bool rest_looked_at_ = false;  // what lies in the segments behind it is known
  uint64_t last_lsn_ = 0;
  uint32_t checksum_ = 0;
  bool closed_ = false;
  uint64_t seen_watermark_ = 0;  // the highest durable LSN stated by a group that was passed
  uint64_t highest_lsn_ = 0;     // the highest LSN seen anywhere
  uint64_t rest_from_ =
      0;  // where salvage last began to pick records out of damage; 0: not behind it
  uint64_t rest_base_ = 0;                // the last LSN before that
  std::vector<uint64_t> known_salvaged_;  // before this examination
  bool lost_unknown_ = false;  // sectors of groups whose headers are lost lie behind the end
};

}  // namespace stonelog::log
