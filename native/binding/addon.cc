// The addon's entry: one set of functions per environment, bound to what that environment has open.
// Nothing here is static: the main thread and every worker load the same addon.
#include <node_api.h>

#include <iterator>

#include "binding/calls.h"
#include "binding/environment.h"
#include "binding/values.h"
#include "crc32c/crc32c.h"

namespace stonelog::binding {

namespace {

// (dispatch, offersLibuv)
napi_value setup(napi_env env, napi_callback_info info) {
  Arguments<2> arguments(env, info);
  const bool offers_libuv = arguments.boolean(1);
  napi_valuetype type = napi_undefined;
  if (!arguments.ok || napi_typeof(env, arguments[0], &type) != napi_ok) return arguments.refuse();
  if (type != napi_function) return arguments.refuse();
  if (arguments.environment->is_set_up()) {
    (void)napi_throw_error(env, nullptr, "setup of the native part is called once");
    return nullptr;
  }
  if (arguments.environment->set_up(arguments[0], offers_libuv) != napi_ok) {
    (void)napi_throw_error(env, nullptr, "the channel of the native part could not be made");
  }
  return nullptr;
}

// (on)
napi_value keep_alive(napi_env env, napi_callback_info info) {
  Arguments<1> arguments(env, info);
  const bool on = arguments.boolean(0);
  if (!arguments.ok) return arguments.refuse();
  arguments.environment->channel()->keep_alive(env, on);
  return nullptr;
}

napi_value crc32c_variant(napi_env env, napi_callback_info) {
  return text(env, crc32c::variant_name());
}

// (bytes)
napi_value crc32c_of(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Bytes bytes;
  if (!arguments.ok || !read_bytes(env, arguments[0], &bytes)) return arguments.refuse();
  napi_value result = nullptr;
  (void)napi_create_uint32(env, crc32c::extend(0, bytes.data, bytes.size), &result);
  return result;
}

struct Function {
  const char* name;
  napi_callback call;
};

constexpr Function kFunctions[] = {
    {"setup", setup},
    {"keepAlive", keep_alive},
    {"crc32cVariant", crc32c_variant},
    {"crc32c", crc32c_of},
    {"open", open},
    {"verify", verify},
    {"append", append},
    {"appendBatch", append_batch},
    {"appendSync", append_sync},
    {"stage", stage},
    {"kick", kick},
    {"flush", flush},
    {"ready", ready},
    {"truncateBefore", truncate_before},
    {"close", close},
    {"firstLsn", first_lsn},
    {"lastLsn", last_lsn},
    {"durableLsn", durable_lsn},
    {"epoch", epoch},
    {"stats", stats},
    {"lastError", last_error},
    {"readOpen", read_open},
    {"readNext", read_next},
    {"readRelease", read_release},
    {"readClose", read_close},
};

// Null with an exception pending if the environment is ending.
napi_value register_functions(napi_env env, napi_value exports) {
  auto* environment = new Environment(env);
  const auto free = [](napi_env, void* data, void*) { delete static_cast<Environment*>(data); };
  if (napi_set_instance_data(env, environment, free, nullptr) != napi_ok) {
    delete environment;
    return nullptr;
  }
  napi_property_descriptor properties[std::size(kFunctions)] = {};
  for (size_t i = 0; i < std::size(kFunctions); i++) {
    properties[i].utf8name = kFunctions[i].name;
    properties[i].method = kFunctions[i].call;
    properties[i].attributes = napi_enumerable;
    properties[i].data = environment;
  }
  const napi_status status =
      napi_define_properties(env, exports, std::size(properties), properties);
  return status == napi_ok ? exports : nullptr;
}

}  // namespace

}  // namespace stonelog::binding

NAPI_MODULE_INIT() { return stonelog::binding::register_functions(env, exports); }
