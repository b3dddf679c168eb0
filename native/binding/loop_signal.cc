#include "binding/loop_signal.h"

#include <cstddef>
#include <cstdlib>
#include <memory>

#include "binding/libuv.h"
#include "io/host.h"

namespace stonelog::binding {

namespace {

constexpr uint64_t kLookAgainNs = 50'000;

}  // namespace

// One asynchronous handle. It belongs to the event loop, which frees it after its closing.
struct LoopSignal::Waker {
  napi_env env = nullptr;
  napi_ref function = nullptr;  // calls `run`, from JavaScript
  napi_ref target = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
  bool closed = false;
  void* handle = nullptr;
};

#if defined(STONELOG_LIBUV)

namespace {

constexpr int kAsyncType = 1;  // UV_ASYNC

}  // namespace

// `run` as JavaScript calls it: only Node's own callbacks enter the environment's context.
napi_value LoopSignal::run_called(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value target = nullptr;
  void* data = nullptr;
  if (napi_get_cb_info(env, info, &count, &target, nullptr, &data) == napi_ok)
    reinterpret_cast<Run>(data)(env, target);
  return nullptr;
}

void LoopSignal::run(Waker* waker) {
  if (waker->closed) return;
  napi_env const in = waker->env;
  napi_handle_scope scope = nullptr;
  if (napi_open_handle_scope(in, &scope) != napi_ok) return;
  napi_value function = nullptr;
  napi_value argument = nullptr;
  if (napi_get_reference_value(in, waker->function, &function) == napi_ok &&
      napi_get_reference_value(in, waker->target, &argument) == napi_ok) {
    napi_value thrown = nullptr;
    const napi_status result =
        napi_make_callback(in, nullptr, argument, function, 1, &argument, nullptr);
    if (result == napi_pending_exception &&
        napi_get_and_clear_last_exception(in, &thrown) == napi_ok)
      (void)napi_fatal_exception(in, thrown);
  }
  (void)napi_close_handle_scope(in, scope);
}

napi_status LoopSignal::start_with_libuv(napi_env env, napi_value target, Run run,
                                         uv_loop_s* loop) {
  napi_value callback = nullptr;
  napi_status status = napi_create_function(env, "stonelog", NAPI_AUTO_LENGTH, run_called,
                                            reinterpret_cast<void*>(run), &callback);
  if (status != napi_ok) return status;
  auto waker = std::make_unique<Waker>();
  waker->env = env;
  status = napi_create_reference(env, callback, 1, &waker->function);
  if (status == napi_ok) status = napi_create_reference(env, target, 1, &waker->target);
  if (status != napi_ok) return status;

  const auto woken = [](void* handle) {
    LoopSignal::run(static_cast<Waker*>(uv_handle_get_data(handle)));
  };
  waker->handle = calloc(1, uv_handle_size(kAsyncType));
  if (waker->handle == nullptr || uv_async_init(loop, waker->handle, woken) != 0) {
    free(waker->handle);
    return napi_generic_failure;
  }
  uv_handle_set_data(waker->handle, waker.get());
  uv_unref(waker->handle);
  waker_ = waker.release();
  // The environment's end waits until the loop has let go of the handle.
  const auto end = [](napi_async_cleanup_hook_handle hook, void* data) {
    auto* const self = static_cast<Waker*>(data);
    self->closed = true;
    self->hook = hook;
    uv_close(self->handle, [](void* handle) {
      auto* const closed = static_cast<Waker*>(uv_handle_get_data(handle));
      (void)napi_remove_async_cleanup_hook(closed->hook);
      free(handle);
      delete closed;
    });
  };
  // Should there be no hook, the handle stays for as long as the loop.
  return napi_add_async_cleanup_hook(env, end, waker_, nullptr);
}

#endif

napi_status LoopSignal::start_with_function(napi_env env, napi_value target, Run run) {
  napi_value name = nullptr;
  napi_status status = napi_create_string_utf8(env, "stonelog", NAPI_AUTO_LENGTH, &name);
  if (status != napi_ok) return status;
  const auto called = [](napi_env in, napi_value function, void* context, void*) {
    if (in != nullptr) reinterpret_cast<Run>(context)(in, function);
  };
  status = napi_create_threadsafe_function(env, target, nullptr, name, 0, 1, nullptr, nullptr,
                                           reinterpret_cast<void*>(run), called, &function_);
  return status == napi_ok ? napi_unref_threadsafe_function(env, function_) : status;
}

napi_status LoopSignal::start(napi_env env, napi_value target, Run run,
                              [[maybe_unused]] bool offers_libuv) {
  napi_status status = napi_generic_failure;
#if defined(STONELOG_LIBUV)
  uv_loop_s* loop = nullptr;
  if (offers_libuv && has_libuv() && napi_get_uv_event_loop(env, &loop) == napi_ok)
    status = start_with_libuv(env, target, run, loop);
#endif
  if (waker_ == nullptr) status = start_with_function(env, target, run);
  if (status == napi_ok) open_.store(true, std::memory_order_seq_cst);
  return status;
}

void LoopSignal::keep_alive(napi_env env, bool on) {
  if (!is_open()) return;
#if defined(STONELOG_LIBUV)
  if (waker_ != nullptr) return on ? uv_ref(waker_->handle) : uv_unref(waker_->handle);
#endif
  (void)(on ? napi_ref_threadsafe_function(env, function_)
            : napi_unref_threadsafe_function(env, function_));
}

void LoopSignal::close() {
  if (!open_.exchange(false, std::memory_order_seq_cst)) return;
  // As long as a wake takes. Sleeping, not spinning: the sender may need this processor.
  for (uint32_t left = senders_.load(std::memory_order_seq_cst); left > 0;
       left = senders_.load(std::memory_order_seq_cst)) {
    io::sleep_on(&senders_, left, io::monotonic_ns() + kLookAgainNs);
  }
  if (waker_ != nullptr) {
    waker_->closed = true;  // its cleanup hook does the rest
    waker_ = nullptr;
    return;
  }
  // Our only reference to it; its memory goes with the environment.
  (void)napi_release_threadsafe_function(function_, napi_tsfn_abort);
}

void LoopSignal::run_now() {
#if defined(STONELOG_LIBUV)
  if (waker_ != nullptr) run(waker_);
#endif
}

void LoopSignal::send() {
  senders_.fetch_add(1, std::memory_order_seq_cst);
  if (open_.load(std::memory_order_seq_cst)) {
#if defined(STONELOG_LIBUV)
    if (waker_ != nullptr) (void)uv_async_send(waker_->handle);
#endif
    if (waker_ == nullptr)
      (void)napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking);
  }
  senders_.fetch_sub(1, std::memory_order_seq_cst);
}

}  // namespace stonelog::binding
