// A bulk load: much waits behind the groups that go to the device.
#include <doctest/doctest.h>

#include "engine_fixture.h"
#include "format/stamp.h"

using namespace stonelog;
using namespace stonelog::log;
using namespace stonelog::test;

namespace {

EngineOptions bulk_options() {
  EngineOptions options = small_options();
  options.segment_bytes = 256 << 10;
  options.pipeline_depth = 1;
  options.bulk_bytes = 16 << 10;
  options.bulk_sync_bytes = 12 << 10;
  return options;
}

}  // namespace

// ensures that groups with much behind them are written plainly and acknowledged only by a sync
// issued after their writes; the last ones, which nobody shares a sync with, make themselves
// durable.
TEST_CASE("bulk: groups share a sync and are acknowledged by it alone") {
  EngineFixture f(bulk_options());
  for (int i = 0; i < 7; i++) f.append();  // a block each
  for (int i = 0; i < 3; i++) {
    const Op op = f.write();
    CHECK(op.mode == io::WriteMode::plain);
    f.finish(op);
    CHECK(f.engine.durable_lsn() == 0);
  }
  const Op sync = f.take(OpKind::sync);
  const Op fourth = f.write();  // while the sync is under way
  CHECK(fourth.mode == io::WriteMode::dsync);
  f.finish(fourth);
  CHECK(f.engine.durable_lsn() == 0);
  f.finish(sync);
  CHECK(f.engine.durable_lsn() == 4);
  f.finish_all();
  CHECK(f.engine.durable_lsn() == 7);
  CHECK(f.engine.counters().syncs == 1);
}

// ensures that a failed sync of a bulk load acknowledges none of its groups, and is final.
TEST_CASE("bulk: a failed sync is final") {
  EngineFixture f(bulk_options());
  for (int i = 0; i < 7; i++) f.append();
  for (int i = 0; i < 3; i++) f.finish(f.write());
  f.fail(f.take(OpKind::sync));
  CHECK(f.engine.poisoned());
  CHECK(f.engine.durable_lsn() == 0);
  CHECK(f.nothing_to_do());
}

// ensures that nothing is written twice for a bulk load: it needs no zeroed blocks ahead.
TEST_CASE("bulk: nothing is zeroed ahead of it") {
  EngineOptions options = bulk_options();
  options.zeroes = true;
  options.zero_piece_bytes = 16 << 10;
  options.zero_ahead_bytes = 64 << 10;
  options.prepare_ahead = 0;
  EngineFixture f(options);
  for (int i = 0; i < 5; i++) f.append();
  CHECK(!f.engine.has_chore(f.now));
  f.finish_all();
  CHECK(f.engine.has_chore(f.now));
}

// ensures that stamps computed ahead are those that a submission would compute, and that a group is
// not submitted while they are under way.
TEST_CASE("bulk: stamps are computed while the device works") {
  EngineFixture f(bulk_options());
  f.append(Durability::group, 9000);
  const Op first = f.write();
  f.append(Durability::group, 9000);
  f.append();
  Op ahead;
  REQUIRE(f.engine.next_stamp(&ahead));
  Op again;
  CHECK(!f.engine.next_stamp(&again));
  f.finish(first);
  CHECK(f.nothing_to_do());
  Engine::stamp(ahead);
  f.engine.stamped(ahead);
  const Op second = f.write();
  CHECK(second.stamped);
  Engine::stamp(second);
  const size_t sectors = second.sizes[0] / format::kSectorBytes;
  CHECK(sectors == 24);
  CHECK(format::first_invalid(second.parts[0], sectors, second.offset / format::kSectorBytes,
                              second.tag, true) == sectors);
}
