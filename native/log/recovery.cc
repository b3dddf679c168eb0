#include "log/recovery.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "log/loaded_segment.h"
#include "log/salvage.h"

namespace stonelog::log {

using format::HeaderState;

std::string segment_name(uint64_t sequence) {
  char name[32];
  std::snprintf(name, sizeof name, "%020llu.wal", static_cast<unsigned long long>(sequence));
  return name;
}

bool parse_segment_name(const std::string& name, uint64_t* sequence) {
  if (name.size() != 24 || name.compare(20, 4, ".wal") != 0) return false;
  *sequence = 0;
  for (size_t i = 0; i < 20; i++) {
    if (name[i] < '0' || name[i] > '9') return false;
    *sequence = *sequence * 10 + static_cast<uint64_t>(name[i] - '0');
  }
  return *sequence > 0;
}

namespace {

const char* defect_reason(Defect defect) {
  switch (defect) {
    case Defect::damaged:
      return "a sector is damaged";
    case Defect::inconsistent:
      return "intact sectors contradict each other";
    case Defect::short_file:
      return "the file is too short";
    default:
      return "a part that was durable is missing";
  }
}

uint32_t defect_evidence(Defect defect) {
  switch (defect) {
    case Defect::damaged:
      return kDamagedSector;
    case Defect::inconsistent:
      return kInconsistent;
    case Defect::short_file:
      return kShortFile;
    default:
      return kSealContradicted;
  }
}

bool all_of_set(const std::string& text, const char* set) {
  return !text.empty() && text.find_first_not_of(set) == std::string::npos;
}

// Files that preparation, recycling and probing leave behind when they are interrupted: exactly
// their names, since whatever else lies in the directory is not ours.
bool is_temporary(const std::string& name) {
  const size_t suffix = sizeof(kTemporarySuffix) - 1;
  if (name.size() <= suffix || name.compare(name.size() - suffix, suffix, kTemporarySuffix) != 0)
    return false;
  const std::string stem = name.substr(0, name.size() - suffix);
  const auto rest_of = [&](const char* prefix) {
    const std::string wanted = prefix;
    return stem.compare(0, wanted.size(), wanted) == 0 ? stem.substr(wanted.size()) : std::string();
  };
  const std::string prepared = rest_of("prepare-");
  const std::string probe = rest_of(".probe-");
  const char* const hex = "0123456789abcdef";
  return (prepared.size() == 16 && all_of_set(prepared, hex)) ||
         (probe.size() == 16 && all_of_set(probe, hex)) ||
         all_of_set(rest_of("recycle-"), "0123456789");
}

std::string version_text(uint32_t version) {
  return std::to_string(version >> 16) + "." + std::to_string(version & 0xffff);
}

// Examines one log. The members are what is known so far; the order of the calls in run() is the
// order of recovery in docs/durability.md.
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
  void judge_files();
  void find_chain();
  Status move_head_on();
  void take_head(const GroupView& view);
  void judge_missing();
  void judge_head(uint64_t sequence);
  Status walk();
  Status walk_segment(size_t k);
  Status scan_groups(size_t k, io::File& file, uint64_t proven_end, SegmentEntry* entry);
  void pass_group(const GroupView& view, SegmentEntry* entry);
  Status look_again(GroupReader* reader, io::File& file, const LoadedSegment& segment, uint64_t at,
                    const Expectation& expected, bool* moved_on);
  Status look_behind(size_t k, io::File& file, uint64_t from);
  Status look_at_rest(size_t k);
  Status look_at(const LoadedSegment& loaded, uint64_t from, bool whole_file);
  Status salvage_all();
  Status keep_rest();
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
  Status sort_files();
  void report_loss(const RecoveryRow& row);
  Status refuse(const RecoveryRow& row) const;

  Status open_file(const LoadedSegment& loaded, bool sync, std::unique_ptr<io::File>* file);
  void note(uint32_t evidence, uint64_t segment, uint64_t offset, const std::string& reason);
  uint64_t proven_end(size_t k, uint64_t* last_lsn) const;
  const LoadedSegment& link(size_t k) const { return *chain_[k]; }

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
  uint64_t live_goal_ = 0;  // beside a writer: the watermark up to which everything must be there
  uint64_t stated_first_lsn_ =
      UINT64_MAX;  // the head by the newest start group, before damage moved it
  uint32_t evidence_ = 0;
  uint64_t bad_segment_ = 0;  // the first damage met
  uint64_t bad_offset_ = 0;
  std::string bad_reason_;

  bool stopped_ = false;  // the accepted end is found
  uint64_t last_lsn_ = 0;
  uint32_t checksum_ = 0;
  bool closed_ = false;
  uint64_t seen_watermark_ = 0;  // the highest durable LSN stated by a group that was passed
  uint64_t highest_lsn_ = 0;     // the highest LSN seen anywhere
  bool lost_unknown_ = false;    // sectors of groups whose headers are lost lie behind the end
};

void Examiner::note(uint32_t evidence, uint64_t segment, uint64_t offset,
                    const std::string& reason) {
  if ((evidence_ & ~(kTrailing | kClosed)) == 0) {
    bad_segment_ = segment;
    bad_offset_ = offset;
    bad_reason_ = reason;
  }
  evidence_ |= evidence;
}

Status Examiner::open_file(const LoadedSegment& loaded, bool sync,
                           std::unique_ptr<io::File>* file) {
  Status status =
      fs_.open(directory_ + "/" + loaded.name, io::Access::read, probe_.direct, 0, file);
  if (!status.ok()) return std::move(status).at(loaded.sequence, 0);
  if (!sync || !policy_.sync) return {};
  // Nothing is believed, or shown to anyone, that a power cut could still take back.
  status = (*file)->sync();
  if (status.ok()) status = (*file)->evict();
  return std::move(status).at(loaded.sequence, 0);
}

Status Examiner::judge_header(LoadedSegment* loaded) {
  const std::string path = directory_ + "/" + loaded->name;
  if (loaded->header_state == HeaderState::unsupported) {
    const uint32_t ours = uint32_t{format::kVersion} << 16 | format::kSubVersion;
    const std::string detail =
        loaded->version == ours ? "the file uses features that this build does not know"
                                : "the file is of format version " + version_text(loaded->version) +
                                      ", this build reads version " + version_text(ours);
    Status status = Status::of(Code::unsupported_version, detail);
    status.path = path;
    return std::move(status).at(loaded->sequence, 0);
  }
  if (loaded->header_state == HeaderState::not_a_log) {
    Status status =
        Status::of(Code::not_a_log, "the file has a segment's name but is not a segment");
    status.path = path;
    return std::move(status).at(loaded->sequence, 0);
  }
  if (loaded->header_state != HeaderState::valid) return {};
  if (policy_.writing &&
      (loaded->header.read_only_compatible & ~format::kKnownReadOnlyCompatible) != 0) {
    Status status = Status::of(Code::unsupported_version,
                               "the file uses features with which this build can only read it");
    status.path = path;
    return std::move(status).at(loaded->sequence, 0);
  }
  if (loaded->header.sequence != loaded->sequence) loaded->alien = true;
  return {};
}

// The log is that of most of the segments; files of another one that were put beside them are not
// of it.
void Examiner::find_aliens() {
  std::map<format::Id, size_t> counts;
  size_t most = 0;
  for (const LoadedSegment& loaded : loaded_) {
    if (loaded.header_state == HeaderState::valid && !loaded.alien)
      most = std::max(most, ++counts[loaded.header.log_id]);
  }
  const LoadedSegment* first = nullptr;
  for (const LoadedSegment& loaded : loaded_) {
    const bool counted = loaded.header_state == HeaderState::valid && !loaded.alien;
    if (first == nullptr && counted && counts[loaded.header.log_id] == most) first = &loaded;
  }
  if (first != nullptr) out_->log_id = first->header.log_id;
  for (LoadedSegment& loaded : loaded_) {
    if (first != nullptr && loaded.header_state == HeaderState::valid &&
        loaded.header.log_id != first->header.log_id) {
      loaded.alien = true;
    }
  }
}

// What is wrong with files as a whole; what salvage accepted before is no news.
void Examiner::judge_files() {
  for (const LoadedSegment& loaded : loaded_) {
    const std::vector<uint64_t>& salvaged = out_->state.salvaged;
    if (loaded.alien)
      note(kInconsistent, loaded.sequence, 0,
           "the file is a segment of another log, or another segment");
    if (loaded.alien || loaded.sequence < out_->state.first_sequence) continue;
    if (std::count(salvaged.begin(), salvaged.end(), loaded.sequence) > 0) continue;
    if (loaded.header_state != HeaderState::valid) {
      note(kDamagedHeader, loaded.sequence, 0, "the segment's header is damaged");
    } else if (loaded.size != loaded.header.file_bytes) {
      note(kShortFile, loaded.sequence, loaded.size, "the file is not of the size it was given");
    }
  }
}

Status Examiner::load_all() {
  std::vector<std::string> names;
  Status status = fs_.list(directory_, &names);
  if (!status.ok()) return status;
  for (const std::string& name : names) {
    LoadedSegment loaded;
    if (is_temporary(name)) temporary_.push_back(name);
    if (!parse_segment_name(name, &loaded.sequence)) continue;
    loaded.name = name;
    loaded_.push_back(std::move(loaded));
  }
  // One read each, but the device answers several at a time.
  std::vector<Status> statuses(loaded_.size());
  const std::function<void(size_t)> load = [&](size_t i) {
    const std::string path = directory_ + "/" + loaded_[i].name;
    statuses[i] = load_segment(fs_, path, probe_, !probe_.direct && policy_.sync, &loaded_[i]);
  };
  if (policy_.parallel) {
    policy_.parallel(loaded_.size(), load);
  } else {
    for (size_t i = 0; i < loaded_.size(); i++) load(i);
  }
  for (size_t i = 0; i < loaded_.size(); i++) {
    if (!statuses[i].ok()) return std::move(statuses[i]).at(loaded_[i].sequence, 0);
    status = judge_header(&loaded_[i]);
    if (!status.ok()) return status;
  }
  find_aliens();
  for (const LoadedSegment& loaded : loaded_) {
    out_->highest_sequence = loaded.sequence;
    if (loaded.started())
      out_->highest_epoch = std::max(out_->highest_epoch, loaded.start_group.epoch);
  }
  return {};
}

// From the newest segment that has a start group down the predecessors it names. A predecessor that
// is missing leaves a gap, behind which the chain goes on with what is there.
void Examiner::find_chain() {
  size_t at = loaded_.size();
  while (at > 0 && !loaded_[at - 1].started()) at--;
  if (at == 0) {
    note(kInconsistent, loaded_.front().sequence, 0, "no segment has an intact start group");
    return;
  }
  const LoadedSegment* cursor = &loaded_[at - 1];
  out_->state = cursor->start.state;
  if (cursor->sealed() && cursor->seal.has_state) out_->state = cursor->seal.state;
  stated_first_lsn_ = out_->state.first_lsn;
  chain_.push_back(cursor);
  for (;;) {
    // Of a segment whose start group is lost and that was accepted nevertheless, nobody knows what
    // it named.
    format::Predecessor wanted{cursor->sequence - 1, {}, 0, 0};
    if (cursor->started()) wanted = cursor->start.predecessor;
    if (wanted.sequence < out_->state.first_sequence) break;
    const LoadedSegment* found = nullptr;
    for (size_t i = at - 1; i-- > 0 && found == nullptr;) {
      const LoadedSegment& candidate = loaded_[i];
      if (candidate.sequence > wanted.sequence || candidate.sequence < out_->state.first_sequence)
        continue;
      if (!candidate.started() && !(is_salvaged(candidate.sequence) && candidate.readable()))
        continue;
      found = &candidate;
      at = i + 1;
    }
    const bool exact = found != nullptr && found->sequence == wanted.sequence &&
                       found->header.segment_id == wanted.segment_id;
    const bool known = is_salvaged(wanted.sequence) || !cursor->started();
    if (!exact && !known) missing_.push_back({wanted.sequence, cursor->life_start()});
    if (found == nullptr) break;
    chain_.push_back(found);
    cursor = found;
  }
  std::reverse(chain_.begin(), chain_.end());
}

// Where segments are missing, a head that moved on in the newest segment may be the reason. Unlinks
// reach the disk in any order: of the released 1, 2 and 3 only 2 may be gone, and then 1 is not of
// the log either.
Status Examiner::move_head_on() {
  if (missing_.empty() || chain_.empty()) return {};
  const LoadedSegment& tip = *chain_.back();
  std::unique_ptr<io::File> file;
  Status status = open_file(tip, !tip.closed(), &file);
  if (!status.ok()) return status;
  GroupReader reader(*file, tip.header, kScanWindowBytes);
  Expectation expected;
  expected.any = true;
  GroupView view;
  for (uint64_t at = format::kFirstGroupBlock * uint64_t{tip.header.block_bytes};;
       at += view.header.file_bytes) {
    Defect defect = Defect::none;
    uint64_t bad_offset = 0;
    status = reader.read(at, tip.header.file_bytes, expected, &view, &defect, &bad_offset);
    if (!status.ok()) return std::move(status).at(tip.sequence, at);
    if (defect != Defect::none) break;
    take_head(view);
    expected = {view.header.first_lsn + view.header.count, view.header.epoch, view.header.checksum};
  }
  const uint64_t first = out_->state.first_sequence;
  std::erase_if(missing_, [&](const Missing& missing) { return missing.sequence < first; });
  std::erase_if(chain_, [&](const LoadedSegment* segment) { return segment->sequence < first; });
  return {};
}

// The state of the newest start group is known already: older segments, read after it, take nothing
// back.
void Examiner::take_head(const GroupView& view) {
  const bool newer =
      view.control.has_head && view.control.state.first_sequence > out_->state.first_sequence;
  if (view.header.kind == format::GroupKind::control && newer)
    format::apply(view.control, &out_->state);
}

// A head that moved on after the newest start group allows what is below it to be gone, so this is
// judged when the control groups of the tip were read. A file is named in its directory before
// anything names it as a predecessor, but start groups are pipelined: 7 and 8 may be in flight
// together, and only that of 8 survive.
void Examiner::judge_missing() {
  for (const Missing& missing : missing_) {
    if (missing.sequence < out_->state.first_sequence) continue;
    const auto present = std::find_if(
        loaded_.begin(), loaded_.end(),
        [&](const LoadedSegment& segment) { return segment.sequence == missing.sequence; });
    if (present == loaded_.end()) {
      note(kMissingSegment, missing.sequence, 0, "the segment is missing");
      continue;
    }
    const Defect defect = present->start_defect;
    const bool torn = defect == Defect::nothing || defect == Defect::incomplete;
    if (torn && !missing.accepted && !present->sealed())
      continue;  // the watermarks behind it were judged
    note(present->started() ? kInconsistent : defect_evidence(defect), missing.sequence,
         present->start_bad_offset,
         "the segment's start group cannot be read, or is of another segment");
  }
}

// Where segment k ends, if that is proven without scanning it; else 0.
uint64_t Examiner::proven_end(size_t k, uint64_t* last_lsn) const {
  const LoadedSegment& segment = link(k);
  if (k + 1 < chain_.size()) {
    const LoadedSegment& next = link(k + 1);
    const format::Predecessor& stated = next.start.predecessor;
    if (next.life_start() && stated.sequence == segment.sequence) {
      *last_lsn = stated.last_lsn;
      return stated.end;
    }
  }
  if (!segment.sealed()) return 0;
  *last_lsn = segment.seal.seal.last_lsn;
  return segment.seal.seal.end;
}

// The head's segment is not in the chain. A head is durable, and so is the start group of its
// segment, before it is recorded. Where its file is there, but cannot be read, nothing is accepted
// after nothing. Where it is gone, it may have been released by a head that damage hides: the log
// then begins with what is there.
void Examiner::judge_head(uint64_t sequence) {
  for (const LoadedSegment& segment : loaded_) {
    if (segment.sequence != sequence || segment.started()) continue;
    note(defect_evidence(segment.start_defect), sequence, segment.start_bad_offset,
         "the segment's start group cannot be read");
    last_lsn_ = std::min(last_lsn_, out_->state.first_lsn - 1);
    stopped_ = true;
    return;
  }
  note(kMissingSegment, sequence, 0, "the segment is missing");
  if (out_->state.first_lsn <= last_lsn_) {
    out_->report.lost.push_back(
        {out_->state.first_lsn, last_lsn_, sequence, 0, "the segment is missing", ""});
  }
  out_->state.first_sequence = link(0).sequence;
  out_->state.first_lsn = last_lsn_ + 1;
}

Status Examiner::walk() {
  last_lsn_ = link(0).started() ? link(0).start_group.first_lsn - 1 : out_->state.first_lsn - 1;
  const uint64_t before = link(0).started() ? link(0).start.predecessor.sequence : 0;
  if (is_salvaged(before))
    last_lsn_ = std::min(last_lsn_, out_->state.first_lsn - 1);
  else if (before >= out_->state.first_sequence)
    judge_head(before);
  highest_lsn_ = last_lsn_;
  if (!out_->state.salvaged.empty()) {
    Status status = find_begins();
    if (!status.ok()) return status;
  }
  for (size_t k = 0; k < chain_.size() && !stopped_; k++) {
    Status status = walk_segment(k);
    if (!status.ok()) return status;
  }
  return {};
}

Status Examiner::walk_segment(size_t k) {
  const LoadedSegment& segment = link(k);
  if (is_salvaged(segment.sequence)) return walk_salvaged(k);
  const bool tip = k + 1 == chain_.size();
  SegmentEntry entry;
  entry.header = segment.header;
  entry.first_lsn = segment.start_group.first_lsn;
  entry.epoch = segment.start_group.epoch;
  const bool follows = entry.first_lsn == last_lsn_ + 1 ||
                       (entry.first_lsn > last_lsn_ &&
                        format::is_hole(out_->state.holes, last_lsn_ + 1, entry.first_lsn - 1));
  if (!follows) {
    note(kMissingSegment, segment.sequence, 0, "records before this segment are missing");
    stopped_ = true;
    return {};
  }
  uint64_t proven_last = 0;
  const uint64_t end = proven_end(k, &proven_last);
  if (segment.seal_defect == Defect::damaged || segment.seal_defect == Defect::inconsistent) {
    note(defect_evidence(segment.seal_defect), segment.sequence, segment.header.block_bytes,
         "the seal is damaged");
  }
  const bool known = !tip && (is_salvaged(link(k + 1).sequence) ||
                              is_salvaged(link(k + 1).start.predecessor.sequence));
  if (segment.sealed() && !tip && !known && !link(k + 1).life_start() &&
      (link(k + 1).start.predecessor.end != segment.seal.seal.end ||
       link(k + 1).start.predecessor.sequence != segment.sequence || segment.closed())) {
    note(kSealContradicted, segment.sequence, segment.header.block_bytes,
         "the seal and the successor disagree");
  }
  // Beside a writer the successor may have been made after the directory was read.
  if (tip && segment.sealed() && !segment.closed() && !policy_.live) {
    note(kMissingSegment, segment.sequence + 1, 0,
         "the segment that the seal of its predecessor proves is missing");
  }
  entry.sealed = end != 0;
  entry.cut = entry.sealed && !(segment.sealed() && segment.seal.seal.end == end);
  const bool state_known = !tip || !segment.closed() || segment.seal.has_state;
  if (entry.sealed && !policy_.scan_all && state_known) {
    entry.end = end;
    entry.last_lsn = proven_last;
    last_lsn_ = highest_lsn_ = proven_last;
    seen_watermark_ = std::max(seen_watermark_, proven_last);
    checksum_ = segment.sealed() && segment.seal.seal.end == end ? segment.seal.seal.checksum : 0;
    closed_ = tip && segment.closed();
    out_->segments.push_back(entry);
    return {};
  }
  std::unique_ptr<io::File> file;
  Status status = open_file(segment, !entry.sealed, &file);
  if (!status.ok()) return status;
  out_->report.scanned_segments++;
  status = scan_groups(k, *file, end, &entry);
  entry.last_lsn = last_lsn_;
  out_->segments.push_back(entry);
  if (status.ok() && entry.sealed && !stopped_ && last_lsn_ != proven_last &&
      !(last_lsn_ < proven_last &&
        format::is_hole(out_->state.holes, last_lsn_ + 1, proven_last))) {
    note(kSealContradicted, segment.sequence, entry.end, "the segment ends before its last record");
    stopped_ = true;
  } else if (entry.sealed && !stopped_) {
    const bool sealed_here = segment.sealed() && segment.seal.seal.end == end;
    if (status.ok() && sealed_here && !entry.salvaged && checksum_ != segment.seal.seal.checksum) {
      note(kSealContradicted, segment.sequence, segment.header.block_bytes,
           "the seal is of another last group");
    }
    out_->segments.back().last_lsn = last_lsn_ = proven_last;
    closed_ = tip && segment.closed();
  }
  return status;
}

void Examiner::pass_group(const GroupView& view, SegmentEntry* entry) {
  entry->end = view.offset + view.header.file_bytes;
  checksum_ = view.header.checksum;
  last_lsn_ = view.header.first_lsn + view.header.count - 1;
  highest_lsn_ = std::max(highest_lsn_, last_lsn_);
  out_->highest_epoch = std::max(out_->highest_epoch, view.header.epoch);
  seen_watermark_ = std::max(seen_watermark_, view.header.durable_lsn);
  out_->report.records += view.header.count;
  closed_ =
      view.header.kind == format::GroupKind::control && (view.header.flags & format::kCloses) != 0;
  take_head(view);
}

Status Examiner::scan_groups(size_t k, io::File& file, uint64_t end, SegmentEntry* entry) {
  const LoadedSegment& segment = link(k);
  GroupReader reader(file, segment.header, kScanWindowBytes);
  const uint64_t limit =
      end != 0 ? std::min(end, segment.header.file_bytes) : segment.header.file_bytes;
  uint64_t at = format::kFirstGroupBlock * uint64_t{segment.header.block_bytes};
  entry->end = at;
  GroupView view;
  Expectation expected{entry->first_lsn, entry->epoch, checksum_, false};
  while (at < limit || end == 0) {
    Defect defect = Defect::none;
    uint64_t bad_offset = 0;
    Status status = reader.read(at, limit, expected, &view, &defect, &bad_offset);
    if (!status.ok()) return std::move(status).at(segment.sequence, at);
    if (defect == Defect::none) {
      pass_group(view, entry);
      expected = {last_lsn_ + 1, entry->epoch, checksum_, true};
      at = entry->end;
      continue;
    }
    if (end == 0 && policy_.live && (live_goal_ == 0 || last_lsn_ < live_goal_)) {
      bool moved_on = false;
      status = look_again(&reader, file, segment, at, expected, &moved_on);
      if (!status.ok()) return status;
      if (moved_on) continue;
    }
    out_->report.scanned_bytes += entry->end;
    if (end != 0) {
      // What is cut here was durable: it is kept aside before its bytes are given up.
      note(defect_evidence(defect), segment.sequence, bad_offset, defect_reason(defect));
      stopped_ = true;
      out_->tail_end = limit;
      out_->report.truncated_bytes += limit - entry->end;
      return look_at_rest(k);
    }
    const bool continues = k + 1 < chain_.size() && link(k + 1).start.predecessor.end == at &&
                           link(k + 1).start.predecessor.sequence == segment.sequence &&
                           link(k + 1).start.predecessor.last_lsn == last_lsn_ &&
                           defect == Defect::nothing;
    if (continues) return {};
    stopped_ = true;
    if (defect != Defect::nothing && defect != Defect::incomplete) {
      note(defect_evidence(defect), segment.sequence, bad_offset, defect_reason(defect));
    }
    return look_behind(k, file, at);
  }
  out_->report.scanned_bytes += entry->end;
  return {};
}

// Beside a writer a place may be unwritten when it is read and written when what lies behind it is:
// only what is still missing after the evidence against it was seen is missing.
Status Examiner::look_again(GroupReader* reader, io::File& file, const LoadedSegment& segment,
                            uint64_t at, const Expectation& expected, bool* moved_on) {
  TailEvidence tail;
  Status status =
      scan_tail(file, segment.header, at, segment.header.file_bytes, kScanWindowBytes, &tail);
  if (!status.ok()) return status;
  Defect defect = Defect::none;
  uint64_t bad_offset = 0;
  GroupView view;
  reader->window().forget();
  status = reader->read(at, segment.header.file_bytes, expected, &view, &defect, &bad_offset);
  if (!status.ok()) return std::move(status).at(segment.sequence, at);
  *moved_on = defect == Defect::none;
  live_goal_ = std::max(
      {live_goal_, tail.watermark_lsn, uint64_t{1}});  // no further: the writer may be as fast
  if (!*moved_on && tail.watermark_lsn > last_lsn_) {
    note(kBelowWatermark, segment.sequence, at, defect_reason(Defect::incomplete));
  }
  return {};
}

// The chain of groups is broken at `from` in an unsealed segment: what lies behind tells why.
Status Examiner::look_behind(size_t k, io::File& file, uint64_t from) {
  const LoadedSegment& segment = link(k);
  TailEvidence tail;
  tail.base_lsn = last_lsn_;
  // Beside a writer, look_again() has judged this already; what was written since is no evidence.
  if (policy_.live) return {};
  Status status =
      scan_tail(file, segment.header, from, segment.header.file_bytes, kScanWindowBytes, &tail);
  if (!status.ok()) return status;
  out_->report.scanned_bytes += segment.header.file_bytes - from;
  highest_lsn_ = std::max(highest_lsn_, tail.highest_lsn);
  lost_unknown_ = lost_unknown_ || tail.headless;
  out_->highest_epoch = std::max(out_->highest_epoch, tail.highest_epoch);
  if (tail.damaged)
    note(kDamagedSector, segment.sequence, tail.damaged_offset, defect_reason(Defect::damaged));
  if (tail.short_file)
    note(kShortFile, segment.sequence, segment.size, defect_reason(Defect::short_file));
  if (tail.watermark_lsn > last_lsn_ || tail.watermark_end > from) {
    note(kBelowWatermark, segment.sequence, from, defect_reason(Defect::incomplete));
  }
  if (tail.current) note(kTrailing, segment.sequence, from, "a write was torn");
  if (tail.used_end > from) {
    out_->tail_end = tail.used_end;
    out_->report.truncated_bytes += tail.used_end - from;
  }
  return look_at_rest(k);
}

// Segments after the broken one, of the chain or only prepared.
Status Examiner::look_at_rest(size_t k) {
  for (const LoadedSegment& segment : loaded_) {
    if (segment.sequence <= link(k).sequence || segment.header_state != HeaderState::valid ||
        segment.alien)
      continue;
    const uint64_t from = format::kFirstGroupBlock * uint64_t{segment.header.block_bytes};
    Status status = look_at(segment, from, true);
    if (!status.ok()) return status;
  }
  return {};
}

Status Examiner::look_at(const LoadedSegment& loaded, uint64_t from, bool whole_file) {
  std::unique_ptr<io::File> file;
  Status status = open_file(loaded, true, &file);
  if (!status.ok()) return status;
  looked_at_.push_back(loaded.sequence);
  TailEvidence tail;
  tail.base_lsn = last_lsn_;
  status = scan_tail(*file, loaded.header, from, loaded.header.file_bytes, kScanWindowBytes, &tail);
  if (!status.ok()) return status;
  out_->report.scanned_bytes += loaded.header.file_bytes - from;
  out_->report.scanned_segments += whole_file ? 1 : 0;
  highest_lsn_ = std::max(highest_lsn_, tail.highest_lsn);
  lost_unknown_ = lost_unknown_ || tail.headless;
  out_->highest_epoch = std::max(out_->highest_epoch, tail.highest_epoch);
  if (loaded.sealed() && loaded.seal.seal.last_lsn > last_lsn_) {
    note(kSealContradicted, loaded.sequence, loaded.header.block_bytes,
         defect_reason(Defect::incomplete));
  }
  if (tail.damaged)
    note(kDamagedSector, loaded.sequence, tail.damaged_offset, defect_reason(Defect::damaged));
  if (tail.watermark_lsn > last_lsn_ || tail.watermark_end > from) {
    note(kBelowWatermark,
         out_->segments.empty() ? loaded.sequence : out_->segments.back().header.sequence,
         out_->segments.empty() ? 0 : out_->segments.back().end, defect_reason(Defect::incomplete));
  }
  if (tail.current) note(kTrailing, loaded.sequence, from, "a write was torn");
  if (tail.current || tail.damaged) {
    used_.push_back(loaded.sequence);
    out_->report.truncated_bytes += tail.used_end - from;
    out_->dead.push_back(loaded.name);
  }
  return {};
}

// Where lives begin, for segments of which nobody states the end any more.
Status Examiner::find_begins() {
  for (const LoadedSegment& loaded : loaded_) {
    if (loaded.started())
      begins_.push_back({loaded.sequence, loaded.start_group.epoch, loaded.start_group.first_lsn});
    if (loaded.started() || !loaded.readable()) continue;
    std::unique_ptr<io::File> file;
    Status status = open_file(loaded, false, &file);
    if (!status.ok()) return status;
    TailEvidence tail;
    const uint64_t from = format::kFirstGroupBlock * uint64_t{loaded.header.block_bytes};
    status =
        scan_tail(*file, loaded.header, from, loaded.header.file_bytes, kScanWindowBytes, &tail);
    if (!status.ok()) return std::move(status).at(loaded.sequence, from);
    if (tail.first_lsn != 0) begins_.push_back({loaded.sequence, tail.first_epoch, tail.first_lsn});
  }
  return {};
}

uint64_t Examiner::epoch_of(const LoadedSegment& segment) const {
  for (const Begin& begin : begins_) {
    if (begin.sequence == segment.sequence) return begin.epoch;
  }
  return out_->state.epoch.number;
}

// The first LSN that a later life gave: from there on, what an earlier one wrote was cut. With the
// start group of the later life its statement of the cut is lost, but not the LSNs of its records.
uint64_t Examiner::ceiling(uint64_t epoch) const {
  uint64_t lowest = UINT64_MAX;
  for (const Begin& begin : begins_) {
    if (begin.epoch > epoch) lowest = std::min(lowest, begin.first_lsn);
  }
  return lowest;
}

// Reads on behind damage. What is missing becomes a known hole or, where only known ones are
// allowed, is new damage: *fresh.
Status Examiner::scan_damaged(const LoadedSegment& loaded, uint64_t limit, uint64_t last_lsn,
                              bool may_lose, SegmentEntry* entry, bool* fresh) {
  std::unique_ptr<io::File> file;
  Status status = open_file(loaded, false, &file);
  if (!status.ok()) return status;
  GroupReader reader(*file, loaded.header, kScanWindowBytes);
  GroupView view;
  Expectation any;
  any.any = true;
  bool room = true;
  uint64_t at = format::kFirstGroupBlock * uint64_t{loaded.header.block_bytes};
  entry->end = at;
  const auto lose = [&](uint64_t next) {
    if (next <= last_lsn_ + 1 || format::is_hole(out_->state.holes, last_lsn_ + 1, next - 1))
      return;
    *fresh = true;
    if (!may_lose) return;
    out_->report.lost.push_back(
        {last_lsn_ + 1, next - 1, loaded.sequence, entry->end, bad_reason_, ""});
    room = format::add_hole(&out_->state.holes, last_lsn_ + 1, next - 1) && room;
  };
  while (at < limit && (may_lose || !*fresh)) {
    Defect defect = Defect::none;
    uint64_t bad_offset = 0;
    status = reader.read(at, limit, any, &view, &defect, &bad_offset);
    if (!status.ok()) return std::move(status).at(loaded.sequence, at);
    if (defect == Defect::none &&
        view.header.first_lsn + view.header.count > ceiling(view.header.epoch))
      break;
    if (defect == Defect::none && view.header.first_lsn > last_lsn_) {
      lose(view.header.first_lsn);
      pass_group(view, entry);
      at = entry->end;
      continue;
    }
    entry->salvaged = true;
    SalvagedRegion region;
    status = salvage_region(&reader, at, limit, last_lsn_, &region);
    if (!status.ok()) return std::move(status).at(loaded.sequence, at);
    for (const SalvagedRecord& record : region.records) {
      if (record.lsn >= ceiling(entry->epoch)) break;
      lose(record.lsn);
      last_lsn_ = record.lsn;
      out_->report.records++;
      entry->end = region.resume;
    }
    at = region.resume;
  }
  lose(last_lsn + 1);
  if (!room)
    return Status::of(Code::corrupt, "there are more separate losses than a log can record");
  last_lsn_ = std::max(last_lsn_, last_lsn);
  highest_lsn_ = std::max(highest_lsn_, last_lsn_);
  entry->last_lsn = last_lsn_;
  return {};
}

// Salvage of one segment. `stated` is where a later life says that it ends, its end 0 if none does.
Status Examiner::salvage_segment(const LoadedSegment& loaded, const format::Predecessor& stated) {
  SegmentEntry entry;
  entry.header = loaded.header;
  entry.first_lsn = loaded.started() ? loaded.start_group.first_lsn : last_lsn_ + 1;
  entry.epoch = epoch_of(loaded);
  uint64_t limit = std::min(loaded.header.file_bytes, loaded.size);
  uint64_t last_lsn = 0;
  if (stated.end != 0) {
    limit = std::min(limit, stated.end);
    last_lsn = stated.last_lsn;
  } else if (loaded.sealed()) {
    limit = std::min(limit, loaded.seal.seal.end);
    last_lsn = loaded.seal.seal.last_lsn;
  }
  const bool proven = stated.end != 0 || loaded.sealed();
  bool fresh = false;
  Status status = scan_damaged(loaded, limit, last_lsn, true, &entry, &fresh);
  if (!status.ok()) return status;
  // An end that nothing proves is not followed by what follows it now: it is scanned like this from
  // now on.
  const bool seal_hurt =
      loaded.seal_defect == Defect::damaged || loaded.seal_defect == Defect::inconsistent;
  const bool whole = !entry.salvaged && !fresh && proven && loaded.started() &&
                     !loaded.header_rebuilt && !seal_hurt &&
                     loaded.size == loaded.header.file_bytes;
  entry.salvaged = !whole || is_salvaged(loaded.sequence);
  entry.sealed = true;
  entry.cut = stated.end != 0 && !(loaded.sealed() && loaded.seal.seal.end == stated.end);
  if (entry.salvaged) accept_damaged(loaded.sequence);
  out_->segments.push_back(entry);
  return {};
}

// Point-in-time keeps what precedes the first loss, in files that may be damaged where no record
// lies.
void Examiner::accept_kept_files() {
  for (SegmentEntry& entry : out_->segments) {
    for (const LoadedSegment& loaded : loaded_) {
      if (loaded.sequence != entry.header.sequence || loaded.alien) continue;
      const bool seal_hurt =
          loaded.seal_defect == Defect::damaged || loaded.seal_defect == Defect::inconsistent;
      const bool whole = loaded.header_state == HeaderState::valid &&
                         loaded.size == loaded.header.file_bytes && !seal_hurt;
      if (whole) continue;
      entry.salvaged = true;
      accept_damaged(loaded.sequence);
    }
  }
}

void Examiner::accept_damaged(uint64_t sequence) {
  if (!is_salvaged(sequence)) out_->state.salvaged.push_back(sequence);
}

bool Examiner::is_salvaged(uint64_t sequence) const {
  return std::count(out_->state.salvaged.begin(), out_->state.salvaged.end(), sequence) > 0;
}

// A segment accepted in spite of damage: what cannot be read must be a known hole; else it is new
// damage.
Status Examiner::walk_salvaged(size_t k) {
  const LoadedSegment& segment = link(k);
  SegmentEntry entry;
  entry.header = segment.header;
  entry.first_lsn = segment.started() ? segment.start_group.first_lsn : last_lsn_ + 1;
  entry.epoch = epoch_of(segment);
  entry.sealed = entry.salvaged = true;
  uint64_t last_lsn = 0;
  const uint64_t end = proven_end(k, &last_lsn);
  entry.cut = end != 0 && !(segment.sealed() && segment.seal.seal.end == end);
  const uint64_t limit = std::min(segment.header.file_bytes, segment.size);
  bool fresh = false;
  Status status = scan_damaged(segment, end != 0 ? std::min(end, limit) : limit, last_lsn, false,
                               &entry, &fresh);
  if (!status.ok()) return status;
  out_->report.scanned_segments++;
  out_->report.scanned_bytes += entry.end;
  out_->segments.push_back(entry);
  if (fresh) {
    note(kDamagedSector, segment.sequence, entry.end, defect_reason(Defect::damaged));
    stopped_ = true;
  }
  return {};
}

// Keeps every readable record of all segments; what is missing between them becomes known holes.
Status Examiner::salvage_all() {
  out_->segments.clear();
  out_->dead.clear();
  out_->report.records = 0;
  out_->tail_end = 0;
  for (const Missing& missing : missing_) {
    if (missing.sequence >= out_->state.first_sequence) accept_damaged(missing.sequence);
  }
  if (chain_.empty()) assume_state();
  begins_.clear();
  Status found = find_begins();
  if (!found.ok()) return found;
  last_lsn_ = out_->state.first_lsn - 1;
  for (const LoadedSegment& loaded : loaded_) {
    if (loaded.sequence < out_->state.first_sequence && !loaded.alien) continue;
    if (!loaded.readable()) {
      out_->dead.push_back(loaded.name);
      continue;
    }
    format::Predecessor end;
    bool superseded = false;  // cut as a whole by a later life
    for (size_t k = 0; k < chain_.size(); k++) {
      const format::Predecessor& stated = link(k).start.predecessor;
      if (!link(k).life_start()) continue;
      if (stated.sequence == loaded.sequence) end = stated;
      superseded =
          superseded || (stated.sequence < loaded.sequence && loaded.sequence < link(k).sequence);
    }
    if (superseded) continue;
    Status status;
    bool used = loaded.started() || loaded.start_defect != Defect::nothing;
    if (!used) status = find_use(loaded, &used);
    if (status.ok() && !used) continue;  // only prepared
    if (status.ok()) status = salvage_segment(loaded, end);
    if (!status.ok()) return status;
  }
  closed_ = false;
  // A head that was behind the damage leaves nothing to miss below it.
  const uint64_t first = std::min(out_->state.first_lsn, stated_first_lsn_);
  std::erase_if(out_->state.holes, [&](const format::Hole& hole) { return hole.to < first; });
  std::erase_if(out_->report.lost, [&](const LostRange& lost) { return lost.to < first; });
  for (format::Hole& hole : out_->state.holes) hole.from = std::max(hole.from, first);
  for (LostRange& lost : out_->report.lost) lost.from = std::max(lost.from, first);
  return keep_rest();
}

// Without any start group, the log begins with the first group that can be read.
void Examiner::assume_state() {
  for (const LoadedSegment& loaded : loaded_) {
    if (!loaded.readable()) continue;
    std::unique_ptr<io::File> file;
    TailEvidence found;
    const uint64_t from = format::kFirstGroupBlock * uint64_t{loaded.header.block_bytes};
    if (!open_file(loaded, false, &file).ok()) continue;
    if (!scan_tail(*file, loaded.header, from, loaded.header.file_bytes, kScanWindowBytes, &found)
             .ok())
      continue;
    if (found.first_lsn == 0) continue;
    out_->state.first_sequence = loaded.sequence;
    out_->state.first_lsn = found.first_lsn;
    return;
  }
}

// What lies behind the last record that was salvaged is kept aside before its bytes are given up.
Status Examiner::keep_rest() {
  if (out_->segments.empty()) return {};
  const SegmentEntry& last = out_->segments.back();
  for (const LoadedSegment& loaded : loaded_) {
    if (loaded.sequence != last.header.sequence) continue;
    std::unique_ptr<io::File> file;
    Status status = open_file(loaded, false, &file);
    if (!status.ok()) return status;
    TailEvidence tail;
    status =
        scan_tail(*file, loaded.header, last.end, last.header.file_bytes, kScanWindowBytes, &tail);
    if (!status.ok()) return status;
    if (tail.used_end > last.end) out_->tail_end = tail.used_end;
  }
  return {};
}

// Whether a file without a start group holds anything of its life: it was in use, and is not just
// prepared.
Status Examiner::find_use(const LoadedSegment& loaded, bool* used) {
  *used = std::count(used_.begin(), used_.end(), loaded.sequence) > 0;
  if (*used || std::count(looked_at_.begin(), looked_at_.end(), loaded.sequence) > 0) return {};
  std::unique_ptr<io::File> file;
  Status status = open_file(loaded, false, &file);
  if (!status.ok()) return status;
  TailEvidence tail;
  const uint64_t from = format::kFirstGroupBlock * uint64_t{loaded.header.block_bytes};
  status = scan_tail(*file, loaded.header, from, loaded.header.file_bytes, kScanWindowBytes, &tail);
  if (!status.ok()) return std::move(status).at(loaded.sequence, from);
  out_->highest_epoch = std::max(out_->highest_epoch, tail.highest_epoch);
  looked_at_.push_back(loaded.sequence);
  *used = tail.used_end > 0;
  if (*used) used_.push_back(loaded.sequence);
  return {};
}

// What is not of the accepted log: removed if it never was or no longer is of it, kept aside if it
// was cut, be it by a later life that a crash kept from moving it.
Status Examiner::sort_files() {
  for (const LoadedSegment& loaded : loaded_) {
    const auto is_kept = [&](const SegmentEntry& entry) {
      return entry.header.sequence == loaded.sequence;
    };
    if (std::any_of(out_->segments.begin(), out_->segments.end(), is_kept)) continue;
    if (std::find(out_->dead.begin(), out_->dead.end(), loaded.name) != out_->dead.end()) continue;
    bool used = true;
    if (loaded.header_state == HeaderState::valid && !loaded.alien && !loaded.started() &&
        loaded.start_defect == Defect::nothing && loaded.sequence >= out_->state.first_sequence) {
      Status status = find_use(loaded, &used);
      if (!status.ok()) return status;
    }
    const bool released = loaded.sequence < out_->state.first_sequence && !loaded.alien;
    (released || !used ? out_->leftover : out_->dead).push_back(loaded.name);
  }
  out_->leftover.insert(out_->leftover.end(), temporary_.begin(), temporary_.end());
  return {};
}

Status Examiner::refuse(const RecoveryRow& row) const {
  const Code code = row.verdict == Verdict::corrupt ? Code::corrupt : Code::torn_tail;
  Status status = Status::of(code, bad_reason_ + " (" + row.name + ": " + row.why + ")");
  status.path = directory_ + "/" + segment_name(bad_segment_);
  return std::move(status).at(bad_segment_, bad_offset_);
}

void Examiner::report_loss(const RecoveryRow& row) {
  RecoveryReport& report = out_->report;
  if (row.verdict == Verdict::clean ||
      (policy_.damage == OnDamage::skip && row.verdict == Verdict::corrupt))
    return;
  const uint64_t from = last_lsn_ + 1;
  // Damage or a tear where no records lie, such as in a header, a seal or a watermark, costs no
  // LSN.
  const bool cut_here = out_->tail_end != 0 || !out_->dead.empty();
  if (highest_lsn_ < from && !(lost_unknown_ && cut_here)) return;
  report.lost.push_back(
      {from, std::max(highest_lsn_, from), bad_segment_, bad_offset_, bad_reason_, ""});
}

Status Examiner::finish() {
  Status status;
  if (closed_ && !stopped_) evidence_ |= kClosed;
  if (closed_ && stopped_ && evidence_ == 0) evidence_ |= kClosed;  // a close group, its seal lost
  if (policy_.live) evidence_ &= ~uint32_t{kTrailing};
  const RecoveryRow& row = decide(evidence_);
  RecoveryReport& report = out_->report;
  for (auto segment = loaded_.rbegin();
       row.verdict == Verdict::corrupt && segment != loaded_.rend(); ++segment) {
    if (segment->started())
      highest_lsn_ = std::max(highest_lsn_, segment->start_group.first_lsn - 1);
    if (segment->sealed()) highest_lsn_ = std::max(highest_lsn_, segment->seal.seal.last_lsn);
  }
  report.verdict = row.verdict;
  report.closed = closed_;
  report.row = row.name;
  const OnDamage action = row.verdict == Verdict::corrupt     ? policy_.damage
                          : row.verdict == Verdict::torn_tail ? policy_.torn_tail
                                                              : OnDamage::cut;
  for (const format::Hole& hole : out_->state.holes) {
    report.lost.push_back({hole.from, hole.to, 0, 0, "known-hole", ""});
  }
  report_loss(row);
  if (row.verdict == Verdict::corrupt && action == OnDamage::skip) {
    status = salvage_all();
    if (!status.ok()) return status;
  }
  if (row.verdict == Verdict::corrupt && action == OnDamage::cut) accept_kept_files();
  if (policy_.live)
    last_lsn_ = std::min(last_lsn_, std::max(seen_watermark_, out_->state.first_lsn - 1));
  out_->last_checksum = checksum_;
  const size_t keep = out_->segments.size();
  for (size_t i = 0; i < keep; i++) {
    if (out_->segments[i].header.sequence >= out_->state.first_sequence) {
      out_->segments.erase(out_->segments.begin(),
                           out_->segments.begin() + static_cast<ptrdiff_t>(i));
      break;
    }
  }
  if (!out_->segments.empty()) {
    const uint64_t last = out_->segments.back().header.sequence;
    for (const LoadedSegment& loaded : loaded_) {
      if (loaded.sequence == last && loaded.started()) out_->before_last = loaded.start.predecessor;
    }
  }
  status = sort_files();
  if (!status.ok()) return status;
  report.first_lsn = out_->state.first_lsn;
  report.last_lsn = std::max(last_lsn_, report.first_lsn - 1);
  report.epoch = out_->state.epoch.number;
  report.live = policy_.live;
  // Without any start group nobody knows which LSNs and epochs were given: that is left to salvage.
  const bool blind = chain_.empty() && action == OnDamage::cut;
  return action == OnDamage::refuse || blind ? refuse(row) : Status{};
}

Status Examiner::run() {
  Status status = load_all();
  if (!status.ok()) return status;
  out_->empty = loaded_.empty();
  if (out_->empty) {
    out_->leftover = temporary_;
    out_->report.row = kRecoveryTable.back().name;
    return {};
  }
  find_chain();
  judge_files();
  status = move_head_on();
  if (!status.ok()) return status;
  if (!chain_.empty()) {
    status = walk();
    if (!status.ok()) return status;
    // A tip whose end is proven, or that was closed, is followed by nothing; look whether that is
    // true.
    if (!stopped_ && !policy_.live) {
      stopped_ = true;
      status = look_at_rest(chain_.size() - 1);
      if (!status.ok()) return status;
    }
    judge_missing();
  }
  return finish();
}

}  // namespace

Status examine(io::FileSystem& fs, const std::string& directory, const io::Probe& probe,
               const RecoveryPolicy& policy, Examination* out) {
  return Examiner(fs, directory, probe, policy, out).run();
}

}  // namespace stonelog::log
