// What a log is asked about itself.
#include <vector>

#include "binding/calls.h"
#include "binding/environment.h"
#include "binding/values.h"
#include "crc32c/crc32c.h"

namespace stonelog::binding {

namespace {

// [count, sum, max, buckets…] in nanoseconds; lib/native.ts, NativeStats.
napi_value histogram_value(napi_env env, const driver::Histogram& histogram) {
  std::vector<double> out = {static_cast<double>(histogram.count()),
                             static_cast<double>(histogram.sum_ns()),
                             static_cast<double>(histogram.max_ns())};
  for (const uint64_t count : histogram.buckets()) out.push_back(static_cast<double>(count));
  return typed_array(env, napi_float64_array, out.data(), out.size(), sizeof(double));
}

// The source of a getter; null with the refusal to return.
Handle* readable(napi_env env, const Arguments<1>& arguments, napi_value* refused) {
  if (!arguments.ok) return nullptr;
  Handle* handle = arguments.environment->open_handle(arguments[0]);
  if (handle == nullptr) {
    *refused = refusal(env, Code::closed);
  } else if (handle->read_only != nullptr) {
    handle->refresh_in_background();
  }
  return handle;
}

void set_counters(Object* out, const log::EngineCounters& counters) {
  out->set("records", counters.records);
  out->set("payloadBytes", counters.payload_bytes);
  out->set("groups", counters.groups);
  out->set("groupBytes", counters.group_bytes);
  out->set("controlGroups", counters.control_groups + counters.seals);
  out->set("syncs", counters.syncs);
  out->set("rotations", counters.rotations);
  out->set("refusedQueue", counters.refused_queue);
  out->set("refusedSpace", counters.refused_space);
  out->set("secondSlot", counters.second_slot);
}

}  // namespace

napi_value first_lsn(napi_env env, napi_callback_info info) {
  napi_value refused = nullptr;
  Handle* handle = readable(env, Arguments<1>(env, info), &refused);
  return handle == nullptr ? refused : number(env, handle->source()->first_lsn());
}

napi_value last_lsn(napi_env env, napi_callback_info info) {
  napi_value refused = nullptr;
  Handle* handle = readable(env, Arguments<1>(env, info), &refused);
  if (handle == nullptr) return refused;
  // From outside, what is durable is all that is seen.
  driver::Log* log = handle->log;
  return number(env,
                log == nullptr ? handle->source()->durable_lsn() : log->last_lsn(&handle->session));
}

napi_value durable_lsn(napi_env env, napi_callback_info info) {
  napi_value refused = nullptr;
  Handle* handle = readable(env, Arguments<1>(env, info), &refused);
  return handle == nullptr ? refused : number(env, handle->source()->durable_lsn());
}

napi_value epoch(napi_env env, napi_callback_info info) {
  napi_value refused = nullptr;
  Handle* handle = readable(env, Arguments<1>(env, info), &refused);
  if (handle == nullptr) return refused;
  driver::Log* log = handle->log;
  return number(env, log == nullptr ? handle->read_only->epoch() : log->epoch());
}

// (handle). Of a log that is open for reading only all counters are 0, levels and the path are not.
napi_value stats(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  if (!arguments.ok) return nullptr;
  Handle* handle = arguments.environment->open_handle(arguments[0]);
  if (handle == nullptr) return arguments.refuse();
  const driver::LogStats stats =
      handle->log == nullptr ? handle->read_only->stats() : handle->log->stats(&handle->session);
  Object out(env);
  set_counters(&out, stats.counters);
  out.set("pendingBytes", stats.pending_bytes);
  out.set("segments", stats.segments);
  out.set("preparedSegments", stats.prepared_segments);
  out.set("recycledSegments", stats.recycled_segments);
  out.set("zeroedBytes", stats.zeroed_bytes);
  out.set("wakes", stats.wakes);
  out.set("begun", stats.begun);
  out.set("direct", stats.direct);
  out.set("dsync", stats.dsync);
  out.set("reserves", stats.reserves);
  out.set("fileSystem", stats.file_system);
  out.set("ioReason", stats.io_reason);
  out.set("crc32c", std::string(crc32c::variant_name()));
  out.set("queue", histogram_value(env, stats.queue));
  out.set("write", histogram_value(env, stats.write));
  out.set("sync", histogram_value(env, stats.sync));
  return out.value();
}

// (handle). What stopped the log; or that the last append was refused for want of space.
napi_value last_error(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  if (!arguments.ok) return nullptr;
  Handle* handle = arguments.environment->open_handle(arguments[0]);
  if (handle == nullptr) return null_value(env);
  const Status& refusal = handle->session.refusal;
  if (handle->session.last_code == refusal.code && !refusal.ok()) return error_value(env, refusal);
  Status failure;
  uint64_t durable = 0;
  uint64_t first_not_written = 0;
  if (handle->poisoned(&failure, &durable, &first_not_written)) {
    const napi_value error = error_value(env, failure);
    if (error == nullptr) return nullptr;
    // What an appendSync that failed was given, and whether it was handed over.
    (void)napi_set_named_property(env, error, "lsn", number(env, handle->session.own_lsn));
    (void)napi_set_named_property(env, error, "firstNotWrittenLsn", number(env, first_not_written));
    return error;
  }
  return null_value(env);
}

}  // namespace stonelog::binding
