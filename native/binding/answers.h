// The answers to requests, as they travel from our threads to the event loop.
#pragma once

#include "binding/channel.h"
#include "binding/handle.h"
#include "log/recovery.h"

namespace stonelog::binding {

// Of requests that the log itself answers, once something has become durable or free.
class WaitAnswer final : public Answer {
 public:
  WaitAnswer(uint64_t request_id, uint64_t lsn) : Answer(request_id), durable_lsn_(lsn) {}
  void arrive(Environment* environment) override;
  napi_value result(Environment* environment) override;

 private:
  const uint64_t durable_lsn_;
  bool is_flush_ = false;
};

class TruncateAnswer final : public Answer {
 public:
  using Answer::Answer;
  napi_value result(Environment* environment) override;

  uint64_t first_lsn = 0;
};

class CloseAnswer final : public Answer {
 public:
  using Answer::Answer;
  void arrive(Environment* environment) override;
};

class OpenAnswer final : public Answer {
 public:
  using Answer::Answer;
  napi_value result(Environment* environment) override;

  Ref<Handle> opened;
  log::RecoveryReport report;
  uint64_t max_record_bytes = 0;
};

class VerifyAnswer final : public Answer {
 public:
  using Answer::Answer;
  napi_value result(Environment* environment) override;

  log::RecoveryReport report;
};

class ReadAnswer final : public Answer {
 public:
  using Answer::Answer;
  void arrive(Environment* environment) override;
  napi_value result(Environment* environment) override;

  Ref<ReaderHandle> reader;
};

}  // namespace stonelog::binding
