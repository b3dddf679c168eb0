#include "every_byte/repair.h"

#include <algorithm>
#include <map>
#include <set>

#include "driver/read_only_log.h"
#include "driver/reader.h"
#include "format/bytes.h"
#include "format/stamp.h"

namespace stonelog::every_byte {

namespace {

using states::Image;
using states::LoneWriter;
using states::RecordingFileSystem;

constexpr uint64_t kSegmentBytes = 16 << 10;

std::string number(uint64_t value) { return std::to_string(value); }
std::string text_of(const Status& status) { return status.path + ": " + status.detail; }

class Repair {
 public:
  Repair(const Subject& subject, const Image& damaged, const Ruling& ruling, log::OnDamage mode,
         Counters* counters)
      : subject_(subject),
        damaged_(damaged),
        ruling_(ruling),
        mode_(mode),
        counters_(counters),
        fs_(damaged, probe(), 1, 0) {}

  std::string run() {
    log::RecoveryPolicy policy;
    policy.damage = mode_;
    policy.scan_all = true;
    LoneWriter writer(fs_, states::kLogDirectory, probe(), kSegmentBytes);
    Status status = writer.open(policy);
    if (!status.ok()) {
      // Another version, or another program's file: that is not damage, and no mode gets over it.
      if (status.code != Code::not_a_log && status.code != Code::unsupported_version)
        return "refused: " + text_of(status);
      counters_->unrepaired++;
      return {};
    }
    counters_->repaired++;
    report_ = writer.examination().report;
    const std::string added = "appended to what was repaired";
    const uint64_t lsn = writer.append(added);
    if (lsn != report_.last_lsn + 1) return "what is appended gets LSN " + number(lsn);
    writer.run();
    if (!writer.close()) return "it cannot be closed";
    std::string reason = read_all();
    if (reason.empty() && found_.erase(lsn) == 0) reason = "what was appended is not there";
    if (reason.empty()) reason = judge_epoch(writer.epoch());
    if (reason.empty()) reason = judge_losses();
    if (reason.empty()) reason = judge_kept();
    return reason;
  }

 private:
  // As any reader does it that knows of no damage.
  std::string read_all() {
    driver::OpenOptions options;
    options.directory = states::kLogDirectory;
    options.read_only = true;
    options.policy.scan_all = true;
    driver::ReadOnlyLog* log = nullptr;
    log::RecoveryReport report;
    Status status = driver::ReadOnlyLog::open(fs_, options, &log, &report);
    if (!status.ok()) return "repaired, it is refused: " + text_of(status);
    std::string reason;
    {
      driver::Reader reader(log, 0, UINT64_MAX);
      driver::RecordBatch batch;
      while (reason.empty()) {
        status = reader.next(&batch);
        if (!status.ok()) reason = "the reader stops: " + text_of(status);
        if (!status.ok() || batch.empty()) break;
        reason = take(batch);
      }
    }
    for (const format::Hole& hole : log->holes()) holes_.push_back(hole);
    log->release();
    return reason;
  }

  std::string take(const driver::RecordBatch& batch) {
    size_t run = 0;
    for (size_t i = 0; i < batch.offsets.size(); i++) {
      while (run + 1 < batch.runs.size() && batch.runs[run + 1].index <= i) run++;
      const uint64_t lsn = batch.runs[run].first_lsn + (i - batch.runs[run].index);
      counters_->records++;
      if (!found_.insert(lsn).second) return "LSN " + number(lsn) + " is given twice";
      if (lsn > report_.last_lsn) continue;
      const states::Appended* appended = subject_.expected.find(lsn);
      const uint8_t* payload =
          batch.lengths[i] == 0 ? nullptr : batch.slab->data() + batch.offsets[i];
      if (appended == nullptr || appended->hash != states::hash_of(payload, batch.lengths[i]))
        return "LSN " + number(lsn) + " is not what was appended";
    }
    return {};
  }

  // (epoch, LSN) names one content for ever, but for what lay in a file that is not there any more.
  std::string judge_epoch(uint64_t epoch) const {
    for (const Group& group : subject_.groups) {
      if (damaged_.find(subject_.segments[group.file].path) == nullptr) continue;
      if (group.epoch >= epoch && group.last_lsn > report_.last_lsn)
        return "LSN " + number(report_.last_lsn + 1) + " is given in epoch " + number(epoch) +
               ", as LSN " + number(group.last_lsn) + " was";
    }
    return {};
  }

  // Nothing acknowledged goes without being named.
  std::string judge_losses() const {
    const uint64_t required = std::min(subject_.expected.required, last_known());
    for (uint64_t lsn = report_.first_lsn; lsn <= required; lsn++) {
      const auto names = [&](const auto& range) { return range.from <= lsn && lsn <= range.to; };
      if (found_.count(lsn) > 0) continue;
      if (lsn <= report_.last_lsn && std::none_of(holes_.begin(), holes_.end(), names))
        return "LSN " + number(lsn) + " is missing, and no hole";
      if (lsn <= ruling_.floor && std::none_of(report_.lost.begin(), report_.lost.end(), names))
        return "LSN " + number(lsn) + " is lost, and not reported; the end is " +
               number(report_.last_lsn) + ", " + report_.row + lost_text();
    }
    return {};
  }
  std::string lost_text() const {
    std::string out = "; reported:";
    for (const log::LostRange& lost : report_.lost)
      out += " " + number(lost.from) + "-" + number(lost.to) + " (" + lost.reason + ")";
    return out;
  }

  bool differs(const std::string& path, uint64_t from, uint64_t to) const {
    const states::Node* now = damaged_.find(path);
    if (now == nullptr || now->size < to) return true;
    std::vector<uint8_t> before(to - from);
    std::vector<uint8_t> after(to - from);
    subject_.image.find(path)->content.read(from, before.data(), before.size());
    now->content.read(from, after.data(), after.size());
    return before != after;
  }
  bool touched(const Group& group) const {
    return differs(subject_.segments[group.file].path, group.offset, group.end);
  }
  // Under a right stamp nothing tells an identity that was changed from that of another file.
  bool forged(const Group& group) const {
    const std::string& path = subject_.segments[group.file].path;
    const states::Node* now = damaged_.find(path);
    if (now == nullptr || now->size < kSector || !differs(path, 0, kSector)) return false;
    uint8_t before[kSector];
    uint8_t after[kSector];
    subject_.image.find(path)->content.read(0, before, sizeof before);
    now->content.read(0, after, sizeof after);
    return format::check_sector(after, 0, format::load<uint32_t>(before + format::kStampTag)) ==
           format::SectorState::group_start;
  }
  // The last LSN that anything left says was given.
  uint64_t last_known() const {
    uint64_t last = 0;
    for (const Group& group : subject_.groups) {
      const std::string& path = subject_.segments[group.file].path;
      if (!differs(path, group.offset, group.offset + kSector) && !forged(group))
        last = std::max({last, group.last_lsn, group.first_lsn - 1, group.durable_lsn});
    }
    return last;
  }

  // Salvage keeps what no damage touched; point-in-time everything before the first damage.
  std::string judge_kept() const {
    for (const Group& group : subject_.groups) {
      const bool hit = touched(group) || forged(group);
      if (hit && mode_ == log::OnDamage::cut) return {};
      for (uint64_t lsn = group.first_lsn; lsn <= group.last_lsn && !hit; lsn++) {
        if (lsn >= report_.first_lsn && found_.count(lsn) == 0)
          return "LSN " + number(lsn) + " is not kept, though nothing of its group changed; " +
                 report_.row + ", " + number(report_.last_lsn);
      }
    }
    return {};
  }

  const Subject& subject_;
  const Image& damaged_;
  const Ruling& ruling_;
  const log::OnDamage mode_;
  Counters* counters_;
  RecordingFileSystem fs_;
  log::RecoveryReport report_;
  std::set<uint64_t> found_;
  std::vector<format::Hole> holes_;
};

}  // namespace

std::string judge_repairs(const Subject& subject, const Image& damaged, const Ruling& ruling,
                          Counters* counters) {
  std::string reason = Repair(subject, damaged, ruling, log::OnDamage::skip, counters).run();
  if (!reason.empty()) return "salvage: " + reason;
  reason = Repair(subject, damaged, ruling, log::OnDamage::cut, counters).run();
  return reason.empty() ? reason : "point-in-time: " + reason;
}

}  // namespace stonelog::every_byte
