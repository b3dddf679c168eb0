#include "binding/handle.h"

#include "binding/answers.h"
#include "driver/parker.h"
#include "driver/registry.h"
#include "driver/threads.h"

namespace stonelog::binding {

namespace {

constexpr uint64_t kRefreshNs = 20'000'000;  // a writer publishes its watermark about as often

driver::Source* source_of(driver::Log* log, driver::ReadOnlyLog* read_only) {
  if (log != nullptr) return log;
  return read_only;
}

}  // namespace

Handle::Handle(Ref<Channel> channel, driver::Log* writable, driver::ReadOnlyLog* readable)
    : log(writable),
      read_only(readable),
      source_(source_of(writable, readable)),
      channel_(std::move(channel)),
      refreshed_ns_(driver::now_ns()) {
  // A closed log is still asked what stopped it. Of a read-only one ours is the only reference.
  if (log != nullptr) source_->retain();
}

// Nobody refers to it any more, so nobody is told: a listener's reference to a dying handle would
// end it twice.
Handle::~Handle() {
  if (attached_ && !closed_) log->detach(&session);
  attached_ = false;
  (void)close();
  source_->release();
}

void Handle::attach(int32_t new_id) {
  id = new_id;
  if (log == nullptr) return;
  {
    const std::lock_guard<std::mutex> guard(work_);
    session.listener = this;
    log->attach(&session);
    attached_ = true;
  }
  // What stopped a log before nobody will be told of again.
  Status failure;
  uint64_t ignored = 0;
  if (!log->poisoned(&failure, &ignored, &ignored)) return;
  if (driver::Bell* const bell = progress()) bell->ring();
}

Status Handle::close() {
  const std::lock_guard<std::mutex> guard(work_);
  if (closed_) return close_status_;
  closed_ = true;
  if (log == nullptr) return {};
  if (attached_) {
    // Before detaching, so that what became of the last appends is told as usual.
    (void)log->flush_and_wait();
    log->detach(&session);
  }
  close_status_ = driver::close_shared(log);
  return close_status_;
}

Status Handle::truncate_before(uint64_t lsn, uint64_t* first_lsn) {
  const std::lock_guard<std::mutex> guard(work_);
  if (closed_) return Status::of(Code::closed, {});
  return log->truncate_before(lsn, first_lsn);
}

driver::Bell* Handle::progress() {
  if (signalled.exchange(true, std::memory_order_acq_rel)) return nullptr;
  Message message;
  message.moved_on = Ref<Handle>(this);
  return channel_->leave(std::move(message));
}

driver::Bell* Handle::answer(uint64_t request, const Status& status, uint64_t value) {
  auto answer = std::make_unique<WaitAnswer>(request, value);
  answer->status = status;
  answer->handle = Ref<Handle>(this);
  Message message;
  message.answer = std::move(answer);
  return channel_->leave(std::move(message));
}

bool Handle::poisoned(Status* failure, uint64_t* durable_lsn, uint64_t* first_not_written) const {
  return log != nullptr && log->poisoned(failure, durable_lsn, first_not_written);
}

void Handle::refresh_in_background() {
  if (driver::now_ns() - refreshed_ns_.load(std::memory_order_relaxed) < kRefreshNs) return;
  if (refreshing_.exchange(true, std::memory_order_acq_rel)) return;
  const auto look = [self = Ref<Handle>(this)] {
    // A failed look shows what is known already; a reader that depends on it reports it.
    (void)self->source_->refresh();
    self->refreshed_ns_.store(driver::now_ns(), std::memory_order_relaxed);
    self->refreshing_.store(false, std::memory_order_release);
  };
  if (!driver::reader_threads().run(look).ok()) refreshing_.store(false, std::memory_order_release);
}

Status ReaderHandle::next() {
  if (!started_ && handle->read_only != nullptr) {
    // A look may be long ago: both ends are judged by what is on the disk now.
    Status status = handle->read_only->refresh();
    if (!status.ok()) return status;
    const uint64_t first = handle->read_only->first_lsn();
    if (from_ != 0 && from_ < first) {
      return Status::of(Code::not_found, "LSN " + std::to_string(from_) + " is below firstLsn " +
                                             std::to_string(first));
    }
  }
  started_ = true;
  return reader_.next(&batch);
}

}  // namespace stonelog::binding
