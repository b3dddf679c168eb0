#include "binding/descriptor_watch.h"

#include <cstdlib>
#include <memory>

#include "binding/libuv.h"

#if defined(STONELOG_LIBUV)
#include <fcntl.h>
#include <unistd.h>
#endif

namespace stonelog::binding {

// One polling handle. It belongs to the event loop, which frees it after its closing.
struct DescriptorWatch::State {
  DescriptorWatch* owner;
  Readable readable;
  void* target;
  int descriptor;  // a duplicate: an event loop watches each number once
  void* handle = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
};

#if defined(STONELOG_LIBUV)

namespace {

constexpr int kPollType = 8;  // UV_POLL
constexpr int kReadable = 1;  // UV_READABLE

}  // namespace

bool DescriptorWatch::start(napi_env env, int descriptor, Readable readable, void* target) {
  uv_loop_s* loop = nullptr;
  if (!has_libuv() || napi_get_uv_event_loop(env, &loop) != napi_ok) return false;
  const int own = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  if (own < 0) return false;
  auto state = std::make_unique<State>(State{this, readable, target, own});
  state->handle = calloc(1, uv_handle_size(kPollType));
  if (state->handle == nullptr || uv_poll_init(loop, state->handle, own) != 0) {
    free(state->handle);
    (void)::close(own);
    return false;
  }
  uv_handle_set_data(state->handle, state.get());
  uv_unref(state->handle);
  state_ = state.release();
  // The environment's end waits until the loop has let go of the handle.
  const auto end = [](napi_async_cleanup_hook_handle, void* data) {
    close_state(static_cast<State*>(data));
  };
  const auto run = [](void* handle, int, int) {
    const auto* const self = static_cast<State*>(uv_handle_get_data(handle));
    if (self->owner != nullptr) self->readable(self->target);
  };
  if (napi_add_async_cleanup_hook(env, end, state_, &state_->hook) == napi_ok &&
      uv_poll_start(state_->handle, kReadable, run) == 0)
    return true;
  close();
  return false;
}

// Once: by close(), or by the end of the environment.
void DescriptorWatch::close_state(State* state) {
  if (state->owner == nullptr) return;
  state->owner->state_ = nullptr;
  state->owner = nullptr;
  uv_close(state->handle, [](void* handle) {
    auto* const closed = static_cast<State*>(uv_handle_get_data(handle));
    if (closed->hook != nullptr) (void)napi_remove_async_cleanup_hook(closed->hook);
    (void)::close(closed->descriptor);
    free(handle);
    delete closed;
  });
}

void DescriptorWatch::close() {
  if (state_ != nullptr) close_state(state_);
}

#else

bool DescriptorWatch::start(napi_env, int, Readable, void*) { return false; }
void DescriptorWatch::close() {}

#endif

}  // namespace stonelog::binding
