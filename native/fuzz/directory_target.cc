// A whole directory: examined under each policy, read, taken over by a new life, examined again.
#include <algorithm>
#include <array>

#include "crc32c/crc32c.h"
#include "driver/catalog.h"
#include "driver/reader.h"
#include "fuzz/image.h"
#include "fuzz/memory_disk.h"
#include "fuzz/target.h"
#include "log/life.h"
#include "log/recovery.h"

namespace stonelog::fuzz {

using log::OnDamage;
using log::RecoveryPolicy;

namespace {

constexpr char kDirectory[] = "/log";

struct Case {
  OnDamage torn_tail;
  OnDamage damage;
  bool scan_all;
  bool live;
  bool writing;
};
constexpr std::array<Case, 5> kCases = {{
    {OnDamage::cut, OnDamage::refuse, false, false, true},    // tolerate-torn-tail
    {OnDamage::refuse, OnDamage::refuse, true, false, true},  // strict
    {OnDamage::cut, OnDamage::cut, true, false, true},        // point-in-time
    {OnDamage::cut, OnDamage::skip, true, false, true},       // salvage
    {OnDamage::cut, OnDamage::refuse, false, true, false},    // beside a writer
}};

RecoveryPolicy policy_of(const Case& one) {
  RecoveryPolicy policy;
  policy.torn_tail = one.torn_tail;
  policy.damage = one.damage;
  policy.scan_all = one.scan_all;
  policy.live = one.live;
  policy.writing = one.writing;
  policy.sync = !one.live;
  return policy;
}

// The log that an examination accepted, as a reader's source.
class ExaminedLog final : public driver::Source {
 public:
  ExaminedLog(MemoryDisk& disk, const log::Examination& examination, bool skips)
      : disk_(disk), examination_(examination), skips_(skips) {
    catalog_.assign(examination.segments);
  }
  io::FileSystem& file_system() override { return disk_; }
  std::string segment_path(uint64_t sequence) const override {
    return std::string(kDirectory) + "/" + log::segment_name(sequence);
  }
  bool direct() const override { return false; }
  driver::ReadStart start_of(uint64_t lsn) override {
    return catalog_.start_of(lsn, examination_.state);
  }
  bool segment_holding(uint64_t lsn, driver::ReadableSegment* out) override {
    return found(catalog_.holding(lsn), out);
  }
  bool segment_now(uint64_t sequence, driver::ReadableSegment* out) override {
    return found(catalog_.find(sequence), out);
  }
  bool segment_after(uint64_t sequence, driver::ReadableSegment* out) override {
    return found(catalog_.after(sequence), out);
  }
  uint64_t first_lsn() override { return examination_.report.first_lsn; }
  uint64_t durable_lsn() override { return examination_.report.last_lsn; }
  std::vector<format::Hole> holes() override { return examination_.state.holes; }
  bool skips_damage() const override { return skips_; }
  Status refresh() override { return {}; }

 private:
  bool found(const log::SegmentEntry* entry, driver::ReadableSegment* out) const {
    if (entry == nullptr) return false;
    *out = {*entry, entry != &catalog_.entries().back()};
    return true;
  }

  MemoryDisk& disk_;
  const log::Examination& examination_;
  const bool skips_;
  driver::Catalog catalog_;
};

struct ReadResult {
  Status status;
  std::vector<std::pair<uint64_t, std::string>> records;
};

void take_batch(const driver::RecordBatch& batch, ReadResult* result) {
  FUZZ_CHECK(batch.lengths.size() == batch.offsets.size());
  size_t run = 0;
  for (size_t i = 0; i < batch.offsets.size(); i++) {
    while (run + 1 < batch.runs.size() && batch.runs[run + 1].index <= i) run++;
    FUZZ_CHECK(run < batch.runs.size() && batch.runs[run].index <= i);
    FUZZ_CHECK(uint64_t{batch.offsets[i]} + batch.lengths[i] <= batch.bytes());
    const uint64_t lsn = batch.runs[run].first_lsn + i - batch.runs[run].index;
    FUZZ_CHECK(result->records.empty() || lsn > result->records.back().first);
    std::string payload;
    if (batch.lengths[i] > 0) {
      const auto* const at = reinterpret_cast<const char*>(batch.slab->data()) + batch.offsets[i];
      payload.assign(at, batch.lengths[i]);
    }
    result->records.emplace_back(lsn, std::move(payload));
  }
}

ReadResult read_all(MemoryDisk& disk, const log::Examination& examination, bool skips,
                    uint64_t from) {
  ReadResult result;
  auto* const source = new ExaminedLog(disk, examination, skips);
  {
    driver::Reader reader(source, from, UINT64_MAX);
    driver::RecordBatch batch;
    // Each slab moves on, so there are no more of them than blocks.
    for (size_t slabs = 0;; slabs++) {
      FUZZ_CHECK(slabs < kMaxFiles * kMaxSectors);
      result.status = reader.next(&batch);
      if (!result.status.ok() || (batch.empty() && batch.skipped.empty())) break;
      take_batch(batch, &result);
    }
  }
  source->release();
  const Code code = result.status.code;
  FUZZ_CHECK(code == Code::ok || code == Code::corrupt || code == Code::not_found ||
             code == Code::unsupported_version);
  return result;
}

void check_examination(const log::Examination& examination) {
  const log::RecoveryReport& report = examination.report;
  FUZZ_CHECK(report.last_lsn + 1 >= report.first_lsn);
  for (size_t i = 1; i < examination.segments.size(); i++) {
    FUZZ_CHECK(examination.segments[i - 1].header.sequence <
               examination.segments[i].header.sequence);
  }
  for (const log::LostRange& lost : report.lost) FUZZ_CHECK(lost.from <= lost.to);
  const std::vector<format::Hole>& holes = examination.state.holes;
  for (size_t i = 0; i < holes.size(); i++) {
    FUZZ_CHECK(holes[i].from <= holes[i].to);
    FUZZ_CHECK(i == 0 || holes[i - 1].to < holes[i].from);
  }
}

bool may_fail_with(Code code) {
  return code == Code::ok || code == Code::torn_tail || code == Code::corrupt ||
         code == Code::not_a_log || code == Code::unsupported_version;
}

// What was scanned and found clean can be read, every record of it.
void check_clean(const log::Examination& examination, const ReadResult& read) {
  const log::RecoveryReport& report = examination.report;
  FUZZ_CHECK(read.status.ok());
  uint64_t next = report.first_lsn;
  for (const auto& [lsn, payload] : read.records) {
    FUZZ_CHECK(lsn == next || format::is_hole(examination.state.holes, next, lsn - 1));
    next = lsn + 1;
  }
  FUZZ_CHECK(next == report.last_lsn + 1 ||
             format::is_hole(examination.state.holes, next, report.last_lsn));
}

// A new life takes over exactly what was accepted, and says so to the next examination.
void take_over(MemoryDisk& disk, log::Examination* examination, const ReadResult& before) {
  log::LifeOptions options;
  options.directory = kDirectory;
  options.segment_bytes = 128 << 10;
  log::LifeStart start;
  format::SegmentHeader header;
  const uint64_t last_lsn = examination->report.last_lsn;
  if (!log::begin_life(disk, options, examination, &start, &header).ok()) return;
  log::Examination again;
  Status status = log::examine(disk, kDirectory, io::Probe{}, policy_of(kCases[0]), &again);
  (void)before;
  (void)last_lsn;
  FUZZ_CHECK(may_fail_with(status.code));
}

void run_case(const std::vector<ExpandedFile>& files, const Case& one) {
  MemoryDisk disk;
  for (const ExpandedFile& file : files)
    disk.put(std::string(kDirectory) + "/" + file.name, file.bytes);
  log::Examination examination;
  Status status = log::examine(disk, kDirectory, io::Probe{}, policy_of(one), &examination);
  FUZZ_CHECK(disk.changes() == 0);
  FUZZ_CHECK(may_fail_with(status.code));
  if (!status.ok() || examination.empty) return;
  check_examination(examination);
  const log::RecoveryReport& report = examination.report;
  const bool skips = one.damage == OnDamage::skip;
  const ReadResult read = read_all(disk, examination, skips, 0);
  const uint64_t middle = report.first_lsn + (report.last_lsn - report.first_lsn) / 2;
  (void)read_all(disk, examination, skips, middle);
  FUZZ_CHECK(disk.changes() == 0);
  if (one.scan_all && report.verdict == log::Verdict::clean) check_clean(examination, read);
  if (one.writing) take_over(disk, &examination, read);
}

// The fuzzer tries one policy for an input, which one its bytes say: five times as many inputs.
void run_directory(const uint8_t* data, size_t size) {
  const std::vector<ExpandedFile> files = expand(parse_image(data, size));
  if (thorough) {
    for (const Case& one : kCases) run_case(files, one);
  } else {
    run_case(files, kCases[crc32c::extend(0, data, size) % kCases.size()]);
  }
}

}  // namespace

const Target kDirectoryTarget = {"directory", 48 << 10, run_directory, nullptr, mutate_image};

}  // namespace stonelog::fuzz
