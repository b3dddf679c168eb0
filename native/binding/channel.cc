#include "binding/channel.h"

#include "binding/handle.h"
#include "binding/values.h"

namespace stonelog::binding {

Answer::Answer(uint64_t request_id) : request(request_id) {}
Answer::~Answer() = default;

napi_value Answer::result(Environment* environment) { return null_value(environment); }

napi_status Channel::start(napi_env env, napi_value dispatch, LoopSignal::Run deliver,
                           bool offers_libuv) {
  return signal_.start(env, dispatch, deliver, offers_libuv);
}

void Channel::close() {
  signal_.close();
  std::vector<Message> dropped;
  const std::lock_guard<std::mutex> guard(mutex_);
  dropped.swap(messages_);
}

void Channel::post(Message message) {
  if (driver::Bell* const bell = leave(std::move(message))) bell->ring();
}

driver::Bell* Channel::leave(Message message) {
  const std::lock_guard<std::mutex> guard(mutex_);
  // A dropped message is the caller's: it goes after the guard.
  if (!signal_.is_open()) return nullptr;
  messages_.push_back(std::move(message));
  if (signalled_) return nullptr;
  signalled_ = true;
  retain();
  return this;
}

void Channel::ring() {
  signal_.send();
  release();
}

// Whoever leaves a message from now on finds that the loop need not be woken. False: it has been.
bool Channel::hold() {
  const std::lock_guard<std::mutex> guard(mutex_);
  const bool held = !signalled_;
  signalled_ = true;
  return held;
}

void Channel::deliver_held(bool held) {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (messages_.empty()) {
      if (held) signalled_ = false;
      return;
    }
  }
  signal_.run_now();
}

void Channel::take(std::vector<Message>* messages) {
  const std::lock_guard<std::mutex> guard(mutex_);
  signalled_ = false;
  messages->swap(messages_);
}

}  // namespace stonelog::binding
