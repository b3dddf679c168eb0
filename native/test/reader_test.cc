// Reading what is far longer than what is read ahead: groups that lie across pieces, that are
// larger than all of them, or that are damaged in one of them.
#include <sys/syscall.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <functional>

#include "log_fixture.h"

using namespace stonelog;
using namespace stonelog::test;

namespace {

// 1 byte to 40 KiB, different for each LSN.
std::string bulk_text(uint64_t lsn) {
  return std::to_string(lsn) + ":" +
         std::string(lsn * 7919 % 40'000, static_cast<char>('a' + lsn % 26));
}

struct Fixture {
  Directory directory;
  io::FileSystem& fs = posix_file_system();
  OpenOptions options;
  uint64_t count = 0;

  Fixture() {
    options.directory = directory / "log";
    options.segment_bytes = 16 << 20;
    options.queue_bytes = 8 << 20;
    options.max_record_bytes = 7 << 20;
    options.min_free_bytes = 0;
  }
  void append(OpenLog& open, const std::string& text) {
    Code code = Code::ok;
    while (open.append(text, &code) == 0) {
      REQUIRE(code == Code::backpressure);
      usleep(200);
    }
    count++;
  }
  // Some 24 MB in groups of up to 1 MiB, and one record that is larger than all that is read ahead.
  void load(OpenLog& open) {
    while (count < 1200) {
      append(open, count == 600 ? std::string(6 << 20, 'x') : bulk_text(count + 1));
    }
    REQUIRE(open.log->flush_and_wait().ok());
  }
  void check(const std::vector<std::string>& records, uint64_t from) const {
    for (size_t i = 0; i < records.size(); i++) {
      const uint64_t lsn = from + i;
      if (lsn == 601) {
        REQUIRE(records[i].size() == 6 << 20);
      } else {
        REQUIRE(records[i] == bulk_text(lsn));
      }
    }
  }
};

// What a reader asks of a log for reading only; before the n-th question it has been looked at
// again.
class LookedAtMeanwhile final : public Source {
 public:
  LookedAtMeanwhile(ReadOnlyLog* log, int before, std::function<void()> make)
      : log_(log), before_(before), make_(std::move(make)) {}
  ~LookedAtMeanwhile() override { log_->release(); }
  bool looked() const { return before_ < 0; }

  io::FileSystem& file_system() override { return log_->file_system(); }
  std::string segment_path(uint64_t sequence) const override {
    return log_->segment_path(sequence);
  }
  bool direct() const override { return log_->direct(); }
  ReadStart start_of(uint64_t lsn) override { return after_look()->start_of(lsn); }
  bool segment_holding(uint64_t lsn, ReadableSegment* out) override {
    return after_look()->segment_holding(lsn, out);
  }
  bool segment_now(uint64_t sequence, ReadableSegment* out) override {
    return after_look()->segment_now(sequence, out);
  }
  bool segment_after(uint64_t sequence, ReadableSegment* out) override {
    return after_look()->segment_after(sequence, out);
  }
  uint64_t first_lsn() override { return after_look()->first_lsn(); }
  uint64_t durable_lsn() override { return after_look()->durable_lsn(); }
  std::vector<format::Hole> holes() override { return after_look()->holes(); }
  bool skips_damage() const override { return log_->skips_damage(); }
  Status refresh() override { return after_look()->refresh(); }

 private:
  ReadOnlyLog* after_look() {
    if (before_-- == 0) {
      make_();
      usleep(5000);  // a younger look would not be repeated
      REQUIRE(log_->refresh().ok());
    }
    return log_;
  }
  ReadOnlyLog* const log_;
  int before_;
  const std::function<void()> make_;
};

}  // namespace

// ensures that a replay hands out every record as it was appended, from any LSN on, while the log
// is open and after it was closed.
TEST_CASE("reader: a bulk-written log from any place") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  f.load(open);
  for (int pass = 0; pass < 2; pass++) {
    for (const uint64_t from : {1u, 2u, 333u, 600u, 601u, 602u, 1199u, 1200u}) {
      CAPTURE(from);
      Status status;
      const std::vector<std::string> records = OpenLog::read_from(open.log, from, &status);
      REQUIRE(status.ok());
      REQUIRE(records.size() == f.count - from + 1);
      f.check(records, from);
    }
    REQUIRE(open.close().ok());
    open.reopen(f.fs, f.options);
  }
}

// ensures that a range ends where it was asked to, in the middle of a group.
TEST_CASE("reader: a range of a bulk-written log") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  f.load(open);
  Reader reader(open.log, 17, 777);
  RecordBatch batch;
  uint64_t next = 17;
  for (;;) {
    REQUIRE(reader.next(&batch).ok());
    if (batch.empty()) break;
    CHECK(batch.runs.front().first_lsn == next);
    next += batch.offsets.size();
  }
  CHECK(next == 778);
}

// ensures that the next file's pieces follow those of this one, are fetched before they are asked
// for, and are taken for nobody else's.
TEST_CASE("reader: one file after the other is read ahead") {
  constexpr uint64_t kBytes = 9 << 20;
  constexpr uint64_t kFrom = 8192;
  constexpr size_t kAsked = 100 << 10;
  Directory directory;
  FaultFileSystem fs{posix_file_system()};
  const auto make = [&](const std::string& name, uint8_t mark) {
    log::AlignedBuffer bytes(kBytes);
    for (size_t i = 0; i < kBytes; i++) bytes.data()[i] = static_cast<uint8_t>(mark + i / 4096);
    std::unique_ptr<io::File> file;
    REQUIRE(fs.open(directory / name, io::Access::create, false, 0600, &file).ok());
    const io::Part part{bytes.data(), kBytes};
    REQUIRE(file->write(0, &part, 1, io::WriteMode::plain).ok());
    REQUIRE(fs.open(directory / name, io::Access::read, false, 0, &file).ok());
    return file;
  };
  ReadAhead ahead(make("a", 0));
  ahead.set_limit(kBytes);
  const auto lend_all = [&](uint8_t mark) {
    for (uint64_t at = kFrom; at < kBytes;) {
      const uint8_t* data = nullptr;
      const size_t lent = ahead.lend(at, kAsked, &data);
      REQUIRE(lent > 0);
      REQUIRE(data[0] == static_cast<uint8_t>(mark + at / 4096));
      REQUIRE(data[lent - 1] == static_cast<uint8_t>(mark + (at + lent - 1) / 4096));
      at += lent;
      if (at > kBytes / 2 && mark == 0 && !ahead.has_next_file())
        ahead.set_next_file(make("b", 100), kFrom, kBytes);
    }
  };
  std::atomic<int> reads_of_next{0};
  fs.set_hook([&](Operation operation, const std::string& path) {
    if (operation == Operation::read && path.ends_with("/b")) reads_of_next++;
  });
  lend_all(0);
  // Nobody has asked for it yet.
  for (int i = 0; i < 5000 && reads_of_next == 0; i++) usleep(1000);
  CHECK(reads_of_next > 0);
  ahead.change_to_next_file();
  const uint8_t* data = nullptr;
  REQUIRE(ahead.lend(kFrom, kAsked, &data) > 0);
  CHECK(data[0] == 102);
  lend_all(100);
  fs.set_hook(nullptr);
  // A jump within the file forgets what lies ahead, and finds it again.
  ahead.change_file(make("c", 50));
  ahead.set_limit(kBytes);
  ahead.set_next_file(make("d", 150), kFrom, kBytes);
  REQUIRE(ahead.lend(kBytes - 8192, 4096, &data) > 0);
  CHECK(data[0] == static_cast<uint8_t>(50 + (kBytes - 8192) / 4096));
  REQUIRE(ahead.lend(kFrom, 4096, &data) > 0);
  CHECK(data[0] == 52);
  ahead.change_to_next_file();
  lend_all(150);
}

// ensures that what was opened and fetched ahead of the next segment is not taken for it once it
// was released and its file used again.
TEST_CASE("reader: the next segment is released while it is read ahead") {
  Fixture f;
  f.options.segment_bytes = 8 << 20;
  OpenLog open(f.fs, f.options);
  f.load(open);
  REQUIRE(open.log->stats().segments >= 3);
  Reader reader(open.log, 1, UINT64_MAX);
  ReadableSegment second;
  ReadableSegment third;
  REQUIRE(open.log->segment_after(1, &second));
  REQUIRE(open.log->segment_after(second.entry.header.sequence, &third));
  RecordBatch batch;
  uint64_t next = 1;
  const auto read_on = [&](uint64_t to) {
    while (next < to) {
      REQUIRE(reader.next(&batch).ok());
      REQUIRE(batch.runs.front().first_lsn == next);
      next += batch.offsets.size();
    }
  };
  read_on(second.entry.first_lsn - 30);  // so near its end that the next one is being fetched
  uint64_t first = 0;
  REQUIRE(open.log->truncate_before(third.entry.first_lsn, &first).ok());
  const uint64_t kept = f.count;
  while (f.count < kept + 800) f.append(open, bulk_text(f.count + 1));  // into the files released
  REQUIRE(open.log->flush_and_wait().ok());
  Status status;
  while (status.ok()) {
    status = reader.next(&batch);
    if (!status.ok()) break;
    REQUIRE(!batch.empty());
    REQUIRE(batch.runs.front().first_lsn == next);
    for (size_t i = 0; i < batch.offsets.size(); i++, next++) {
      const std::string expected = bulk_text(next);
      REQUIRE(batch.lengths[i] == expected.size());
      REQUIRE(std::memcmp(batch.slab->data() + batch.offsets[i], expected.data(),
                          expected.size()) == 0);
    }
  }
  CHECK(status.code == Code::not_found);
  CHECK(next <= third.entry.first_lsn);
}

// ensures that a reader goes on from a full segment into one that is still being written, and sees
// there what came after it was opened.
TEST_CASE("reader: into a segment that grows") {
  Fixture f;
  f.options.segment_bytes = 8 << 20;
  OpenLog open(f.fs, f.options);
  while (open.log->stats().segments < 2) {
    for (int i = 0; i < 20; i++) f.append(open, bulk_text(f.count + 1));
    REQUIRE(open.log->flush_and_wait().ok());
  }
  Reader reader(open.log, 1, UINT64_MAX);
  RecordBatch batch;
  uint64_t next = 1;
  const auto read_slab = [&] {
    REQUIRE(reader.next(&batch).ok());
    for (size_t i = 0; i < batch.offsets.size(); i++, next++) {
      const std::string expected = bulk_text(next);
      REQUIRE(batch.lengths[i] == expected.size());
      REQUIRE(std::memcmp(batch.slab->data() + batch.offsets[i], expected.data(),
                          expected.size()) == 0);
    }
  };
  while (next < f.count * 3 / 4) read_slab();
  for (int round = 0; round < 20; round++) {
    for (int i = 0; i < 7; i++) f.append(open, bulk_text(f.count + 1));
    REQUIRE(open.log->flush_and_wait().ok());
    read_slab();
  }
  while (next <= f.count) read_slab();
  read_slab();
  CHECK(batch.empty());
  CHECK(next == f.count + 1);
}

// ensures that damage far inside what is read ahead is told with its place, after every record
// before it was handed out.
TEST_CASE("reader: a flipped byte in a bulk-written log") {
  Fixture f;
  OpenLog open(f.fs, f.options);
  f.load(open);
  const std::string path = f.options.directory + "/" + log::segment_name(1);
  const uint64_t sector_at = flip_bit(path, (5 << 20) + 4321);
  Status status;
  const std::vector<std::string> records = OpenLog::read_from(open.log, 1, &status);
  CHECK(status.code == Code::corrupt);
  CHECK(status.offset == sector_at);
  CHECK(records.size() > 100);
  f.check(records, 1);
}

// ensures that a process that may have no more threads reads all the same, without reading ahead.
// In a process of its own: one that was forked would believe in the threads of its parent.
TEST_CASE("reader: the system refuses the threads that read ahead") {
  constexpr const char* kName = "STONELOG_TEST_WITHOUT_THREADS";
  const auto read = [](const char* directory) {
    if (!refuse(SYS_clone3, ENOSYS) || !refuse(SYS_clone, EAGAIN)) return cannot_try;
    Fixture f;
    f.options.directory = directory;
    ReadOnlyLog* log = nullptr;
    log::RecoveryReport report;
    if (!ReadOnlyLog::open(f.fs, f.options, &log, &report).ok()) return 1;
    Status status;
    const size_t count = OpenLog::read_from(log, 1, &status).size();
    return status.ok() && count == 1200 ? 0 : 2;
  };
  if (const char* directory = std::getenv(kName)) _exit(read(directory));
  Fixture f;
  {
    OpenLog open(f.fs, f.options);
    f.load(open);
  }
  const int result = in_child([&] {
    (void)setenv(kName, f.options.directory.c_str(), 1);
    (void)execl("/proc/self/exe", "native-tests", "-tc=reader: the system refuses*", nullptr);
    return 3;
  });
  if (result != cannot_try) CHECK(result == 0);
}

// ensures that a log that is made while a reader looks for its place in the empty directory is
// never taken for one whose records were released, be it emptied by then or not.
TEST_CASE("reader: a log is made while a reader finds its start") {
  for (const bool emptied : {false, true}) {
    for (int before = 0;; before++) {
      CAPTURE(emptied);
      CAPTURE(before);
      Fixture f;
      f.options.segment_bytes = 128 << 10;
      f.options.max_record_bytes = 64 << 10;
      REQUIRE(std::filesystem::create_directory(f.options.directory));
      OpenOptions options = f.options;
      options.read_only = true;
      ReadOnlyLog* log = nullptr;
      log::RecoveryReport report;
      REQUIRE(ReadOnlyLog::open(f.fs, options, &log, &report).ok());
      auto* source = new LookedAtMeanwhile(log, before, [&] {
        OpenLog open(f.fs, f.options);
        while (f.count < 300) f.append(open, "record");
        REQUIRE(open.log->flush_and_wait().ok());
        uint64_t first = 0;
        if (emptied) REQUIRE(open.log->truncate_before(301, &first).ok());
        REQUIRE(open.close().ok());
      });
      Status status;
      const std::vector<std::string> records = OpenLog::read_from(source, 0, &status);
      CHECK(status.ok());
      CHECK((records.empty() || records.size() == (emptied ? 0 : 300)));
      const bool looked = source->looked();
      source->release();
      if (!looked) break;
    }
  }
}

// ensures that memory is kept for a replay only while there is one.
TEST_CASE("reader: slabs are used again while somebody reads") {
  const SlabUser reading;
  std::unique_ptr<Slab> slab = take_slab(100'000);
  const uint8_t* const memory = slab->data();
  slab->grow(10);
  give_back(std::move(slab));
  slab = take_slab(90'000);
  CHECK(slab->data() == memory);
  CHECK(slab->size() == 0);
}

// ensures that slabs out and slabs kept are 56 MiB together: kept ones that do not fit go when a
// new one is made beyond that, and no sooner.
TEST_CASE("reader: slabs that do not fit make room for one that does") {
  constexpr size_t kMib = 1 << 20;
  const SlabUser reading;
  std::vector<std::unique_ptr<Slab>> small;
  for (int i = 0; i < 50; i++) small.push_back(take_slab(kMib));
  for (std::unique_ptr<Slab>& slab : small) give_back(std::move(slab));
  CHECK(kept_slab_bytes() == 50 * kMib);
  const std::unique_ptr<Slab> fits = take_slab(kMib);
  CHECK(kept_slab_bytes() == 49 * kMib);
  std::unique_ptr<Slab> large = take_slab(6 * kMib);
  CHECK(kept_slab_bytes() == 49 * kMib);
  const std::unique_ptr<Slab> larger = take_slab(20 * kMib);
  CHECK(kept_slab_bytes() == 29 * kMib);
  std::unique_ptr<Slab> largest = take_slab(45 * kMib);
  CHECK(kept_slab_bytes() == 0);
  give_back(std::move(large));  // 72 MiB are out
  CHECK(kept_slab_bytes() == 0);
  largest.reset();
  give_back(take_slab(kMib));
  CHECK(kept_slab_bytes() == kMib);
}
