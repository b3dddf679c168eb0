// Wakes an environment's event loop from any thread, and runs a function on it.
//
// Where the runtime offers libuv it is one of its asynchronous handles: waking takes no lock. A
// threadsafe function of Node-API, which serves everywhere else, takes one around the wake, and
// whoever is woken runs into it.
#pragma once

#include <node_api.h>

#include <atomic>

struct uv_loop_s;

namespace stonelog::binding {

class LoopSignal {
 public:
  // Called on the event loop's thread after any number of send(), as a callback of its own: tasks
  // and microtasks run when it returns.
  using Run = void (*)(napi_env env, napi_value target);

  LoopSignal() = default;
  LoopSignal(const LoopSignal&) = delete;
  LoopSignal& operator=(const LoopSignal&) = delete;

  // On the event loop's thread, once. `target` is what `run` is given. `offers_libuv`: the runtime
  // is known to have a libuv that works. The loop is not kept alive until keep_alive() says so.
  napi_status start(napi_env env, napi_value target, Run run, bool offers_libuv);
  void keep_alive(napi_env env, bool on);
  // On the event loop's thread: after it nothing is run any more.
  void close();
  bool is_open() const { return open_.load(std::memory_order_relaxed); }

  // From any thread, also after the end: then nobody will run.
  void send();

  // Whether it is libuv that wakes: only then may run_now() be called, and descriptors be watched.
  bool is_libuv() const { return waker_ != nullptr; }
  // On the event loop's thread, from a callback of libuv's: what send() brings about, at once.
  void run_now();

 private:
  struct Waker;

  napi_status start_with_libuv(napi_env env, napi_value target, Run run, uv_loop_s* loop);
  napi_status start_with_function(napi_env env, napi_value target, Run run);
  static napi_value run_called(napi_env env, napi_callback_info info);
  static void run(Waker* waker);

  // Invariant: whoever sends counts itself before it looks whether it is open; close() waits for
  // those that were counted. So nobody touches what close() gives up.
  std::atomic<bool> open_{false};
  std::atomic<uint32_t> senders_{0};
  napi_threadsafe_function function_ = nullptr;
  Waker* waker_ = nullptr;
};

}  // namespace stonelog::binding
