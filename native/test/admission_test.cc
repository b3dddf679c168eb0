// Records admitted as a run: the same as one after the other.
#include <doctest/doctest.h>

#include <cstring>
#include <random>

#include "engine_fixture.h"

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

// The next operation of both, which must be the same one with the same bytes. False if none is due.
bool same_op(EngineFixture* one, EngineFixture* run, std::vector<Op>* of_one,
             std::vector<Op>* of_run) {
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
    Engine::stamp(first);
    Engine::stamp(second);
  }
  for (int i = 0; i < first.part_count; i++) {
    REQUIRE(second.sizes[i] == first.sizes[i]);
    CHECK(std::memcmp(second.parts[i], first.parts[i], first.sizes[i]) == 0);
  }
  of_one->push_back(first);
  of_run->push_back(second);
  return true;
}

void same_counters(const EngineFixture& one, const EngineFixture& run) {
  const EngineCounters a = one.engine.counters();
  const EngineCounters b = run.engine.counters();
  CHECK(b.records == a.records);
  CHECK(b.payload_bytes == a.payload_bytes);
  CHECK(b.refused_queue == a.refused_queue);
  CHECK(b.refused_space == a.refused_space);
  CHECK(run.engine.last_lsn() == one.engine.last_lsn());
  CHECK(run.engine.durable_lsn() == one.engine.durable_lsn());
}

}  // namespace

// ensures that a run is admitted as its records one by one would be: the same LSNs, refusals,
// groups and bytes, wherever a group, the queue, the ring or the segment ends.
TEST_CASE("admission: a run is its records one by one") {
  size_t refused = 0;
  size_t rotated = 0;
  for (uint64_t seed = 1; seed <= 60; seed++) {
    CAPTURE(seed);
    Random random(seed);
    const EngineOptions options = random_options(&random);
    EngineFixture one(options);
    EngineFixture run(options);
    for (size_t i = 0; i < one.data.size(); i++)
      one.data[i] = run.data[i] = static_cast<uint8_t>(random());
    std::vector<Op> of_one;
    std::vector<Op> of_run;
    for (int round = 0; round < 60; round++) {
      if (below(&random, 3) == 0 && one.engine.prepared_count() == 0 &&
          one.engine.has_chore(one.now)) {
        one.prepare();
        run.prepare();
        rotated++;
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
      if (expected.code == Code::backpressure) refused++;
      one.engine.publish();
      run.engine.publish();
      for (uint64_t ops = below(&random, 6); ops > 0; ops--) {
        if (!same_op(&one, &run, &of_one, &of_run)) break;
      }
      while (!of_one.empty() && below(&random, 4) != 0) {
        const size_t at = below(&random, of_one.size());
        one.finish(of_one[at]);
        run.finish(of_run[at]);
        of_one.erase(of_one.begin() + static_cast<ptrdiff_t>(at));
        of_run.erase(of_run.begin() + static_cast<ptrdiff_t>(at));
      }
      one.pass(1);
      run.pass(1);
      same_counters(one, run);
    }
  }
  CHECK(refused > 50);
  CHECK(rotated > 50);
}
