// What the handles ask for: appending, flushing, truncating, looking.
#include <algorithm>

#include "crc32c/crc32c.h"
#include "driver/log.h"

namespace stonelog::driver {

using log::Engine;

namespace {

// Larger payloads are checksummed and copied outside of the lock.
constexpr size_t kSmallPayloadBytes = 16 << 10;
constexpr size_t kMaxRecyclable = 4;
constexpr uint32_t kBurstsAlone = 2;
constexpr uint64_t kPreparationNs =
    2'000'000'000;  // how long emptying a log waits for a new segment

}  // namespace

void Log::attach(Session* session) {
  const std::lock_guard<WakingMutex> guard(mutex_);
  take_lease_away();  // only one that is alone knows the next LSN
  session->told_lsn = session->own_lsn = engine_->durable_lsn();
  sessions_.push_back(session);
}

void Log::detach(Session* session) {
  const std::lock_guard<WakingMutex> guard(mutex_);
  if (lease_holder_ == session) end_lease();
  // The end of its burst does not come any more.
  engine_->publish(now_ns());
  wake_for_work();
  std::erase(sessions_, session);
  const auto of_session = [&](const Waiter& waiter) { return waiter.session == session; };
  std::erase_if(flush_waiters_, of_session);
  std::erase_if(ready_waiters_, of_session);
}

// With the lock held, after an admission.
uint64_t Log::finish_append(Session* session, uint64_t lsn, Code code) {
  session->last_code = code;
  if (code == Code::ok) {
    session->own_lsn = lsn;
    return lsn;
  }
  // Room comes only by commits, also for whoever tries again without returning to its event loop.
  if (code == Code::backpressure && engine_->has_unpublished()) {
    engine_->publish(now_ns());
    wake_for_work();
  }
  const bool unprepared = code == Code::no_space || code == Code::io;
  session->refusal = unprepared ? prepare_failure_ : Status{};
  if (engine_->has_chore(now_ns())) mutex_.wake_one_later(&chores_);
  return lsn;
}

uint64_t Log::append(Session* session, const uint8_t* data, size_t size, log::Durability durability,
                     Code* code) {
  if (size > kSmallPayloadBytes) {
    log::RecordInput record{data, size, {}};
    format::sum_payload(data, size, &record.sum);
    return append_batch(session, &record, 1, durability, code);
  }
  const uint32_t crc = crc32c::extend(0, data, size);
  const std::lock_guard<WakingMutex> guard(mutex_);
  end_lease();
  // The clock is read once per group; publishing notes when the last append came.
  const uint64_t now = engine_->has_open_group() ? 0 : now_ns();
  const uint64_t lsn = engine_->admit_one(data, size, crc, durability, now, code);
  return finish_append(session, lsn, *code);  // apart: the order of arguments is not defined
}

uint64_t Log::append_batch(Session* session, log::RecordInput* records, size_t count,
                           log::Durability durability, Code* code) {
  std::unique_lock<WakingMutex> lock(mutex_);
  end_lease();
  const log::Admission admission = engine_->admit(records, count, durability, now_ns());
  *code = admission.code;
  const uint64_t last = admission.code == Code::ok ? admission.first_lsn + count - 1 : 0;
  finish_append(session, last, *code);
  if (admission.copy_pending) {
    lock.unlock();
    engine_->copy_payloads(admission, records, count);
    lock.lock();
    engine_->copied(admission);
    wake_for_work();  // a committer may have passed the group over
  }
  return admission.first_lsn;
}

uint64_t Log::append_sync(Session* session, const uint8_t* data, size_t size, Code* code) {
  log::RecordInput record{data, size, {}};
  format::sum_payload(data, size, &record.sum);
  std::unique_lock<WakingMutex> lock(mutex_);
  end_lease();
  const log::Admission admission = engine_->admit(&record, 1, log::Durability::group, now_ns());
  *code = admission.code;
  finish_append(session, admission.first_lsn, *code);
  if (*code != Code::ok) return 0;
  if (admission.copy_pending) {
    lock.unlock();
    engine_->copy_payloads(admission, &record, 1);
    lock.lock();
    engine_->copied(admission);
  }
  engine_->demand_all();
  while (engine_->durable_lsn() < admission.first_lsn && !engine_->poisoned()) {
    if (commit_one(&lock)) continue;
    if (begun_.has_value() && !awaiting_begun_) {
      await_begun(&lock);
    } else {
      wait_for_progress(&lock);
    }
  }
  // What others have appended meanwhile, a seal that is due, or the idle watermark some time after
  // this: a committer must be at work, or wait for that time.
  const bool more = !engine_->drained() || engine_->live_count() > 1;
  if (more || !is_armed_for(engine_->next_deadline(now_ns()))) wake_committer();
  if (engine_->durable_lsn() < admission.first_lsn) {
    *code = session->last_code = Code::io;  // admitted, but its fate is not known
    session->refusal = {};
    return admission.first_lsn;
  }
  return admission.first_lsn;
}

// One that has published a few bursts in a row appends alone, whoever else has the log open.
void Log::note_appender(const Session* session) {
  bursts_in_a_row_ = session == last_appender_ ? bursts_in_a_row_ + 1 : 0;
  last_appender_ = session;
  engine_->set_several_appenders(sessions_.size() > 1 && bursts_in_a_row_ < kBurstsAlone);
}

uint64_t Log::kick(Session* session, bool more) {
  std::unique_lock<WakingMutex> lock(mutex_);
  end_lease();
  note_appender(session);
  (void)take_begun();
  const uint64_t now = now_ns();
  if (!more || !engine_->may_gather()) {
    engine_->publish(now);
    commit_soon(&lock, session, now);
  }
  if (engine_->has_chore(now)) mutex_.wake_one_later(&chores_);
  return grant_lease(session);
}

void Log::flush(Session* session, uint64_t request, uint64_t up_to) {
  std::unique_lock<WakingMutex> lock(mutex_);
  end_lease();
  (void)take_begun();
  if (up_to > engine_->last_lsn()) {
    answer({session, request, 0}, Status::of(Code::bad_argument, "flush beyond lastLsn"), 0);
    return;
  }
  const uint64_t target = up_to == 0 ? engine_->last_lsn() : up_to;
  if (engine_->durable_lsn() >= target && !engine_->poisoned()) {
    answer({session, request, 0}, {}, engine_->durable_lsn());
    return;
  }
  if (engine_->poisoned()) {
    answer({session, request, 0}, engine_->failure(), 0);
    return;
  }
  const uint64_t now = now_ns();
  engine_->publish(now);
  engine_->demand_all();
  flush_waiters_.push_back({session, request, target});
  commit_soon(&lock, session, now);
}

void Log::ready(Session* session, uint64_t request) {
  const std::lock_guard<WakingMutex> guard(mutex_);
  end_lease();
  if (engine_->poisoned()) {
    answer({session, request, 0}, engine_->failure(), 0);
  } else if (engine_->ready()) {
    answer({session, request, 0}, {}, 0);
  } else if (engine_->space_refused() && engine_->space_code() == Code::io) {
    answer({session, request, 0}, prepare_failure_, 0);
  } else {
    engine_->publish();
    ready_waiters_.push_back({session, request, 0});
    wake_committer();
    mutex_.wake_one_later(&chores_);
  }
}

Status Log::wait_until_durable(std::unique_lock<WakingMutex>* lock, uint64_t group) {
  engine_->demand_all();
  wake_committer();
  while (engine_->durable_groups() <= group) {
    if (engine_->poisoned()) return engine_->failure();
    wait_for_progress(lock);
  }
  return {};
}

// Everything is to be released: ends the current segment, and waits until it is sealed.
Status Log::empty_current(std::unique_lock<WakingMutex>* lock, uint64_t lsn) {
  if (lsn != engine_->last_lsn() + 1) return {};
  const uint64_t give_up_ns = now_ns() + kPreparationNs;
  for (;;) {
    const Code code = engine_->rotate(now_ns());
    if (code == Code::ok) break;
    // Without a further segment what is sealed can be released all the same.
    if (code != Code::backpressure || now_ns() >= give_up_ns) return {};
    mutex_.wake_one_later(&chores_);
    wait_for_progress(lock, give_up_ns);
  }
  engine_->demand_all();
  wake_committer();
  while (!engine_->poisoned() && engine_->live_count() > 1) {
    wait_for_progress(lock);
  }
  return engine_->poisoned() ? engine_->failure() : Status{};
}

Status Log::truncate_before(uint64_t lsn, uint64_t* first_lsn) {
  const std::lock_guard<std::mutex> one_at_a_time(truncate_mutex_);
  Status moved = check_place();
  std::unique_lock<WakingMutex> lock(mutex_);
  if (!moved.ok() && !engine_->poisoned()) {
    engine_->poison(moved);
    progressed();
  }
  if (engine_->poisoned()) return engine_->failure();
  if (lsn > engine_->last_lsn() + 1)
    return Status::of(Code::bad_argument, "truncateBefore beyond the end of the log");
  Status status = empty_current(&lock, lsn);
  if (!status.ok()) return status;
  *first_lsn = engine_->state().first_lsn;
  uint64_t keep = 0;  // the first segment that stays
  uint64_t keep_lsn = 0;
  const std::vector<log::SegmentEntry>& sealed = catalog_.entries();
  size_t count = 0;
  while (count < sealed.size() && sealed[count].last_lsn < lsn) count++;
  if (count == 0) return {};
  if (count < sealed.size()) {
    keep = sealed[count].header.sequence;
    keep_lsn = sealed[count].first_lsn;
  } else {
    const Engine::Live oldest = engine_->live().front();
    keep = oldest.sequence;
    keep_lsn = oldest.first_lsn;
  }
  // The new head is durable before anything goes: else a power cut leaves a log whose head is
  // missing.
  take_lease_away();  // it counts on the blocks that the head takes
  uint64_t group = 0;
  const Code code = engine_->set_head(keep_lsn, keep, now_ns(), &group);
  if (code == Code::io) return prepare_failure_;
  if (code != Code::ok) return Status::of(code, "the new head cannot be recorded now");
  status = wait_until_durable(&lock, group);
  if (!status.ok()) return status;
  const std::vector<log::SegmentEntry> released = catalog_.release_before(keep);
  *first_lsn = keep_lsn;
  lock.unlock();
  group_index().forget_before(keep);
  return release_files(released);
}

Status Log::release_files(const std::vector<log::SegmentEntry>& released) {
  const uint64_t file_bytes = format::segment_file_bytes(options_.segment_bytes, probe_.block_size);
  std::vector<Recyclable> reuse;
  // Of a file that stays: it is not of the log any more, and the next open removes it.
  Status failure;
  for (const log::SegmentEntry& entry : released) {
    const std::string path = segment_path(entry.header.sequence);
    // What is damaged already may be worse than what was seen of it.
    const bool fits = !entry.salvaged && entry.header.file_bytes == file_bytes &&
                      entry.header.block_bytes == probe_.block_size;
    const std::string aside = options_.directory + "/recycle-" +
                              std::to_string(entry.header.sequence) + log::kTemporarySuffix;
    if (fits && reuse.size() < kMaxRecyclable && fs_.rename(path, aside).ok()) {
      reuse.push_back({aside, entry.header.tag(), entry.end});
      continue;
    }
    Status status = fs_.unlink(path);
    if (!status.ok() && status.code != Code::not_found && failure.ok()) failure = status;
  }
  Status status = fs_.sync_directory(options_.directory);
  const std::lock_guard<WakingMutex> guard(mutex_);
  if (!status.ok()) {
    engine_->poison(status);
    progressed();
    return status;
  }
  for (Recyclable& file : reuse) {
    if (recyclable_.size() < kMaxRecyclable) {
      recyclable_.push_back(std::move(file));
    } else {
      (void)fs_.unlink(file.path);
    }
  }
  mutex_.wake_one_later(&chores_);
  return failure;
}

uint64_t Log::last_lsn(Session* session) {
  const std::lock_guard<WakingMutex> guard(mutex_);
  if (session != nullptr && lease_holder_ == session) end_lease();
  return engine_->last_lsn();
}

uint64_t Log::durable_lsn() {
  if (shown_begun_.load(std::memory_order_relaxed)) {
    const std::lock_guard<WakingMutex> guard(mutex_);
    (void)take_begun();
  }
  return shown_durable_lsn_.load(std::memory_order_acquire);
}

uint64_t Log::first_lsn() {
  const std::lock_guard<WakingMutex> guard(mutex_);
  return engine_->state().first_lsn;
}

uint64_t Log::epoch() {
  const std::lock_guard<WakingMutex> guard(mutex_);
  return engine_->state().epoch.number;
}

log::RecoveryReport Log::report() {
  const std::lock_guard<WakingMutex> guard(mutex_);
  return report_;
}

bool Log::poisoned(Status* failure, uint64_t* durable_lsn, uint64_t* first_not_written) {
  if (!shown_poisoned_.load(std::memory_order_acquire)) return false;
  const std::lock_guard<WakingMutex> guard(mutex_);
  *failure = engine_->failure();
  *durable_lsn = engine_->durable_lsn();
  *first_not_written = engine_->first_not_written_lsn();
  return true;
}

std::vector<format::Hole> Log::holes() {
  const std::lock_guard<WakingMutex> guard(mutex_);
  return engine_->state().holes;
}

LogStats Log::stats(Session* session) {
  const std::lock_guard<WakingMutex> guard(mutex_);
  if (lease_holder_ == session) end_lease();
  LogStats out;
  out.counters = engine_->counters();
  out.pending_bytes = engine_->pending_bytes();
  out.segments = catalog_.entries().size() + engine_->live_count();
  out.prepared_segments = engine_->prepared_count();
  out.recycled_segments = recyclable_.size();
  out.zeroed_bytes = zeroed_bytes_;
  out.wakes = wakes_;
  out.begun = begun_count_;
  out.show_path(probe_);
  out.poisoned = engine_->poisoned();
  out.queue = queue_latency_;
  out.write = write_latency_;
  out.sync = sync_latency_;
  return out;
}

log::SegmentEntry Log::entry_of(const Engine::Live& live) const {
  log::SegmentEntry entry;
  entry.header = headers_.at(live.sequence);
  entry.first_lsn = live.first_lsn;
  entry.last_lsn = live.last_durable_lsn;
  entry.end = live.durable_end;
  entry.epoch = engine_->state().epoch.number;
  entry.sealed = live.final;
  return entry;
}

bool Log::readable(log::SegmentEntry* entry, ReadableSegment* out) {
  if (entry == nullptr) return false;
  out->entry = *entry;
  out->final = true;
  return true;
}

bool Log::find_holding(uint64_t lsn, ReadableSegment* out) {
  const std::vector<Engine::Live> live = engine_->live();
  for (size_t i = live.size(); i-- > 0;) {
    if (lsn >= live[i].first_lsn) {
      *out = {entry_of(live[i]), live[i].final};
      return true;
    }
  }
  return readable(catalog_.holding(lsn), out);
}

bool Log::find_after(uint64_t sequence, ReadableSegment* out) {
  if (readable(catalog_.after(sequence), out)) return true;
  for (const Engine::Live& live : engine_->live()) {
    if (live.sequence > sequence) {
      *out = {entry_of(live), live.final};
      return true;
    }
  }
  return false;
}

ReadStart Log::start_of(uint64_t lsn) {
  const std::lock_guard<WakingMutex> guard(mutex_);
  const format::ControlState& state = engine_->state();
  ReadStart start;
  start.lsn = lsn == 0 ? state.first_lsn : lsn;
  if (find_holding(start.lsn, &start.segment)) {
    start.place = ReadStart::Place::segment;
  } else if (find_after(0, &start.segment) &&
             format::is_hole(state.holes, start.lsn, start.segment.entry.first_lsn - 1)) {
    start.place = ReadStart::Place::hole;
  }
  return start;
}

bool Log::segment_holding(uint64_t lsn, ReadableSegment* out) {
  const std::lock_guard<WakingMutex> guard(mutex_);
  return find_holding(lsn, out);
}

bool Log::segment_now(uint64_t sequence, ReadableSegment* out) {
  const std::lock_guard<WakingMutex> guard(mutex_);
  for (const Engine::Live& live : engine_->live()) {
    if (live.sequence == sequence) {
      *out = {entry_of(live), live.final};
      return true;
    }
  }
  return readable(catalog_.find(sequence), out);
}

bool Log::segment_after(uint64_t sequence, ReadableSegment* out) {
  const std::lock_guard<WakingMutex> guard(mutex_);
  return find_after(sequence, out);
}

}  // namespace stonelog::driver
