// Reading from anywhere: the place is found with few reads, whatever the log looks like, and of a
// large group only a part is read.
#include <random>

#include "driver/group_index.h"
#include "log_fixture.h"

using namespace stonelog;
using namespace stonelog::test;

namespace {

using driver::GroupIndex;
using driver::GroupPlace;

// A text that tells its LSN, of the size that `sizes` says for it.
using Sizes = std::function<size_t(uint64_t lsn)>;

struct Fixture {
  Directory directory;
  FaultFileSystem fs{posix_file_system()};
  OpenOptions options;
  Sizes sizes;
  uint64_t count = 0;

  explicit Fixture(Sizes of_lsn) : sizes(std::move(of_lsn)) {
    options.directory = directory / "log";
    options.segment_bytes = 8 << 20;
    options.queue_bytes = 8 << 20;
    options.max_record_bytes = 2 << 20;
    options.min_free_bytes = 0;
  }
  std::string text(uint64_t lsn) const {
    std::string out = std::to_string(lsn) + ":";
    out.resize(std::max(out.size(), sizes(lsn)), static_cast<char>('a' + lsn % 26));
    return out;
  }
  // Groups are as large as they can be between two flushes: nothing is published before.
  void load(OpenLog& open, uint64_t records, uint64_t flush_every = UINT64_MAX) {
    append(open, records, flush_every);
    REQUIRE(open.log->flush_and_wait().ok());
  }
  void append(OpenLog& open, uint64_t records, uint64_t flush_every = UINT64_MAX) {
    REQUIRE(open.status.ok());
    for (uint64_t i = 0; i < records; i++) {
      Code code = Code::ok;
      const std::string next = text(count + 1);
      while (open.log->append(&open.session, reinterpret_cast<const uint8_t*>(next.data()),
                              next.size(), Durability::group, &code) == 0) {
        REQUIRE(code == Code::backpressure);
        open.log->kick(&open.session);
        usleep(200);
      }
      count++;
      if (count % flush_every == 0) REQUIRE(open.log->flush_and_wait().ok());
    }
  }
  // Of one group.
  void append_batch(OpenLog& open, size_t records) {
    std::vector<std::string> texts;
    std::vector<log::RecordInput> inputs(records);
    for (size_t i = 0; i < records; i++) texts.push_back(text(count + i + 1));
    for (size_t i = 0; i < records; i++) {
      inputs[i].data = reinterpret_cast<const uint8_t*>(texts[i].data());
      inputs[i].size = texts[i].size();
      format::sum_payload(inputs[i].data, inputs[i].size, &inputs[i].sum);
    }
    Code code = Code::ok;
    REQUIRE(open.log->append_batch(&open.session, inputs.data(), records, Durability::group,
                                   &code) == count + 1);
    count += records;
  }
  // Opens anew, so that nothing is known of any place.
  void forget(OpenLog& open) { open.reopen(fs, options); }

  // The first batch from `lsn` on.
  Status first_batch(Source* source, uint64_t lsn, uint64_t to, RecordBatch* batch) const {
    Reader reader(source, lsn, to);
    Status status = reader.next(batch);
    if (!status.ok()) return status;
    REQUIRE(!batch->empty());
    REQUIRE(batch->runs.front().first_lsn == lsn);
    for (size_t i = 0; i < batch->offsets.size(); i++) {
      const std::string expected = text(lsn + i);
      REQUIRE(batch->lengths[i] == expected.size());
      REQUIRE(std::memcmp(batch->slab->data() + batch->offsets[i], expected.data(),
                          expected.size()) == 0);
    }
    return status;
  }
  // How many reads it takes to have the first records, the greatest and all of them.
  struct Reads {
    uint64_t most = 0;
    uint64_t all = 0;
  };
  Reads reads_of(Source* source, int times) {
    std::mt19937_64 random(42);
    Reads reads;
    RecordBatch batch;
    for (int i = 0; i < times; i++) {
      const uint64_t lsn = 1 + random() % count;
      const uint64_t before = fs.count(Operation::read);
      REQUIRE(first_batch(source, lsn, UINT64_MAX, &batch).ok());
      const uint64_t made = fs.count(Operation::read) - before;
      reads.most = std::max(reads.most, made);
      reads.all += made;
    }
    return reads;
  }
};

size_t mixed(uint64_t lsn) { return lsn * 7919 % 20'000; }
size_t small(uint64_t) { return 100; }
size_t tiny(uint64_t) { return 0; }  // the LSN's digits
// Half of the log's bytes are in records 300 times as long as those of the other half.
size_t uneven(uint64_t lsn) { return lsn < 40'000 ? 20 : 6'000; }

struct Kind {
  const char* name;
  size_t (*sizes)(uint64_t lsn);
  uint64_t records;
  uint64_t flush_every;
};
constexpr Kind kKinds[] = {
    {"mixed, bulk", mixed, 3'000, UINT64_MAX},   {"mixed, small groups", mixed, 1'000, 3},
    {"small, bulk", small, 200'000, UINT64_MAX}, {"small, small groups", small, 20'000, 10},
    {"tiny, bulk", tiny, 200'000, UINT64_MAX},   {"uneven, bulk", uneven, 43'000, UINT64_MAX}};

GroupPlace place(uint64_t sequence, uint64_t lsn, uint64_t offset, uint32_t tag = 7) {
  GroupPlace out;
  out.sequence = sequence;
  out.tag = tag;
  out.plain = true;
  out.extent = {offset, 4096, lsn, 10};
  return out;
}

}  // namespace

// ensures that a reader that starts anywhere gets the very record it asked for first, cold and
// warm, in logs of each kind.
TEST_CASE("seek: every kind of log, from anywhere") {
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.name);
    Fixture f(kind.sizes);
    OpenLog open(f.fs, f.options);
    f.load(open, kind.records, kind.flush_every);
    std::mt19937_64 random(1);
    RecordBatch batch;
    for (int pass = 0; pass < 2; pass++) {
      for (int i = 0; i < 200; i++) {
        const uint64_t lsn = 1 + random() % f.count;
        CAPTURE(lsn);
        REQUIRE(f.first_batch(open.log, lsn, UINT64_MAX, &batch).ok());
        REQUIRE(f.first_batch(open.log, lsn, lsn, &batch).ok());
        CHECK(batch.offsets.size() == 1);
      }
      f.forget(open);
    }
    // And goes on behind what the first batch held.
    for (const uint64_t lsn : {f.count / 3, f.count / 2, f.count - 5}) {
      const std::vector<std::string> records = OpenLog::read_from(open.log, lsn);
      REQUIRE(records.size() == f.count - lsn + 1);
      for (size_t i = 0; i < records.size(); i += 97) REQUIRE(records[i] == f.text(lsn + i));
      REQUIRE(records.back() == f.text(f.count));
    }
  }
}

// ensures that it takes few reads: a guess or two where nothing is known, one or two where it is.
TEST_CASE("seek: few reads") {
  constexpr int kTimes = 300;
  constexpr uint64_t kWarm = 3;  // on average
  constexpr uint64_t kCold = 16;
  for (const Kind& kind : kKinds) {
    CAPTURE(kind.name);
    Fixture f(kind.sizes);
    OpenLog open(f.fs, f.options);
    f.load(open, kind.records, kind.flush_every);
    const Fixture::Reads written = f.reads_of(open.log, kTimes);  // who wrote it knows its places
    CHECK(written.all <= kTimes * kWarm);
    uint64_t cold = 0;
    uint64_t most = 0;
    std::mt19937_64 random(3);
    RecordBatch batch;
    for (int i = 0; i < 40; i++) {
      f.forget(open);
      const uint64_t before = f.fs.count(Operation::read);
      REQUIRE(f.first_batch(open.log, 1 + random() % f.count, UINT64_MAX, &batch).ok());
      cold += f.fs.count(Operation::read) - before;
      most = std::max(most, f.fs.count(Operation::read) - before);
    }
    CHECK(cold <= 40 * kCold);
    CHECK(most <= 60);
    (void)f.reads_of(open.log, kTimes);  // who reads learns
    const Fixture::Reads learned = f.reads_of(open.log, kTimes);
    CHECK(learned.all <= kTimes * kWarm);
  }
}

// ensures that of a damaged group, read in part, the records are handed out whose surroundings are
// as they should be, and that the damage is told wherever they are not, and to whoever reads on.
TEST_CASE("seek: a flipped bit in a large group") {
  Fixture f(small);
  OpenLog open(f.fs, f.options);
  f.load(open, 60'000);
  ReadableSegment segment;
  REQUIRE(open.log->segment_holding(1, &segment));
  log::GroupExtent group;
  for (uint64_t lsn = 1; lsn <= segment.entry.last_lsn; lsn += 100) {
    const auto place = open.log->group_index()
                           .around(segment.entry.header.sequence, segment.entry.header.tag(), lsn,
                                   segment.entry.end)
                           .before;
    if (place.has_value() && place->extent.file_bytes > group.file_bytes) group = place->extent;
  }
  REQUIRE(group.file_bytes >= 512 << 10);
  const uint64_t sector_at =
      flip_bit(open.log->segment_path(1), group.offset + group.file_bytes / 2 + 77);
  const uint64_t middle = group.first_lsn + group.count / 2;
  const uint64_t end = group.first_lsn + group.count;
  RecordBatch batch;
  // A part has 8 KiB before the record and 48 behind it: some 80 and 450 records of 107 bytes.
  uint64_t refused = 0;
  for (uint64_t lsn = group.first_lsn; lsn < end; lsn++) {
    const bool apart = lsn + 700 < middle || lsn > middle + 300;
    if (apart && lsn % 10 != 0) continue;
    Status status = f.first_batch(open.log, lsn, UINT64_MAX, &batch);  // checks what it gives
    // What lies before the damage is handed out though nothing else of the group can be.
    if (apart || lsn + 60 < middle) CHECK(status.ok());
    if (status.ok()) continue;
    refused++;
    CHECK(status.code == Code::corrupt);
    CHECK(status.offset == sector_at);
  }
  CHECK(refused > 0);
  CHECK(refused < 200);
  for (const uint64_t lsn :
       {uint64_t{1}, group.first_lsn, middle - 600, middle - 20, middle + 1'000, end - 1}) {
    Status status;
    const std::vector<std::string> records = OpenLog::read_from(open.log, lsn, &status);
    CHECK(status.code == Code::corrupt);
    CHECK(status.offset == sector_at);
    REQUIRE(!records.empty());
    CHECK(records.front() == f.text(lsn));
    CHECK(lsn + records.size() <= end);
    if (lsn < middle) CHECK(lsn + records.size() > middle - 60);
    if (lsn < middle) CHECK(lsn + records.size() < middle + 60);
  }
}

// ensures that what precedes a lost sector is handed out, batches as a whole, but nothing of one
// that reaches into it; and that a range which ends before it is none the worse for it.
TEST_CASE("seek: a lost sector in a large group") {
  Fixture f(small);
  OpenLog open(f.fs, f.options);
  for (int i = 0; i < 2; i++) {
    f.append(open, 1'000);
    f.append_batch(open, 500);
  }
  f.load(open, 10);
  ReadableSegment segment;
  REQUIRE(open.log->segment_holding(1, &segment));
  const format::SegmentHeader& header = segment.entry.header;
  const auto group = open.log->group_index()
                         .around(header.sequence, header.tag(), 1, segment.entry.end)
                         .before->extent;
  REQUIRE(group.first_lsn == 1);
  REQUIRE(group.count == f.count);
  const uint64_t record_bytes = format::record_bytes(100);
  const auto sector_of = [&](uint64_t lsn) {
    return (format::kGroupHeaderBytes + (lsn - 1) * record_bytes) / format::kContentBytes;
  };
  const uint64_t in_alone = sector_of(2'000);
  const uint64_t before_it =
      (in_alone * format::kContentBytes - format::kGroupHeaderBytes) / record_bytes;
  const std::pair<uint64_t, uint64_t> losses[] = {
      {sector_of(2'700), 2'500}, {in_alone, before_it}, {sector_of(1'200), 1'000}};
  for (const auto& [sector, last] : losses) {
    CAPTURE(sector);
    const uint64_t sector_at = lose_sector(open.log->segment_path(header.sequence),
                                           group.offset + sector * format::kSectorBytes);
    for (const uint64_t from : {uint64_t{1}, uint64_t{2}, last - 5}) {
      Status status;
      const std::vector<std::string> records = OpenLog::read_from(open.log, from, &status);
      CHECK(status.code == Code::corrupt);
      CHECK(status.offset == sector_at);
      REQUIRE(records.size() == last - from + 1);
      for (size_t i = 0; i < records.size(); i++) REQUIRE(records[i] == f.text(from + i));
    }
    RecordBatch batch;
    REQUIRE(f.first_batch(open.log, 1, UINT64_MAX, &batch).ok());
    CHECK(batch.bytes() < 64 << 10);  // a slab is no larger than elsewhere
    Reader reader(open.log, 2, last - 10);
    uint64_t next = 2;
    do {
      REQUIRE(reader.next(&batch).ok());
      next += batch.offsets.size();
    } while (!batch.empty());
    CHECK(next == last - 9);
  }
}

// ensures that nothing is shown of a batch that lost a part, wherever the reader starts.
TEST_CASE("seek: a damaged batch in a large group") {
  Fixture f(small);
  OpenLog open(f.fs, f.options);
  f.load(open, 10);
  f.append_batch(open, 4'000);
  f.load(open, 10);
  (void)flip_bit(open.log->segment_path(1), 90 * 4096 + 77);
  Status status;
  CHECK(OpenLog::read_from(open.log, 1, &status).size() == 10);
  CHECK(status.code == Code::corrupt);
  for (const uint64_t lsn : {11u, 12u, 500u, 2'000u, 3'900u}) {
    CHECK(OpenLog::read_from(open.log, lsn, &status).empty());
    CHECK(status.code == Code::corrupt);
  }
}

// ensures that a salvaged log shows the same from anywhere: of a batch that lost a part nothing, of
// a known hole nothing, and both are told; of what is left no time is known.
TEST_CASE("seek: a salvaged batch in a large group") {
  Fixture f(small);
  OpenLog open(f.fs, f.options);
  constexpr size_t kBatch = 4'000;
  f.append_batch(open, kBatch);
  f.load(open, 10);
  const std::string path = open.log->segment_path(1);
  REQUIRE(open.close().ok());
  (void)flip_bit(path, 10 * 4096 + 77);
  f.options.policy.damage = log::OnDamage::skip;
  f.options.policy.scan_all = true;
  for (int life = 0; life < 2; life++) {
    open.reopen(f.fs, f.options);
    REQUIRE(open.status.ok());
    for (const uint64_t lsn : {1u, 50u, 3'000u, 4'000u, 4'001u, 4'005u}) {
      CAPTURE(lsn);
      Reader reader(open.log, lsn, UINT64_MAX);
      RecordBatch batch;
      REQUIRE(reader.next(&batch).ok());
      if (lsn <= kBatch) {
        REQUIRE(batch.skipped.size() == 1);
        CHECK(batch.skipped.front().from == lsn);
        CHECK(batch.skipped.front().to == kBatch);
      }
      REQUIRE(!batch.runs.empty());
      CHECK(batch.runs.front().first_lsn == std::max<uint64_t>(lsn, kBatch + 1));
      CHECK(batch.runs.front().timestamp_micros == 0);
    }
    REQUIRE(open.close().ok());
    f.options.policy = {};  // the hole is known now
  }
}

// ensures that a header that claims more than can be is no reason to crash, nor to take memory.
TEST_CASE("seek: a part of a group that cannot be") {
  Fixture f(small);
  OpenLog open(f.fs, f.options);
  f.load(open, 3'000);
  ReadableSegment segment;
  REQUIRE(open.log->segment_holding(1, &segment));
  std::unique_ptr<io::File> file;
  REQUIRE(
      f.fs.open(open.log->segment_path(1), io::Access::read, open.log->direct(), 0, &file).ok());
  log::GroupPart part;
  const uint64_t start = 3 * 4096;
  const std::vector<log::GroupExtent> extents = {
      {start, 200 << 10, 1, 300'000},          {start, 200 << 10, 1, UINT32_MAX},
      {start, UINT32_MAX / 4096 * 4096, 1, 1}, {start, UINT32_MAX / 4096 * 4096, 1, 2},
      {start + 4096, 1 << 20, 1, 9'000},       {start, 1 << 20, 5'000, 9'000}};
  for (const log::GroupExtent& extent : extents) {
    for (const uint64_t lsn : {extent.first_lsn, extent.first_lsn + extent.count / 2}) {
      REQUIRE(log::read_part(*file, segment.entry.header, extent, lsn, &part).ok());
      CHECK(part.records.empty());
    }
  }
}

// ensures that a place that is not durable yet, of another life or of what was released is never
// taken.
TEST_CASE("seek: index of groups") {
  constexpr uint64_t kSpacing = GroupIndex::kLeastSpacing;
  GroupIndex index;
  CHECK_FALSE(index.around(1, 7, 5, UINT64_MAX).before.has_value());
  for (uint64_t i = 0; i < 10; i++) index.note(place(1, 1 + 100 * i, 8192 + i * kSpacing));
  index.note(place(1, 51, 8192 + kSpacing / 2));  // too near
  GroupPlace control = place(1, 5001, 100 * kSpacing);
  control.plain = false;
  index.note(control);
  CHECK(index.size() == 10);
  GroupIndex::Around around = index.around(1, 7, 250, UINT64_MAX);
  REQUIRE(around.before.has_value());
  CHECK(around.before->first_lsn() == 201);
  REQUIRE(around.after.has_value());
  CHECK(around.after->first_lsn() == 301);
  CHECK(index.around(1, 7, 201, UINT64_MAX).before->first_lsn() == 201);
  CHECK_FALSE(index.around(1, 7, 0, UINT64_MAX).before.has_value());
  // The file's durable end lies before the group that would be the nearest.
  around = index.around(1, 7, 950, 8192 + 5 * kSpacing);
  CHECK(around.before->first_lsn() == 401);
  CHECK(index.around(1, 7, 450, 8192 + 6 * kSpacing).after->first_lsn() == 501);
  CHECK_FALSE(index.around(1, 7, 450, 8192 + 5 * kSpacing).after.has_value());
  // Another life, another segment.
  CHECK_FALSE(index.around(1, 8, 250, UINT64_MAX).before.has_value());
  CHECK_FALSE(index.around(2, 7, 250, UINT64_MAX).before.has_value());
  index.note(place(3, 2001, 8192));
  index.forget_before(3);
  CHECK(index.size() == 1);
  CHECK(index.around(3, 7, 2005, UINT64_MAX).before->first_lsn() == 2001);
}

// ensures that an index stays as small as it is meant to be, and even.
TEST_CASE("seek: a full index of groups") {
  GroupIndex index(64);
  std::mt19937_64 random(5);
  for (int i = 0; i < 20'000; i++) {
    const uint64_t at = random() % 100'000;
    index.note(place(1 + at / 1000, 1 + at, 8192 + at % 1000 * GroupIndex::kLeastSpacing));
    REQUIRE(index.size() <= 64);
  }
  CHECK(index.size() > 16);
  uint64_t found = 0;
  for (uint64_t sequence = 1; sequence <= 100; sequence++)
    if (index.around(sequence, 7, sequence * 1000, UINT64_MAX).before.has_value()) found++;
  CHECK(found > 20);
}
