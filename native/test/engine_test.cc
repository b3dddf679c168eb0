// The engine as a state machine: operations are completed by hand, in any order and with any
// outcome.
#include <doctest/doctest.h>

#include <cerrno>
#include <vector>

#include "engine_fixture.h"

using namespace stonelog;
using namespace stonelog::log;
using namespace stonelog::test;
using Fixture = EngineFixture;

// ensures that of several groups in flight none is acknowledged before all earlier ones are
// durable.
TEST_CASE("engine: out-of-order completions are acknowledged in order") {
  Fixture f;
  std::vector<Op> ops;
  for (int i = 0; i < 4; i++) {
    f.append();
    ops.push_back(f.write());
  }
  f.finish(ops[3]);
  f.finish(ops[1]);
  CHECK(f.engine.durable_lsn() == 0);
  f.finish(ops[0]);
  CHECK(f.engine.durable_lsn() == 2);
  f.finish(ops[2]);
  CHECK(f.engine.durable_lsn() == 4);
}

// ensures that a DSYNC write is not taken to cover a group that was written without it.
TEST_CASE("engine: FUA, a plain group before a DSYNC group needs a sync") {
  Fixture f;
  f.append(Durability::none);
  const Op plain = f.write();
  CHECK(plain.mode == io::WriteMode::plain);
  f.append(Durability::group);
  const Op dsync = f.write();
  CHECK(dsync.mode == io::WriteMode::dsync);
  f.finish(dsync);
  f.finish(plain);
  CHECK(f.engine.durable_lsn() == 0);
  f.finish(f.take(OpKind::sync));
  CHECK(f.engine.durable_lsn() == 2);
}

// ensures that a group whose write ends while a sync is under way is not covered by that sync.
TEST_CASE("engine: a late joiner needs the next sync") {
  EngineOptions options = small_options();
  options.dsync = false;
  Fixture f(options);
  f.append();
  f.finish(f.write());
  const Op sync = f.take(OpKind::sync);
  f.append();
  f.finish(f.write());
  f.finish(sync);
  CHECK(f.engine.durable_lsn() == 1);
  f.finish(f.take(OpKind::sync));
  CHECK(f.engine.durable_lsn() == 2);
}

// ensures that a failure is final, and that it is told truthfully what may survive.
TEST_CASE("engine: any failed write poisons") {
  Fixture f;
  f.append();
  f.append();
  f.append();
  const Op first = f.write();
  const Op second = f.write();
  f.fail(first);
  CHECK(f.engine.poisoned());
  CHECK(f.engine.failure().error == EIO);
  CHECK(f.engine.first_not_written_lsn() == 3);
  f.finish(second);
  f.pass(1000);
  CHECK(f.engine.durable_lsn() == 0);
  CHECK(f.nothing_to_do());
  CHECK(f.append() == 0);
  CHECK(f.code == Code::poisoned);
  Chore chore;
  CHECK(!f.engine.next_chore(f.now, &chore));
}

TEST_CASE("engine: a failed sync is not retried") {
  EngineOptions options = small_options();
  options.dsync = false;
  Fixture f(options);
  f.append();
  f.finish(f.write());
  f.fail(f.take(OpKind::sync));
  CHECK(f.engine.poisoned());
  CHECK(f.nothing_to_do());
  CHECK(f.engine.durable_lsn() == 0);
  CHECK(f.engine.first_not_written_lsn() == 2);
}

TEST_CASE("engine: a failed zeroing or seal poisons, a failed preparation does not") {
  EngineOptions options = small_options();
  options.zeroes = true;
  options.zero_piece_bytes = 16 << 10;
  options.zero_ahead_bytes = 32 << 10;
  Fixture f(options);
  Chore chore;
  REQUIRE(f.engine.next_chore(f.now, &chore));
  REQUIRE(chore.kind == ChoreKind::prepare);
  f.engine.segment_failed(Code::no_space, f.now);
  CHECK(!f.engine.poisoned());
  REQUIRE(f.engine.next_chore(f.now, &chore));
  REQUIRE(chore.kind == ChoreKind::zero);
  f.engine.zeroed(chore, Status::system(Code::io, "pwritev2", EIO));
  CHECK(f.engine.poisoned());
}

// ensures that no group is submitted into blocks that a zeroing in flight may still overwrite.
TEST_CASE("engine: a group waits for the zeroing of its blocks") {
  EngineOptions options = small_options();
  options.zeroes = true;
  options.zero_piece_bytes = 16 << 10;
  options.zero_ahead_bytes = 32 << 10;
  options.prepare_ahead = 0;
  Fixture f(options);
  Chore chore;
  REQUIRE(f.engine.next_chore(f.now, &chore));
  REQUIRE(chore.kind == ChoreKind::zero);
  CHECK(chore.from == 3 * options.block_bytes);
  f.append();
  CHECK(f.nothing_to_do());
  f.engine.zeroed(chore, {});
  f.finish(f.write());
  CHECK(f.engine.durable_lsn() == 1);
}

// ensures that a full queue refuses without an LSN, and that what nobody waits for is synced to
// make room.
TEST_CASE("engine: back-pressure takes no LSN and passes") {
  Fixture f;
  uint64_t last = 0;
  while (const uint64_t lsn = f.append(Durability::none, 8000)) {
    last = lsn;
    f.finish_all();
  }
  CHECK(f.code == Code::backpressure);
  CHECK(f.engine.last_lsn() == last);
  f.finish_all();
  f.prepare();
  CHECK(f.engine.ready());
  CHECK(f.append(Durability::none, 8000) == last + 1);
}

// ensures that many small groups that nobody waits for do not fill the ring for ever.
TEST_CASE("engine: small unsynced groups do not block the ring") {
  Fixture f;
  f.prepare();
  for (int i = 0; i < 2000; i++) {
    if (f.append(Durability::none, 10) == 0) {
      f.finish_all();
      Chore chore;
      while (f.engine.next_chore(f.now, &chore)) {
        if (chore.kind == ChoreKind::prepare)
          f.engine.segment_ready(place(chore.sequence, f.options));
      }
      REQUIRE(f.engine.ready());
      REQUIRE(f.append(Durability::none, 10) != 0);
    }
    f.finish_all();
  }
}

// ensures that unsynced records over half of the queue are synced once the demand of earlier ones
// is met.
TEST_CASE("engine: a half-full queue becomes ready by itself") {
  Fixture f;
  f.prepare();
  REQUIRE(f.append(Durability::group, 1 << 10) == 1);
  REQUIRE(f.append(Durability::none, 64 << 10) == 2);
  REQUIRE(f.append(Durability::none, 64 << 10) == 3);
  CHECK(!f.engine.ready());
  f.finish_all();
  CHECK(f.engine.ready());
}

// ensures that a record too large for what is left of the queue is admitted in the end.
TEST_CASE("engine: a large record is not refused for ever") {
  Fixture f;
  f.prepare();
  REQUIRE(f.append(Durability::none, 60 << 10) == 1);
  REQUIRE(f.append(Durability::none, 60 << 10) == 2);
  REQUIRE(f.append(Durability::none, 60 << 10) == 3);
  REQUIRE(f.append(Durability::none, 60 << 10) == 4);
  CHECK(f.append(Durability::none, 64 << 10) == 0);
  f.finish_all();
  f.prepare();
  CHECK(f.append(Durability::none, 64 << 10) == 5);
}

// ensures that an admitted record never lacks space: without a prepared segment the call is
// refused.
TEST_CASE("engine: no space refuses without LSN and resumes by itself") {
  Fixture f;
  while (f.append(Durability::group, 8000) != 0) f.finish_all();
  CHECK(f.code == Code::backpressure);  // preparation is merely behind
  const uint64_t last = f.engine.last_lsn();
  Chore chore;
  REQUIRE(f.engine.next_chore(f.now, &chore));
  f.engine.segment_failed(Code::no_space, f.now);
  CHECK(f.append(Durability::group, 8000) == 0);
  CHECK(f.code == Code::no_space);
  CHECK(!f.engine.ready());
  CHECK(!f.engine.next_chore(f.now, &chore));  // not before a pause
  f.now += f.options.prepare_retry_ns;
  f.prepare();
  CHECK(f.engine.ready());
  CHECK(f.append(Durability::group, 8000) == last + 1);
}

// ensures that ready() comes back when the refusal was for unsealed predecessors, not for space.
TEST_CASE("engine: ready again once a predecessor is sealed") {
  EngineOptions options = small_options();
  options.prepare_ahead = 4;
  Fixture f(options);
  for (int i = 0; i < 4; i++) f.prepare();
  std::vector<Op> held;
  for (int i = 0; i < 2; i++) {
    REQUIRE(f.append() != 0);
    REQUIRE(f.engine.rotate(f.now) == Code::ok);
  }
  REQUIRE(f.append() != 0);
  CHECK(f.engine.rotate(f.now) == Code::backpressure);
  CHECK(!f.engine.ready());
  f.finish_all();
  CHECK(f.engine.ready());
  CHECK(f.engine.rotate(f.now) == Code::ok);
}

// ensures that a head or a rotation that finds the ring full is no lack of space, which only a
// prepared segment would end.
TEST_CASE("engine: ready again once the ring is free") {
  EngineOptions options = small_options();
  options.block_bytes = 16 << 10;
  options.segment_bytes = 1 << 20;
  Fixture f(options);
  f.prepare();
  for (int i = 0; i < 20; i++) REQUIRE(f.append(Durability::each) != 0);  // a block each
  CHECK(f.engine.rotate(f.now) == Code::backpressure);
  CHECK(!f.engine.space_refused());
  f.finish_all();
  CHECK(f.engine.ready());
}

// ensures that rotation writes the start group first, and the seal only when both sides of it are
// durable.
TEST_CASE("engine: rotation, start group, sync and seal in their order") {
  Fixture f;
  f.prepare();
  f.append(Durability::none);
  REQUIRE(f.engine.rotate(f.now) == Code::ok);
  f.append();
  const Op last = f.write();
  CHECK(last.segment == 1);
  const Op start = f.write();
  CHECK(start.segment == 2);
  CHECK(start.offset == format::kFirstGroupBlock * f.options.block_bytes);
  CHECK(header_of(start, f.options).kind == format::GroupKind::start);
  const Op data = f.write();
  CHECK(data.segment == 2);
  f.finish(start);
  f.finish(data);
  CHECK(f.engine.durable_lsn() == 0);
  f.finish(last);
  const Op sync = f.take(OpKind::sync);
  CHECK(sync.segment == 1);
  CHECK(f.nothing_to_do());
  f.finish(sync);
  CHECK(f.engine.durable_lsn() == 2);
  const Op seal = f.take(OpKind::seal);
  CHECK(seal.segment == 1);
  CHECK(f.engine.take_sealed().empty());
  f.finish(seal);
  const auto sealed = f.engine.take_sealed();
  REQUIRE(sealed.size() == 1);
  CHECK(sealed[0].last_lsn == 1);
  Chore chore;
  REQUIRE(f.engine.next_chore(f.now, &chore));
  CHECK(chore.kind == ChoreKind::give_back);
  CHECK(chore.from == sealed[0].end);
}

// ensures that the watermark gets to the disk 20 ms after the last append, once.
TEST_CASE("engine: the idle watermark") {
  Fixture f;
  f.append();
  f.finish_all();
  f.pass(10);
  CHECK(f.nothing_to_do());
  CHECK(f.engine.next_deadline(f.now) == kMs + 20 * kMs);
  f.pass(10);
  const Op op = f.write();
  const format::GroupHeader header = header_of(op, f.options);
  CHECK(header.kind == format::GroupKind::control);
  CHECK(header.durable_lsn == 1);
  f.finish(op);
  f.pass(1000);
  CHECK(f.nothing_to_do());
  CHECK(f.engine.next_deadline(f.now) == UINT64_MAX);
}

// ensures that a close drains, publishes the watermark, closes and seals, each after the one
// before.
TEST_CASE("engine: the close, step by step") {
  Fixture f;
  f.append(Durability::none);
  f.engine.begin_close(f.now);
  CHECK(f.append() == 0);
  CHECK(f.code == Code::closed);
  f.finish(f.write());
  f.finish(f.take(OpKind::sync));
  const Op watermark = f.write();
  CHECK(header_of(watermark, f.options).durable_lsn == 1);
  CHECK(header_of(watermark, f.options).flags == 0);
  CHECK(f.nothing_to_do());
  f.finish(watermark);
  const Op close = f.write();
  CHECK(header_of(close, f.options).flags == format::kCloses);
  CHECK(f.nothing_to_do());
  f.finish(close);
  const Op seal = f.take(OpKind::seal);
  CHECK(!f.engine.closed());
  f.finish(seal);
  CHECK(f.engine.closed());
  CHECK(f.nothing_to_do());
}

TEST_CASE("engine: a close that fails does not end") {
  Fixture f;
  f.append();
  f.engine.begin_close(f.now);
  f.fail(f.write());
  CHECK(f.engine.poisoned());
  CHECK(f.nothing_to_do());
  CHECK(!f.engine.closed());
}

// ensures the promise of each durability level.
TEST_CASE("engine: each never shares a group") {
  EngineOptions options = small_options();
  options.max_group_records = 1000;
  Fixture f(options);
  f.append(Durability::group);
  f.append(Durability::each);
  f.append(Durability::group);
  CHECK(header_of(f.write(), options).count == 1);
  CHECK(header_of(f.write(), options).count == 1);
  CHECK(header_of(f.write(), options).count == 1);
}

TEST_CASE("engine: interval is synced after its interval, none only on demand") {
  Fixture f;
  f.append(Durability::interval);
  f.finish_all();
  CHECK(f.engine.durable_lsn() == 0);
  f.pass(99);
  CHECK(f.nothing_to_do());
  f.pass(1);
  f.finish(f.take(OpKind::sync));
  CHECK(f.engine.durable_lsn() == 1);

  f.append(Durability::none);
  f.finish_all();
  f.pass(10'000);
  CHECK(f.nothing_to_do());
  CHECK(f.engine.durable_lsn() == 1);
  f.engine.demand_all();
  f.finish(f.take(OpKind::sync));
  CHECK(f.engine.durable_lsn() == 2);
}

// ensures that records join one group while a write is under way, and that a batch is never split.
TEST_CASE("engine: a batch is one group") {
  Fixture f;
  f.append();
  RecordInput records[3] = {};
  for (RecordInput& record : records) format::sum_payload(nullptr, 0, &record.sum);
  f.engine.admit(records, 3, Durability::group, f.now);
  f.engine.publish();
  CHECK(header_of(f.write(), f.options).count == 1);
  CHECK(header_of(f.write(), f.options).count == 3);
}

// ensures that what was not published, or is still being copied, is not submitted.
TEST_CASE("engine: nothing is submitted before it is published and copied") {
  Fixture f;
  f.engine.admit_one(f.data.data(), 10, 0, Durability::group, f.now, &f.code);
  CHECK(f.nothing_to_do());
  f.engine.publish();
  f.finish(f.write());
  RecordInput record{f.data.data(), 40 << 10, {}};
  format::sum_payload(record.data, record.size, &record.sum);
  const Admission admission = f.engine.admit(&record, 1, Durability::group, f.now);
  f.engine.publish();
  REQUIRE(admission.copy_pending);
  CHECK(f.nothing_to_do());
  f.engine.copy_payloads(admission, &record, 1);
  f.engine.copied(admission);
  f.finish(f.write());
  CHECK(f.engine.durable_lsn() == 2);
}

// ensures that LSNs end before they cease to be exact JavaScript numbers.
TEST_CASE("engine: the last LSN is 2^53 - 1") {
  Fixture f(small_options(), format::kMaxLsn - 1);
  CHECK(f.append() == format::kMaxLsn);
  f.finish_all();
  CHECK(f.engine.durable_lsn() == format::kMaxLsn);
  CHECK(f.append() == 0);
  CHECK(f.code == Code::bad_argument);
  f.pass(20);
  f.finish_all();
  f.engine.begin_close(f.now);
  f.finish_all();
  CHECK(f.engine.closed());
}

TEST_CASE("engine: a record too large takes no LSN") {
  Fixture f;
  CHECK(f.append(Durability::group, (64 << 10) + 1) == 0);
  CHECK(f.code == Code::record_too_large);
  CHECK(f.engine.last_lsn() == 0);
}

// ensures that without DSYNC a steady stream of appends does not put off the sync of earlier ones.
TEST_CASE("engine: a stream of appends does not starve the sync") {
  EngineOptions options = small_options();
  options.dsync = false;
  options.pipeline_depth = 2;
  Fixture f(options);
  f.append();
  Op first = f.write();
  for (int i = 0; i < 12 && f.engine.durable_lsn() == 0; i++) {
    f.append();
    Op second;
    REQUIRE(f.next(&second));
    f.finish(first);
    if (second.kind == OpKind::sync) {
      f.finish(second);
      REQUIRE(f.next(&second));
    }
    first = second;
  }
  CHECK(f.engine.durable_lsn() > 0);
}

// ensures that who waits for space is not told that there is some while every unsealed segment that
// may be is there already, so that the next record would be refused again.
TEST_CASE("engine: ready means that a further segment can be begun") {
  EngineOptions options = small_options();
  options.prepare_ahead = 3;
  Fixture f(options);
  f.prepare();
  f.prepare();
  Op seal;  // on its way to the device until the end
  while (f.append(Durability::group, 60 << 10) > 0) {
    Op op;
    while (f.next(&op)) {
      if (op.kind == OpKind::seal) {
        seal = op;
      } else {
        f.finish(op);
      }
    }
  }
  REQUIRE(f.engine.counters().rotations == 2);
  REQUIRE(seal.kind == OpKind::seal);
  CHECK(!f.engine.ready());
  f.prepare();
  CHECK(!f.engine.ready());  // three unsealed segments: the prepared one cannot be begun
  f.finish(seal);
  CHECK(f.engine.ready());
  CHECK(f.append(Durability::group, 60 << 10) > 0);
}

// ensures that a second small group waits for the one in flight, unless somebody waits for both.
TEST_CASE("engine: a second small group in flight") {
  EngineOptions options = small_options();
  options.second_slot_bytes = 64 << 10;
  options.max_group_records = 1 << 20;
  EngineFixture fixture(options);
  fixture.append();
  const Op first = fixture.write();
  fixture.append();
  CHECK(fixture.nothing_to_do());
  CHECK_FALSE(fixture.engine.may_submit(fixture.now));
  fixture.engine.demand_all();
  CHECK(fixture.engine.may_submit(fixture.now));
  const Op second = fixture.write();
  CHECK(fixture.engine.counters().second_slot == 1);
  fixture.append();  // nobody waits for this one
  CHECK(fixture.nothing_to_do());
  fixture.finish(second);
  CHECK(fixture.engine.durable_lsn() == 0);
  fixture.finish(first);
  CHECK(fixture.engine.durable_lsn() == 2);
}

// ensures that those who append beside each other need not take turns: a group that has at least
// half as many records as the one in flight joins it, if several append and wait; a third does not.
TEST_CASE("engine: groups of several appenders in flight") {
  EngineOptions options = small_options();
  options.second_slot_bytes = 64 << 10;
  options.max_group_records = 1 << 20;
  const auto joins = [&](bool several, int in_flight, int waiting,
                         Durability durability = Durability::group) {
    EngineFixture fixture(options);
    fixture.engine.set_several_appenders(several);
    for (int i = 0; i < in_flight; i++) fixture.append(Durability::group, 10);
    const Op first = fixture.write();
    for (int i = 0; i < waiting; i++) fixture.append(durability, 10);
    const bool second = fixture.engine.may_submit(fixture.now);
    fixture.finish(first);
    return second;
  };
  CHECK(joins(true, 8, 4));
  CHECK(joins(true, 8, 20));
  CHECK(joins(true, 1, 1));
  CHECK_FALSE(joins(true, 8, 3));
  CHECK_FALSE(joins(false, 8, 8));
  CHECK_FALSE(joins(true, 8, 8, Durability::interval));  // nobody waits for these
  EngineFixture fixture([&] {
    EngineOptions deep = options;
    deep.pipeline_depth = 4;
    return deep;
  }());
  fixture.engine.set_several_appenders(true);
  fixture.append();
  const Op first = fixture.write();
  fixture.append();
  const Op second = fixture.write();
  fixture.append();
  CHECK_FALSE(fixture.engine.may_submit(fixture.now));
  fixture.finish(first);
  fixture.finish(second);
}
