// An open log, and a reader of one, as one environment uses them.
#pragma once

#include <atomic>
#include <deque>
#include <mutex>

#include "binding/channel.h"
#include "binding/counted.h"
#include "binding/descriptor_watch.h"
#include "driver/log.h"
#include "driver/read_only_log.h"
#include "driver/reader.h"

namespace stonelog::binding {

// Shared by the environment, tasks and messages. The last reference closes it, so a log that was
// opened for an environment that has ended since is closed, too.
class Handle final : public Counted<Handle>, public driver::Listener {
 public:
  // Takes over a log of open_shared(), or one of ReadOnlyLog::open(); the other one is null.
  Handle(Ref<Channel> channel, driver::Log* log, driver::ReadOnlyLog* read_only);
  ~Handle() override;

  // On the event loop's thread: the handle is known by `id` and told what happens from now on.
  void attach(int32_t id);

  // On any thread, may wait for the disk. A second call waits for the first and gives its status.
  Status close();
  // Code::closed if close() came first; else close() waits for it.
  Status truncate_before(uint64_t lsn, uint64_t* first_lsn);

  // driver::Listener
  driver::Bell* progress() override;
  driver::Bell* answer(uint64_t request, const Status& status, uint64_t value) override;

  driver::Source* source() const { return source_; }
  const Ref<Channel>& channel() const { return channel_; }
  // The failure that stopped the log, if there was one.
  bool poisoned(Status* failure, uint64_t* durable_lsn, uint64_t* first_not_written) const;
  // Of a read-only log: looks anew in the background if the last look is not recent.
  void refresh_in_background();

  // --- The event loop's thread only.
  driver::Log* const log;                // null if read-only
  driver::ReadOnlyLog* const read_only;  // null if writable
  driver::Log::Session session;
  int32_t id = 0;
  bool closing = false;  // close was asked for: every other call is refused
  bool told_poisoned = false;
  napi_ref staging = nullptr;  // the memory of the session's; goes when the handle is removed
  DescriptorWatch watch;       // for commits that this thread began
  bool watch_asked = false;
  struct Waiting {
    uint64_t request;
    bool flush;  // else: ready
  };
  std::deque<Waiting> waiting;  // requests that the log answers, oldest first

  // Cleared before the durable LSN is read: whatever comes later signals again.
  std::atomic<bool> signalled{false};

 private:
  driver::Source* const source_;
  const Ref<Channel> channel_;
  std::mutex work_;  // held by close and truncate_before as long as they take
  bool attached_ = false;
  bool closed_ = false;
  Status close_status_;
  std::atomic<bool> refreshing_{false};
  std::atomic<uint64_t> refreshed_ns_{0};
};

// A driver::Reader and its place in the environment. While `busy`, a task uses the reader and the
// slab; else the event loop's thread does.
class ReaderHandle final : public Counted<ReaderHandle> {
 public:
  ReaderHandle(Ref<Handle> of, uint64_t from_lsn, uint64_t to_lsn)
      : handle(std::move(of)), reader_(handle->source(), from_lsn, to_lsn), from_(from_lsn) {}

  // On a reader thread: the next slab into `batch`, an empty one at the end.
  Status next();

  const Ref<Handle> handle;
  int32_t id = 0;
  driver::RecordBatch batch;  // kept from slab to slab for its memory
  bool busy = false;
  bool closed = false;  // its answer, if one is under way, is Code::closed

 private:
  driver::Reader reader_;
  const uint64_t from_;
  bool started_ = false;
};

}  // namespace stonelog::binding
