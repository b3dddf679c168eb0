#include "binding/values.h"

#include <cstring>

#include "binding/environment.h"

namespace stonelog::binding {

napi_value number(napi_env env, double value) {
  napi_value result = nullptr;
  (void)napi_create_double(env, value, &result);
  return result;
}

napi_value number(napi_env env, uint64_t value) { return number(env, static_cast<double>(value)); }

napi_value text(napi_env env, const std::string& value) {
  napi_value result = nullptr;
  (void)napi_create_string_utf8(env, value.data(), value.size(), &result);
  return result;
}

napi_value null_value(napi_env env) {
  napi_value result = nullptr;
  (void)napi_get_null(env, &result);
  return result;
}

napi_value null_value(Environment* environment) { return null_value(environment->env()); }

napi_value refusal(napi_env env, Code code) {
  napi_value result = nullptr;
  (void)napi_create_int32(env, -static_cast<int32_t>(code), &result);
  return result;
}

Object::Object(napi_env env) : env_(env) { (void)napi_create_object(env, &value_); }

void Object::set(const char* name, napi_value value) {
  (void)napi_set_named_property(env_, value_, name, value);
}

void Object::set(const char* name, double value) { set(name, number(env_, value)); }

void Object::set(const char* name, uint64_t value) { set(name, number(env_, value)); }

void Object::set(const char* name, bool value) {
  napi_value boolean = nullptr;
  (void)napi_get_boolean(env_, value, &boolean);
  set(name, boolean);
}

void Object::set(const char* name, const std::string& value) { set(name, text(env_, value)); }

napi_value error_value(napi_env env, const Status& status) {
  Object error(env);
  error.set("code", static_cast<double>(status.code));
  error.set("message", status.detail);
  error.set("errno", static_cast<double>(status.error));
  error.set("syscall", status.syscall == nullptr ? null_value(env) : text(env, status.syscall));
  error.set("path", status.path.empty() ? null_value(env) : text(env, status.path));
  error.set("segment", status.segment);
  error.set("offset", status.offset);
  error.set("pid", status.pid);
  return error.value();
}

napi_value report_value(napi_env env, const log::RecoveryReport& report) {
  napi_value lost = nullptr;
  (void)napi_create_array_with_length(env, report.lost.size(), &lost);
  uint32_t index = 0;
  for (const log::LostRange& range : report.lost) {
    Object entry(env);
    entry.set("from", range.from);
    entry.set("to", range.to);
    entry.set("segment", range.segment);
    entry.set("offset", range.offset);
    entry.set("reason", range.reason);
    entry.set("quarantine",
              range.quarantine.empty() ? null_value(env) : text(env, range.quarantine));
    (void)napi_set_element(env, lost, index++, entry.value());
  }
  napi_value events = nullptr;
  (void)napi_create_array_with_length(env, report.events.size(), &events);
  index = 0;
  for (const std::string& event : report.events) {
    (void)napi_set_element(env, events, index++, text(env, event));
  }
  Object out(env);
  out.set("verdict", static_cast<double>(report.verdict));
  out.set("closed", report.closed);
  out.set("live", report.live);
  out.set("firstLsn", report.first_lsn);
  out.set("lastLsn", report.last_lsn);
  out.set("epoch", report.epoch);
  out.set("scannedSegments", report.scanned_segments);
  out.set("scannedBytes", report.scanned_bytes);
  out.set("truncatedBytes", report.truncated_bytes);
  out.set("records", report.records);
  out.set("durationMs", report.duration_ms);
  out.set("row", report.row);
  if (report.evidence_reason.empty()) {
    out.set("evidence", null_value(env));
  } else {
    Object evidence(env);
    evidence.set("segment", report.evidence_segment);
    evidence.set("offset", report.evidence_offset);
    evidence.set("reason", report.evidence_reason);
    out.set("evidence", evidence.value());
  }
  out.set("lost", lost);
  out.set("events", events);
  return out.value();
}

napi_value typed_array(napi_env env, napi_typedarray_type type, const void* data, size_t count,
                       size_t element_bytes) {
  void* memory = nullptr;
  napi_value buffer = nullptr;
  napi_value array = nullptr;
  if (napi_create_arraybuffer(env, count * element_bytes, &memory, &buffer) != napi_ok) {
    return nullptr;
  }
  if (count > 0) std::memcpy(memory, data, count * element_bytes);
  (void)napi_create_typedarray(env, type, count, buffer, 0, &array);
  return array;
}

napi_value array_buffer(napi_env env, const void* data, size_t size) {
  // By way of a Buffer: its memory is not zeroed first, as that of a plain ArrayBuffer is.
  napi_value buffer = nullptr;
  napi_value memory = nullptr;
  if (napi_create_buffer_copy(env, size, data, nullptr, &buffer) != napi_ok) return nullptr;
  (void)napi_get_typedarray_info(env, buffer, nullptr, nullptr, nullptr, &memory, nullptr);
  return memory;
}

bool read_bytes(napi_env env, napi_value value, Bytes* bytes) {
  static constexpr uint8_t kNothing = 0;  // an address for no bytes
  void* data = nullptr;
  napi_value buffer = nullptr;
  bool unshared = false;
  // The element type is not asked for, which would cost 4 ns of 45: TypeScript has looked. Of wider
  // elements this sees fewer bytes than there are, never more.
  if (napi_get_typedarray_info(env, value, nullptr, &bytes->size, &data, &buffer, nullptr) !=
          napi_ok ||
      napi_is_arraybuffer(env, buffer, &unshared) != napi_ok) {
    return false;
  }
  if (data == nullptr) bytes->size = 0;  // detached
  bytes->data = bytes->size == 0 ? &kNothing : static_cast<const uint8_t*>(data);
  bytes->shared = !unshared;
  return true;
}

}  // namespace stonelog::binding
