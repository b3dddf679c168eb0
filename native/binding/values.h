// Conversion between JavaScript values and ours. A failed call of Node-API leaves a null value
// behind which every later call refuses, so a chain of them needs no check but that of its end.
#pragma once

#include <node_api.h>

#include <string>

#include "io/status.h"
#include "log/recovery.h"

namespace stonelog::binding {

class Environment;

// 2^53 - 1. Numbers beyond are not exact; LSNs never get there.
inline constexpr uint64_t kMaxSafeInteger = (uint64_t{1} << 53) - 1;

napi_value number(napi_env env, double value);
napi_value number(napi_env env, uint64_t value);
napi_value text(napi_env env, const std::string& value);
napi_value null_value(napi_env env);
napi_value null_value(Environment* environment);
// -(Code), as calls return it that otherwise return an LSN or an id.
napi_value refusal(napi_env env, Code code);

// A plain object under construction.
class Object {
 public:
  explicit Object(napi_env env);
  void set(const char* name, napi_value value);
  void set(const char* name, double value);
  void set(const char* name, uint64_t value);
  void set(const char* name, bool value);
  void set(const char* name, const std::string& value);
  napi_value value() const { return value_; }

 private:
  napi_env env_;
  napi_value value_ = nullptr;
};

napi_value error_value(napi_env env, const Status& status);                // NativeError
napi_value report_value(napi_env env, const log::RecoveryReport& report);  // NativeReport

// A typed array of its own memory, copied from `data`.
napi_value typed_array(napi_env env, napi_typedarray_type type, const void* data, size_t count,
                       size_t element_bytes);
// An ArrayBuffer of its own memory, copied from `data`.
napi_value array_buffer(napi_env env, const void* data, size_t size);

// The bytes of a Uint8Array, valid until JavaScript runs again.
struct Bytes {
  const uint8_t* data = nullptr;
  size_t size = 0;
  bool shared = false;  // other threads may change them under our hands
};
bool read_bytes(napi_env env, napi_value value, Bytes* bytes);  // false: not a typed array

// The arguments of one call. TypeScript hands over typed values; one that is not makes `ok` false.
template <size_t N>
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info) : env_(env) {
    size_t count = N;
    void* data = nullptr;
    ok = napi_get_cb_info(env, info, &count, values_, nullptr, &data) == napi_ok;
    environment = static_cast<Environment*>(data);
  }
  napi_value operator[](size_t index) const { return values_[index]; }
  double real(size_t index) {
    double value = 0;
    ok &= napi_get_value_double(env_, values_[index], &value) == napi_ok;
    return value;
  }
  uint64_t integer(size_t index) {
    const double value = real(index);
    const bool fits = value >= 0 && value <= static_cast<double>(kMaxSafeInteger);
    ok &= fits;
    return fits ? static_cast<uint64_t>(value) : 0;
  }
  // One of 0 to most.
  uint8_t choice(size_t index, uint8_t most) {
    const uint64_t value = integer(index);
    ok &= value <= most;
    return ok ? static_cast<uint8_t>(value) : uint8_t{0};
  }
  bool boolean(size_t index) {
    bool value = false;
    ok &= napi_get_value_bool(env_, values_[index], &value) == napi_ok;
    return value;
  }
  std::string string(size_t index) {
    size_t size = 0;
    ok &= napi_get_value_string_utf8(env_, values_[index], nullptr, 0, &size) == napi_ok;
    if (!ok) return {};
    std::string value(size + 1, '\0');  // Node-API writes a terminator
    ok &=
        napi_get_value_string_utf8(env_, values_[index], value.data(), size + 1, &size) == napi_ok;
    value.resize(size);
    return value;
  }
  // The end of a call whose arguments are wrong: throws, unless something was thrown already.
  napi_value refuse() const {
    (void)napi_throw_type_error(env_, nullptr, "a call of the native part has wrong arguments");
    return nullptr;
  }

  Environment* environment = nullptr;
  bool ok = false;

 private:
  napi_env env_;
  napi_value values_[N] = {};
};

}  // namespace stonelog::binding
