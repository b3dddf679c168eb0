// Calls a function on an environment's event loop when a descriptor becomes readable. By libuv
// alone (loop_signal.h): elsewhere start() says no. The loop is not kept alive by it.
#pragma once

#include <node_api.h>

namespace stonelog::binding {

class DescriptorWatch {
 public:
  using Readable = void (*)(void* target);

  DescriptorWatch() = default;
  ~DescriptorWatch() { close(); }
  DescriptorWatch(const DescriptorWatch&) = delete;
  DescriptorWatch& operator=(const DescriptorWatch&) = delete;

  // All on the event loop's thread. `readable` is called outside of JavaScript, for as long as the
  // descriptor is readable: it must clear it.
  bool start(napi_env env, int descriptor, Readable readable, void* target);
  // Nothing is called any more, and the descriptor may be closed.
  void close();

 private:
  struct State;
  static void close_state(State* state);

  State* state_ = nullptr;  // null also after the end of the environment
};

}  // namespace stonelog::binding
