// Small commits that the appending thread begins by itself. A commit of a few blocks takes some 100
// us; handing it to a committer and the answer back costs two switches of threads, and where a
// processor sleeps in between, as much again. The kernel needs no thread of ours to write, sync and
// say so: the event loop's thread begins the write without waiting, and finds a descriptor readable
// when it is durable.
//
// Only where nobody else is kept waiting by that thread: it is the only one that appends, nothing
// else is in flight, and nobody waits in another thread. Everything else is the committers' work,
// and whatever that thread does not get round to becomes theirs after kLookAfterNs.
//
// Ownership: begun_ is the one write under way. Its result is taken by whoever comes first: the
// thread that began it, called by its event loop or appending on; a committer that looks; or a
// thread that waits for it, which announces that (awaiting_begun_), so that nobody takes what it
// waits for.
#include <atomic>
#include <cerrno>

#include "driver/log.h"
#include "log/segment_file.h"

namespace stonelog::driver {

using log::Engine;
using log::Op;

namespace {

// Stamping a larger group, and giving its pages to the device, takes longer than waking a
// committer.
constexpr uint64_t kMostBegunBytes = 256 << 10;
// A device that takes less than a group in one request refuses to begin it, each time; more than
// this is not tried any more after so many refusals in a row.
constexpr uint64_t kAlwaysTriedBytes = 64 << 10;
constexpr uint32_t kMostRefusals = 3;
// A process that has had a context of the kernel's asynchronous I/O ends some 35 ms later
// (io/kernel_aio.h): what a thousand commits gain by it. One that makes a few has none.
constexpr uint32_t kLeftToCommitters = 16;
std::atomic<uint32_t> left_to_committers{0};  // by all logs of the process, counted up to there

uint64_t bytes_of(const Op& op) { return uint64_t{op.sizes[0]} + op.sizes[1]; }

}  // namespace

int Log::watch_commits(Session* session) {
  const std::lock_guard<WakingMutex> guard(mutex_);
  // Not at the open: not every log that is opened is appended to.
  if (async_ == nullptr && probe_.async_dsync) async_ = fs_.async_write();
  session->watches = async_ != nullptr;
  return session->watches ? async_->signal() : -1;
}

bool Log::pays_to_begin() {
  return left_to_committers.load(std::memory_order_relaxed) >= kLeftToCommitters;
}

// Whether the session's thread is the only one that has anything to do with the log.
bool Log::is_lone(const Session* session) const {
  return session != nullptr && sessions_.size() == 1 && waiting_threads_ == 0;
}

bool Log::begins_commits(const Session* session) const {
  return async_ != nullptr && !never_async_ && is_lone(session) && session->watches &&
         !begun_.has_value() && !returned_.has_value();
}

// Before commits are watched: whether what goes to the device now is one that could be begun.
void Log::count_lone_commit(const Session* session, uint64_t now) const {
  if (pays_to_begin() || !probe_.async_dsync || !is_lone(session)) return;
  if (engine_->may_write_alone(now, kMostBegunBytes))
    left_to_committers.fetch_add(1, std::memory_order_relaxed);
}

// With the lock held, which may be released meanwhile: what may go to the device goes, begun here
// or by a committer.
void Log::commit_soon(std::unique_lock<WakingMutex>* lock, const Session* session, uint64_t now) {
  if (begins_commits(session) && begin_commit(lock, now)) {
    if (has_work(now) || !is_armed_for(now + kLookAfterNs)) wake_committer();
    return;
  }
  count_lone_commit(session, now);
  if (has_work(now) || engine_->owes_sync_or_seal() || must_await_begun() ||
      !is_armed_for(engine_->next_deadline(now)))
    wake_committer();
}

// False if there is nothing that this thread may begin.
bool Log::begin_commit(std::unique_lock<WakingMutex>* lock, uint64_t now) {
  Op op;
  const uint64_t wall_micros = fs_.wall_micros();
  const uint64_t most = large_refusals_ < kMostRefusals ? kMostBegunBytes : kAlwaysTriedBytes;
  if (!engine_->next_lone_write(now, wall_micros, most, &op)) return false;
  io::File* const file = files_[op.segment].get();
  ops_under_way_++;
  if (op.opened_ns <= now) queue_latency_.add(now - op.opened_ns);
  const bool notes = worth_noting(op);
  // Before it is known whether it begins: until then it is this thread's alone.
  awaiting_begun_ = true;
  begun_ = Begun{op, now};
  lock->unlock();
  if (notes) note_place(op, wall_micros);
  Engine::stamp(op);
  io::Part parts[2];
  for (int i = 0; i < op.part_count; i++) parts[i] = {op.parts[i], op.sizes[i]};
  const auto begun = file->begin_write(async_.get(), op.offset, parts, op.part_count);
  lock->lock();
  awaiting_begun_ = false;
  if (begun == io::AsyncWrite::Begun::yes) {
    begun_count_++;
    shown_begun_.store(true, std::memory_order_relaxed);
    if (must_await_begun()) wake_committer();  // somebody came to wait meanwhile
    return true;
  }
  if (begun == io::AsyncWrite::Begun::never) never_async_ = true;
  finish_begun(-EAGAIN);
  return true;
}

// With the lock held: called by the event loop of a session's thread.
void Log::take_commit(Session* session) {
  std::unique_lock<WakingMutex> lock(mutex_);
  async_->clear_signal();
  (void)take_begun();  // or somebody else has, who began nothing of what waits (durable_lsn)
  commit_soon(&lock, session, now_ns());
}

// Whether somebody waits for the write under way who cannot take its result.
bool Log::must_await_begun() const {
  if (!begun_.has_value() || awaiting_begun_) return false;
  return waiting_threads_ > 0 || sessions_.size() != 1 || stopping_ || engine_->poisoned();
}

// The result of the write under way, if there is one by now.
bool Log::take_begun() {
  int64_t result = 0;
  if (!begun_.has_value() || awaiting_begun_ || !async_->take(&result)) return false;
  finish_begun(result);
  return true;
}

void Log::await_begun(std::unique_lock<WakingMutex>* lock) {
  awaiting_begun_ = true;
  lock->unlock();
  const int64_t result = async_->wait();
  lock->lock();
  awaiting_begun_ = false;
  finish_begun(result);
}

void Log::finish_begun(int64_t result) {
  const Begun begun = *begun_;
  const Op& op = begun.op;
  begun_.reset();
  shown_begun_.store(false, std::memory_order_relaxed);
  const bool unsupported = result == -EOPNOTSUPP || result == -ENOSYS || result == -EINVAL;
  if (bytes_of(op) > kAlwaysTriedBytes)
    large_refusals_ = result == -EAGAIN ? large_refusals_ + 1 : 0;
  if (unsupported) never_async_ = true;  // by the device, or where the call is not direct after all
  if (unsupported || result == -EAGAIN) {  // or it would have had to wait
    returned_ = op;
    wake_committer();
    return;
  }
  Status status;
  const auto size = static_cast<int64_t>(bytes_of(op));
  if (result != size) {
    const int error = result < 0 ? static_cast<int>(-result) : EIO;
    status = Status::system(Code::io, "io_submit", error, segment_path(op.segment));
    if (result >= 0) {
      status.detail =
          "short write: " + std::to_string(result) + " of " + std::to_string(size) + " bytes";
    }
    status = std::move(status).at(op.segment, op.offset);
  }
  finish_op(op, status, now_ns() - begun.began_ns);
  if (engine_->owes_sync_or_seal()) wake_committer();
}

}  // namespace stonelog::driver
