#include "log/group_reader.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "crc32c/crc32c.h"
#include "format/bytes.h"
#include "io/host.h"

namespace stonelog::log {

using format::GroupKind;
using format::kSectorBytes;
using format::SectorState;

namespace {

constexpr size_t kMappedBytes = 256 << 10;
constexpr size_t kHugePageBytes = 2 << 20;
constexpr size_t kHugeFromBytes = 1 << 20;

}  // namespace

AlignedBuffer::~AlignedBuffer() { free_memory(); }

void AlignedBuffer::free_memory() {
  if (mapped_ != nullptr) {
    io::unmap_pages(mapped_, mapped_size_);
  } else {
    io::free_aligned(data_);
  }
  data_ = nullptr;
  mapped_ = nullptr;
  size_ = 0;
}

void AlignedBuffer::resize(size_t size) {
  if (!try_resize(size)) std::abort();  // bounded by a segment's size; nothing sane is left
}

bool AlignedBuffer::try_resize(size_t size) {
  free_memory();
  const size_t unit = size < kHugeFromBytes ? format::kMinBlockBytes : kHugePageBytes;
  size_ = (size + unit - 1) / unit * unit;
  if (size_ == 0) return true;
  if (size_ < kMappedBytes) {
    data_ = static_cast<uint8_t*>(io::allocate_aligned(format::kMinBlockBytes, size_));
  } else {
    map();
  }
  if (data_ == nullptr) size_ = 0;
  return data_ != nullptr;
}

void AlignedBuffer::map() {
  const bool huge = size_ % kHugePageBytes == 0;
  mapped_size_ = size_ + (huge ? kHugePageBytes : 0);  // room to align in
  void* const mapped = io::map_pages(mapped_size_, io::Commit::when_touched);
  if (mapped == nullptr) return;
  mapped_ = static_cast<uint8_t*>(mapped);
  data_ = mapped_;
  if (!huge) return;
  const auto address = reinterpret_cast<uintptr_t>(mapped_);
  data_ = mapped_ + (kHugePageBytes - address % kHugePageBytes) % kHugePageBytes;
  io::prefer_huge_pages(data_, size_);
}

Status FileWindow::view(uint64_t offset, size_t size, const uint8_t** data, size_t* got) {
  if (offset < begin_ || offset + size > end_) {
    const size_t wanted = (size + block_bytes_ - 1) / block_bytes_ * block_bytes_;
    if (wanted > buffer_.size() && wanted > window_bytes_ + block_bytes_) {
      bool there = false;
      Status status = reaches(offset + wanted, &there);
      if (!status.ok()) return status;
      if (!there) {
        *data = nullptr;
        *got = 0;
        return {};
      }
    }
    if (buffer_.size() < std::max(wanted, window_bytes_ + block_bytes_)) {
      buffer_.resize(std::max(wanted, window_bytes_ + block_bytes_));
      begin_ = end_ = 0;
    }
    uint64_t kept = 0;
    if (offset >= begin_ && offset < end_) {
      kept = end_ - offset;
      std::memmove(buffer_.data(), buffer_.data() + (offset - begin_), kept);
    }
    // Up to the window's size, but beyond the limit only what was asked for.
    const uint64_t allowed =
        limit_ > offset ? std::min<uint64_t>(limit_ - offset, window_bytes_) : 0;
    const size_t ahead =
        static_cast<size_t>((allowed + block_bytes_ - 1) / block_bytes_ * block_bytes_);
    const size_t room = std::max(wanted, ahead) - kept;
    size_t read = 0;
    Status status = file_.read(offset + kept, buffer_.data() + kept, room, &read);
    if (!status.ok()) {
      forget();
      return status;
    }
    bytes_read_ += read;
    begin_ = offset;
    // A partial last block cannot be continued by an aligned read, so the window ends before it
    // next time.
    end_ = offset + kept + read;
    if (end_ % block_bytes_ != 0) {
      *data = buffer_.data();
      *got = std::min<size_t>(size, end_ - offset);
      forget();
      return {};
    }
  }
  *data = buffer_.data() + (offset - begin_);
  *got = std::min<size_t>(size, end_ - offset);
  return {};
}

// Memory is taken for what a file has, not for what a header claims: of what is larger than the
// window the last block is looked at first.
Status FileWindow::reaches(uint64_t end, bool* there) {
  AlignedBuffer block(block_bytes_);
  size_t got = 0;
  Status status = file_.read(end - block_bytes_, block.data(), block_bytes_, &got);
  *there = got == block_bytes_;
  return status;
}

void FileWindow::fill(uint64_t offset, const uint8_t* data, size_t size) {
  if (buffer_.size() < size) buffer_.resize(std::max(size, window_bytes_ + block_bytes_));
  std::memcpy(buffer_.data(), data, size);
  begin_ = offset;
  end_ = offset + size / block_bytes_ * block_bytes_;
}

Status GroupReader::read_header(uint64_t offset, format::GroupHeader* header, Defect* defect) {
  const uint8_t* block = nullptr;
  size_t got = 0;
  *defect = Defect::none;
  Status status = window_.view(offset, header_.block_bytes, &block, &got);
  if (!status.ok()) return status;
  if (got < header_.block_bytes) {
    *defect = Defect::short_file;
    return {};
  }
  switch (format::check_sector(block, offset / kSectorBytes, header_.tag())) {
    case SectorState::group_start:
      break;
    case SectorState::unwritten:
      *defect = Defect::nothing;
      return {};
    case SectorState::older:
      *defect = header_.recycled ? Defect::nothing : Defect::damaged;
      return {};
    case SectorState::damaged:
      *defect = Defect::damaged;
      return {};
    case SectorState::valid:
      *defect = Defect::inconsistent;  // the middle of a group where one should start
      return {};
  }
  if (!format::decode_group_header(block, header_.block_bytes, header) ||
      header->sequence != header_.sequence || header->segment_id != header_.segment_id) {
    *defect = Defect::inconsistent;
  }
  return {};
}

Defect GroupReader::judge_from(size_t bad, const uint8_t* sectors, size_t count, uint64_t offset,
                               uint64_t* bad_offset) const {
  const uint64_t index = offset / kSectorBytes;
  *bad_offset = offset + bad * kSectorBytes;
  Defect defect = Defect::incomplete;
  for (; bad < count; bad++) {
    const SectorState state =
        format::check_sector(sectors + bad * kSectorBytes, index + bad, header_.tag());
    const bool stale = state == SectorState::older && !header_.recycled;
    if (state == SectorState::damaged || stale) {
      *bad_offset = offset + bad * kSectorBytes;
      return Defect::damaged;
    }
    if (state == SectorState::group_start) {
      *bad_offset = offset + bad * kSectorBytes;
      defect = Defect::inconsistent;  // a group starts inside another one
    }
  }
  return defect;
}

bool GroupReader::follows(const format::GroupHeader& header, const Expectation& expected) {
  return expected.any ||
         (header.epoch == expected.epoch && header.first_lsn == expected.first_lsn &&
          (!expected.check_link || header.link == expected.link));
}

bool GroupReader::peek(SpanSource* source, uint64_t offset, uint64_t limit,
                       const Expectation& expected, format::GroupHeader* header) const {
  const uint8_t* block = nullptr;
  if (offset + header_.block_bytes > limit) return false;
  if (source->lend(offset, header_.block_bytes, &block) < header_.block_bytes) return false;
  return format::check_sector(block, offset / kSectorBytes, header_.tag()) ==
             SectorState::group_start &&
         format::decode_group_header(block, header_.block_bytes, header) &&
         header->sequence == header_.sequence && header->segment_id == header_.segment_id &&
         offset + header->file_bytes <= limit && follows(*header, expected) && header->codec == 0 &&
         header->key_id == 0;
}

bool GroupReader::take(SpanSource* source, uint64_t offset, const format::GroupHeader& header,
                       uint8_t* content, GroupView* view) const {
  view->header = header;
  view->offset = offset;
  const size_t count = header.file_bytes / kSectorBytes;
  for (size_t done = 0; done < count;) {
    const uint8_t* sectors = nullptr;
    const uint64_t at = offset + done * kSectorBytes;
    const size_t lent = source->lend(at, (count - done) * kSectorBytes, &sectors) / kSectorBytes;
    if (lent == 0) return false;
    uint8_t* const to = content + done * format::kContentBytes;
    if (format::unstamp_valid(sectors, lent, at / kSectorBytes, header_.tag(), done == 0, to) <
        lent)
      return false;
    done += lent;
  }
  return parse(content, view) == Defect::none;
}

Status GroupReader::read(uint64_t offset, uint64_t limit, const Expectation& expected,
                         GroupView* view, Defect* defect, uint64_t* bad_offset) {
  *bad_offset = offset;
  view->offset = offset;
  if (offset + header_.block_bytes > limit) {
    *defect = Defect::nothing;
    return {};
  }
  Status status = read_header(offset, &view->header, defect);
  if (!status.ok() || *defect != Defect::none) return status;
  const format::GroupHeader& header = view->header;
  if (offset + header.file_bytes > limit || !follows(header, expected)) {
    *defect = Defect::inconsistent;
    return {};
  }
  if (header.codec != 0 || header.key_id != 0) {
    return std::move(Status::of(Code::unsupported_version,
                                "a group is compressed or encrypted, which this build cannot read"))
        .at(header_.sequence, offset);
  }
  const uint8_t* sectors = nullptr;
  size_t got = 0;
  status = window_.view(offset, header.file_bytes, &sectors, &got);
  if (!status.ok()) return status;
  if (got < header.file_bytes) {
    *defect = Defect::short_file;
    return {};
  }
  const size_t count = header.file_bytes / kSectorBytes;
  stream_.resize(count * format::kContentBytes);
  const size_t valid = format::unstamp_valid(sectors, count, offset / kSectorBytes, header_.tag(),
                                             true, stream_.data());
  if (valid < count) {
    *defect = judge_from(valid, sectors, count, offset, bad_offset);
    return {};
  }
  *defect = parse(stream_.data(), view);
  return {};
}

Status GroupReader::read_before_defect(GroupView* view) {
  const format::GroupHeader& header = view->header;
  const uint8_t* sectors = nullptr;
  size_t got = 0;
  Status status = window_.view(view->offset, header.file_bytes, &sectors, &got);
  if (!status.ok()) return status;
  const size_t intact = format::first_invalid(sectors, got / kSectorBytes,
                                              view->offset / kSectorBytes, header_.tag(), true);
  stream_.resize(intact * format::kContentBytes);
  format::unstamp(sectors, intact, stream_.data());
  view->stream = stream_.data();
  view->records.clear();
  std::vector<WalkedRecord> records;
  (void)walk_records({stream_.data(), stream_.size()}, format::kGroupHeaderBytes, header.first_lsn,
                     header.first_lsn + header.count, &records);
  for (const WalkedRecord& walked : records) {
    if (walked.lsn != header.first_lsn + view->records.size()) break;
    view->records.push_back(walked.record);
  }
  return {};
}

// No walk_records: all that is replayed goes through here. Of a whole group nothing is to be
// decided about batches, while its sum, its count and its control records are to be checked, and an
// entry for each record is all that is written.
Defect GroupReader::parse(const uint8_t* content, GroupView* view) {
  const format::GroupHeader& header = view->header;
  view->stream = content + format::kGroupHeaderBytes;
  view->records.clear();
  view->control = format::ControlContent{};
  uint32_t body_sum = 0;
  size_t at = 0;
  while (at < header.stored_bytes) {
    format::Record record;
    const uint64_t lsn = header.first_lsn + view->records.size();
    if (format::decode_record(view->stream, header.stored_bytes, at, lsn, &record) !=
        format::RecordState::valid) {
      return Defect::inconsistent;
    }
    body_sum = crc32c::extend_u32(body_sum, record.crc);
    if (header.kind == GroupKind::data) {
      const bool ignorable = (record.type & format::kTypeIgnorable) != 0;
      if (format::is_user_record(record.type)) {
        view->records.push_back({static_cast<uint32_t>(record.payload_bytes), record.type,
                                 record.flags, record.payload_offset});
      } else if (!ignorable) {
        return Defect::inconsistent;
      }
    } else if (!format::read_control_record(record.type, view->stream + record.payload_offset,
                                            record.payload_bytes, &view->control)) {
      return Defect::inconsistent;
    }
    at = record.end;
  }
  const bool complete = body_sum == header.body_sum && view->records.size() == header.count;
  return complete ? Defect::none : Defect::inconsistent;
}

namespace {

void note_group(const format::GroupHeader& header, uint64_t sequence, TailEvidence* evidence) {
  if (evidence->first_lsn == 0) {
    evidence->first_lsn = header.first_lsn;
    evidence->first_epoch = header.epoch;
  }
  evidence->watermark_lsn = std::max(evidence->watermark_lsn, header.durable_lsn);
  evidence->highest_epoch = std::max(evidence->highest_epoch, header.epoch);
  if (header.sequence == sequence && header.kind != GroupKind::seal) {
    evidence->watermark_end = std::max(evidence->watermark_end, header.durable_end);
  }
  // What it says of LSNs before its own is true of them, too: they were given.
  evidence->highest_lsn =
      std::max({evidence->highest_lsn, header.first_lsn + header.count - 1, header.durable_lsn});
}

void note_sector(const uint8_t* sector, uint64_t offset, const format::SegmentHeader& header,
                 TailEvidence* evidence) {
  const SectorState state = format::check_sector(sector, offset / kSectorBytes, header.tag());
  if (state == SectorState::unwritten || (state == SectorState::older && header.recycled)) return;
  evidence->used_end = offset + kSectorBytes;
  if (state == SectorState::damaged || state == SectorState::older) {
    if (!evidence->damaged) evidence->damaged_offset = offset;
    evidence->damaged = true;
    evidence->headless = evidence->headless || offset >= evidence->covered_end;
    return;
  }
  evidence->current = true;
  if (format::load<uint16_t>(sector + format::kStampFirstRecord) != format::kNoRecord) {
    const auto low = format::load<uint16_t>(sector + format::kStampLsnLow);
    const auto ahead = static_cast<uint16_t>(low - evidence->base_lsn);
    evidence->highest_lsn = std::max(evidence->highest_lsn, evidence->base_lsn + ahead);
  }
  format::GroupHeader group;
  if (state == SectorState::group_start && offset % header.block_bytes == 0 &&
      format::decode_group_header(sector, header.block_bytes, &group)) {
    note_group(group, header.sequence, evidence);
    evidence->covered_end = offset + group.file_bytes;
  }
  evidence->headless = evidence->headless || offset >= evidence->covered_end;
}

}  // namespace

Status scan_tail(io::File& file, const format::SegmentHeader& header, uint64_t from, uint64_t to,
                 size_t window_bytes, TailEvidence* evidence) {
  // Fresh memory costs its zeroing: no more of it than there is to read.
  if (to > from) window_bytes = static_cast<size_t>(std::min<uint64_t>(window_bytes, to - from));
  FileWindow window(file, header.block_bytes, window_bytes);
  for (uint64_t at = from; at < to;) {
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(window_bytes, to - at));
    const uint8_t* data = nullptr;
    size_t got = 0;
    Status status = window.view(at, wanted, &data, &got);
    if (!status.ok()) return std::move(status).at(header.sequence, at);
    const size_t whole = got / kSectorBytes * kSectorBytes;
    for (size_t i = 0; i < whole; i += kSectorBytes) {
      if (format::is_zero(data + i, 64) && format::is_zero(data + i, kSectorBytes)) continue;
      note_sector(data + i, at + i, header, evidence);
    }
    if (got < wanted) {
      evidence->short_file = true;
      return {};
    }
    at += wanted;
  }
  return {};
}

}  // namespace stonelog::log
