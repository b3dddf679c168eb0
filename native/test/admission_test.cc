// Records admitted as a run: the same as one after the other.
#include <doctest/doctest.h>

#include <cstring>
#include <random>

#include "engine_fixture.h"
#include "format/bytes.h"
#include "format/stamp.h"

namespace {

using namespace stonelog;
using namespace stonelog::log;
using namespace stonelog::test;

using Random = std::mt19937_64;

uint64_t below(Random* random, uint64_t end) { return (*random)() % end; }

// Limits small enough that runs meet each of them.
EngineOptions random_options(Random* random) {
  EngineOptions options = small_options();
  options.max_group_records = static_cast<uint32_t>(1 + below(random, 40));
  options.max_group_bytes = 4096 + below(random, 64 << 10);
  options.max_record_bytes = 900;
  options.queue_bytes = 8192 << below(random, 6);
  return options;
}

// What the seeds met in all, each at least once or the test shows less than it says.
struct Seen {
  uint64_t wraps = 0;  // groups around the end of the ring
  uint64_t rotations = 0;
  uint64_t refused_queue = 0;
  uint64_t refused_space = 0;
  uint64_t syncs = 0;
};

struct Refusal {
  size_t admitted = 0;
  Code code = Code::ok;
};

Refusal one_by_one(Engine* engine, const uint8_t* data, const std::vector<uint32_t>& sizes,
                   Durability durability, uint64_t now) {
  Refusal out;
  for (const uint32_t size : sizes) {
    const uint32_t crc = crc32c::extend(0, data, size);
    if (engine->admit_one(data, size, crc, durability, now, &out.code) == 0) return out;
    data += size;
    out.admitted++;
  }
  return out;
}

std::vector<uint8_t> bytes_of(const Op& op) {
  std::vector<uint8_t> out;
  for (int i = 0; i < op.part_count; i++)
    out.insert(out.end(), op.parts[i], op.parts[i] + op.sizes[i]);
  return out;
}

// Behind the last record a group holds zeros, in sectors that say that no record begins there.
void check_padding(const std::vector<uint8_t>& group, uint32_t block_bytes) {
  format::GroupHeader header;
  REQUIRE(format::decode_group_header(group.data(), block_bytes, &header));
  const size_t content = format::kGroupHeaderBytes + header.stored_bytes;
  size_t within = content % format::kContentBytes;
  size_t at = content / format::kContentBytes * format::kSectorBytes;
  for (; at < group.size(); at += format::kSectorBytes, within = 0) {
    const uint8_t* const sector = group.data() + at;
    CHECK(format::is_zero(sector + within, format::kContentBytes - within));
    if (within > 0) continue;
    CHECK(format::load<uint16_t>(sector + format::kStampFirstRecord) == format::kNoRecord);
    CHECK(format::load<uint16_t>(sector + format::kStampLsnLow) == 0);
  }
}

// The next operation of both, which must be the same one with the same bytes. False if none is due.
bool same_op(EngineFixture* one, EngineFixture* run, std::vector<Op>* of_one,
             std::vector<Op>* of_run, Seen* seen) {
  Op first;
  Op second;
  const bool due = one->next(&first);
  REQUIRE(run->next(&second) == due);
  if (!due) return false;
  REQUIRE(second.kind == first.kind);
  CHECK(second.segment == first.segment);
  CHECK(second.offset == first.offset);
  CHECK(second.first_lsn == first.first_lsn);
  CHECK(second.count == first.count);
  CHECK(second.mode == first.mode);
  REQUIRE(second.part_count == first.part_count);
  if (first.kind != OpKind::sync) {
    if (first.part_count == 2) seen->wraps++;
    Engine::stamp(first);
    Engine::stamp(second);
  }
  const std::vector<uint8_t> bytes = bytes_of(first);
  CHECK(bytes_of(second) == bytes);
  if (first.kind == OpKind::write) check_padding(bytes, one->options.block_bytes);
  if (first.kind == OpKind::sync) seen->syncs++;
  of_one->push_back(first);
  of_run->push_back(second);
  return true;
}

void same_state(const EngineFixture& one, const EngineFixture& run) {
  const EngineCounters a = one.engine.counters();
  const EngineCounters b = run.engine.counters();
  CHECK(b.records == a.records);
  CHECK(b.payload_bytes == a.payload_bytes);
  CHECK(b.refused_queue == a.refused_queue);
  CHECK(b.refused_space == a.refused_space);
  CHECK(b.rotations == a.rotations);
  CHECK(run.engine.next_deadline(run.now) == one.engine.next_deadline(one.now));
  CHECK(run.engine.last_lsn() == one.engine.last_lsn());
  CHECK(run.engine.durable_lsn() == one.engine.durable_lsn());
}

}  // namespace

// ensures that a run is admitted as its records one by one would be: the same LSNs, refusals,
// groups and bytes, wherever a group, the queue, the ring or the segment ends. The rings begin with
// different bytes: what either leaves unwritten in a group tells them apart.
TEST_CASE("admission: a run is its records one by one") {
  Seen seen;
  for (uint64_t seed = 1; seed <= 40; seed++) {
    CAPTURE(seed);
    Random random(seed);
    const EngineOptions options = random_options(&random);
    EngineFixture one(options);
    EngineFixture run(options);
    std::memset(one.ring.data(), 0xA5, one.ring.size());
    std::memset(run.ring.data(), 0x5A, run.ring.size());
    for (size_t i = 0; i < one.data.size(); i++)
      one.data[i] = run.data[i] = static_cast<uint8_t>(random());
    std::vector<Op> of_one;
    std::vector<Op> of_run;
    const size_t left_in_flight = below(&random, 3);
    for (int round = 0; round < 250; round++) {
      if (below(&random, 3) == 0 && one.engine.prepared_count() == 0 &&
          one.engine.has_chore(one.now)) {
        one.prepare();
        run.prepare();
      }
      std::vector<uint32_t> sizes(1 + below(&random, 80));
      for (uint32_t& size : sizes)
        size = static_cast<uint32_t>(below(&random, below(&random, 4) == 0 ? 905 : 120));
      const auto durability = static_cast<Durability>(below(&random, 4));
      const Refusal expected = one_by_one(&one.engine, one.data.data(), sizes, durability, one.now);
      Refusal got;
      got.admitted = run.engine.admit_run(run.data.data(), sizes.data(), sizes.size(), durability,
                                          run.now, &got.code);
      CHECK(got.admitted == expected.admitted);
      CHECK(got.code == expected.code);
      one.engine.publish();
      run.engine.publish();
      for (uint64_t ops = below(&random, 6); ops > 0; ops--) {
        if (!same_op(&one, &run, &of_one, &of_run, &seen)) break;
      }
      while (of_one.size() > left_in_flight && below(&random, 4) != 0) {
        const size_t at = below(&random, of_one.size());
        one.finish(of_one[at]);
        run.finish(of_run[at]);
        of_one.erase(of_one.begin() + static_cast<ptrdiff_t>(at));
        of_run.erase(of_run.begin() + static_cast<ptrdiff_t>(at));
      }
      const uint64_t ms = below(&random, 8) == 0 ? 100 : 1;  // the interval's, or not
      one.pass(ms);
      run.pass(ms);
      same_state(one, run);
    }
    const EngineCounters counters = one.engine.counters();
    seen.rotations += counters.rotations;
    seen.refused_queue += counters.refused_queue;
    seen.refused_space += counters.refused_space;
  }
  CHECK(seen.wraps > 0);
  CHECK(seen.rotations > 0);
  CHECK(seen.refused_queue > 0);
  CHECK(seen.refused_space > 0);
  CHECK(seen.syncs > 0);
}
