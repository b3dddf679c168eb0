// Reading: slabs are read and verified on reader threads, and become JavaScript's on the event
// loop.
#include <algorithm>

#include "binding/answers.h"
#include "binding/calls.h"
#include "binding/environment.h"
#include "binding/values.h"
#include "driver/threads.h"

namespace stonelog::binding {

namespace {

constexpr uint64_t kMicrosPerMilli = 1000;

napi_value runs_value(napi_env env, const driver::RecordBatch& batch) {
  std::vector<double> runs;
  runs.reserve(4 * batch.runs.size());
  for (const driver::RecordBatch::Run& run : batch.runs) {
    runs.push_back(static_cast<double>(run.index));
    runs.push_back(static_cast<double>(run.first_lsn));
    runs.push_back(static_cast<double>(run.epoch));
    runs.push_back(static_cast<double>(run.timestamp_micros / kMicrosPerMilli));
  }
  return typed_array(env, napi_float64_array, runs.data(), runs.size(), sizeof(double));
}

napi_value skipped_value(napi_env env, const driver::RecordBatch& batch) {
  std::vector<double> skipped;
  for (const format::Hole& hole : batch.skipped) {
    skipped.push_back(static_cast<double>(hole.from));
    skipped.push_back(static_cast<double>(hole.to));
  }
  return typed_array(env, napi_float64_array, skipped.data(), skipped.size(), sizeof(double));
}

void return_slab(napi_env, void*, void* slab) {
  driver::give_back(std::unique_ptr<driver::Slab>(static_cast<driver::Slab*>(slab)));
}

// The slab becomes JavaScript's as it is, and comes back when it is collected. Of one that is less
// than half full the content is copied: whoever keeps a record of it would keep all of it, and the
// collector would not know. The same where memory of others is not allowed (some embedders of V8
// keep all of it in a cage).
napi_value slab_value(napi_env env, driver::RecordBatch* batch) {
  if (batch->bytes() == 0) return array_buffer(env, nullptr, 0);
  napi_value buffer = nullptr;
  driver::Slab* const slab = batch->slab.get();
  if (2 * slab->size() >= slab->capacity()) {
    const napi_status status = napi_create_external_arraybuffer(env, slab->data(), slab->size(),
                                                                return_slab, slab, &buffer);
    // Another failure comes with the end of the environment, which may own the memory already.
    if (status != napi_no_external_buffers_allowed) (void)batch->slab.release();
    if (status == napi_ok) return buffer;
    if (batch->slab == nullptr) return nullptr;
  }
  return array_buffer(env, slab->data(), slab->size());
}

napi_value batch_value(napi_env env, driver::RecordBatch* slab_and_columns) {
  const napi_value data = slab_value(env, slab_and_columns);
  if (data == nullptr) return nullptr;
  const driver::RecordBatch& batch = *slab_and_columns;
  const auto columns = [env](const std::vector<uint32_t>& column) {
    return typed_array(env, napi_uint32_array, column.data(), column.size(), sizeof(uint32_t));
  };
  Object out(env);
  out.set("data", data);
  out.set("offsets", columns(batch.offsets));
  out.set("lengths", columns(batch.lengths));
  out.set("firstLsn", batch.runs.empty() ? uint64_t{0} : batch.runs.front().first_lsn);
  out.set("runs", runs_value(env, batch));
  out.set("skipped", skipped_value(env, batch));
  return out.value();
}

}  // namespace

void ReadAnswer::arrive(Environment*) {
  reader->busy = false;
  if (reader->closed || reader->handle->closing) status = Status::of(Code::closed, {});
}

napi_value ReadAnswer::result(Environment* environment) {
  driver::RecordBatch& batch = reader->batch;
  if (batch.empty() && batch.skipped.empty()) return null_value(environment);
  return batch_value(environment->env(), &batch);
}

// (handle, from, to)
napi_value read_open(napi_env env, napi_callback_info info) {
  Arguments<3> arguments(env, info);
  const uint64_t from = arguments.integer(1);  // 0: from the start
  const uint64_t to = arguments.integer(2);
  if (!arguments.ok) return refusal(env, Code::bad_argument);
  Handle* handle = arguments.environment->open_handle(arguments[0]);
  if (handle == nullptr) return refusal(env, Code::closed);
  // What is known of another process's log may be old: the first read looks anew and decides.
  if (handle->log != nullptr && from != 0 && from < handle->log->first_lsn()) {
    return refusal(env, Code::not_found);
  }
  Ref<ReaderHandle> reader(new ReaderHandle(Ref<Handle>(handle), from, to));
  const int32_t id = arguments.environment->add_reader(std::move(reader));
  return id == 0 ? refusal(env, Code::backpressure) : number(env, static_cast<double>(id));
}

// (reader, request)
napi_value read_next(napi_env env, napi_callback_info info) {
  Arguments<2> arguments(env, info);
  const uint64_t request = arguments.integer(1);
  if (!arguments.ok) return arguments.refuse();
  ReaderHandle* reader = arguments.environment->open_reader(arguments[0]);
  if (reader == nullptr || reader->busy) {
    arguments.environment->refuse(request, reader == nullptr ? Code::closed : Code::bad_argument);
    return nullptr;
  }
  reader->busy = true;
  const auto task = [channel = arguments.environment->channel(), self = Ref<ReaderHandle>(reader),
                     request] {
    if (!channel->is_open()) return;
    auto answer = std::make_unique<ReadAnswer>(request);
    answer->status = self->next();
    answer->reader = self;
    Message message;
    message.answer = std::move(answer);
    channel->post(std::move(message));
  };
  Status status = driver::reader_threads().run(task);
  if (!status.ok()) {
    reader->busy = false;
    arguments.environment->refuse(request, std::move(status));
  }
  return nullptr;
}

// (data)
napi_value read_release(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  if (arguments.ok) (void)napi_detach_arraybuffer(env, arguments[0]);
  return nullptr;
}

// (reader)
napi_value read_close(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  if (!arguments.ok) return nullptr;
  ReaderHandle* reader = arguments.environment->open_reader(arguments[0]);
  if (reader != nullptr) arguments.environment->remove_reader(reader);
  return nullptr;
}

}  // namespace stonelog::binding
