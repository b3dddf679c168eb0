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

Handle::Handle(Ref<Channel> channel, driver::Log* writable, driver::ReadOnlyLog* readable,
               const io::Probe& found)
    : log(writable),
      read_only(readable),
      probe(found),
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

Status ReaderHandle::ask(uint64_t request, const Ref<Channel>& channel) {
  std::unique_ptr<Filled> ready;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    ready = std::move(ahead_);
    if (ready == nullptr) wanted_ = request;
    if (reading_) return {};
    reading_ = true;
  }
  if (ready != nullptr) answer(request, std::move(ready), channel.get());
  Status status = read_on(channel);
  if (status.ok()) return {};
  // Only the first task of all can be refused: later there are threads.
  const std::lock_guard<std::mutex> guard(mutex_);
  reading_ = false;
  wanted_ = 0;
  return status;
}

void ReaderHandle::close() {
  std::unique_ptr<Filled> dropped;
  const std::lock_guard<std::mutex> guard(mutex_);
  closed_ = true;
  dropped = std::move(ahead_);
}

bool ReaderHandle::is_closed() {
  const std::lock_guard<std::mutex> guard(mutex_);
  return closed_;
}

void ReaderHandle::reuse(std::unique_ptr<Filled> filled) {
  filled->batch.clear();
  const std::lock_guard<std::mutex> guard(mutex_);
  spare_ = std::move(filled);
}

// One slab a task, so that readers take turns.
Status ReaderHandle::read_on(const Ref<Channel>& channel) {
  return driver::reader_threads().run([channel, self = Ref<ReaderHandle>(this)] {
    if (channel->is_open()) self->fill(channel);
  });
}

void ReaderHandle::fill(const Ref<Channel>& channel) {
  std::unique_ptr<Filled> filled;
  bool asked = false;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    filled = std::move(spare_);
    asked = wanted_ != 0;
  }
  if (filled == nullptr) filled = std::make_unique<Filled>();
  uint64_t request = 0;
  bool goes_on = false;
  for (;;) {
    filled->status = next(&filled->batch);
    const std::lock_guard<std::mutex> guard(mutex_);
    // An end that was met before somebody asked is looked for again: it may have moved on.
    const bool last = filled->is_last();
    if (last && filled->status.ok() && !asked && wanted_ != 0) {
      asked = true;
      continue;
    }
    const bool stays = !last && !closed_;
    request = std::exchange(wanted_, 0);
    reading_ = goes_on = stays && request != 0;
    if (stays && request == 0) ahead_ = std::move(filled);
    break;
  }
  if (request != 0) answer(request, std::move(filled), channel.get());
  if (goes_on) (void)read_on(channel);  // never refused to a thread of the pool
}

void ReaderHandle::answer(uint64_t request, std::unique_ptr<Filled> filled, Channel* channel) {
  auto answer = std::make_unique<ReadAnswer>(request);
  answer->status = filled->status;
  answer->filled = std::move(filled);
  answer->reader = Ref<ReaderHandle>(this);
  Message message;
  message.answer = std::move(answer);
  channel->post(std::move(message));
}

Status ReaderHandle::next(driver::RecordBatch* batch) {
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
  return reader_.next(batch);
}

}  // namespace stonelog::binding
