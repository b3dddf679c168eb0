// Appending. The hot path: nothing is allocated, and no JavaScript runs between looking at the
// bytes and having copied them.
#include <cstring>

#include "binding/calls.h"
#include "binding/environment.h"
#include "binding/values.h"
#include "format/record.h"

namespace stonelog::binding {

namespace {

constexpr int32_t kMostDurability = static_cast<int32_t>(log::Durability::none);

napi_value lsn_value(napi_env env, uint64_t lsn, Code code) {
  return code == Code::ok ? number(env, lsn) : refusal(env, code);
}

// The handle of a call that appends; null with what to return instead.
Handle* writable(Environment* environment, napi_value id, Code* code) {
  Handle* handle = environment->open_handle(id);
  if (handle == nullptr) {
    *code = Code::closed;
  } else if (handle->log == nullptr) {
    *code = Code::read_only;
    return nullptr;
  }
  return handle;
}

// The bytes of a call: `length` of them. Bytes that other threads can change are copied first: else
// the checksum might be that of other bytes than those that are copied into the log.
Code read_payload(napi_env env, Environment* environment, napi_value value, napi_value length,
                  Bytes* bytes) {
  int64_t size = 0;
  if (!read_bytes(env, value, bytes) || napi_get_value_int64(env, length, &size) != napi_ok) {
    return Code::bad_argument;
  }
  if (size < 0 || static_cast<uint64_t>(size) > bytes->size) return Code::bad_argument;
  bytes->size = static_cast<size_t>(size);
  if (bytes->shared && bytes->size > 0) {
    uint8_t* copy = environment->scratch(bytes->size);
    std::memcpy(copy, bytes->data, bytes->size);
    bytes->data = copy;
  }
  return Code::ok;
}

// The records of a batch. First all elements are taken, then their bytes are looked at: taking one
// may run JavaScript, which may detach the bytes of those before it.
bool read_records(napi_env env, napi_value array, std::vector<log::RecordInput>* records,
                  bool* shared) {
  uint32_t count = 0;
  if (napi_get_array_length(env, array, &count) != napi_ok) return false;
  std::vector<napi_value> elements(count);
  for (uint32_t i = 0; i < count; i++) {
    if (napi_get_element(env, array, i, &elements[i]) != napi_ok) return false;
  }
  records->reserve(count);
  for (const napi_value element : elements) {
    Bytes bytes;
    if (!read_bytes(env, element, &bytes)) return false;
    records->push_back({bytes.data, bytes.size, {}});
    *shared |= bytes.shared;
  }
  return true;
}

void make_private(Environment* environment, std::vector<log::RecordInput>* records) {
  size_t size = 0;
  for (const log::RecordInput& record : *records) size += record.size;
  uint8_t* copy = environment->scratch(size);
  for (log::RecordInput& record : *records) {
    if (record.size > 0) std::memcpy(copy, record.data, record.size);
    record.data = copy;
    copy += record.size;
  }
}

}  // namespace

// (handle, bytes, length, durability)
napi_value append(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  if (!arguments.ok) return nullptr;
  Code code = Code::ok;
  Handle* handle = writable(arguments.environment, arguments[0], &code);
  if (handle == nullptr) return refusal(env, code);
  Bytes bytes;
  code = read_payload(env, arguments.environment, arguments[1], arguments[2], &bytes);
  int32_t durability = -1;
  (void)napi_get_value_int32(env, arguments[3], &durability);
  if (durability < 0 || durability > kMostDurability) code = Code::bad_argument;
  if (code != Code::ok) return refusal(env, code);
  const uint64_t lsn = handle->log->append(&handle->session, bytes.data, bytes.size,
                                           static_cast<log::Durability>(durability), &code);
  if (bytes.shared) arguments.environment->trim_scratch();
  return lsn_value(env, lsn, code);
}

// (handle, records, durability)
napi_value append_batch(napi_env env, napi_callback_info info) {
  Arguments<3> arguments(env, info);
  const uint8_t durability = arguments.choice(2, kMostDurability);
  std::vector<log::RecordInput> records;
  bool shared = false;
  if (!arguments.ok || !read_records(env, arguments[1], &records, &shared) || records.empty()) {
    return refusal(env, Code::bad_argument);
  }
  // Only now: taking the records may have run JavaScript.
  Code code = Code::ok;
  Handle* handle = writable(arguments.environment, arguments[0], &code);
  if (handle == nullptr) return refusal(env, code);
  if (shared) make_private(arguments.environment, &records);
  for (log::RecordInput& record : records) {
    format::sum_payload(record.data, record.size, &record.sum);
  }
  const uint64_t lsn = handle->log->append_batch(&handle->session, records.data(), records.size(),
                                                 static_cast<log::Durability>(durability), &code);
  if (shared) arguments.environment->trim_scratch();
  return lsn_value(env, lsn, code);
}

// (handle, bytes, length)
napi_value append_sync(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  if (!arguments.ok) return nullptr;
  Code code = Code::ok;
  Handle* handle = writable(arguments.environment, arguments[0], &code);
  if (handle == nullptr) return refusal(env, code);
  Bytes bytes;
  code = read_payload(env, arguments.environment, arguments[1], arguments[2], &bytes);
  if (code != Code::ok) return refusal(env, code);
  const uint64_t lsn = handle->log->append_sync(&handle->session, bytes.data, bytes.size, &code);
  if (bytes.shared) arguments.environment->trim_scratch();
  return lsn_value(env, lsn, code);
}

// (handle, memory, durability)
napi_value stage(napi_env env, napi_callback_info info) {
  Arguments<3> arguments(env, info);
  const uint8_t durability = arguments.choice(2, kMostDurability);
  void* memory = nullptr;
  size_t size = 0;
  if (!arguments.ok || napi_get_arraybuffer_info(env, arguments[1], &memory, &size) != napi_ok ||
      size != sizeof(driver::Staging)) {
    return nullptr;
  }
  Handle* handle = arguments.environment->open_handle(arguments[0]);
  if (handle == nullptr || handle->log == nullptr || handle->staging != nullptr) return nullptr;
  // The memory stays as long as the session may look at it.
  if (napi_create_reference(env, arguments[1], 1, &handle->staging) != napi_ok) return nullptr;
  handle->log->stage(&handle->session, static_cast<driver::Staging*>(memory),
                     static_cast<log::Durability>(durability));
  return nullptr;
}

// (handle, more)
napi_value kick(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  bool more = false;
  if (!arguments.ok || napi_get_value_bool(env, arguments[1], &more) != napi_ok) return nullptr;
  Handle* handle = arguments.environment->open_handle(arguments[0]);
  const bool writes = handle != nullptr && handle->log != nullptr;
  if (writes) arguments.environment->watch_commits(handle);
  return number(env, writes ? handle->log->kick(&handle->session, more) : uint64_t{0});
}

}  // namespace stonelog::binding
