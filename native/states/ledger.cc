#include "states/ledger.h"

#include <algorithm>
#include <functional>

#include "log/group_reader.h"

namespace stonelog::states {

namespace {

std::string number(uint64_t value) { return std::to_string(value); }

}  // namespace

const Appended* Expectation::find(uint64_t lsn) const {
  if (layers == nullptr) return nullptr;
  for (auto layer = layers->rbegin(); layer != layers->rend(); ++layer) {
    const auto found = layer->records->find(lsn);
    if (found != layer->records->end() && lsn <= layer->last) return &found->second;
  }
  return nullptr;
}

void Expectation::clip(uint64_t last) {
  if (layers == nullptr) return;
  std::vector<Layer> clipped = *layers;
  for (Layer& layer : clipped) layer.last = std::min(layer.last, last);
  layers = std::make_shared<const std::vector<Layer>>(std::move(clipped));
}

Ledger::Ledger(const Recording& recording, const Expectation& before) {
  // A period lasts from one opening to the next: what was appended in it may be in the log at any
  // point of it, since an admission is noted only after it was made.
  using Layers = std::vector<Expectation::Layer>;
  std::vector<std::shared_ptr<const Layers>> periods;
  std::shared_ptr<Records> newest;
  const auto begin_period = [&](Layers layers) {
    newest = std::make_shared<Records>();
    layers.push_back({newest, UINT64_MAX});
    periods.push_back(std::make_shared<const Layers>(std::move(layers)));
  };
  begin_period(before.layers == nullptr ? Layers{} : *before.layers);
  for (const Event& event : recording.events) {
    const Operation& op = recording.operations[event.operation];
    if (op.kind != Kind::mark) continue;
    if (op.mark == Mark::opened) {
      Expectation before_it;
      before_it.layers = periods.back();
      before_it.clip(op.last);
      begin_period(*before_it.layers);
    }
    if (op.mark == Mark::admitted) (*newest)[op.first] = {op.last, 0};
    if (op.mark == Mark::batch) {
      for (uint64_t lsn = op.first; lsn < op.last; lsn++) (*newest)[lsn].batch_last = op.last;
    }
  }
  size_t period = 0;
  Expectation now = before;
  now.layers = periods[0];
  points_.push_back(now);
  for (const Event& event : recording.events) {
    const Operation& op = recording.operations[event.operation];
    switch (op.kind == Kind::mark ? op.mark : Mark::none) {
      case Mark::acknowledged:
      case Mark::shown:
        now.required = std::max(now.required, op.last);
        break;
      case Mark::head_asked:
        now.most_head = std::max(now.most_head, op.last);
        break;
      case Mark::head_done:
        now.least_head = std::max(now.least_head, op.last);
        break;
      case Mark::opened:
        now.layers = periods[++period];
        now.required = std::max(now.required, op.last);
        now.least_head = std::max(now.least_head, op.first);
        now.exists = true;
        now.closing = now.closed = false;
        break;
      case Mark::closing:
        now.closing = true;
        break;
      case Mark::closed:
        now.closed = true;
        now.required = std::max(now.required, op.last);
        break;
      default:
        // Once an open writes, a closed log need no longer look closed.
        if (now.closed && (op.kind == Kind::names || op.kind == Kind::write)) now.closed = false;
        break;
    }
    points_.push_back(now);
  }
}

std::string read_records(io::FileSystem& fs, const io::Probe& probe, const std::string& directory,
                         const log::Examination& examination,
                         const std::function<std::string(uint64_t, const uint8_t*, size_t)>& each) {
  uint64_t next = examination.report.first_lsn;
  for (const log::SegmentEntry& entry : examination.segments) {
    std::unique_ptr<io::File> file;
    const std::string path = directory + "/" + log::segment_name(entry.header.sequence);
    Status status = fs.open(path, io::Access::read, probe.direct, 0, &file);
    if (!status.ok()) return path + " cannot be opened";
    log::GroupReader reader(*file, entry.header, 256 << 10);
    log::GroupView view;
    log::Expectation any;
    any.any = true;
    for (uint64_t at = format::kFirstGroupBlock * uint64_t{entry.header.block_bytes};
         at < entry.end; at += view.header.file_bytes) {
      log::Defect defect = log::Defect::none;
      uint64_t bad = 0;
      status = reader.read(at, entry.end, any, &view, &defect, &bad);
      if (!status.ok() || defect != log::Defect::none)
        return path + " cannot be read at " + number(at);
      for (size_t i = 0; i < view.records.size(); i++) {
        const uint64_t lsn = view.header.first_lsn + i;
        if (lsn < examination.report.first_lsn) continue;
        if (lsn != next) return "LSN " + number(lsn) + " follows " + number(next - 1);
        next++;
        const std::string reason =
            each(lsn, view.stream + view.records[i].payload_offset, view.records[i].payload_bytes);
        if (!reason.empty()) return reason;
      }
    }
  }
  if (next != examination.report.last_lsn + 1)
    return "the records end with " + number(next - 1) + ", the report with " +
           number(examination.report.last_lsn);
  return {};
}

std::string check_log(io::FileSystem& fs, const io::Probe& probe, const Expectation& expected,
                      Found* found) {
  std::vector<std::string> names;
  log::Examination examination;
  const bool there = fs.list(kLogDirectory, &names).ok();
  if (there) {
    Status status = log::examine(fs, kLogDirectory, probe, {}, &examination);
    if (!status.ok()) return "refused: " + status.path + ": " + status.detail;
  }
  found->empty = examination.empty;
  if (examination.empty) {
    return expected.exists || expected.required > 0 ? "the log is gone" : std::string();
  }
  const log::RecoveryReport& report = examination.report;
  found->first_lsn = report.first_lsn;
  found->last_lsn = report.last_lsn;
  found->verdict = report.verdict;
  found->epoch = report.epoch;
  if (report.last_lsn < expected.required)
    return "LSN " + number(expected.required) + " was acknowledged or shown, the log ends with " +
           number(report.last_lsn) + " (" + report.row + ")";
  if (report.first_lsn < expected.least_head || report.first_lsn > expected.most_head)
    return "the head is " + number(report.first_lsn) + ", not between " +
           number(expected.least_head) + " and " + number(expected.most_head);
  if (expected.closed && (!report.closed || report.last_lsn != expected.required))
    return "it was closed with LSN " + number(expected.required) + ", but it is " + report.row +
           " with " + number(report.last_lsn);
  const std::string reason = read_records(
      fs, probe, kLogDirectory, examination, [&](uint64_t lsn, const uint8_t* data, size_t size) {
        const Appended* appended = expected.find(lsn);
        if (appended == nullptr) return "LSN " + number(lsn) + " was never appended: a ghost";
        if (appended->hash != hash_of(data, size))
          return "LSN " + number(lsn) + " holds something else: " +
                 std::string(reinterpret_cast<const char*>(data), std::min<size_t>(size, 60));
        found->records++;
        return std::string();
      });
  if (!reason.empty()) return reason;
  const Appended* last = expected.find(report.last_lsn);
  if (last != nullptr && last->batch_last > report.last_lsn)
    return "half a batch: it ends with LSN " + number(last->batch_last);
  return {};
}

}  // namespace stonelog::states
