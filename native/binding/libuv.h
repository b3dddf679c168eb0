// The part of libuv's stable interface that is used here. Weak: a runtime may have none of it.
#pragma once

#include <cstddef>

struct uv_loop_s;

#if defined(__linux__) || defined(__APPLE__)
#define STONELOG_LIBUV
extern "C" {
[[gnu::weak]] int uv_async_init(uv_loop_s* loop, void* handle, void (*run)(void* handle));
[[gnu::weak]] int uv_async_send(void* handle);
[[gnu::weak]] int uv_poll_init(uv_loop_s* loop, void* handle, int descriptor);
[[gnu::weak]] int uv_poll_start(void* handle, int events,
                                void (*run)(void* handle, int status, int events));
[[gnu::weak]] void uv_close(void* handle, void (*closed)(void* handle));
[[gnu::weak]] void uv_ref(void* handle);
[[gnu::weak]] void uv_unref(void* handle);
[[gnu::weak]] size_t uv_handle_size(int type);
[[gnu::weak]] void* uv_handle_get_data(const void* handle);
[[gnu::weak]] void uv_handle_set_data(void* handle, void* data);
}

namespace stonelog::binding {

inline bool has_libuv() {
  return uv_async_init != nullptr && uv_async_send != nullptr && uv_poll_init != nullptr &&
         uv_poll_start != nullptr && uv_close != nullptr && uv_ref != nullptr &&
         uv_unref != nullptr && uv_handle_size != nullptr && uv_handle_get_data != nullptr &&
         uv_handle_set_data != nullptr;
}

}  // namespace stonelog::binding
#endif
