#include "log/salvage.h"

#include "log/record_walk.h"

namespace stonelog::log {

using format::kContentBytes;
using format::kSectorBytes;
using format::SectorState;

namespace {

// How many multiples of 2^16 beyond the nearest LSN are tried where a stamp's low half is
// ambiguous.
constexpr int kLsnGuesses = 64;

// Collects the record stream of a run of intact sectors and the first place where a record is known
// to start.
class Run {
 public:
  explicit Run(uint64_t* last_lsn) : last_lsn_(last_lsn) {}

  void add(const uint8_t* sector, bool starts_group, SalvagedRegion* region) {
    if (starts_group) end(region);
    size_t first = 0;
    if (!known_ && stamped_start(sector, starts_group, &first, &lsn_low_)) {
      known_ = true;
      start_ = stream_.size() + first;
    }
    stream_.insert(stream_.end(), sector, sector + kContentBytes);
  }

  void end(SalvagedRegion* region) {
    uint64_t lsn = 0;
    if (known_ && find_lsn(&lsn)) {
      (void)walk_records(stream(), start_, lsn, UINT64_MAX, &records_);
      for (const WalkedRecord& walked : records_) keep(walked, region);
    }
    records_.clear();
    stream_.clear();
    known_ = false;
  }

 private:
  RecordStream stream() const { return {stream_.data(), stream_.size()}; }

  void keep(const WalkedRecord& walked, SalvagedRegion* region) {
    if (walked.lsn <= *last_lsn_) return;
    const size_t bytes = walked.record.payload_bytes;
    const uint8_t* payload = stream_.data() + walked.record.payload_offset;
    region->records.push_back({walked.lsn, region->payloads.size(), bytes});
    region->payloads.insert(region->payloads.end(), payload, payload + bytes);
    *last_lsn_ = walked.lsn;
  }

  // The record's own checksum decides between the LSNs that have these low bits.
  bool find_lsn(uint64_t* lsn) const {
    const uint64_t next = *last_lsn_ + 1;
    *lsn = next + static_cast<uint16_t>(lsn_low_ - next);
    for (int i = 0; i < kLsnGuesses; i++, *lsn += 1 << 16)
      if (is_record(stream(), start_, *lsn)) return true;
    return false;
  }

  uint64_t* last_lsn_;
  std::vector<uint8_t> stream_;
  std::vector<WalkedRecord> records_;
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
