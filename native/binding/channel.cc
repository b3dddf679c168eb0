#include "binding/channel.h"

#include "binding/handle.h"
#include "binding/values.h"

namespace stonelog::binding {

Answer::Answer(uint64_t request_id) : request(request_id) {}
Answer::~Answer() = default;

napi_value Answer::result(Environment* environment) { return null_value(environment); }

napi_status Channel::start(napi_env env, napi_value dispatch,
                           napi_threadsafe_function_call_js deliver) {
  napi_value name = nullptr;
  napi_status status = napi_create_string_utf8(env, "stonelog", NAPI_AUTO_LENGTH, &name);
  if (status != napi_ok) return status;
  status = napi_create_threadsafe_function(env, dispatch, nullptr, name, 0, 1, nullptr, nullptr,
                                           nullptr, deliver, &function_);
  if (status != napi_ok) return status;
  const std::lock_guard<std::mutex> guard(mutex_);
  open_ = true;
  return napi_unref_threadsafe_function(env, function_);
}

void Channel::keep_alive(napi_env env, bool on) {
  if (function_ == nullptr) return;
  (void)(on ? napi_ref_threadsafe_function(env, function_)
            : napi_unref_threadsafe_function(env, function_));
}

void Channel::close() {
  std::vector<Message> dropped;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (!open_) return;
    open_ = false;
    dropped.swap(messages_);
  }
  // Our only reference to it; its memory goes with the environment.
  (void)napi_release_threadsafe_function(function_, napi_tsfn_abort);
}

void Channel::post(Message message) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (!open_) return;  // the caller destroys the message, after the guard is gone
  messages_.push_back(std::move(message));
  if (signalled_) return;
  signalled_ = napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking) == napi_ok;
}

bool Channel::is_open() {
  const std::lock_guard<std::mutex> guard(mutex_);
  return open_;
}

void Channel::take(std::vector<Message>* messages) {
  const std::lock_guard<std::mutex> guard(mutex_);
  signalled_ = false;
  messages->swap(messages_);
}

}  // namespace stonelog::binding
