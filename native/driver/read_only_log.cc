#include "driver/read_only_log.h"

#include "driver/threads.h"

#include <time.h>

#include <algorithm>
#include <cerrno>

namespace stonelog::driver {

namespace {

// A look beside a running writer may meet files half way through a rotation; only what persists
// counts.
constexpr int kLooks = 8;
constexpr long kLookAgainNs = 5'000'000;
constexpr uint64_t kFreshNs = 2'000'000;  // a look younger than this is not repeated

void pause() {
  const timespec time{0, kLookAgainNs};
  nanosleep(&time, nullptr);
}

// One examination without the lock. Beside a writer nothing is synced and its unfinished groups are
// no evidence; without one, files are synced before they are believed, where the medium allows it.
Status examine_once(io::FileSystem& fs, const std::string& directory, const io::Probe& probe,
                    log::RecoveryPolicy policy, log::Examination* out) {
  uint64_t pid = 0;
  bool locked = false;
  Status status = fs.is_locked(directory + "/" + log::kLockName, &locked, &pid);
  if (!status.ok()) return status;
  policy.live = locked;
  policy.sync = !locked;
  policy.parallel = for_each_parallel;
  *out = log::Examination{};
  status = log::examine(fs, directory, probe, policy, out);
  if (status.code == Code::io && (status.error == EROFS || status.error == EINVAL) && policy.sync) {
    policy.sync = false;
    *out = log::Examination{};
    status = log::examine(fs, directory, probe, policy, out);
  }
  // A writer that opened or closed meanwhile: look again under the new circumstances.
  bool still = false;
  const bool changed =
      fs.is_locked(directory + "/" + log::kLockName, &still, &pid).ok() && still != locked;
  if (changed && !status.ok())
    status = Status::of(Code::aborted, "the log was opened or closed meanwhile");
  return status;
}

Status examine_patiently(io::FileSystem& fs, const std::string& directory, const io::Probe& probe,
                         const log::RecoveryPolicy& policy, log::Examination* out) {
  Status status;
  for (int look = 0; look < kLooks; look++) {
    if (look > 0) pause();
    status = examine_once(fs, directory, probe, policy, out);
    const bool may_pass = status.code == Code::aborted || status.code == Code::not_found ||
                          (out->report.live && out->report.verdict == log::Verdict::corrupt);
    if (!may_pass) break;
  }
  return status;
}

}  // namespace

std::string ReadOnlyLog::segment_path(uint64_t sequence) const {
  return options_.directory + "/" + log::segment_name(sequence);
}

Status ReadOnlyLog::open(io::FileSystem& fs, const OpenOptions& options, ReadOnlyLog** log,
                         log::RecoveryReport* report) {
  const uint64_t began_ns = now_ns();
  auto* opened = new ReadOnlyLog(fs, options);
  uint64_t device = 0;
  uint64_t inode = 0;
  Status status = fs.identity(options.directory, &device, &inode);
  if (status.ok()) status = fs.probe(options.directory, options.direct_io, false, &opened->probe_);
  if (status.ok()) status = opened->look(report);
  report->duration_ms = static_cast<double>(now_ns() - began_ns) / 1e6;
  if (!status.ok()) {
    opened->release();
    return status;
  }
  *log = opened;
  return {};
}

Status ReadOnlyLog::look(log::RecoveryReport* report) {
  log::Examination examination;
  Status status = examine_patiently(fs_, options_.directory, probe_, options_.policy, &examination);
  *report = examination.report;
  if (!status.ok()) return status;
  const std::lock_guard<std::mutex> guard(mutex_);
  // What was shown once stays shown: a look never takes a record back. A life that began behind a
  // cut does, and what it gave since is another content.
  const format::Epoch& epoch = examination.state.epoch;
  const bool later = !examination.empty && shown_epoch_ != 0 && epoch.number > shown_epoch_;
  const bool cut = later && epoch.first_lsn <= durable_lsn_;
  if (!examination.empty) shown_epoch_ = std::max(shown_epoch_, epoch.number);
  const uint64_t shown = cut ? 0 : durable_lsn_;
  durable_lsn_ = std::max(shown, examination.report.last_lsn);
  state_ = examination.state;
  live_ = examination.report.live;
  catalog_.assign(std::move(examination.segments));
  if (!catalog_.empty()) group_index().forget_before(catalog_.entries().front().header.sequence);
  looked_at_ns_ = now_ns();
  return {};
}

Status ReadOnlyLog::refresh() {
  const std::lock_guard<std::mutex> one_at_a_time(refresh_mutex_);
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (now_ns() - looked_at_ns_ < kFreshNs) return {};
  }
  log::RecoveryReport report;
  return look(&report);
}

ReadStart ReadOnlyLog::start_of(uint64_t lsn) {
  const std::lock_guard<std::mutex> guard(mutex_);
  ReadStart start = catalog_.start_of(lsn, state_);
  if (start.place == ReadStart::Place::unmade && durable_lsn_ > 0)
    start.place = ReadStart::Place::gone;
  return start;
}

bool ReadOnlyLog::segment_holding(uint64_t lsn, ReadableSegment* out) {
  const std::lock_guard<std::mutex> guard(mutex_);
  const log::SegmentEntry* entry = catalog_.holding(lsn);
  if (entry == nullptr) return false;
  *out = {*entry, entry != &catalog_.entries().back()};
  return true;
}

bool ReadOnlyLog::segment_now(uint64_t sequence, ReadableSegment* out) {
  const std::lock_guard<std::mutex> guard(mutex_);
  const log::SegmentEntry* entry = catalog_.find(sequence);
  if (entry == nullptr) return false;
  *out = {*entry, entry != &catalog_.entries().back()};
  return true;
}

bool ReadOnlyLog::segment_after(uint64_t sequence, ReadableSegment* out) {
  const std::lock_guard<std::mutex> guard(mutex_);
  const log::SegmentEntry* entry = catalog_.after(sequence);
  if (entry == nullptr) return false;
  *out = {*entry, entry != &catalog_.entries().back()};
  return true;
}

uint64_t ReadOnlyLog::first_lsn() {
  const std::lock_guard<std::mutex> guard(mutex_);
  return state_.first_lsn;
}

uint64_t ReadOnlyLog::durable_lsn() {
  const std::lock_guard<std::mutex> guard(mutex_);
  return durable_lsn_;
}

uint64_t ReadOnlyLog::epoch() {
  const std::lock_guard<std::mutex> guard(mutex_);
  return state_.epoch.number;
}

LogStats ReadOnlyLog::stats() {
  const std::lock_guard<std::mutex> guard(mutex_);
  LogStats out;
  out.segments = catalog_.entries().size();
  out.show_path(probe_);
  return out;
}

std::vector<format::Hole> ReadOnlyLog::holes() {
  const std::lock_guard<std::mutex> guard(mutex_);
  return state_.holes;
}

Status verify(io::FileSystem& fs, const std::string& directory, io::DirectIo direct_io,
              log::RecoveryReport* report) {
  const uint64_t began_ns = now_ns();
  uint64_t device = 0;
  uint64_t inode = 0;
  io::Probe probe;
  Status status = fs.identity(directory, &device, &inode);
  if (status.ok()) status = fs.probe(directory, direct_io, false, &probe);
  if (!status.ok()) return status;
  log::RecoveryPolicy policy;
  policy.torn_tail = log::OnDamage::cut;
  policy.damage = log::OnDamage::cut;
  policy.scan_all = true;
  log::Examination examination;
  status = examine_patiently(fs, directory, probe, policy, &examination);
  *report = examination.report;
  report->duration_ms = static_cast<double>(now_ns() - began_ns) / 1e6;
  // Damage is what a verification reports, also where nothing of the log could be accepted.
  return status.code == Code::corrupt && report->verdict == log::Verdict::corrupt ? Status{}
                                                                                  : status;
}

}  // namespace stonelog::driver
