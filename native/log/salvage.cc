#include "log/salvage.h"

#include <algorithm>

#include "format/bytes.h"

namespace stonelog::log {

using format::kContentBytes;
using format::kGroupHeaderBytes;
using format::kSectorBytes;
using format::SectorState;

namespace {

// How many multiples of 2^16 beyond the nearest LSN are tried where a stamp's low half is
// ambiguous.
constexpr int kLsnGuesses = 64;

// Collects the record stream of a row of intact sectors and the places where records are known to
// start.
class Run {
 public:
  explicit Run(uint64_t* last_lsn) : last_lsn_(last_lsn) {}

  void add(const uint8_t* sector, bool starts_group, SalvagedRegion* region) {
    if (starts_group) end(region);
    const size_t skip = starts_group ? kGroupHeaderBytes : 0;
    const auto first = format::load<uint16_t>(sector + format::kStampFirstRecord);
    // A stamp proves that the sector was written so, not that it says anything sane.
    if (!known_ && first >= skip && first < kContentBytes) {
      known_ = true;
      start_ = stream_.size() + first - skip;
      lsn_low_ = format::load<uint16_t>(sector + format::kStampLsnLow);
    }
    stream_.insert(stream_.end(), sector + skip, sector + kContentBytes);
  }

  void end(SalvagedRegion* region) {
    if (known_) parse(region);
    stream_.clear();
    known_ = false;
  }

 private:
  void parse(SalvagedRegion* region) {
    format::Record record;
    uint64_t lsn = 0;
    if (!find_lsn(&lsn, &record)) return;
    std::vector<SalvagedRecord> batch;
    bool in_batch = false;
    for (size_t at = start_;; at = record.end, lsn++) {
      if (format::decode_record(stream_.data(), stream_.size(), at, lsn, &record) !=
          format::RecordState::valid) {
        return;  // padding, or the record goes on in a lost sector; a batch begun is incomplete
      }
      const bool part = (record.flags & format::kFlagBatchPart) != 0;
      const bool more = (record.flags & format::kFlagBatchMore) != 0;
      if (part && !in_batch) continue;  // the batch's beginning is lost
      in_batch = more;
      batch.push_back({lsn, record.payload_offset, record.payload_bytes});
      if (more) continue;
      for (SalvagedRecord& kept : batch) keep(kept, region);
      batch.clear();
    }
  }

  void keep(SalvagedRecord record, SalvagedRegion* region) {
    if (record.lsn <= *last_lsn_) return;
    const uint8_t* payload = stream_.data() + record.payload_offset;
    record.payload_offset = region->payloads.size();
    region->payloads.insert(region->payloads.end(), payload, payload + record.payload_bytes);
    region->records.push_back(record);
    *last_lsn_ = record.lsn;
  }

  // The record's own checksum decides between the LSNs that have these low bits.
  bool find_lsn(uint64_t* lsn, format::Record* record) const {
    const uint64_t next = *last_lsn_ + 1;
    uint64_t guess = next + static_cast<uint16_t>(lsn_low_ - next);
    for (int i = 0; i < kLsnGuesses; i++, guess += 1 << 16) {
      if (format::decode_record(stream_.data(), stream_.size(), start_, guess, record) ==
              format::RecordState::valid &&
          format::is_user_record(record->type)) {
        *lsn = guess;
        return true;
      }
    }
    return false;
  }

  uint64_t* last_lsn_;
  std::vector<uint8_t> stream_;
  bool known_ = false;
  size_t start_ = 0;
  uint16_t lsn_low_ = 0;
};

}  // namespace

Status salvage_region(GroupReader* reader, uint64_t from, uint64_t limit, uint64_t last_lsn,
                      SalvagedRegion* region) {
  const format::SegmentHeader& header = reader->header();
  Run run(&last_lsn);
  region->records.clear();
  region->payloads.clear();
  region->resume = limit;
  GroupView view;
  for (uint64_t at = from; at + header.block_bytes <= limit; at += header.block_bytes) {
    const uint8_t* block = nullptr;
    size_t got = 0;
    Status status = reader->window().view(at, header.block_bytes, &block, &got);
    if (!status.ok()) return status;
    if (got < header.block_bytes) break;
    const SectorState first = format::check_sector(block, at / kSectorBytes, header.tag());
    if (at > from && first == SectorState::group_start) {
      Defect defect = Defect::none;
      uint64_t bad_offset = 0;
      Expectation any;
      any.any = true;
      status = reader->read(at, limit, any, &view, &defect, &bad_offset);
      if (!status.ok()) return status;
      if (defect == Defect::none && view.header.first_lsn > last_lsn) {
        region->resume = at;
        break;
      }
      status = reader->window().view(at, header.block_bytes, &block, &got);
      if (!status.ok()) return status;
    }
    for (size_t i = 0; i < header.block_bytes; i += kSectorBytes) {
      const SectorState state =
          format::check_sector(block + i, (at + i) / kSectorBytes, header.tag());
      if (state == SectorState::valid || state == SectorState::group_start) {
        run.add(block + i, state == SectorState::group_start, region);
      } else {
        run.end(region);
      }
    }
  }
  run.end(region);
  return {};
}

}  // namespace stonelog::log
