#include "states/state_check.h"

#include <algorithm>

#include "driver/log.h"
#include "driver/reader.h"
#include "driver/registry.h"
#include "states/lone_writer.h"

namespace stonelog::states {

namespace {

constexpr uint64_t kSegmentBytes = 128 << 10;

class Deaf final : public driver::Listener {
 public:
  driver::Bell* progress() override { return nullptr; }
  driver::Bell* answer(uint64_t, const Status&, uint64_t) override { return nullptr; }
};

std::string text_of(const Status& status) { return status.path + ": " + status.detail; }

}  // namespace

std::string StateCheck::check(const DiskModel& model, const State& state, uint64_t number,
                              Found* found) {
  const Expectation& expected = ledger_.at(model.point());
  const Image image = model.image(state);
  RecordingFileSystem fs(image, recording_.probe, options_.seed, 0);
  std::string reason = check_log(fs, recording_.probe, expected, found);
  counters_->states++;
  counters_->records += found->records;
  if (found->verdict == log::Verdict::torn_tail) counters_->torn_tails++;
  if (reason.empty() && fs.changes() != 0) reason = "the examination changed a file";
  const uint64_t seed = options_.seed ^ (model.point() * 1'000'003 + number);
  for (uint64_t i = 0; i < options_.second_crashes && reason.empty(); i++) {
    reason = crash_again(image, expected, *found, seed + i * 7919);
    if (!reason.empty()) reason = "after a second crash: " + reason;
  }
  if (reason.empty() && options_.driver_every != 0 && seed % options_.driver_every == 0) {
    reason = open_for_real(image, expected, *found);
    if (!reason.empty()) reason = "opened by the driver: " + reason;
  }
  return reason;
}

// A new life on the state, a few records, and another crash somewhere in that. Whatever recovery
// accepted is there again, exactly that, until something new is appended.
std::string StateCheck::crash_again(const Image& image, const Expectation& expected,
                                    const Found& found, uint64_t seed) {
  RecordingFileSystem fs(image, recording_.probe, seed, 0);
  Expectation before = expected;
  before.clip(found.last_lsn);
  before.required = found.empty ? 0 : found.last_lsn;
  before.least_head = before.most_head = found.first_lsn;
  before.exists = !found.empty;
  before.closing = before.closed = false;
  bool created = false;
  Status status = io::make_directories(fs, kLogDirectory, &created);
  if (!status.ok()) return "no directory: " + text_of(status);
  LoneWriter writer(fs, kLogDirectory, recording_.probe, kSegmentBytes);
  status = writer.open();
  if (!status.ok()) return "no life can begin: " + text_of(status);
  if (writer.epoch() <= found.epoch)
    return "the new life has the epoch " + std::to_string(writer.epoch()) + ", which was given";
  fs.mark(Mark::opened, writer.examination().report.first_lsn,
          writer.examination().report.last_lsn);
  sim::Random random(seed);
  for (uint64_t i = 0; i < 3; i++) {
    std::string payload = "second " + std::to_string(seed) + " no " + std::to_string(i);
    payload.resize(payload.size() + random.below(random.chance(30) ? 9'000 : 300), '.');
    const uint64_t lsn = writer.append(payload);
    if (lsn == 0) return "an append on the recovered log is refused";
    fs.mark(Mark::admitted, lsn,
            hash_of(reinterpret_cast<const uint8_t*>(payload.data()), payload.size()));
    writer.run();
    if (writer.durable_lsn() < lsn) return "an append on the recovered log is not acknowledged";
    fs.mark(Mark::acknowledged, 0, lsn);
  }
  const Recording recording = fs.recorded();
  const Ledger ledger(recording, before);
  DiskModel model(recording);
  const size_t target =
      random.chance(20) ? recording.events.size() : random.below(recording.events.size() + 1);
  while (model.point() < target) model.advance();
  if (!model.violation().empty()) return "the seam's rules are broken: " + model.violation();
  const std::vector<State> states = model.states({4, 6, 3, false}, seed);
  const State& state = states[random.below(states.size())];
  RecordingFileSystem again(model.image(state), recording_.probe, seed, 0);
  Found second;
  const std::string reason = check_log(again, recording_.probe, ledger.at(target), &second);
  counters_->second++;
  counters_->records += second.records;
  if (reason.empty()) return {};
  return reason + "\n  the second crash came after:\n" + recording.describe_before(target, 30) +
         "  and left:\n" + model.describe(state);
}

std::string StateCheck::open_for_real(const Image& image, const Expectation& expected,
                                      const Found& found) {
  RecordingFileSystem fs(image, recording_.probe, options_.seed, 0);
  driver::OpenOptions options;
  options.directory = kLogDirectory;
  options.segment_bytes = kSegmentBytes;
  options.queue_bytes = 256 << 10;
  options.max_record_bytes = 64 << 10;
  options.min_free_bytes = 0;
  driver::Log* log = nullptr;
  log::RecoveryReport report;
  Status status = driver::open_shared(fs, options, &log, &report);
  if (!status.ok()) return text_of(status);
  std::string reason;
  if (report.last_lsn != found.last_lsn) reason = "another end than the examination's";
  {
    driver::Reader reader(log, report.first_lsn, UINT64_MAX);
    driver::RecordBatch batch;
    uint64_t next = report.first_lsn;
    while (reason.empty()) {
      status = reader.next(&batch);
      if (!status.ok()) reason = "the reader stops: " + text_of(status);
      if (!status.ok() || batch.empty()) break;
      for (size_t i = 0; i < batch.offsets.size(); i++, next++) {
        const Appended* appended = expected.find(next);
        const uint8_t* payload =
            batch.lengths[i] == 0 ? nullptr : batch.slab->data() + batch.offsets[i];
        if (appended == nullptr || appended->hash != hash_of(payload, batch.lengths[i]))
          reason = "LSN " + std::to_string(next) + " is read as something else";
      }
    }
    if (reason.empty() && next != found.last_lsn + 1) reason = "the reader ends early";
  }
  Deaf deaf;
  driver::Log::Session session;
  session.listener = &deaf;
  log->attach(&session);
  Code code = Code::ok;
  const std::string payload = "appended for real";
  if (log->append_sync(&session, reinterpret_cast<const uint8_t*>(payload.data()), payload.size(),
                       &code) != found.last_lsn + 1)
    reason = "an append does not go on behind the end";
  log->detach(&session);
  status = driver::close_shared(log);
  if (reason.empty() && !status.ok()) reason = "it cannot be closed: " + text_of(status);
  log::Examination after;
  status = log::examine(fs, kLogDirectory, recording_.probe, {}, &after);
  if (reason.empty() &&
      (!status.ok() || !after.report.closed || after.report.last_lsn != found.last_lsn + 1))
    reason = "closed, it is " + after.report.row + " " + text_of(status);
  counters_->driver++;
  return reason;
}

std::vector<size_t> interesting_points(const Recording& recording) {
  std::vector<size_t> out;
  DiskModel model(recording);
  for (size_t i = 0; i < recording.events.size(); i++) {
    model.advance();
    const Operation& op = recording.operations[recording.events[i].operation];
    const bool told =
        op.kind == Kind::mark &&
        (op.mark == Mark::acknowledged || op.mark == Mark::shown || op.mark == Mark::head_done ||
         op.mark == Mark::opened || op.mark == Mark::closed);
    if (told || (op.kind != Kind::mark && model.pending() > 0)) out.push_back(model.point());
  }
  return out;
}

}  // namespace stonelog::states
