// Opening, the threads, and closing.
#include "driver/log.h"

#include <algorithm>
#include <cstring>

#include "driver/registry.h"
#include "driver/threads.h"
#include "io/host.h"
#include "log/segment_file.h"

namespace stonelog::driver {

using log::Engine;
using log::EngineOptions;
using log::Op;
using log::OpKind;

namespace {

constexpr uint64_t kPrepareAheadBytes = 8 << 20;  // small segments are prepared in greater number
constexpr uint32_t kMaxPrepareAhead = 8;

EngineOptions engine_options(const OpenOptions& options, const io::Probe& probe) {
  EngineOptions out;
  out.block_bytes = probe.block_size;
  out.segment_bytes = options.segment_bytes;
  out.max_record_bytes = options.max_record_bytes;
  out.queue_bytes = options.queue_bytes;
  out.max_group_bytes = static_cast<uint32_t>(options.max_group_bytes);
  out.max_group_records = static_cast<uint32_t>(options.max_group_records);
  out.pipeline_depth = options.pipeline_depth;
  out.max_delay_ns = static_cast<uint64_t>(options.max_delay_ms * 1e6);
  out.interval_ns = static_cast<uint64_t>(options.interval_ms * 1e6);
  out.dsync = probe.dsync_trusted;
  out.zeroes = !probe.copy_on_write;
  out.prepare_ahead = static_cast<uint32_t>(
      std::clamp<uint64_t>(kPrepareAheadBytes / options.segment_bytes, 1, kMaxPrepareAhead));
  return out;
}

std::string parent_of(const std::string& path) {
  const size_t end = path.find_last_not_of('/');
  const size_t slash = end == std::string::npos ? std::string::npos : path.rfind('/', end);
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

std::string Log::segment_path(uint64_t sequence) const {
  return options_.directory + "/" + log::segment_name(sequence);
}

Status Log::open(io::FileSystem& fs, const OpenOptions& options, Log** log,
                 log::RecoveryReport* report) {
  const uint64_t began_ns = now_ns();
  std::unique_ptr<io::Lock> lock;
  Status status = fs.lock(options.directory + "/" + log::kLockName, options.file_mode, &lock);
  if (!status.ok()) return status;
  auto* opened = new Log(fs, options);
  status = opened->start(std::move(lock), report);
  report->duration_ms = static_cast<double>(now_ns() - began_ns) / 1e6;
  opened->report_ = *report;
  if (!status.ok()) {
    if (opened->refused_) opened->lock_->abandon();
    opened->release();
    return status;
  }
  *log = opened;
  return {};
}

Log::~Log() = default;

Status Log::start(std::unique_ptr<io::Lock> lock, log::RecoveryReport* report) {
  lock_ = std::move(lock);
  Status status = fs_.probe(options_.directory, options_.direct_io, true, &probe_);
  if (status.ok()) status = fs_.identity(options_.directory, &device_, &inode_);
  if (!status.ok()) return status;
  log::Examination examination;
  log::RecoveryPolicy policy = options_.policy;
  policy.writing = true;
  policy.parallel = for_each_parallel;
  status = log::examine(fs_, options_.directory, probe_, policy, &examination);
  *report = examination.report;
  refused_ = !status.ok();
  if (refused_) return status;
  // Before anything is written: what queueBytes asks for may be more than there is.
  const EngineOptions engine = engine_options(options_, probe_);
  ring_ = std::make_unique<log::AlignedBuffer>();
  if (!ring_->try_resize(log::ring_bytes(engine)))
    return Status::system(Code::io, "mmap", ENOMEM, options_.directory);
  log::LifeStart start;
  status = begin(&examination, &start);
  *report = examination.report;
  if (!status.ok()) return status;

  seal_block_ = std::make_unique<log::AlignedBuffer>(engine.block_bytes);
  prepare_failure_ = start.shortage;
  engine_ = std::make_unique<Engine>(engine, ring_->data(), seal_block_->data(), start, now_ns());
  shown_durable_lsn_.store(engine_->durable_lsn(), std::memory_order_release);
  return start_threads();
}

Status Log::begin(log::Examination* examination, log::LifeStart* start) {
  Status status = fs_.sync_directory(options_.directory);
  // A directory whose creator died before it was synced would take the log with it.
  if (status.ok() && examination->empty) status = fs_.sync_directory(parent_of(options_.directory));
  if (!status.ok()) return status;
  log::LifeOptions life;
  life.directory = options_.directory;
  life.probe = probe_;
  life.segment_bytes = options_.segment_bytes;
  life.file_mode = options_.file_mode;
  format::SegmentHeader header;
  status = log::begin_life(fs_, life, examination, start, &header);
  if (!status.ok()) return status;
  log_id_ = header.log_id;
  for (log::SegmentEntry& entry : examination->segments) entry.sealed = true;
  catalog_.assign(examination->segments);
  headers_[header.sequence] = header;
  return fs_.open(segment_path(header.sequence), io::Access::read_write, probe_.direct,
                  options_.file_mode, &files_[header.sequence]);
}

Status Log::start_threads() {
  Status status;
  // One committer more than writes in flight: for a sync beside them, or for stamps.
  for (uint32_t i = 0; i <= options_.pipeline_depth && status.ok(); i++) {
    Thread thread;
    Parker* const own = &committer_parkers_.emplace_back();
    status = thread.start([this, own] { committer(own); });
    if (status.ok()) threads_.push_back(thread);
  }
  Thread thread;
  if (status.ok()) status = thread.start([this] { preparer(); });
  if (status.ok()) threads_.push_back(thread);
  if (!status.ok()) stop_threads();
  return status;
}

void Log::stop_threads() {
  {
    const std::lock_guard<WakingMutex> guard(mutex_);
    stopping_ = true;
    while (Parker* const idle = idle_committers_.take()) mutex_.wake_one_later(idle);
  }
  chores_.wake_all();
  for (Thread& thread : threads_) thread.join();
  threads_.clear();
}

void Log::committer(Parker* own) {
  block_signals();
  io::wish_time_slice(kShortSliceNs);
  std::unique_lock<WakingMutex> lock(mutex_);
  for (;;) {
    (void)take_begun();  // the thread that began it may be busy
    if (commit_one(&lock) || stamp_one(&lock)) continue;
    if (must_await_begun()) {
      await_begun(&lock);
      continue;
    }
    // What another thread is just beginning is still using the files.
    if (stopping_ && !begun_.has_value()) return;
    wait_for_work(&lock, own);
  }
}

// Until something became durable, or was made ready, since the lock was taken.
void Log::wait_for_progress(std::unique_lock<WakingMutex>* lock, uint64_t deadline_ns) {
  const uint32_t ticket = progress_.prepare();
  waiting_threads_++;
  if (must_await_begun()) wake_committer();
  lock->unlock();
  progress_.wait(ticket, deadline_ns);
  lock->lock();
  waiting_threads_--;
}

// Looking out for work for a while before sleeping was tried: with two cores it costs more than the
// wake, since the kernel's own threads want the core (docs/performance-notes.md).
void Log::wait_for_work(std::unique_lock<WakingMutex>* lock, Parker* own) {
  const uint64_t now = now_ns();
  uint64_t deadline = engine_->next_deadline(now);
  if (begun_.has_value()) deadline = std::min(deadline, now + kLookAfterNs);
  const uint32_t ticket = own->prepare();
  armed_deadline_ns_ = std::min(armed_deadline_ns_, deadline);
  idle_committers_.enter(own);
  lock->unlock();
  own->wait(ticket, deadline);
  lock->lock();
  idle_committers_.leave(own);
  armed_deadline_ns_ = UINT64_MAX;
}

// A write that the appending thread began in vain comes first: what follows waits for it.
bool Log::next_op(uint64_t now, uint64_t wall_micros, Op* op) {
  if (returned_.has_value()) {
    *op = *returned_;
    returned_.reset();
    if (!engine_->poisoned()) return true;
    finish_op(*op, engine_->failure(), 0);
    return false;
  }
  engine_->tick(now);
  if (!engine_->next_op(now, wall_micros, op)) return false;
  ops_under_way_++;
  return true;
}

bool Log::commit_one(std::unique_lock<WakingMutex>* lock) {
  const uint64_t now = now_ns();
  Op op;
  const uint64_t wall_micros = fs_.wall_micros();
  const bool again = returned_.has_value();  // was counted when it was begun
  if (!next_op(now, wall_micros, &op)) return false;
  io::File* file = files_[op.segment].get();
  const uint64_t file_bytes = op.kind == OpKind::seal ? headers_.at(op.segment).file_bytes : 0;
  if (has_work(now)) wake_committer();
  const bool notes = op.kind == OpKind::write && worth_noting(op);
  if (op.kind == OpKind::write && !again && op.opened_ns <= now)
    queue_latency_.add(now - op.opened_ns);
  lock->unlock();
  if (notes) note_place(op, wall_micros);
  uint64_t device_ns = 0;
  Status status = carry_out(op, file, &device_ns);
  // The last look at it, before its records count as safe whatever becomes of this log. An op under
  // way keeps the lock.
  if (status.ok() && op.kind == OpKind::seal) status = look_at_directory(lock_.get());
  if (status.ok() && op.kind == OpKind::seal) status = look_at_file(op.segment, file_bytes, file);
  lock->lock();
  finish_op(op, status, device_ns);
  return true;
}

void Log::finish_op(const Op& op, const Status& status, uint64_t device_ns) {
  ops_under_way_--;
  if (op.kind == OpKind::write) write_latency_.add(device_ns);
  if (op.kind == OpKind::sync) sync_latency_.add(device_ns);
  engine_->completed(op, status, now_ns());
  note_sealed();
  progressed();
}

bool Log::worth_noting(const Op& op) {
  if (op.count == 0 || (op.segment == noted_segment_ && op.offset < noted_to_)) return false;
  noted_segment_ = op.segment;
  noted_to_ = op.offset + GroupIndex::kLeastSpacing;
  return true;
}

// A reader looks among what is durable only, so the place may be known before it is.
void Log::note_place(const Op& op, uint64_t wall_micros) {
  GroupPlace place;
  place.sequence = op.segment;
  place.tag = op.tag;
  place.plain = true;
  place.extent = {op.offset, uint64_t{op.sizes[0]} + op.sizes[1], op.first_lsn, op.count};
  place.timestamp_micros = wall_micros;
  group_index().note(place);
}

// Stamps are computed while the device works, so that it need not wait for them.
bool Log::stamp_one(std::unique_lock<WakingMutex>* lock) {
  Op op;
  if (!engine_->next_stamp(&op)) return false;
  lock->unlock();
  Engine::stamp(op);
  lock->lock();
  engine_->stamped(op);
  return true;
}

bool Log::has_work(uint64_t now_ns) const {
  return engine_->may_submit(now_ns) || engine_->may_stamp();
}

Status Log::carry_out(const Op& op, io::File* file, uint64_t* device_ns) {
  if (op.kind != OpKind::sync) Engine::stamp(op);
  const uint64_t began = now_ns();
  Status status;
  if (op.kind == OpKind::sync) {
    status = file->sync();
  } else {
    io::Part parts[2];
    for (int i = 0; i < op.part_count; i++) parts[i] = {op.parts[i], op.sizes[i]};
    status = file->write(op.offset, parts, op.part_count, op.mode);
    if (status.ok() && op.kind == OpKind::seal && op.mode == io::WriteMode::plain)
      status = file->sync();
  }
  *device_ns = now_ns() - began;
  if (status.ok()) return status;
  // On a live segment every failure is final, a lack of space included: the code says what
  // happened.
  status.code = Code::io;
  return std::move(status).at(op.segment, op.offset);
}

void Log::note_sealed() {
  for (const Engine::Sealed& sealed : engine_->take_sealed()) {
    log::SegmentEntry entry;
    entry.header = headers_[sealed.sequence];
    entry.first_lsn = sealed.first_lsn;
    entry.last_lsn = sealed.last_lsn;
    entry.end = sealed.end;
    entry.epoch = engine_->state().epoch.number;
    entry.sealed = true;
    catalog_.add(entry);
    // The last segment of a closed log stays in the engine's list, where readers may still look it
    // up.
    if (!engine_->closed()) headers_.erase(sealed.sequence);
  }
}

// After anything that may have made records durable, with the lock held.
void Log::progressed() {
  const uint64_t durable = engine_->durable_lsn();
  const bool poisoned = engine_->poisoned();
  shown_durable_lsn_.store(durable, std::memory_order_release);
  shown_poisoned_.store(poisoned, std::memory_order_release);
  for (Session* session : sessions_) {
    const bool waits = session->told_lsn < session->own_lsn && session->told_lsn < durable;
    if (waits || (poisoned && !session->told_poisoned)) {
      session->told_lsn = durable;
      session->told_poisoned = poisoned;
      mutex_.ring_later(session->listener->progress());
    }
  }
  std::erase_if(flush_waiters_, [&](const Waiter& waiter) {
    if (waiter.lsn > durable) return false;
    answer(waiter, {}, durable);
    return true;
  });
  const bool unprepared = engine_->space_refused() && engine_->space_code() == Code::io;
  if (!ready_waiters_.empty() && (engine_->ready() || unprepared)) {
    const Status status = unprepared ? prepare_failure_ : Status{};
    for (const Waiter& waiter : ready_waiters_) answer(waiter, status, 0);
    ready_waiters_.clear();
  }
  if (poisoned) fail_waiters();
  mutex_.wake_all_later(&progress_);
  if (engine_->has_chore(now_ns())) mutex_.wake_one_later(&chores_);
}

void Log::answer(const Waiter& waiter, const Status& status, uint64_t value) {
  mutex_.ring_later(waiter.session->listener->answer(waiter.request, status, value));
}

void Log::fail_waiters() {
  for (const Waiter& waiter : flush_waiters_) answer(waiter, engine_->failure(), 0);
  for (const Waiter& waiter : ready_waiters_) answer(waiter, engine_->failure(), 0);
  flush_waiters_.clear();
  ready_waiters_.clear();
  forget_shared(this);
  if (must_await_begun()) wake_committer();  // what is under way keeps the lock
  release_lock();
}

// The directory may be opened again as soon as nothing of ours is on its way to the device any
// more.
void Log::release_lock() {
  if (ops_under_way_ == 0 && !chore_under_way_ && looks_ == 0) lock_.reset();
}

// Whether a committer looks at everything by then, or so little later that waking one is not worth
// it: times are read before the lock is taken.
bool Log::is_armed_for(uint64_t deadline_ns) const {
  constexpr uint64_t kSlackNs = 100'000;
  return deadline_ns == UINT64_MAX || armed_deadline_ns_ <= deadline_ns + kSlackNs;
}

void Log::wake_for_work() {
  if (engine_->may_submit(now_ns())) wake_committer();
}

// With the lock held. Those that are at work look at everything again before they sleep.
void Log::wake_committer() {
  Parker* const idle = idle_committers_.take();
  if (idle == nullptr) return;
  wakes_++;
  mutex_.wake_one_later(idle);
}

Status Log::flush_and_wait() {
  std::unique_lock<WakingMutex> lock(mutex_);
  if (engine_->poisoned()) return engine_->failure();
  engine_->demand_all();
  const uint64_t target = engine_->last_lsn();
  wake_committer();
  while (engine_->durable_lsn() < target) {
    if (engine_->poisoned()) return engine_->failure();
    wait_for_progress(&lock);
  }
  return {};
}

Status Log::shut_down() {
  Status moved = check_place();
  std::unique_lock<WakingMutex> lock(mutex_);
  if (!moved.ok()) engine_->poison(moved);
  if (engine_->poisoned()) progressed();
  if (!engine_->poisoned()) engine_->begin_close(now_ns());
  wake_committer();
  while (!engine_->closed() && !engine_->poisoned()) {
    wait_for_progress(&lock);
  }
  note_sealed();
  lock.unlock();
  stop_threads();
  lock.lock();
  if (!engine_->poisoned()) remove_unused();
  files_.clear();
  lock_.reset();
  return engine_->poisoned() ? engine_->failure() : Status{};
}

// Prepared and recycled files are of no use to a closed log. Whatever stays behind is removed by
// the next open, so failures do not matter.
void Log::remove_unused() {
  for (const log::SegmentPlace& place : engine_->take_prepared())
    (void)fs_.unlink(segment_path(place.sequence));
  for (const Recyclable& file : recyclable_) (void)fs_.unlink(file.path);
  recyclable_.clear();
}

}  // namespace stonelog::driver
