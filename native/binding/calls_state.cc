// What a log is asked about itself.
#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "binding/calls.h"
#include "binding/environment.h"
#include "binding/values.h"
#include "crc32c/crc32c.h"

namespace stonelog::binding {

namespace {

constexpr uint64_t kNanosPerMicro = 1000;
constexpr size_t kHistogramHead = 3;  // count, sum, max

// Bucket of a value in whole microseconds; lib/native.ts, NativeStats.
size_t bucket_of(uint64_t micros) {
  if (micros < 4) return static_cast<size_t>(micros);
  const auto log = static_cast<size_t>(std::bit_width(micros)) - 1;
  return 4 * (log - 1) + ((micros >> (log - 2)) & 3);
}

// The value at a rank, 1 to count. Half a rank off the boundary, so that no rounding matters.
uint64_t nanos_at(const driver::Histogram& histogram, uint64_t rank) {
  const auto count = static_cast<double>(histogram.count());
  return histogram.percentile_ns((static_cast<double>(rank) + 0.5) / count);
}

// The last rank with the same value as `rank`.
uint64_t last_rank_like(const driver::Histogram& histogram, uint64_t rank, uint64_t nanos) {
  uint64_t low = rank;
  uint64_t high = histogram.count();
  while (low < high) {
    const uint64_t middle = high - (high - low) / 2;
    if (nanos_at(histogram, middle) == nanos) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

// [count, sum, max, buckets…] in microseconds. Nanosecond buckets, told by their upper bounds, are
// regrouped into those of whole microseconds.
napi_value histogram_value(napi_env env, const driver::Histogram& histogram) {
  const auto micros = [](uint64_t nanos) { return nanos / kNanosPerMicro; };
  const auto real_micros = [](uint64_t nanos) {
    return static_cast<double>(nanos) / static_cast<double>(kNanosPerMicro);
  };
  std::vector<double> out = {static_cast<double>(histogram.count()),
                             std::round(real_micros(histogram.sum_ns())),
                             std::floor(real_micros(histogram.max_ns()))};
  for (uint64_t rank = 1; rank <= histogram.count();) {
    const uint64_t nanos = nanos_at(histogram, rank);
    const uint64_t last = last_rank_like(histogram, rank, nanos);
    const uint64_t inside = nanos == histogram.max_ns() || nanos == 0 ? nanos : nanos - 1;
    const size_t bucket = kHistogramHead + bucket_of(micros(inside));
    if (out.size() <= bucket) out.resize(bucket + 1);
    out[bucket] += static_cast<double>(last - rank + 1);
    rank = last + 1;
  }
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
  out->set("recordBytes", counters.payload_bytes);
  out->set("groups", counters.groups);
  out->set("writtenBytes", counters.group_bytes);
  out->set("syncs", counters.syncs);
  out->set("rotations", counters.rotations);
  out->set("refusedBackpressure", counters.refused_queue);
  out->set("refusedNoSpace", counters.refused_space);
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
  return number(env, log == nullptr ? handle->source()->durable_lsn() : log->last_lsn());
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

// (handle). Of a log that is open for reading only all counters are 0.
napi_value stats(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  if (!arguments.ok) return nullptr;
  Handle* handle = arguments.environment->open_handle(arguments[0]);
  if (handle == nullptr) return arguments.refuse();
  driver::LogStats stats;
  if (handle->log != nullptr) {
    stats = handle->log->stats();
  } else {
    stats.direct = handle->probe.direct;
    stats.file_system = handle->probe.file_system;
    stats.io_reason = handle->probe.reason;
  }
  Object out(env);
  set_counters(&out, stats.counters);
  out.set("segmentsPrepared", stats.prepared_segments);
  out.set("segmentsRecycled", stats.recycled_segments);
  out.set("preparedBytes", stats.zeroed_bytes);
  out.set("queuedBytes", stats.pending_bytes);
  out.set("segments", stats.segments);
  out.set("segmentsReady", stats.prepared_segments);
  out.set("readers", arguments.environment->count_readers(handle->source()));
  out.set("direct", stats.direct);
  out.set("dsync", stats.dsync);
  out.set("reserves", stats.reserves);
  out.set("copyOnWrite", handle->probe.copy_on_write);
  out.set("blockSize", static_cast<double>(handle->probe.block_size));
  out.set("fileSystem", stats.file_system);
  out.set("reason", stats.io_reason);
  out.set("crc32c", std::string(crc32c::variant_name()));
  out.set("queueLatency", histogram_value(env, stats.queue));
  out.set("commitLatency", histogram_value(env, stats.write));
  out.set("prepareLatency", histogram_value(env, driver::Histogram{}));
  return out.value();
}

// (handle). What stopped the log; or that the last append was refused for want of space.
napi_value last_error(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  if (!arguments.ok) return nullptr;
  Handle* handle = arguments.environment->open_handle(arguments[0]);
  if (handle == nullptr) return null_value(env);
  Status failure;
  uint64_t ignored = 0;
  if (handle->poisoned(&failure, &ignored, &ignored)) return error_value(env, failure);
  if (handle->session.last_code != Code::no_space) return null_value(env);
  return error_value(env, Status::of(Code::no_space, {}));
}

}  // namespace stonelog::binding
