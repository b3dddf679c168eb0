#include "driver/reader.h"

#include <algorithm>
#include <cstring>

#include "driver/seek.h"

namespace stonelog::driver {

using log::Defect;
using log::GroupReader;

namespace {

constexpr size_t kBatchBytes = 256 << 10;
constexpr size_t kFirstBatchBytes = 48 << 10;    // who wants one record need not wait for many
constexpr uint64_t kPartsFromBytes = 192 << 10;  // a larger group need not be read as a whole
constexpr size_t kBatchRecords = 16 << 10;
constexpr size_t kRoomBytes = 64 << 10;  // of a slab beyond its batch's bytes
constexpr size_t kWindowBytes = 1 << 20;

uint64_t first_group(const format::SegmentHeader& header) {
  return format::kFirstGroupBlock * uint64_t{header.block_bytes};
}

}  // namespace

RecordBatch::~RecordBatch() { give_back(std::move(slab)); }

void RecordBatch::clear() {
  give_back(std::move(slab));
  offsets.clear();
  lengths.clear();
  runs.clear();
  skipped.clear();
}

uint8_t* RecordBatch::make_room(size_t bytes, size_t expected) {
  if (slab != nullptr && slab->room() >= bytes) return slab->end();
  const size_t has = this->bytes();
  std::unique_ptr<Slab> larger = take_slab(std::max(expected, has + bytes));
  if (has > 0) std::memcpy(larger->end(), slab->data(), has);
  larger->grow(has);
  give_back(std::move(slab));
  slab = std::move(larger);
  return slab->end();
}

Reader::Reader(Source* source, uint64_t from, uint64_t to)
    : source_(source), next_lsn_(from), to_(to), batch_bytes_(kFirstBatchBytes) {
  source_->retain();
}

Reader::~Reader() { source_->release(); }

Status Reader::released() const {
  return Status::of(Code::not_found,
                    "LSN " + std::to_string(next_lsn_) + " was released by truncateBefore");
}

Status Reader::open_file(const ReadableSegment& segment, std::unique_ptr<io::File>* file) const {
  return source_->file_system().open(source_->segment_path(segment.entry.header.sequence),
                                     io::Access::read, source_->direct(), 0, file);
}

Status Reader::open_segment(const ReadableSegment& segment) {
  std::unique_ptr<io::File> file;
  Status status = open_file(segment, &file);
  if (status.code == Code::not_found) {
    const bool lost = source_->owns_files() && source_->first_lsn() <= segment.entry.last_lsn;
    if (!lost) return released();
    status.code = Code::corrupt;
    status.detail = "a segment of the log is missing";
    return std::move(status).at(segment.entry.header.sequence, 0);
  }
  if (!status.ok()) return status;
  if (file_ == nullptr) {
    file_ = std::make_unique<ReadAhead>(std::move(file));
    const uint64_t window = std::min<uint64_t>(kWindowBytes, segment.entry.header.file_bytes);
    groups_ = std::make_unique<GroupReader>(*file_, segment.entry.header, window);
  } else {
    file_->change_file(std::move(file));
  }
  enter(segment);
  return {};
}

// The segment whose file is at hand.
void Reader::enter(const ReadableSegment& segment) {
  segment_ = segment;
  groups_->change_segment(segment.entry.header);
  groups_->window().set_limit(segment.entry.end);
  offset_ = first_group(segment.entry.header);
  noted_to_ = 0;
  looked_ahead_ = false;
  expected_ = {segment.entry.first_lsn, segment.entry.epoch, 0, false};
}

// The file of the segment behind this one is opened before it is needed, so that its first pieces
// are fetched while the last ones of this are worked off. What goes wrong here is met again later.
void Reader::look_ahead() {
  const bool near_end = offset_ + ReadAhead::kAheadBytes >= segment_.entry.end;
  if (looked_ahead_ || !near_end || !segment_.final || !file_->reads_ahead()) return;
  looked_ahead_ = true;
  ReadableSegment next;
  std::unique_ptr<io::File> file;
  if (!source_->segment_after(segment_.entry.header.sequence, &next)) return;
  if (next.entry.first_lsn > to_ || !open_file(next, &file).ok()) return;
  file_->set_next_file(std::move(file), first_group(next.entry.header), next.entry.end);
  ahead_id_ = next.entry.header.segment_id;
}

// Of a large group only what is wanted now is read; should more be, it is read as a whole then.
Status Reader::start_in(const GroupPlace& place) {
  offset_ = place.extent.offset;
  expected_.first_lsn = place.first_lsn();
  // Of a damaged group what counts is decided about all of it: batches that lost a part are out.
  if (segment_.entry.salvaged || source_->skips_damage()) return {};
  if (!place.plain || place.extent.file_bytes < kPartsFromBytes ||
      place.end() > segment_.entry.end || place.next_lsn() > source_->durable_lsn() + 1)
    return {};
  Status status =
      log::read_part(*file_, segment_.entry.header, place.extent, next_lsn_, &first_part_);
  if (!status.ok() || first_part_.records.empty()) return status;
  view_.header.first_lsn = next_lsn_;
  view_.header.epoch = segment_.entry.epoch;
  view_.header.timestamp_micros = place.timestamp_micros;
  view_.stream = first_part_.stream.data();
  view_.records = first_part_.records;
  unread_ = true;
  return {};
}

// Positions on the group that holds next_lsn_.
Status Reader::find_start() {
  const ReadStart start = source_->start_of(next_lsn_);
  if (start.place == ReadStart::Place::unmade) return {};  // asked again with the next slab
  next_lsn_ = start.lsn;
  if (start.place == ReadStart::Place::nowhere) return released();
  if (start.place == ReadStart::Place::gone)
    return Status::of(Code::not_found, "the log's files were deleted or moved");
  if (start.place == ReadStart::Place::hole) {
    front_hole_ = {next_lsn_, start.segment.entry.first_lsn - 1};
    next_lsn_ = start.segment.entry.first_lsn;
  }
  Status status = open_segment(start.segment);
  if (!status.ok()) return status;
  if (next_lsn_ > segment_.entry.first_lsn) {
    std::optional<GroupPlace> place;
    status = seek(*file_, segment_.entry, next_lsn_, &source_->group_index(), &place);
    if (status.ok() && place.has_value()) status = start_in(*place);
  }
  file_->set_limit(segment_.entry.end);  // read ahead from here on, not while looking for the place
  return status;
}

Status Reader::next(RecordBatch* batch) {
  batch->clear();
  if (!pending_.ok()) return pending_;
  const bool beginning = !started_;
  if (!beginning) {
    batch_bytes_ = kBatchBytes;
    if (!unread_) first_part_ = log::GroupPart{};
  } else {
    Status status = find_start();
    if (!status.ok()) return pending_ = status;
    if (file_ == nullptr) return {};
    started_ = true;
    if (front_hole_.to != 0) batch->skipped.push_back(front_hole_);
  }
  bool more = true;
  durable_lsn_ = source_->durable_lsn();
  while (more && next_lsn_ <= to_ && batch->bytes() < batch_bytes_ &&
         batch->offsets.size() < kBatchRecords) {
    if (unread_) {
      add_group(batch);
      if (beginning) return {};  // a part of a group
      continue;
    }
    const Lent lent = take_lent(batch);
    if (lent == Lent::full) return {};
    if (lent == Lent::taken) continue;
    Status status = read_group(batch, &more);
    if (status.ok()) continue;
    if (batch->empty() && batch->skipped.empty()) return pending_ = status;
    pending_ = status;  // after what precedes it was handed out
    return {};
  }
  return {};
}

// Segment files are reused under new names: what a reader holds open may have become another
// segment.
bool Reader::was_replaced() {
  std::unique_ptr<io::File> file;
  log::AlignedBuffer block(segment_.entry.header.block_bytes);
  size_t got = 0;
  if (!file_->read(0, block.data(), segment_.entry.header.block_bytes, &got).ok()) return false;
  format::SegmentHeader header;
  uint32_t version = 0;
  const bool intact =
      got == segment_.entry.header.block_bytes &&
      format::decode_segment_header(block.data(), &header, &version) == format::HeaderState::valid;
  if (intact) return header.segment_id != segment_.entry.header.segment_id;
  ReadableSegment now;
  return !source_->segment_now(segment_.entry.header.sequence, &now);
}

// The segment whose end this reader had reached was released: it goes on in the one that holds the
// next LSN.
Status Reader::relocate(bool* more) {
  ReadableSegment next;
  if (expected_.first_lsn < source_->first_lsn() ||
      !source_->segment_holding(expected_.first_lsn, &next)) {
    return released();
  }
  Status status = open_segment(next);
  if (status.ok()) file_->set_limit(segment_.entry.end);
  *more = status.ok() && (segment_.final || segment_.entry.end > offset_);
  return status;
}

Status Reader::next_segment(bool* more) {
  const uint64_t sequence = segment_.entry.header.sequence;
  ReadableSegment next;
  if (!source_->segment_after(sequence, &next)) {
    *more = false;
    return {};
  }
  const uint64_t block = expected_.first_lsn;
  Status status;
  if (file_->has_next_file() && ahead_id_ == next.entry.header.segment_id) {
    file_->change_to_next_file();
    enter(next);
  } else {
    status = open_segment(next);
  }
  if (status.ok()) file_->set_limit(segment_.entry.end);
  if (status.ok() && next.entry.first_lsn > block &&
      !format::is_hole(source_->holes(), block, next.entry.first_lsn - 1)) {
    return released();
  }
  return status;
}

Status Reader::read_group(RecordBatch* batch, bool* more) {
  if (offset_ >= segment_.entry.end) {
    if (segment_.final) return next_segment(more);
    const uint64_t end = segment_.entry.end;
    Status status = source_->refresh();
    if (!status.ok()) return status;
    ReadableSegment now;
    const uint64_t sequence = segment_.entry.header.sequence;
    const bool same = source_->segment_now(sequence, &now) &&
                      now.entry.header.segment_id == segment_.entry.header.segment_id;
    if (!same) return relocate(more);  // released, or an empty one that a new life replaced
    segment_ = now;
    groups_->window().set_limit(now.entry.end);
    file_->set_limit(now.entry.end);
    groups_->window().forget();  // a partial block at the old end may have been followed by others
    if (segment_.entry.end > end || segment_.final) return {};
    *more = false;
    return {};
  }
  Defect defect = Defect::none;
  uint64_t bad_offset = 0;
  Status status =
      groups_->read(offset_, segment_.entry.end, expected_, &view_, &defect, &bad_offset);
  if (!status.ok()) return std::move(status).at(segment_.entry.header.sequence, offset_);
  if (defect != Defect::none) return meet_damage(defect, bad_offset, batch, more);
  // Beside a writer of another process a whole group may be on the disk and not be durable yet.
  if (view_.header.first_lsn + view_.header.count > durable_lsn_ + 1) {
    status = source_->refresh();
    durable_lsn_ = source_->durable_lsn();
    *more = view_.header.first_lsn + view_.header.count <= durable_lsn_ + 1;
    return status;
  }
  if (view_.header.first_lsn > expected_.first_lsn) {
    status = skip_to(view_.header.first_lsn, batch, false, offset_);
    if (!status.ok()) return status;
  }
  add_group(batch);
  move_on();
  return {};
}

void Reader::move_on() {
  note_place();
  offset_ += view_.header.file_bytes;
  expected_ = {view_.header.first_lsn + view_.header.count, segment_.entry.epoch,
               view_.header.checksum, true};
  look_ahead();
}

// Every now and then: whoever looks for an LSN near here finds it sooner.
void Reader::note_place() {
  if (offset_ < noted_to_) return;
  source_->group_index().note(place_of(view_.header, offset_));
  noted_to_ = offset_ + GroupIndex::kLeastSpacing;
}

// The common case, a group that was read ahead and is as it should be: it is verified and laid into
// the slab in one go. Everything else is read_group's.
Reader::Lent Reader::take_lent(RecordBatch* batch) {
  format::GroupHeader header;
  if (expected_.any || !groups_->peek(file_.get(), offset_, segment_.entry.end, expected_, &header))
    return Lent::none;
  if (header.first_lsn + header.count > durable_lsn_ + 1) return Lent::none;
  const size_t bytes = header.file_bytes / format::kSectorBytes * format::kContentBytes;
  const bool fits = batch->slab == nullptr || batch->slab->room() >= bytes;
  if (!fits && !batch->empty()) return Lent::full;
  uint8_t* const content = batch->make_room(bytes, batch_bytes_ + kRoomBytes);
  if (!groups_->take(file_.get(), offset_, header, content, &view_)) return Lent::none;
  const uint64_t first = header.first_lsn;
  const uint64_t count = view_.records.size();
  const uint64_t from = next_lsn_ > first ? std::min(next_lsn_ - first, count) : 0;
  const uint64_t end = first > to_ ? 0 : std::min(count, to_ - first + 1);
  if (from < end) {
    batch->runs.push_back({static_cast<uint32_t>(batch->offsets.size()), first + from, header.epoch,
                           header.timestamp_micros});
    const auto base = static_cast<uint32_t>(view_.stream - batch->slab->data());
    const size_t had = batch->offsets.size();
    batch->offsets.resize(had + (end - from));
    batch->lengths.resize(had + (end - from));
    uint32_t* const offsets = batch->offsets.data() + had;
    uint32_t* const lengths = batch->lengths.data() + had;
    const log::RecordRef* const records = view_.records.data() + from;
    for (size_t i = 0; i < end - from; i++) {
      offsets[i] = base + records[i].payload_offset;
      lengths[i] = records[i].payload_bytes;
    }
    batch->slab->grow(bytes);
  }
  next_lsn_ =
      std::max(next_lsn_, std::min(first + count, to_ == UINT64_MAX ? first + count : to_ + 1));
  move_on();
  return Lent::taken;
}

// LSNs from the expected one up to `lsn` cannot be read: known holes and salvage pass over them.
Status Reader::skip_to(uint64_t lsn, RecordBatch* batch, bool damaged, uint64_t offset) {
  const uint64_t from = expected_.first_lsn;
  if (lsn <= from) return {};
  if (!source_->skips_damage() && !format::is_hole(source_->holes(), from, lsn - 1)) {
    Status status =
        Status::of(Code::corrupt, damaged ? "records " + std::to_string(from) + " to " +
                                                std::to_string(lsn - 1) + " cannot be read"
                                          : "records are missing");
    status.path = source_->segment_path(segment_.entry.header.sequence);
    return std::move(status).at(segment_.entry.header.sequence, offset);
  }
  if (lsn > next_lsn_) batch->skipped.push_back({std::max(from, next_lsn_), lsn - 1});
  return {};
}

// Of a group of which a sector is damaged or lost, the records that lie before it, as many as a
// slab takes: the damage is met again for the rest.
Status Reader::add_records_before(Defect defect, uint64_t bad_offset, RecordBatch* batch) {
  const uint64_t first = view_.header.first_lsn;
  durable_lsn_ = source_->durable_lsn();
  if ((defect != Defect::damaged && defect != Defect::incomplete) || bad_offset <= offset_ ||
      first + view_.header.count > durable_lsn_ + 1)
    return {};
  Status status = groups_->read_before_defect(&view_);
  if (!status.ok()) return std::move(status).at(segment_.entry.header.sequence, offset_);
  if (first <= to_ && first + view_.records.size() > next_lsn_) add_group(batch);
  return {};
}

Status Reader::meet_damage(Defect defect, uint64_t bad_offset, RecordBatch* batch, bool* more) {
  if (was_replaced()) {
    Status refreshed = source_->refresh();
    return refreshed.ok() ? relocate(more) : refreshed;
  }
  const uint64_t sequence = segment_.entry.header.sequence;
  if (!segment_.entry.salvaged && !source_->skips_damage()) {
    Status status = Status::of(Code::corrupt, defect == Defect::damaged ? "a sector is damaged"
                                              : defect == Defect::inconsistent
                                                  ? "intact sectors contradict each other"
                                                  : "a part that was durable is missing");
    status.path = source_->segment_path(sequence);
    const uint64_t next = next_lsn_;
    Status before = add_records_before(defect, bad_offset, batch);
    if (!before.ok() || next_lsn_ > next) return before;  // back here once they are handed out
    return std::move(status).at(sequence, bad_offset);
  }
  log::SalvagedRegion region;
  const uint64_t last = expected_.first_lsn - 1;
  Status status = log::salvage_region(groups_.get(), offset_, segment_.entry.end, last, &region);
  if (!status.ok()) return std::move(status).at(sequence, offset_);
  const size_t base = batch->bytes();
  if (!region.payloads.empty()) {
    std::memcpy(batch->make_room(region.payloads.size(), batch_bytes_ + kRoomBytes),
                region.payloads.data(), region.payloads.size());
    batch->slab->grow(region.payloads.size());
  }
  for (const log::SalvagedRecord& record : region.records) {
    status = skip_to(record.lsn, batch, true, bad_offset);
    if (!status.ok()) return status;
    expected_.first_lsn = record.lsn + 1;
    if (record.lsn < next_lsn_ || record.lsn > to_) continue;
    batch->runs.push_back(
        {static_cast<uint32_t>(batch->offsets.size()), record.lsn, segment_.entry.epoch, 0});
    batch->offsets.push_back(static_cast<uint32_t>(base + record.payload_offset));
    batch->lengths.push_back(static_cast<uint32_t>(record.payload_bytes));
    next_lsn_ = record.lsn + 1;
  }
  offset_ = region.resume;
  expected_.any = true;
  if (offset_ >= segment_.entry.end && segment_.entry.last_lsn >= expected_.first_lsn) {
    status = skip_to(segment_.entry.last_lsn + 1, batch, true, bad_offset);
    if (!status.ok()) return status;
    expected_.first_lsn = segment_.entry.last_lsn + 1;
  }
  return {};
}

// Hands out the group's records from next_lsn_ on, as many as a slab takes; the rest stays for the
// next one.
void Reader::add_group(RecordBatch* batch) {
  const uint64_t first = view_.header.first_lsn;
  const uint64_t count = view_.records.size();
  unread_ = false;
  if (count == 0 || first + count <= next_lsn_ || first > to_) {
    next_lsn_ =
        std::max(next_lsn_, std::min(first + count, to_ == UINT64_MAX ? first + count : to_ + 1));
    return;
  }
  const uint64_t from = next_lsn_ > first ? next_lsn_ - first : 0;
  const uint64_t end = from + std::min(count - from, to_ - (first + from) + 1);
  const size_t base = batch->bytes();
  const uint64_t bytes_from = view_.records[from].payload_offset;
  batch->runs.push_back({static_cast<uint32_t>(batch->offsets.size()), first + from,
                         view_.header.epoch, view_.header.timestamp_micros});
  uint64_t at = from;
  uint64_t bytes_to = bytes_from;
  for (; at < end && (at == from || (base + bytes_to - bytes_from < batch_bytes_ &&
                                     batch->offsets.size() < kBatchRecords));
       at++) {
    const log::RecordRef& record = view_.records[at];
    batch->offsets.push_back(static_cast<uint32_t>(base + record.payload_offset - bytes_from));
    batch->lengths.push_back(record.payload_bytes);
    bytes_to = record.payload_offset + record.payload_bytes;
  }
  const size_t bytes = bytes_to - bytes_from;
  std::memcpy(batch->make_room(bytes, batch_bytes_ + kRoomBytes), view_.stream + bytes_from, bytes);
  batch->slab->grow(bytes);
  next_lsn_ = first + at;
  unread_ = at < end;
}

}  // namespace stonelog::driver
