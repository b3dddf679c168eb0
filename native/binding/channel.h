// The one way from our threads to an environment's event loop. It outlives the environment: whoever
// may still have something to say holds a reference, and once the environment ends, what it says is
// dropped.
//
// Invariants:
// 1. The event loop is woken once for any number of messages; take() takes them all.
// 2. It is woken without the mutex, which whoever is woken takes first.
// 3. Messages are destroyed without the mutex: destroying an undelivered one may close a log.
#pragma once

#include <node_api.h>

#include <memory>
#include <mutex>
#include <vector>

#include "binding/counted.h"
#include "binding/loop_signal.h"
#include "driver/waking_mutex.h"
#include "io/status.h"

namespace stonelog::binding {

class Environment;
class Handle;

// The answer to one request, made on any thread, delivered and destroyed on the event loop's; or
// destroyed undelivered, on any.
class Answer {
 public:
  explicit Answer(uint64_t request);
  virtual ~Answer();
  // What the environment has to note, before anything is told. May turn success into a failure.
  virtual void arrive(Environment*) {}
  // What a success hands out.
  virtual napi_value result(Environment* environment);

  uint64_t request;
  Status status;
  Ref<Handle> handle;  // the one the request was made on, if any
};

struct Message {
  std::unique_ptr<Answer> answer;
  Ref<Handle> moved_on;  // without an answer: this handle has news
};

class Channel final : public Counted<Channel>, public driver::Bell {
 public:
  // On the event loop's thread, once: `dispatch` is what messages are delivered to. The loop is not
  // kept alive until keep_alive says so.
  napi_status start(napi_env env, napi_value dispatch, LoopSignal::Run deliver, bool offers_libuv);
  void keep_alive(napi_env env, bool on) { signal_.keep_alive(env, on); }
  // On the event loop's thread: nothing is delivered any more.
  void close();

  // From any thread.
  void post(Message message);
  // The same in two steps: the bell that is to be rung for it, if any.
  driver::Bell* leave(Message message);
  void ring() override;
  bool is_open() const { return signal_.is_open(); }

  // On the event loop's thread, from a callback of libuv's: `work`, and then, without a wake, the
  // delivery of what it left.
  template <typename Work>
  void deliver_after(Work work) {
    const bool held = hold();
    work();
    deliver_held(held);
  }
  bool is_libuv() const { return signal_.is_libuv(); }

  // On the event loop's thread: everything that waits, in order, into the empty `messages`.
  void take(std::vector<Message>* messages);

 private:
  bool hold();
  void deliver_held(bool held);

  LoopSignal signal_;
  std::mutex mutex_;
  bool signalled_ = false;
  std::vector<Message> messages_;
};

}  // namespace stonelog::binding
