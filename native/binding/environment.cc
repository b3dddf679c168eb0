#include "binding/environment.h"

#include "binding/values.h"

namespace stonelog::binding {

namespace {

// `Message` in lib/native.ts.
constexpr double kDone = 0;
constexpr double kProgress = 1;
constexpr double kPoisoned = 2;

constexpr size_t kScratchKeptBytes = 1 << 20;

}  // namespace

napi_status Environment::set_up(napi_value dispatch, bool offers_libuv) {
  napi_status status = channel_->start(env_, dispatch, deliver_all, offers_libuv);
  if (status != napi_ok) return status;
  set_up_ = true;
  // Hooks run last in, first out: ours, added after the channel's own, runs while the channel's
  // memory is still there.
  return napi_add_env_cleanup_hook(env_, end, this);
}

// The environment is ending; no JavaScript runs any more. Waits for the disk where logs are open.
void Environment::end(void* self) {
  auto* environment = static_cast<Environment*>(self);
  environment->channel_->close();
  for (const Ref<ReaderHandle>& reader : environment->readers_.all()) {
    environment->remove_reader(reader.get());
  }
  for (const Ref<Handle>& handle : environment->handles_.all()) {
    handle->watch.close();
    (void)handle->close();
    environment->handles_.remove(handle->id);
  }
  environment->delivering_.clear();
}

int32_t Environment::add_handle(Ref<Handle> handle) {
  const int32_t id = handles_.add(handle);
  if (id > 0) handle->attach(id);
  return id;
}

// Commits that this thread begins by itself are told by a descriptor, and what they make known is
// delivered without a further turn of the event loop.
void Environment::watch_commits(Handle* handle) {
  if (handle->watch_asked || !driver::Log::pays_to_begin()) return;
  handle->watch_asked = true;
  if (!channel_->is_libuv()) return;
  const int signal = handle->log->watch_commits(&handle->session);
  const auto readable = [](void* target) {
    const Ref<Handle> done(static_cast<Handle*>(target));
    const Ref<Channel> channel = done->channel();
    channel->deliver_after([&] { done->log->take_commit(&done->session); });
  };
  handle->session.watches = signal >= 0 && handle->watch.start(env_, signal, readable, handle);
}

void Environment::remove_handle(Handle* handle) {
  for (const Handle::Waiting& waiting : handle->waiting) refuse(waiting.request, Code::closed);
  handle->waiting.clear();
  for (const Ref<ReaderHandle>& reader : readers_.all()) {
    if (reader->handle.get() == handle) remove_reader(reader.get());
  }
  handle->watch.close();
  if (handle->staging != nullptr) (void)napi_delete_reference(env_, handle->staging);
  handle->staging = nullptr;
  handles_.remove(handle->id);
}

ReaderHandle* Environment::open_reader(napi_value id) const {
  int32_t number = 0;
  if (napi_get_value_int32(env_, id, &number) != napi_ok) return nullptr;
  ReaderHandle* reader = readers_.find(number);
  return reader == nullptr || reader->handle->closing ? nullptr : reader;
}

int32_t Environment::add_reader(Ref<ReaderHandle> reader) {
  reader->id = readers_.add(reader);
  return reader->id;
}

void Environment::remove_reader(ReaderHandle* reader) {
  reader->closed = true;
  readers_.remove(reader->id);
}

void Environment::post(std::unique_ptr<Answer> answer) {
  Message message;
  message.answer = std::move(answer);
  channel_->post(std::move(message));
}

void Environment::refuse(uint64_t request, Status status) {
  auto answer = std::make_unique<Answer>(request);
  answer->status = std::move(status);
  post(std::move(answer));
}

uint8_t* Environment::scratch(size_t size) {
  if (scratch_.size() < size) scratch_.resize(size);
  return scratch_.data();
}

void Environment::trim_scratch() {
  if (scratch_.size() > kScratchKeptBytes) std::vector<uint8_t>().swap(scratch_);
}

void Environment::deliver_all(napi_env env, napi_value dispatch) {
  void* data = nullptr;
  if (napi_get_instance_data(env, &data) != napi_ok || data == nullptr) return;
  auto* environment = static_cast<Environment*>(data);
  std::vector<Message> messages;
  messages.swap(environment->delivering_);  // for its capacity
  environment->channel_->take(&messages);
  for (Message& message : messages) {
    // JavaScript has ended. What was opened for it is closed with the messages.
    if (!environment->deliver(dispatch, &message)) break;
  }
  messages.clear();
  messages.swap(environment->delivering_);
}

// False if no JavaScript can run any more.
bool Environment::deliver(napi_value dispatch, Message* message) {
  napi_handle_scope scope = nullptr;
  if (napi_open_handle_scope(env_, &scope) != napi_ok) return false;
  const bool goes_on = message->answer == nullptr ? tell_progress(dispatch, message->moved_on.get())
                                                  : deliver_answer(dispatch, message->answer.get());
  (void)napi_close_handle_scope(env_, scope);
  return goes_on;
}

bool Environment::deliver_answer(napi_value dispatch, Answer* answer) {
  Handle* handle = answer->handle.get();
  Status failure;
  uint64_t ignored = 0;
  answer->arrive(this);
  if (!answer->status.ok() && handle != nullptr && handle->poisoned(&failure, &ignored, &ignored)) {
    // Whoever waits for a request that failed with the log learns of the log first.
    if (!tell_poisoned(dispatch, handle)) return false;
    if (answer->status.code != Code::closed) answer->status.code = Code::poisoned;
  }
  const napi_value nothing = null_value(env_);
  napi_value result = answer->status.ok() ? answer->result(this) : nothing;
  if (result == nullptr) {
    answer->status = Status::of(Code::io, "its result could not be made");
    result = nothing;
  }
  const napi_value error = answer->status.ok() ? nothing : error_value(env_, answer->status);
  const auto request = static_cast<double>(answer->request);
  return call(dispatch, kDone, request, error, result, nothing);
}

bool Environment::tell_progress(napi_value dispatch, Handle* handle) {
  // An exchange, not a store: it meets the one of whoever found the signal still up and left no
  // message, so that what it had made known before is seen below.
  (void)handle->signalled.exchange(false, std::memory_order_acq_rel);
  if (handles_.find(handle->id) != handle) return true;  // closed meanwhile
  Status failure;
  uint64_t ignored = 0;
  if (handle->poisoned(&failure, &ignored, &ignored)) return tell_poisoned(dispatch, handle);
  const napi_value nothing = null_value(env_);
  const napi_value durable = number(env_, handle->source()->durable_lsn());
  return call(dispatch, kProgress, handle->id, durable, nothing, nothing);
}

bool Environment::tell_poisoned(napi_value dispatch, Handle* handle) {
  Status failure;
  uint64_t durable = 0;
  uint64_t first_not_written = 0;
  if (handle->told_poisoned) return true;
  if (!handle->poisoned(&failure, &durable, &first_not_written)) return true;
  handle->told_poisoned = true;
  return call(dispatch, kPoisoned, handle->id, error_value(env_, failure), number(env_, durable),
              number(env_, first_not_written));
}

bool Environment::call(napi_value dispatch, double kind, double id, napi_value a, napi_value b,
                       napi_value c) {
  napi_value receiver = nullptr;
  (void)napi_get_undefined(env_, &receiver);
  const napi_value arguments[] = {number(env_, kind), number(env_, id), a, b, c};
  for (const napi_value argument : arguments) {
    if (argument == nullptr) return false;
  }
  if (napi_call_function(env_, receiver, dispatch, 5, arguments, nullptr) == napi_ok) return true;
  // What `dispatch` throws is an uncaught exception; left pending, Node would only warn of it.
  napi_value thrown = nullptr;
  return napi_get_and_clear_last_exception(env_, &thrown) == napi_ok &&
         napi_fatal_exception(env_, thrown) == napi_ok;
}

}  // namespace stonelog::binding
