#include "sim/model.h"

#include <algorithm>
#include <cstring>

#include "format/bytes.h"
#include "log/group_reader.h"
#include "log/salvage.h"

namespace stonelog::sim {

namespace {

std::string number(uint64_t value) { return std::to_string(value); }

}  // namespace

void fill_payload(uint64_t life, uint64_t lsn, uint8_t* data, size_t size) {
  Random random(life * 0x100000001b3 ^ lsn * 0x9e3779b97f4a7c15 ^ size);
  for (size_t at = 0; at < size; at += 8) {
    const uint64_t word = at == 0 ? life << 32 ^ lsn ^ size << 20 : random.next();
    std::memcpy(data + at, &word, std::min<size_t>(8, size - at));
  }
}

void Model::fail(const std::string& what) {
  if (finding_.empty()) finding_ = what;
}

void Model::begin_life(uint64_t epoch, const format::Id& epoch_id) {
  if (epoch <= epoch_) fail("epoch " + number(epoch) + " after epoch " + number(epoch_));
  if (!epoch_ids_.insert(epoch_id).second)
    fail("the id of epoch " + number(epoch) + " was used before");
  epoch_ = epoch;
  life_++;
  recovered_ = closing_ = closed_ = false;
  not_written_ = UINT64_MAX;
  heads_.resize(1);
}

void Model::admitted(uint64_t first_lsn, const std::vector<uint32_t>& sizes) {
  if (first_lsn != records_.size())
    fail("LSN " + number(first_lsn) + " was given after " + number(last_lsn()));
  const uint64_t last = first_lsn + sizes.size() - 1;
  for (const uint32_t size : sizes) records_.push_back({life_, size, first_lsn, last});
}

void Model::submitted(const uint8_t* sectors, size_t size, uint64_t last_lsn) {
  submitted_ = std::max(submitted_, last_lsn);
  for (size_t at = 0; at < size; at += 512) {
    const auto stamp = format::load<uint64_t>(sectors + at + format::kStampTag);
    sectors_[stamp] = std::max(sectors_[stamp], last_lsn);
  }
}

void Model::acknowledged(uint64_t lsn) {
  if (lsn < acknowledged_)
    fail("durable LSN went back from " + number(acknowledged_) + " to " + number(lsn));
  if (lsn > submitted_)
    fail("LSN " + number(lsn) + " was acknowledged, but never handed to the device");
  acknowledged_ = lsn;
}

void Model::head_durable(const Head& head) {
  const auto at = std::find(heads_.begin(), heads_.end(), head);
  if (at != heads_.end()) heads_.erase(heads_.begin(), at);
}

void Model::check_recovered(const log::Examination& examination) {
  const log::RecoveryReport& report = examination.report;
  const uint64_t last = report.last_lsn;
  const std::string told = std::string(" (row ") + report.row + ")";
  if (report.verdict == log::Verdict::corrupt) fail("a mere crash was taken for damage" + told);
  if (last < acknowledged_) {
    fail("acknowledged up to " + number(acknowledged_) + ", recovered up to " + number(last) +
         told);
  }
  if (last > submitted_)
    fail("recovered up to " + number(last) + ", submitted up to " + number(submitted_) + told);
  if (last >= not_written_)
    fail("LSN " + number(not_written_) + " was told not written, but was recovered");
  if (recovered_ && last != last_lsn()) {
    fail("recovered up to " + number(last_lsn()) + " before and up to " + number(last) + " now" +
         told);
  }
  if (last >= records_.size())
    return fail("recovered up to " + number(last) + ", admitted up to " + number(last_lsn()));
  if (last > 0 && last >= report.first_lsn && records_[last].batch_last > last) {
    fail("the batch of LSN " + number(last) + " is recovered in part");
  }
  const auto head = std::find_if(heads_.begin(), heads_.end(), [&](const Head& one) {
    return one.first_lsn == report.first_lsn;
  });
  if (head == heads_.end() && report.first_lsn != heads_.front().first_lsn) {
    fail("the log begins at LSN " + number(report.first_lsn) + ", its durable head is " +
         number(heads_.front().first_lsn) + told);
  }
  if (closed_ && !recovered_ && (!report.closed || report.verdict != log::Verdict::clean)) {
    fail("the log was closed, but recovery says otherwise" + told);
  }
  if (report.closed && !closing_) fail("recovery says closed, but nobody closed the log");
  if (report.closed && last != last_lsn())
    fail("the log is closed, but LSNs are missing at its end");
  if (head != heads_.end()) heads_ = {*head};
  records_.resize(last + 1);
  acknowledged_ = submitted_ = last;  // shown to the caller: must not be lost any more
  not_written_ = UINT64_MAX;
  recovered_ = true;
}

void Model::check_record(uint64_t lsn, const uint8_t* data, size_t size) {
  if (lsn >= records_.size())
    return fail("LSN " + number(lsn) + " appears, but was never admitted or was cut");
  verified_++;
  const Record& record = records_[lsn];
  if (record.size != size)
    return fail("LSN " + number(lsn) + " has another size than was admitted");
  scratch_.resize(size);
  fill_payload(record.life, lsn, scratch_.data(), size);
  if (size > 0 && std::memcmp(data, scratch_.data(), size) != 0) {
    uint64_t word = 0;
    if (size >= 8) std::memcpy(&word, data, 8);
    fail("LSN " + number(lsn) + " is not what life " + number(record.life) +
         " admitted; it may be of life " + number(word >> 32));
  }
}

void Model::pass(uint64_t lsn, const uint8_t* data, size_t size, uint64_t* next,
                 const std::vector<format::Hole>& holes) {
  if (lsn != *next && !(lsn > *next && format::is_hole(holes, *next, lsn - 1))) {
    fail("LSN " + number(lsn) + " follows LSN " + number(*next - 1) + " and no hole is known");
  }
  check_record(lsn, data, size);
  *next = lsn + 1;
}

void Model::read_segment(io::FileSystem& fs, const io::Probe& probe, const log::SegmentEntry& entry,
                         bool salvage, uint64_t* next, const std::vector<format::Hole>& holes) {
  std::unique_ptr<io::File> file;
  const std::string path = std::string(kDirectory) + "/" + log::segment_name(entry.header.sequence);
  if (!fs.open(path, io::Access::read, probe.direct, 0, &file).ok())
    return fail(path + " cannot be opened");
  log::GroupReader reader(*file, entry.header, 128 << 10);
  log::GroupView view;
  log::Expectation expected;
  expected.any = true;
  for (uint64_t at = format::kFirstGroupBlock * uint64_t{entry.header.block_bytes};
       at < entry.end;) {
    log::Defect defect = log::Defect::none;
    uint64_t bad = 0;
    Status status = reader.read(at, entry.end, expected, &view, &defect, &bad);
    if (!status.ok()) return fail("reading " + path + " fails");
    if (defect == log::Defect::none) {
      for (size_t i = 0; i < view.records.size(); i++) {
        const log::RecordRef& record = view.records[i];
        pass(view.header.first_lsn + i, view.stream + record.payload_offset, record.payload_bytes,
             next, holes);
      }
      at += view.header.file_bytes;
      if (!salvage)
        expected = {view.header.first_lsn + view.header.count, view.header.epoch,
                    view.header.checksum};
      continue;
    }
    if (!salvage || !entry.salvaged)
      return fail(path + " has a defect at " + number(bad) + " in its accepted part");
    log::SalvagedRegion region;
    status = log::salvage_region(&reader, at, entry.end, *next - 1, &region);
    if (!status.ok()) return fail("salvaging " + path + " fails");
    for (const log::SalvagedRecord& record : region.records) {
      pass(record.lsn, region.payloads.data() + record.payload_offset, record.payload_bytes, next,
           holes);
    }
    at = region.resume;
  }
}

void Model::check_records(io::FileSystem& fs, const io::Probe& probe,
                          const log::Examination& examination, bool salvage) {
  const std::vector<format::Hole>& holes = examination.state.holes;
  uint64_t next = examination.report.first_lsn;
  for (const log::SegmentEntry& entry : examination.segments) {
    read_segment(fs, probe, entry, salvage, &next, holes);
    if (entry.last_lsn + 1 != next &&
        !(entry.last_lsn >= next && format::is_hole(holes, next, entry.last_lsn))) {
      fail("segment " + number(entry.header.sequence) + " should end with LSN " +
           number(entry.last_lsn) + ", but LSN " + number(next) + " would be next");
    }
    next = std::max(next, entry.last_lsn + 1);
  }
  if (next != examination.report.last_lsn + 1) {
    fail("the segments end with LSN " + number(next - 1) + ", the report with " +
         number(examination.report.last_lsn));
  }
}

uint64_t Model::check_seen(io::FileSystem& fs, const io::Probe& probe,
                           const log::Examination& examination) {
  const uint64_t last = examination.report.last_lsn;
  if (last > acknowledged_) {
    fail("a reader beside the writer sees up to " + number(last) + ", acknowledged is up to " +
         number(acknowledged_));
  }
  uint64_t seen = 0;
  for (const log::SegmentEntry& entry : examination.segments) {
    std::unique_ptr<io::File> file;
    const std::string path =
        std::string(kDirectory) + "/" + log::segment_name(entry.header.sequence);
    if (!fs.open(path, io::Access::read, probe.direct, 0, &file).ok()) continue;  // released
    log::GroupReader reader(*file, entry.header, 128 << 10);
    log::GroupView view;
    log::Expectation any;
    any.any = true;
    uint64_t next = entry.first_lsn;
    for (uint64_t at = format::kFirstGroupBlock * uint64_t{entry.header.block_bytes};
         at < entry.end && finding_.empty(); at += view.header.file_bytes) {
      log::Defect defect = log::Defect::none;
      uint64_t bad = 0;
      if (!reader.read(at, entry.end, any, &view, &defect, &bad).ok()) return seen;
      if (defect != log::Defect::none) {
        if (next > last) return seen;  // what a failed sync dropped was never acknowledged
        fail("a reader beside the writer is shown " + path + ", which has a defect at " +
             number(bad));
        break;
      }
      for (size_t i = 0; i < view.records.size(); i++, next++) {
        const log::RecordRef& record = view.records[i];
        const uint64_t lsn = view.header.first_lsn + i;
        if (lsn > last) return seen;
        if (lsn != next) fail("a reader beside the writer misses LSN " + number(next));
        check_record(lsn, view.stream + record.payload_offset, record.payload_bytes);
        seen++;
      }
    }
  }
  return seen;
}

namespace {

// Visits the stamps of all sectors in segments and in what was kept of them. `settled`: only those
// that are durable and will stay (a hole punched but not synced may go either way), and not those
// of older lives.
template <typename Visit>
void each_stamp(const Disk& disk, bool settled, Visit visit) {
  for (const auto& [name, id] : disk.names) {
    const size_t wal = name.find(".wal");
    if (wal == std::string::npos || wal < 20) continue;
    const uint64_t sequence = std::strtoull(name.c_str() + wal - 20, nullptr, 10);
    const Inode& file = disk.inodes.at(id);
    const bool whole = wal + 4 == name.size() && file.visible.page(0) != nullptr;
    const uint32_t tag =
        whole ? format::load<uint32_t>(file.visible.page(0) + format::kStampTag) : 0;
    for (uint64_t page = 0; page < file.visible.page_count(); page++) {
      const uint8_t* bytes = file.visible.page(page);
      const uint8_t* durable = file.durable.page(page);
      if (bytes == nullptr || (settled && durable == nullptr)) continue;
      for (size_t at = format::kStampTag; at < kPageBytes; at += format::kSectorBytes) {
        const auto stamp = format::load<uint64_t>(bytes + at);
        const bool stays = format::load<uint64_t>((settled ? durable : bytes) + at) == stamp;
        const bool older = settled && whole && static_cast<uint32_t>(stamp) != tag;
        if (stamp != 0 && stays && !older) visit(stamp, sequence);
      }
    }
  }
}

}  // namespace

void Model::remember_sectors(const Disk& disk) {
  remembered_.clear();
  each_stamp(disk, true, [&](uint64_t stamp, uint64_t sequence) {
    if (sectors_.count(stamp) > 0) remembered_[stamp] = sequence;
  });
}

void Model::check_sectors(const Disk& disk, const Head& head) {
  std::unordered_map<uint64_t, uint64_t> missing = remembered_;
  each_stamp(disk, false, [&](uint64_t stamp, uint64_t) { missing.erase(stamp); });
  for (const auto& [stamp, sequence] : missing) {
    if (sequence < head.first_sequence || sectors_[stamp] < head.first_lsn) continue;
    fail("recovery gave up a sector of segment " + number(sequence) + " (LSN " +
         number(sectors_[stamp]) + " or before) that is in no file and not in the quarantine");
  }
}

}  // namespace stonelog::sim
