// What an append costs, counted: groups, bytes, operations, allocations. Counts do not drift as
// times do, so a change that makes the hot path dearer is seen here.
#include <cstdio>
#include <cstdlib>
#include <new>

#include "engine_fixture.h"
#include "log_fixture.h"

using namespace stonelog;
using namespace stonelog::test;

namespace {

// Of the thread that counts; every other thread's allocations are its own affair.
thread_local bool counting = false;
thread_local uint64_t allocations = 0;

void* allocate(size_t size) {
  if (counting) allocations++;
  void* memory = malloc(size == 0 ? 1 : size);
  if (memory == nullptr) abort();
  return memory;
}

template <typename Work>
uint64_t allocations_of(Work work) {
  allocations = 0;
  counting = true;
  work();
  counting = false;
  return allocations;
}

// Default options but for a segment that takes everything.
log::EngineOptions large_options() {
  log::EngineOptions options;
  options.segment_bytes = 256 << 20;
  options.zeroes = false;
  return options;
}

// `bursts` of `size` records each, a group's write completed before the next burst. Bursts are
// published as the JavaScript side publishes them: once.
void bursts(EngineFixture* f, int count, int size, size_t record_bytes) {
  const uint32_t sum = crc32c::extend(0, f->data.data(), record_bytes);
  for (int burst = 0; burst < count; burst++) {
    for (int i = 0; i < size; i++) {
      const uint64_t lsn = f->engine.admit_one(f->data.data(), record_bytes, sum,
                                               log::Durability::group, f->now, &f->code);
      if (lsn == 0) abort();
    }
    f->engine.publish(f->now);
    log::Op op;
    while (f->next(&op)) {
      if (op.kind == log::OpKind::write) log::Engine::stamp(op);
      f->finish(op);
    }
  }
}

log::EngineCounters cost_of_bursts(int count, int size, size_t record_bytes) {
  EngineFixture f(large_options());
  bursts(&f, count, size, record_bytes);
  CHECK(f.engine.durable_lsn() == static_cast<uint64_t>(count) * static_cast<uint64_t>(size));
  return f.engine.counters();
}

}  // namespace

// The whole test program allocates through these; they count only where a test asks for it.
void* operator new(size_t size) { return allocate(size); }
void* operator new[](size_t size) { return allocate(size); }
void operator delete(void* memory) noexcept { free(memory); }
void operator delete[](void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }
void operator delete[](void* memory, size_t) noexcept { free(memory); }

// ensures that a burst is one group and one operation, however many records it has.
TEST_CASE("cost: one group and one write a burst") {
  for (const int size : {1, 8, 64, 128, 1024}) {
    CAPTURE(size);
    const log::EngineCounters counters = cost_of_bursts(20, size, 100);
    CHECK(counters.groups == 20);
    CHECK(counters.syncs == 0);
    CHECK(counters.control_groups == 0);
  }
}

// ensures that a record costs no more bytes on the disk than it did: 7 bytes of header, 8 of stamp
// in each sector, a group header of a sector's part, and padding to the block.
TEST_CASE("cost: bytes written for each burst") {
  struct {
    int records;
    size_t record_bytes;
    uint64_t blocks;
  } const rows[] = {
      {1, 100, 1},     {8, 100, 1},  {64, 100, 2}, {128, 100, 4},
      {1024, 100, 28}, {1, 4096, 2}, {8, 4096, 9}, {64, 4096, 66},
  };
  for (const auto& row : rows) {
    CAPTURE(row.records);
    CAPTURE(row.record_bytes);
    const log::EngineCounters counters = cost_of_bursts(10, row.records, row.record_bytes);
    CHECK(counters.group_bytes == 10 * row.blocks * 4096);
  }
}

// ensures that the engine's hot path asks for no memory: admission, publication, submission,
// stamps, completion.
TEST_CASE("cost: the engine allocates nothing for an append") {
  EngineFixture f(large_options());
  bursts(&f, 10, 64, 100);
  CHECK(allocations_of([&] { bursts(&f, 100, 64, 100); }) == 0);
}

// ensures that the thread which appends asks for no memory, the kick included.
TEST_CASE("cost: the appending thread allocates nothing") {
  const Directory directory;
  OpenOptions options = small_options(directory / "log");
  options.segment_bytes = 8 << 20;
  options.queue_bytes = 4 << 20;
  OpenLog open(posix_file_system(), options);
  REQUIRE(open.status.ok());
  const std::vector<uint8_t> data(100, 0x5A);
  Code code = Code::ok;
  uint64_t refused = 0;
  const auto burst = [&] {
    for (int i = 0; i < 64; i++) {
      open.log->append(&open.session, data.data(), data.size(), Durability::group, &code);
      if (code != Code::ok) refused++;
    }
    open.log->kick();
  };
  burst();
  REQUIRE(open.wait_for([&] { return open.log->durable_lsn() == 64; }));
  CHECK(allocations_of([&] {
          for (int i = 0; i < 100; i++) burst();
        }) == 0);
  CHECK(refused == 0);
}

// ensures that a synchronous append is one synchronous write and nothing else; watermarks that an
// idle moment published are counted apart.
TEST_CASE("cost: one device operation for a synchronous append") {
  const Directory directory;
  if (!direct_works(directory.path())) {
    MESSAGE("SKIPPED: no direct I/O here");
    return;
  }
  FaultFileSystem fs(posix_file_system());
  OpenOptions options = small_options(directory / "log");
  options.segment_bytes = 1 << 20;
  options.queue_bytes = 512 << 10;
  OpenLog open(fs, options);
  REQUIRE(open.status.ok());
  // Prepared segments are zeroed when they are made, the first one of a log up to here.
  constexpr uint64_t kZeroed = 256 << 10;
  const uint64_t rest = format::segment_file_bytes(options.segment_bytes, 4096) - kZeroed;
  REQUIRE(open.wait_for([&] {
    const LogStats stats = open.log->stats();
    return stats.prepared_segments == 8 && stats.zeroed_bytes == rest;
  }));
  const log::EngineCounters before = open.log->stats().counters;
  fs.reset_counts();
  for (uint64_t i = 1; i <= 100; i++) REQUIRE(open.append_sync("record") == i);
  const uint64_t writes = fs.count(Operation::dsync_write);
  const uint64_t all = fs.count(Operation::any);
  const log::EngineCounters after = open.log->stats().counters;
  const uint64_t controls = after.control_groups - before.control_groups;
  CHECK(after.groups - before.groups - controls == 100);
  // A watermark may be on its way while the counts are read.
  CHECK(writes >= 100);
  CHECK(writes <= 100 + controls + 1);
  CHECK(all == writes);
}

// Not a test of its own: a fixed run whose instructions are counted by test/regression. The number
// of bursts is in the environment; without it nothing is done.
TEST_CASE("cost: fixed run") {
  const char* count = getenv("STONELOG_COST_BURSTS");
  if (count == nullptr) return;
  EngineFixture f(large_options());
  bursts(&f, atoi(count), 64, 100);
}
