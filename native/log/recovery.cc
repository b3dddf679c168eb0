#include "log/recovery.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "log/examiner.h"

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
  // Twenty digits may say more than 64 bits hold; sequences, like LSNs, are numbers of JavaScript.
  if (name.compare(0, 20, "00009007199254740991") > 0) return false;
  for (size_t i = 0; i < 20; i++) {
    if (name[i] < '0' || name[i] > '9') return false;
    *sequence = *sequence * 10 + static_cast<uint64_t>(name[i] - '0');
  }
  return *sequence > 0;
}

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

namespace {

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

// Of a name like "<segment>.wal.epoch<number>.cut"; 0 for any other. Whole files are moved once the
// life is durable; copies of tails are made before, by a life that may never begin.
uint64_t epoch_of_copy(const std::string& name) {
  constexpr char kMark[] = ".wal.epoch";
  constexpr uint64_t kMost = uint64_t{1} << 53;
  size_t at = name.rfind(kMark);
  if (at == std::string::npos) return 0;
  uint64_t epoch = 0;
  for (at += sizeof kMark - 1; at < name.size() && name[at] >= '0' && name[at] <= '9'; at++) {
    epoch = epoch * 10 + static_cast<uint64_t>(name[at] - '0');
    if (epoch >= kMost) return 0;
  }
  return epoch;
}

std::string version_text(uint32_t version) {
  return std::to_string(version >> 16) + "." + std::to_string(version & 0xffff);
}

}  // namespace

void Examiner::note(uint32_t evidence, uint64_t segment, uint64_t offset,
                    const std::string& reason) {
  // The first place that was noted; damage is said before a tear.
  constexpr uint32_t kNoDamage = kTrailing | kClosed;
  if (bad_reason_.empty() || ((evidence_ & ~kNoDamage) == 0 && (evidence & ~kNoDamage) != 0)) {
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
  // Nothing is believed, or shown to anyone, that a power cut could still take back. Names need no
  // sync here: a file takes records only once its own is durable.
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

// A header that was rebuilt names no log. Behind every segment with a header of its own it is taken
// for this log's only if its start group names one that is here as its predecessor, or an epoch of
// one: the file of another log, put beside them, must not be their end, whose heads would release
// them all.
void Examiner::find_rebuilt_aliens() {
  uint64_t highest = 0;
  for (const LoadedSegment& loaded : loaded_) {
    if (loaded.header_state == HeaderState::valid && !loaded.alien)
      highest = std::max(highest, loaded.sequence);
  }
  for (LoadedSegment& loaded : loaded_) {
    if (!loaded.header_rebuilt || !loaded.started() || highest == 0) continue;
    if (loaded.sequence <= highest) continue;
    loaded.alien = !is_vouched_for(loaded);
  }
}

bool Examiner::is_vouched_for(const LoadedSegment& rebuilt) const {
  const format::Predecessor& named = rebuilt.start.predecessor;
  const auto knows = [](const format::ControlState& state, const format::Id& epoch) {
    return state.epoch.id == epoch ||
           std::any_of(state.history.begin(), state.history.end(),
                       [&](const format::Epoch& past) { return past.id == epoch; });
  };
  return std::any_of(loaded_.begin(), loaded_.end(), [&](const LoadedSegment& other) {
    if (!other.readable() || &other == &rebuilt) return false;
    if (other.sequence == named.sequence && other.header.segment_id == named.segment_id)
      return true;
    // Ids of epochs are random: who shares one shares the log.
    return !other.header_rebuilt && other.started() &&
           knows(rebuilt.start.state, other.start.state.epoch.id);
  });
}

// Whether a later life cut the file as a whole: it only was not moved aside yet.
bool Examiner::is_superseded(uint64_t sequence) const {
  return std::any_of(chain_.begin(), chain_.end(), [&](const LoadedSegment* segment) {
    return segment->life_start() && segment->start.predecessor.sequence < sequence &&
           sequence < segment->sequence;
  });
}

// What is wrong with files as a whole; what salvage accepted before is no news.
void Examiner::judge_files() {
  for (const LoadedSegment& loaded : loaded_) {
    const std::vector<uint64_t>& salvaged = out_->state.salvaged;
    if (is_superseded(loaded.sequence)) continue;
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
  // What was kept aside is named after the epoch of the life that cut it, whatever is left of that.
  std::vector<std::string> kept;
  if (fs_.list(directory_ + "/" + kQuarantineName, &kept).ok()) {
    for (const std::string& name : kept)
      out_->highest_epoch = std::max(out_->highest_epoch, epoch_of_copy(name));
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
  find_rebuilt_aliens();
  for (const LoadedSegment& loaded : loaded_) {
    out_->highest_sequence = loaded.sequence;
    // Of a segment under another one's name as well: its records were given.
    const bool ours = !loaded.alien || loaded.header.log_id == out_->log_id;
    if (ours && loaded.start_defect == Defect::none)
      out_->highest_epoch = std::max(out_->highest_epoch, loaded.start_group.epoch);
    out_->highest_epoch = std::max(out_->highest_epoch, loaded.rebuilt_epoch);
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

// Whether a file may be all that there was of a life, and does not tell its epoch.
bool Examiner::hides_life(const LoadedSegment& loaded) const {
  if (!loaded.readable()) return true;
  const bool torn =
      loaded.start_defect == Defect::nothing || loaded.start_defect == Defect::incomplete;
  return !loaded.started() && !torn &&
         std::count(known_salvaged_.begin(), known_salvaged_.end(), loaded.sequence) == 0;
}

// What is not of the accepted log: removed if it never was or no longer is of it, kept aside if it
// was cut, be it by a later life that a crash kept from moving it.
Status Examiner::sort_files() {
  uint64_t unknown_lives = 0;
  for (const LoadedSegment& loaded : loaded_) {
    const auto is_kept = [&](const SegmentEntry& entry) {
      return entry.header.sequence == loaded.sequence;
    };
    const bool of_log = !loaded.alien && loaded.sequence >= out_->state.first_sequence;
    if ((of_log || loaded.alien) && hides_life(loaded)) unknown_lives++;
    if (std::any_of(out_->segments.begin(), out_->segments.end(), is_kept)) continue;
    if (std::find(out_->dead.begin(), out_->dead.end(), loaded.name) != out_->dead.end()) continue;
    bool used = true;
    if (of_log && loaded.readable() && !loaded.started() &&
        loaded.start_defect == Defect::nothing) {
      Status status = find_use(loaded, &used);
      if (!status.ok()) return status;
      used = used || loaded.header_rebuilt;
    }
    const bool released = loaded.sequence < out_->state.first_sequence && !loaded.alien;
    (released || !used ? out_->leftover : out_->dead).push_back(loaded.name);
  }
  // Of which life a file is that nothing is known of, or was before another log's took its name,
  // nobody can say; each may have been one of its own, and the epoch of none is to be given again.
  out_->highest_epoch += unknown_lives;
  out_->leftover.insert(out_->leftover.end(), temporary_.begin(), temporary_.end());
  return {};
}

Status Examiner::refuse(const RecoveryRow& row) const {
  const Code code = row.verdict == Verdict::corrupt ? Code::corrupt : Code::torn_tail;
  Status status = Status::of(code, bad_reason_ + " (" + row.name + ": " + row.why + ")");
  status.path = directory_ + "/" + segment_name(bad_segment_);
  return std::move(status).at(bad_segment_, bad_offset_);
}

// Damage elsewhere does not make a close undone; a later life does, whatever is left of it.
bool Examiner::was_closed() const {
  if (chain_.empty() || !(closed_ || chain_.back()->closed())) return false;
  const uint64_t last = chain_.back()->sequence;
  return std::none_of(loaded_.begin(), loaded_.end(), [&](const LoadedSegment& loaded) {
    return loaded.sequence > last &&
           (loaded.start_defect != Defect::nothing || !loaded.readable() ||
            std::count(used_.begin(), used_.end(), loaded.sequence) > 0);
  });
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
  report.closed = row.verdict == Verdict::corrupt ? was_closed() : closed_;
  report.row = row.name;
  if (row.verdict != Verdict::clean) {
    report.evidence_segment = bad_segment_;
    report.evidence_offset = bad_offset_;
    report.evidence_reason = bad_reason_;
  }
  const OnDamage action = row.verdict == Verdict::corrupt     ? policy_.damage
                          : row.verdict == Verdict::torn_tail ? policy_.torn_tail
                                                              : OnDamage::cut;
  forget_below_head();
  for (const format::Hole& hole : out_->state.holes) {
    report.lost.push_back({hole.from, hole.to, 0, 0, kKnownHole, ""});
  }
  report_loss(row);
  if (row.verdict == Verdict::corrupt && action == OnDamage::skip) {
    status = salvage_all();
    if (!status.ok()) return status;
  }
  if (row.verdict == Verdict::corrupt && action == OnDamage::cut) accept_kept_files();
  if (policy_.live) {
    const uint64_t seen = last_lsn_;
    last_lsn_ = std::min(seen, std::max(seen_watermark_, out_->state.first_lsn - 1));
    report.records -= std::min(report.records, seen - last_lsn_);  // nor are they counted
  }
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
    out_->report.live = policy_.live;
    return {};
  }
  find_chain();
  known_salvaged_ = out_->state.salvaged;
  judge_files();
  status = move_head_on();
  if (!status.ok()) return status;
  if (!chain_.empty()) {
    status = walk();
    if (!status.ok()) return status;
    // A tip whose end is proven, or that was closed, is followed by nothing; look whether that is
    // true. And where the walk ended early, what lies behind says how much is lost.
    const bool ended_early = stopped_;
    const bool settled = ended_early && policy_.damage == OnDamage::refuse && !policy_.scan_all;
    if (!rest_looked_at_ && !policy_.live && !settled) {
      stopped_ = true;
      const uint64_t kept = out_->segments.empty() ? 0 : out_->segments.back().header.sequence;
      status = look_at_rest(ended_early ? kept : link(chain_.size() - 1).sequence);
      if (!status.ok()) return status;
    }
    judge_missing();
  }
  return finish();
}

Status examine(io::FileSystem& fs, const std::string& directory, const io::Probe& probe,
               const RecoveryPolicy& policy, Examination* out) {
  Status status = Examiner(fs, directory, probe, policy, out).run();
  // What reads groups knows their segment, not its file.
  if (!status.ok() && status.path.empty() && status.segment != 0)
    status.path = directory + "/" + segment_name(status.segment);
  return status;
}

}  // namespace stonelog::log
