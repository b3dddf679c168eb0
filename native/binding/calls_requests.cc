// Requests: what may wait for the disk runs on threads of our own and answers on the channel, with
// the id of the request, exactly once.
#include <functional>

#include "binding/answers.h"
#include "binding/calls.h"
#include "binding/environment.h"
#include "binding/values.h"
#include "driver/read_only_log.h"
#include "driver/registry.h"
#include "driver/threads.h"
#include "io/file.h"

namespace stonelog::binding {

namespace {

napi_value not_set_up(napi_env env) {
  (void)napi_throw_error(env, nullptr, "setup comes before every request of the native part");
  return nullptr;
}

bool read_open_options(Arguments<19>* arguments, driver::OpenOptions* options) {
  options->directory = arguments->string(1);
  options->read_only = arguments->boolean(2);
  options->create = arguments->boolean(3);
  options->durability = static_cast<log::Durability>(arguments->choice(4, 3));
  options->interval_ms = arguments->real(5);
  options->max_delay_ms = arguments->real(6);
  options->max_group_bytes = arguments->integer(7);
  options->max_group_records = arguments->integer(8);
  options->pipeline_depth = static_cast<uint32_t>(arguments->integer(9));
  options->segment_bytes = arguments->integer(10);
  options->max_record_bytes = arguments->integer(11);
  options->queue_bytes = arguments->integer(12);
  options->direct_io = static_cast<io::DirectIo>(arguments->choice(13, 2));
  options->policy.torn_tail = static_cast<log::OnDamage>(arguments->choice(14, 2));
  options->policy.damage = static_cast<log::OnDamage>(arguments->choice(15, 2));
  options->policy.scan_all = arguments->boolean(16);
  options->min_free_bytes = arguments->integer(17);
  options->file_mode = static_cast<uint32_t>(arguments->integer(18));
  return arguments->ok;
}

void open_log(const Ref<Channel>& channel, const driver::OpenOptions& options, OpenAnswer* answer) {
  io::FileSystem& fs = io::host_file_system();
  driver::Log* log = nullptr;
  driver::ReadOnlyLog* read_only = nullptr;
  answer->status = options.read_only
                       ? driver::ReadOnlyLog::open(fs, options, &read_only, &answer->report)
                       : driver::open_shared(fs, options, &log, &answer->report);
  if (!answer->status.ok()) return;
  answer->max_record_bytes = (log == nullptr ? options : log->options()).max_record_bytes;
  answer->opened = Ref<Handle>(new Handle(channel, log, read_only));
}

// On this thread if need be: opening has left a thread behind, so this is no more than a safeguard.
void run_surely(const std::function<void()>& task) {
  if (!driver::request_threads().run(task).ok()) task();
}

void post(const Ref<Channel>& channel, std::unique_ptr<Answer> answer) {
  Message message;
  message.answer = std::move(answer);
  channel->post(std::move(message));
}

}  // namespace

void WaitAnswer::arrive(Environment*) {
  for (auto waiting = handle->waiting.begin(); waiting != handle->waiting.end(); ++waiting) {
    if (waiting->request != request) continue;
    is_flush_ = waiting->flush;
    handle->waiting.erase(waiting);
    return;
  }
}

napi_value WaitAnswer::result(Environment* environment) {
  return is_flush_ ? number(environment->env(), durable_lsn_) : null_value(environment);
}

napi_value TruncateAnswer::result(Environment* environment) {
  return number(environment->env(), first_lsn);
}

void CloseAnswer::arrive(Environment* environment) { environment->remove_handle(handle.get()); }

napi_value OpenAnswer::result(Environment* environment) {
  const int32_t id = environment->add_handle(std::move(opened));
  if (id == 0) return nullptr;
  Object out(environment->env());
  out.set("handle", static_cast<double>(id));
  out.set("report", report_value(environment->env(), report));
  out.set("maxRecordBytes", max_record_bytes);
  return out.value();
}

napi_value VerifyAnswer::result(Environment* environment) {
  return report_value(environment->env(), report);
}

// (request, dir, readOnly, create, durability, intervalMs, maxDelayMs, maxGroupBytes,
// maxGroupRecords, pipelineDepth, segmentBytes, maxRecordBytes, queueBytes, directIo, onTornTail,
// onDamage, scanAll, minFreeBytes, fileMode)
napi_value open(napi_env env, napi_callback_info info) {
  Arguments<19> arguments(env, info);
  driver::OpenOptions options;
  const uint64_t request = arguments.integer(0);
  if (!read_open_options(&arguments, &options)) return arguments.refuse();
  if (!arguments.environment->is_set_up()) return not_set_up(env);
  const auto task = [channel = arguments.environment->channel(), options, request] {
    if (!channel->is_open()) return;  // the environment ended before its turn came
    auto answer = std::make_unique<OpenAnswer>(request);
    open_log(channel, options, answer.get());
    post(channel, std::move(answer));
  };
  Status status = driver::request_threads().run(task);
  if (!status.ok()) arguments.environment->refuse(request, std::move(status));
  return nullptr;
}

// (request, dir, directIo)
napi_value verify(napi_env env, napi_callback_info info) {
  Arguments<3> arguments(env, info);
  const uint64_t request = arguments.integer(0);
  const std::string directory = arguments.string(1);
  const auto direct_io = static_cast<io::DirectIo>(arguments.choice(2, 2));
  if (!arguments.ok) return arguments.refuse();
  if (!arguments.environment->is_set_up()) return not_set_up(env);
  const auto task = [channel = arguments.environment->channel(), directory, direct_io, request] {
    if (!channel->is_open()) return;
    auto answer = std::make_unique<VerifyAnswer>(request);
    answer->status = driver::verify(io::host_file_system(), directory, direct_io, &answer->report);
    post(channel, std::move(answer));
  };
  Status status = driver::request_threads().run(task);
  if (!status.ok()) arguments.environment->refuse(request, std::move(status));
  return nullptr;
}

// (handle, request, upTo)
napi_value flush(napi_env env, napi_callback_info info) {
  Arguments<3> arguments(env, info);
  const uint64_t request = arguments.integer(1);
  const uint64_t up_to = arguments.integer(2);
  if (!arguments.ok) return arguments.refuse();
  Handle* handle = arguments.environment->open_handle(arguments[0]);
  if (handle == nullptr || handle->log == nullptr) {
    arguments.environment->refuse(request, handle == nullptr ? Code::closed : Code::read_only);
    return nullptr;
  }
  arguments.environment->watch_commits(handle);
  handle->waiting.push_back({request, true});
  handle->log->flush(&handle->session, request, up_to);
  return nullptr;
}

// (handle, request)
napi_value ready(napi_env env, napi_callback_info info) {
  Arguments<2> arguments(env, info);
  const uint64_t request = arguments.integer(1);
  if (!arguments.ok) return arguments.refuse();
  Handle* handle = arguments.environment->open_handle(arguments[0]);
  if (handle == nullptr || handle->log == nullptr) {
    arguments.environment->refuse(request, handle == nullptr ? Code::closed : Code::read_only);
    return nullptr;
  }
  handle->waiting.push_back({request, false});
  handle->log->ready(&handle->session, request);
  return nullptr;
}

// (handle, request, lsn)
napi_value truncate_before(napi_env env, napi_callback_info info) {
  Arguments<3> arguments(env, info);
  const uint64_t request = arguments.integer(1);
  const uint64_t lsn = arguments.integer(2);
  if (!arguments.ok) return arguments.refuse();
  Handle* handle = arguments.environment->open_handle(arguments[0]);
  if (handle == nullptr || handle->log == nullptr) {
    arguments.environment->refuse(request, handle == nullptr ? Code::closed : Code::read_only);
    return nullptr;
  }
  const auto task = [channel = arguments.environment->channel(), self = Ref<Handle>(handle),
                     request, lsn] {
    auto answer = std::make_unique<TruncateAnswer>(request);
    answer->status = self->truncate_before(lsn, &answer->first_lsn);
    answer->handle = self;
    post(channel, std::move(answer));
  };
  run_surely(task);
  return nullptr;
}

// (handle, request)
napi_value close(napi_env env, napi_callback_info info) {
  Arguments<2> arguments(env, info);
  const uint64_t request = arguments.integer(1);
  if (!arguments.ok) return arguments.refuse();
  Handle* handle = arguments.environment->open_handle(arguments[0]);
  if (handle == nullptr) {
    arguments.environment->refuse(request, Code::closed);
    return nullptr;
  }
  handle->closing = true;
  const auto task = [channel = arguments.environment->channel(), self = Ref<Handle>(handle),
                     request] {
    auto answer = std::make_unique<CloseAnswer>(request);
    answer->status = self->close();
    answer->handle = self;
    post(channel, std::move(answer));
  };
  run_surely(task);
  return nullptr;
}

}  // namespace stonelog::binding
