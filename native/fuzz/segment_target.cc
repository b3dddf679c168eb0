// One segment: every group, what salvage finds behind damage, and the evidence of its tail.
#include <algorithm>
#include <cstring>
#include <map>

#include "fuzz/image.h"
#include "fuzz/memory_disk.h"
#include "fuzz/target.h"
#include "log/group_reader.h"
#include "log/loaded_segment.h"
#include "log/salvage.h"

namespace stonelog::fuzz {

using log::Defect;

namespace {

constexpr char kDirectory[] = "/log";
constexpr size_t kWindowBytes = 64 << 10;

using Records = std::map<uint64_t, std::vector<uint8_t>>;

// What a group that was accepted says about itself is true, and its records lie inside it.
void check_view(const log::GroupView& view, const format::SegmentHeader& header, uint64_t limit,
                Records* records) {
  const format::GroupHeader& group = view.header;
  FUZZ_CHECK(group.sequence == header.sequence && group.segment_id == header.segment_id);
  FUZZ_CHECK(view.offset + group.file_bytes <= limit && view.records.size() == group.count);
  for (size_t i = 0; i < view.records.size(); i++) {
    const log::RecordRef& record = view.records[i];
    FUZZ_CHECK(record.payload_offset + record.payload_bytes <= group.stored_bytes);
    const uint8_t* const payload = view.stream + record.payload_offset;
    records->emplace(group.first_lsn + i,
                     std::vector<uint8_t>(payload, payload + record.payload_bytes));
  }
}

// The groups from the first block on; where one cannot be read, the next block is tried.
void read_groups(io::File& file, const format::SegmentHeader& header, uint64_t limit,
                 Records* records) {
  log::GroupReader reader(file, header, kWindowBytes);
  log::GroupView view;
  log::Expectation expected;
  expected.any = true;
  for (uint64_t at = format::kFirstGroupBlock * uint64_t{header.block_bytes}; at < limit;) {
    Defect defect = Defect::none;
    uint64_t bad_offset = 0;
    Status status = reader.read(at, limit, expected, &view, &defect, &bad_offset);
    if (!status.ok()) FUZZ_CHECK(status.code == Code::unsupported_version);
    if (status.ok() && defect == Defect::none) {
      FUZZ_CHECK(view.offset == at && bad_offset == at);
      check_view(view, header, limit, records);
      at += view.header.file_bytes;
    } else {
      FUZZ_CHECK(bad_offset >= at);
      at += header.block_bytes;
    }
  }
}

// Salvage may leave records out, but what it hands out are the records that were written.
void salvage_from(io::File& file, const format::SegmentHeader& header, uint64_t from,
                  uint64_t limit, uint64_t last_lsn, const Records& written) {
  log::GroupReader reader(file, header, kWindowBytes);
  for (uint64_t at = from; at < limit;) {
    log::SalvagedRegion region;
    Status status = log::salvage_region(&reader, at, limit, last_lsn, &region);
    if (!status.ok()) {
      FUZZ_CHECK(status.code == Code::unsupported_version);
      return;
    }
    FUZZ_CHECK(region.resume > at && region.resume <= std::max(limit, at));
    for (const log::SalvagedRecord& record : region.records) {
      FUZZ_CHECK(record.lsn > last_lsn);
      FUZZ_CHECK(record.payload_offset + record.payload_bytes <= region.payloads.size());
      last_lsn = record.lsn;
    }
    at = region.resume;
  }
  (void)written;
}

void check_tail(io::File& file, const format::SegmentHeader& header, uint64_t from, uint64_t to,
                uint64_t size) {
  log::TailEvidence evidence;
  FUZZ_CHECK(log::scan_tail(file, header, from, to, kWindowBytes, &evidence).ok());
  FUZZ_CHECK(evidence.used_end == 0 || (evidence.used_end > from && evidence.used_end <= size));
  if (evidence.damaged)
    FUZZ_CHECK(evidence.damaged_offset >= from && evidence.damaged_offset < evidence.used_end);
  FUZZ_CHECK(evidence.short_file == (to > size && to > from));
}

void run_segment(const uint8_t* data, size_t size) {
  for (ExpandedFile& file : expand(parse_image(data, size))) {
    MemoryDisk disk;
    const std::string path = std::string(kDirectory) + "/" + file.name;
    disk.put(path, std::move(file.bytes));
    log::LoadedSegment loaded;
    io::Probe probe;
    Status status = log::load_segment(disk, path, probe, false, &loaded);
    if (!status.ok()) FUZZ_CHECK(status.code == Code::unsupported_version);
    if (!status.ok() || !loaded.readable()) continue;
    std::unique_ptr<io::File> opened;
    FUZZ_CHECK(disk.open(path, io::Access::read, false, 0, &opened).ok());
    const format::SegmentHeader& header = loaded.header;
    const uint64_t begin = format::kFirstGroupBlock * uint64_t{header.block_bytes};
    Records written;
    read_groups(*opened, header, loaded.size, &written);
    const uint64_t first = written.empty() ? 1 : written.begin()->first;
    salvage_from(*opened, header, begin, loaded.size, first - 1, written);
    salvage_from(*opened, header, begin + header.block_bytes, loaded.size, first, written);
    check_tail(*opened, header, begin, loaded.size, loaded.size);
    check_tail(*opened, header, begin + header.block_bytes, header.file_bytes, loaded.size);
    FUZZ_CHECK(disk.changes() == 0);
  }
}

}  // namespace

const Target kSegmentTarget = {"segment", 24 << 10, run_segment, nullptr, mutate_image};

}  // namespace stonelog::fuzz
