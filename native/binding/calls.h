// The functions of the addon, as lib/native.ts types them. The data of each is its Environment.
#pragma once

#include <node_api.h>

namespace stonelog::binding {

// calls_append.cc
napi_value append(napi_env env, napi_callback_info info);
napi_value append_batch(napi_env env, napi_callback_info info);
napi_value append_sync(napi_env env, napi_callback_info info);
napi_value stage(napi_env env, napi_callback_info info);
napi_value kick(napi_env env, napi_callback_info info);

// calls_requests.cc
napi_value open(napi_env env, napi_callback_info info);
napi_value verify(napi_env env, napi_callback_info info);
napi_value flush(napi_env env, napi_callback_info info);
napi_value ready(napi_env env, napi_callback_info info);
napi_value truncate_before(napi_env env, napi_callback_info info);
napi_value close(napi_env env, napi_callback_info info);

// calls_state.cc
napi_value first_lsn(napi_env env, napi_callback_info info);
napi_value last_lsn(napi_env env, napi_callback_info info);
napi_value durable_lsn(napi_env env, napi_callback_info info);
napi_value epoch(napi_env env, napi_callback_info info);
napi_value stats(napi_env env, napi_callback_info info);
napi_value last_error(napi_env env, napi_callback_info info);

// calls_read.cc
napi_value read_open(napi_env env, napi_callback_info info);
napi_value read_next(napi_env env, napi_callback_info info);
napi_value read_release(napi_env env, napi_callback_info info);
napi_value read_close(napi_env env, napi_callback_info info);

}  // namespace stonelog::binding
