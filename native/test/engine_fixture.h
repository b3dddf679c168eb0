// An engine whose operations are completed by hand, in any order and with any outcome.
#pragma once

#include <doctest/doctest.h>

#include <cerrno>
#include <vector>

#include "crc32c/crc32c.h"
#include "format/group.h"
#include "log/engine.h"
#include "log/group_reader.h"

namespace stonelog::test {

using namespace stonelog::log;

inline constexpr uint64_t kMs = 1'000'000;

inline EngineOptions small_options() {
  EngineOptions options;
  options.segment_bytes = 128 << 10;
  options.queue_bytes = 256 << 10;
  options.max_record_bytes = 64 << 10;
  options.pipeline_depth = 4;
  options.second_slot_bytes = 0;
  options.max_group_records = 1;  // each record a group of its own
  options.zeroes = false;
  return options;
}

inline SegmentPlace place(uint64_t sequence, const EngineOptions& options) {
  SegmentPlace out;
  out.sequence = sequence;
  out.id = {static_cast<uint8_t>(sequence), 1, 2, 3};
  out.file_bytes = format::segment_file_bytes(options.segment_bytes, options.block_bytes);
  out.written_end = options.zeroes ? 0 : out.file_bytes;
  return out;
}

struct EngineFixture {
  EngineOptions options;
  AlignedBuffer ring;
  AlignedBuffer seal_block;
  uint64_t now = kMs;
  Engine engine;
  Code code = Code::ok;
  std::vector<uint8_t> data = std::vector<uint8_t>(200 << 10);

  explicit EngineFixture(const EngineOptions& wanted = small_options(), uint64_t last_lsn = 0)
      : options(wanted),
        ring(ring_bytes(wanted)),
        seal_block(wanted.block_bytes),
        engine(wanted, ring.data(), seal_block.data(), start(wanted, last_lsn), now) {}

  static LifeStart start(const EngineOptions& options, uint64_t last_lsn) {
    LifeStart out;
    out.segment = place(1, options);
    out.state.epoch.number = 1;
    out.last_lsn = last_lsn;
    out.end = 3 * options.block_bytes;
    return out;
  }

  uint64_t append(Durability durability = Durability::group, size_t size = 100) {
    if (!format::is_chunked(size)) {
      const uint64_t lsn = engine.admit_one(data.data(), size, crc32c::extend(0, data.data(), size),
                                            durability, now, &code);
      engine.publish();
      return lsn;
    }
    RecordInput record{data.data(), size, {}};
    format::sum_payload(data.data(), size, &record.sum);
    const Admission admission = engine.admit(&record, 1, durability, now);
    code = admission.code;
    if (code == Code::ok && admission.copy_pending) engine.copied(admission);
    engine.publish();
    return admission.first_lsn;
  }
  bool next(Op* op) { return engine.next_op(now, 0, op); }
  Op take(OpKind kind) {
    Op op;
    REQUIRE(next(&op));
    REQUIRE(op.kind == kind);
    return op;
  }
  Op write() { return take(OpKind::write); }
  bool nothing_to_do() {
    Op op;
    return !next(&op);
  }
  void finish(const Op& op) { engine.completed(op, {}, now); }
  void fail(const Op& op, int error = EIO) {
    engine.completed(op, Status::system(Code::io, "pwritev2", error), now);
  }
  void finish_all() {
    Op op;
    while (next(&op)) finish(op);
  }
  void prepare() {
    Chore chore;
    do {
      REQUIRE(engine.next_chore(now, &chore));
    } while (chore.kind == ChoreKind::give_back);
    REQUIRE(chore.kind == ChoreKind::prepare);
    engine.segment_ready(place(chore.sequence, options));
  }
  void pass(uint64_t ms) { engine.tick(now += ms * kMs); }
};

inline format::GroupHeader header_of(const Op& op, const EngineOptions& options) {
  format::GroupHeader header;
  REQUIRE(format::decode_group_header(op.parts[0], options.block_bytes, &header));
  return header;
}

}  // namespace stonelog::test
