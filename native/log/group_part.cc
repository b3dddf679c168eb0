#include "log/group_part.h"

#include <algorithm>

#include "log/record_walk.h"

namespace stonelog::log {

using format::kContentBytes;
using format::kSectorBytes;

namespace {

constexpr uint64_t kBytesBefore = 8 << 10;  // of the place where the record is thought to be
constexpr uint64_t kBytesBehind = 48 << 10;
constexpr int kTries = 3;
constexpr uint64_t kLeastRecordBytes = format::kRecordFixedBytes + 1;

// Where a record starts.
struct Start {
  size_t sector = 0;  // of those at hand
  size_t at = 0;      // in its content
  uint64_t lsn = 0;
};

class PartReader {
 public:
  PartReader(io::File& file, const format::SegmentHeader& segment, const GroupExtent& group,
             uint64_t lsn)
      : file_(file),
        segment_(segment),
        group_(group),
        lsn_(lsn),
        record_bytes_(group.file_bytes / group.count) {}

  Status run(GroupPart* part);

 private:
  Status read_around(uint64_t place, bool* intact);
  bool start_in(size_t sector, Start* start) const;
  bool nearest_start(Start* start) const;
  bool take_from(const Start& start, GroupPart* part) const;
  uint64_t place_of(size_t sector) const { return from_ + sector * kSectorBytes; }

  io::File& file_;
  const format::SegmentHeader& segment_;
  const GroupExtent& group_;
  const uint64_t lsn_;
  const uint64_t record_bytes_;  // on average
  AlignedBuffer buffer_;
  uint64_t from_ = 0;   // the place in the group of what is at hand
  size_t sectors_ = 0;  // how much that is
};

// False if not all of it is as it should be, or if it is as well to read the whole group.
Status PartReader::read_around(uint64_t place, bool* intact) {
  const uint64_t block = segment_.block_bytes;
  const uint64_t end = place + std::max(kBytesBehind, record_bytes_ + record_bytes_ / 2);
  from_ = (place - std::min(place, kBytesBefore)) / block * block;
  const uint64_t to = std::min((end + block - 1) / block * block, group_.file_bytes);
  const auto size = static_cast<size_t>(to - from_);
  *intact = false;
  if (2 * size > group_.file_bytes) return {};
  if (buffer_.size() < size) buffer_.resize(size);
  size_t got = 0;
  Status status = file_.read(group_.offset + from_, buffer_.data(), size, &got);
  sectors_ = got / kSectorBytes;
  *intact = status.ok() && got == size &&
            format::first_invalid(buffer_.data(), sectors_, (group_.offset + from_) / kSectorBytes,
                                  segment_.tag(), from_ == 0) == sectors_;
  return status;
}

// The first record that starts in the sector. Its stamp has the low half of the LSN; the rest is as
// if all records were equally long, and the record's checksum proves it.
bool PartReader::start_in(size_t sector, Start* start) const {
  const uint8_t* const bytes = buffer_.data() + sector * kSectorBytes;
  size_t first = 0;
  uint16_t low = 0;
  if (!stamped_start(bytes, place_of(sector) == 0, &first, &low)) return false;
  const uint64_t about = group_.first_lsn + place_of(sector) / record_bytes_;
  const auto off_by = static_cast<int16_t>(static_cast<uint16_t>(low - about));
  *start = {sector, first, about + static_cast<uint64_t>(int64_t{off_by})};
  return true;
}

// The last one known that is not behind the record wanted, or the first one known.
bool PartReader::nearest_start(Start* start) const {
  bool any = false;
  for (size_t sector = 0; sector < sectors_; sector++) {
    Start here;
    if (!start_in(sector, &here)) continue;
    if (any && here.lsn > lsn_) break;
    *start = here;
    any = true;
  }
  return any;
}

// Whether the record is there, though nothing may be taken.
bool PartReader::take_from(const Start& start, GroupPart* part) const {
  const size_t count = sectors_ - start.sector;
  part->stream.resize(count * kContentBytes);
  format::unstamp(buffer_.data() + start.sector * kSectorBytes, count, part->stream.data());
  std::vector<WalkedRecord> records;
  const uint64_t end = walk_records({part->stream.data(), part->stream.size()}, start.at, start.lsn,
                                    group_.first_lsn + group_.count, &records);
  const auto wanted = std::find_if(records.begin(), records.end(),
                                   [&](const WalkedRecord& walked) { return walked.lsn >= lsn_; });
  // Nothing to who starts inside of a batch, be all of it at hand or not: the group decides then.
  const bool begins = wanted != records.end() && wanted->lsn == lsn_ &&
                      (wanted->record.flags & format::kFlagBatchPart) == 0;
  for (auto walked = begins ? wanted : records.end(); walked != records.end(); walked++)
    part->records.push_back(walked->record);
  return end > lsn_;
}

Status PartReader::run(GroupPart* part) {
  uint64_t place = (lsn_ - group_.first_lsn) * record_bytes_;
  for (int i = 0; i < kTries; i++) {
    bool intact = false;
    Status status = read_around(std::min(place, group_.file_bytes - 1), &intact);
    Start start;
    if (!status.ok() || !intact || !nearest_start(&start)) return status;
    if (start.lsn <= lsn_ && take_from(start, part)) return {};
    const uint64_t known = place_of(start.sector);
    const uint64_t back = start.lsn > lsn_ ? (start.lsn - lsn_) * record_bytes_ : 0;
    const uint64_t ahead = start.lsn < lsn_ ? (lsn_ - start.lsn) * record_bytes_ : 0;
    place = known + ahead - std::min(back, known);
  }
  return {};
}

}  // namespace

Status read_part(io::File& file, const format::SegmentHeader& segment, const GroupExtent& group,
                 uint64_t lsn, GroupPart* part) {
  part->records.clear();
  if (lsn < group.first_lsn || lsn >= group.first_lsn + group.count) return {};
  // A header may be intact and claim what no bytes can hold.
  if (group.count > group.file_bytes / kLeastRecordBytes) return {};
  return PartReader(file, segment, group, lsn).run(part);
}

}  // namespace stonelog::log
