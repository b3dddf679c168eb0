// Admission: giving records their LSN and place, and copying them into the buffer that goes to the
// device.
#include "log/engine.h"

#include <algorithm>
#include <cstring>

#include "crc32c/crc32c.h"
#include "format/bytes.h"
#include "format/stamp.h"

namespace stonelog::log {

using format::ControlWriter;
using format::group_file_bytes;
using format::GroupKind;
using format::kContentBytes;
using format::kGroupHeaderBytes;
using format::kSectorBytes;

namespace {

// Charged per record besides its payload, so that empty records fill the queue, too.
constexpr uint64_t kRecordCharge = 16;
// Larger payloads are copied without the lock, so that no thread waits for another one's copy.
constexpr uint64_t kCopyUnderLockBytes = 16 << 10;
// Unsealed segments at one time: the current one, its predecessor being sealed, and one more in
// between.
constexpr size_t kMaxLive = 3;
constexpr size_t kFirstGroupSlots = 64;

}  // namespace

uint64_t ring_bytes(const EngineOptions& options) {
  // The queue's payload with the stamps of its sectors, a start group, and two blocks of padding
  // for each group that can be under way; many small groups (durability `each`) meet back-pressure
  // earlier.
  const uint64_t payload =
      group_file_bytes(options.queue_bytes + options.queue_bytes / 64, options.block_bytes);
  return payload + (8 + 2 * uint64_t{options.pipeline_depth}) *
                       std::max<uint64_t>(options.block_bytes, 16 << 10);
}

Engine::Engine(const EngineOptions& options, uint8_t* ring, uint8_t* seal_block,
               const LifeStart& start, uint64_t now_ns)
    : options_(options),
      ring_(ring),
      ring_size_(ring_bytes(options)),
      seal_block_(seal_block),
      state_(start.state),
      groups_(kFirstGroupSlots),
      last_lsn_(start.last_lsn),
      published_lsn_(start.last_lsn),
      durable_lsn_(start.last_lsn),
      watermark_lsn_(start.last_lsn),
      last_checksum_(start.checksum),
      next_sequence_(start.segment.sequence + 1),
      last_append_ns_(now_ns) {
  // Known before the first attempt of this life: its own first refusal tells it, too.
  if (!start.shortage.ok()) prepare_code_ = start.shortage.code;
  Segment segment;
  segment.place = start.segment;
  segment.first_lsn = start.last_lsn + 1;
  segment.last_lsn = start.last_lsn;
  segment.durable_lsn = start.last_lsn;
  segment.end = start.end;
  segment.durable_end = start.end;
  segment.checksum = start.checksum;
  live_.push_back(segment);
}

Code Engine::check(const RecordInput* records, size_t count, uint64_t* charge,
                   uint64_t* stream_bytes) const {
  uint64_t payload = 0;
  uint64_t stream = 0;
  for (size_t i = 0; i < count; i++) {
    if (records[i].size > options_.max_record_bytes) return Code::record_too_large;
    payload += records[i].size;
    stream += format::record_bytes(records[i].size);
  }
  const uint64_t most = std::min(options_.queue_bytes, options_.segment_bytes - (64 << 10));
  const uint64_t start_bytes = 8 * uint64_t{options_.block_bytes};
  const uint64_t file_bytes = group_file_bytes(stream, options_.block_bytes);
  const uint64_t capacity =
      format::segment_file_bytes(options_.segment_bytes, options_.block_bytes) -
      (format::kControlReserveBlocks + 8) * options_.block_bytes;
  if (payload > most || file_bytes > capacity || file_bytes + start_bytes > ring_size_) {
    return Code::record_too_large;
  }
  if (last_lsn_ + count > format::kMaxLsn) return Code::bad_argument;
  *charge = payload + kRecordCharge * count;
  *stream_bytes = stream;
  return Code::ok;
}

Admission Engine::admit(RecordInput* records, size_t count, Durability durability,
                        uint64_t now_ns) {
  Admission admission;
  uint64_t charge = 0;
  uint64_t stream_bytes = 0;
  admission.code = check(records, count, &charge, &stream_bytes);
  if (admission.code == Code::ok)
    admission.code = make_room(stream_bytes, count, charge, durability, now_ns);
  if (admission.code != Code::ok) return admission;
  Group& open = group(next_group_ - 1);
  admission.first_lsn = last_lsn_ + 1;
  admission.group = next_group_ - 1;
  admission.ring = open.ring;
  admission.copy_pending = stream_bytes > kCopyUnderLockBytes;
  for (size_t i = 0; i < count; i++) {
    uint8_t flags = 0;
    if (i + 1 < count) flags |= format::kFlagBatchMore;
    if (i > 0) flags |= format::kFlagBatchPart;
    const RecordInput& record = records[i];
    const uint64_t at = put_record(&open, record.data, record.size, record.sum.crc,
                                   &record.sum.table, flags, ++last_lsn_, !admission.copy_pending);
    if (admission.copy_pending) admission.payload_at.push_back(at);
  }
  if (admission.copy_pending) open.copies++;
  open.count += static_cast<uint32_t>(count);
  open.charge += charge;
  pending_bytes_ += charge;
  counters_.records += count;
  counters_.payload_bytes += charge - kRecordCharge * count;
  current().records += count;
  current().last_lsn = last_lsn_;
  last_append_ns_ = now_ns;
  note_record(&open, durability);
  return admission;
}

uint64_t Engine::admit_one(const uint8_t* data, size_t size, uint32_t payload_crc,
                           Durability durability, uint64_t now_ns, Code* code) {
  if (size > options_.max_record_bytes || format::is_chunked(size)) {
    *code = Code::record_too_large;
    return 0;
  }
  if (last_lsn_ >= format::kMaxLsn) {
    *code = Code::bad_argument;
    return 0;
  }
  const uint64_t charge = size + kRecordCharge;
  *code = make_room(format::record_bytes(size), 1, charge, durability, now_ns);
  if (*code != Code::ok) return 0;
  Group& open = group(next_group_ - 1);
  const uint64_t lsn = ++last_lsn_;
  const uint64_t at = open.stream_bytes;
  extend_group(&open, at + format::record_bytes(size));
  put_plain(&open, at, data, size, payload_crc, lsn);
  open.count++;
  open.charge += charge;
  pending_bytes_ += charge;
  counters_.records++;
  counters_.payload_bytes += size;
  Segment& segment = current();
  segment.records++;
  segment.last_lsn = lsn;
  last_append_ns_ = std::max(last_append_ns_, now_ns);
  note_record(&open, durability);
  return lsn;
}

size_t Engine::admit_run(const uint8_t* data, const uint32_t* sizes, size_t count,
                         Durability durability, uint64_t now_ns, Code* code) {
  *code = Code::ok;
  for (size_t done = 0; done < count;) {
    // The first record of a group, and whichever does not simply join it, by the long way.
    const uint32_t crc = crc32c::extend(0, data, sizes[done]);
    if (admit_one(data, sizes[done], crc, durability, now_ns, code) == 0) return done;
    data += sizes[done++];
    if (!has_open_) continue;
    const size_t joined = join_open(&data, sizes + done, count - done, now_ns);
    if (joined > 0) note_record(&group(next_group_ - 1), durability);
    done += joined;
  }
  return count;
}

// As many of the records as the open group, the queue and the ring take without a question; *data
// is moved behind them.
size_t Engine::join_open(const uint8_t** data, const uint32_t* sizes, size_t count,
                         uint64_t now_ns) {
  Group& open = group(next_group_ - 1);
  const uint64_t limit = std::min<uint64_t>(stream_limit(open), options_.max_group_bytes);
  const uint64_t room = options_.queue_bytes - std::min(pending_bytes_, options_.queue_bytes);
  const uint64_t records =
      options_.max_group_records - std::min(open.count, options_.max_group_records);
  const size_t most = std::min<uint64_t>({count, records, format::kMaxLsn - last_lsn_});
  uint64_t payload = 0;
  size_t joined = 0;
  for (uint64_t at = open.stream_bytes; joined < most; joined++) {
    const uint32_t size = sizes[joined];
    const uint64_t end = at + format::record_bytes(size);
    const bool fits = end <= limit && payload + size + kRecordCharge * (joined + 1) <= room;
    if (!fits || size > options_.max_record_bytes || format::is_chunked(size)) break;
    extend_group(&open, end);
    put_plain(&open, at, *data, size, crc32c::extend(0, *data, size), ++last_lsn_);
    at = end;
    *data += size;
    payload += size;
  }
  const uint64_t charge = payload + kRecordCharge * joined;
  open.count += static_cast<uint32_t>(joined);
  open.charge += charge;
  pending_bytes_ += charge;
  counters_.records += joined;
  counters_.payload_bytes += payload;
  Segment& segment = current();
  segment.records += joined;
  segment.last_lsn = last_lsn_;
  last_append_ns_ = std::max(last_append_ns_, now_ns);
  return joined;
}

// Control groups may come in between: a few blocks are left for them in the ring and the segment. A
// new segment in between only makes more room.
bool Engine::has_room(uint64_t bytes, uint32_t records) const {
  constexpr uint64_t kSpareBlocks = 16;
  if (poisoned_ || closing() || last_lsn_ + records > format::kMaxLsn) return false;
  if (options_.max_group_bytes < bytes || options_.max_group_records < records) return false;
  if (pending_bytes_ + bytes + kRecordCharge * records > options_.queue_bytes) return false;
  const uint64_t stream = bytes + format::kMaxRecordHeaderBytes * uint64_t{records};
  const uint64_t spare = kSpareBlocks * options_.block_bytes;
  const uint64_t file_bytes = 2 * group_file_bytes(stream, options_.block_bytes) + spare;
  const uint64_t reserve = format::kControlReserveBlocks * uint64_t{options_.block_bytes};
  return ring_has(file_bytes) && current().end + file_bytes + reserve <= current().place.file_bytes;
}

void Engine::lose(uint32_t records) {
  if (poisoned_) last_lsn_ += records;
}

void Engine::note_record(Group* open, Durability durability) {
  const uint64_t index = next_group_ - 1;
  if (durability == Durability::group || durability == Durability::each) {
    open->durable_wish = true;
    demand_group_ = std::max(demand_group_, index);
  } else {
    if (durability == Durability::interval && unsynced_since_ns_ == 0)
      unsynced_since_ns_ = last_append_ns_;
    demand_if_half_full();
  }
  if (durability == Durability::each) {
    open->alone = true;
    close_group();
  }
}

// The queue and the ring bound what is not durable: at half of either, what is there is synced at
// every level.
void Engine::demand_if_half_full() {
  const bool half_full = 2 * pending_bytes_ >= options_.queue_bytes || 2 * ring_used_ >= ring_size_;
  if (half_full && demand_group_ < first_group_) demand_group_ = next_group_ - 1;
}

bool Engine::ring_has(uint64_t file_bytes) const { return ring_size_ - ring_used_ >= file_bytes; }

bool Engine::joins_open(uint64_t stream_bytes, size_t count, Durability durability) const {
  if (!has_open_ || durability == Durability::each) return false;
  const Group& open = group(next_group_ - 1);
  const uint64_t stream = open.stream_bytes + stream_bytes;
  if (open.count + count > options_.max_group_records) return false;
  if (open.count > 0 && stream > options_.max_group_bytes) return false;
  return stream <= stream_limit(open);
}

// How long the open group's stream may become by what the segment and the ring have left.
uint64_t Engine::stream_limit(const Group& open) const {
  const uint64_t block = options_.block_bytes;
  const uint64_t end = current().place.file_bytes - format::kControlReserveBlocks * block;
  const uint64_t bytes =
      std::min(end - std::min(open.offset, end), open.file_bytes + (ring_size_ - ring_used_));
  const uint64_t content = (bytes & ~(block - 1)) / kSectorBytes * kContentBytes;
  return content - std::min<uint64_t>(content, kGroupHeaderBytes);
}

bool Engine::can_rotate() const { return !prepared_.empty() && live_.size() < kMaxLive; }

Code Engine::refuse_space() {
  space_refused_ = true;
  counters_.refused_space++;
  return prepared_.empty() ? prepare_code_ : Code::backpressure;
}

// Records that nobody waits for (interval, none) may fill the queue or, as many small groups, the
// ring: what is there is synced then, at every level, or there would never be room again.
Code Engine::refuse_queue() {
  counters_.refused_queue++;
  if (next_group_ > first_group_) demand_group_ = std::max(demand_group_, next_group_ - 1);
  return Code::backpressure;
}

Code Engine::make_room(uint64_t stream_bytes, size_t count, uint64_t charge, Durability durability,
                       uint64_t now_ns) {
  if (poisoned_) return Code::poisoned;
  if (closing()) return Code::closed;
  if (pending_bytes_ > 0 && pending_bytes_ + charge > options_.queue_bytes) {
    return refuse_queue();
  }
  if (joins_open(stream_bytes, count, durability)) return Code::ok;
  const uint64_t file_bytes = group_file_bytes(stream_bytes, options_.block_bytes);
  const Segment& segment = current();
  const uint64_t limit =
      segment.place.file_bytes - format::kControlReserveBlocks * options_.block_bytes;
  const bool fits = segment.end + file_bytes <= limit;
  const uint64_t start_bytes = fits ? 0 : 8 * uint64_t{options_.block_bytes};
  if (!ring_has(file_bytes + start_bytes)) {
    return refuse_queue();
  }
  if (!fits) {
    if (!can_rotate()) return refuse_space();
    switch_segment(now_ns);
  }
  if (has_open_) close_group();
  open_group(GroupKind::data, last_lsn_ + 1, now_ns);
  return Code::ok;
}

void Engine::open_group(GroupKind kind, uint64_t first_lsn, uint64_t now_ns) {
  if (next_group_ - first_group_ == groups_.size()) {
    std::vector<Group> larger(groups_.size() * 2);
    for (uint64_t i = first_group_; i < next_group_; i++)
      larger[i & (larger.size() - 1)] = group(i);
    groups_ = std::move(larger);
  }
  if (ring_used_ == 0) ring_head_ = 0;  // stay in cache-warm memory while little is under way
  Group& open = group(next_group_);
  open = Group{};
  open.kind = kind;
  open.state = GroupState::open;
  open.segment = current().place.sequence;
  open.offset = current().end;
  open.ring = ring_head_;
  open.first_lsn = first_lsn;
  open.opened_ns = now_ns != 0 ? now_ns : last_append_ns_;
  next_group_++;
  has_open_ = true;
  extend_group(&open, 0);
}

uint8_t* Engine::ring_at(const Group& group, uint64_t file_offset) const {
  const uint64_t at = group.ring + file_offset;
  return ring_ + (at >= ring_size_ ? at - ring_size_ : at);
}

// Sectors enter a group with a clear stamp; their contents are written whole, or zeroed at the
// close.
void Engine::extend_group(Group* open, uint64_t stream_end) {
  const uint64_t had = open->file_bytes;
  const uint64_t needs = group_file_bytes(stream_end, options_.block_bytes);
  for (uint64_t at = had; at < needs; at += kSectorBytes) format::clear_stamp(ring_at(*open, at));
  open->stream_bytes = stream_end;
  if (needs == had) return;
  open->file_bytes = needs;
  ring_used_ += needs - had;
  unsubmitted_bytes_ += needs - had;
  const uint64_t end = open->ring + needs;
  ring_head_ = end >= ring_size_ ? end - ring_size_ : end;
  current().end = open->offset + needs;
  current().last_group = next_group_ - 1;
}

void Engine::close_group() {
  Group& open = group(next_group_ - 1);
  const uint64_t content = kGroupHeaderBytes + open.stream_bytes;
  uint64_t at = content / kContentBytes * kSectorBytes;
  if (const uint64_t within = content % kContentBytes; within > 0) {
    std::memset(ring_at(open, at) + within, 0, kContentBytes - within);
    at += kSectorBytes;
  }
  // What is left is zeroed as one piece, or two around the ring's end, and stamped anew: one call
  // for each sector took 2 us of every lone commit.
  while (at < open.file_bytes) {
    uint8_t* const rest = ring_at(open, at);
    const auto before_end = static_cast<uint64_t>(ring_ + ring_size_ - rest);
    const uint64_t bytes = std::min(open.file_bytes - at, before_end);
    std::memset(rest, 0, bytes);
    for (uint64_t sector = 0; sector < bytes; sector += kSectorBytes)
      format::clear_stamp(rest + sector);
    at += bytes;
  }
  open.state = GroupState::closed;
  has_open_ = false;
}

void Engine::copy_to_stream(const Group& open, uint64_t at, const uint8_t* data, size_t size) {
  const uint64_t content = kGroupHeaderBytes + at;
  uint64_t sector = content / kContentBytes;
  size_t within = content % kContentBytes;
  while (size > 0) {
    const size_t piece = std::min(size, kContentBytes - within);
    uint8_t* const to = ring_at(open, sector * kSectorBytes) + within;
    format::fetch_for_store(to, piece);
    std::memcpy(to, data, piece);
    data += piece;
    size -= piece;
    sector++;
    within = 0;
  }
}

// Lays a record that is neither part of a batch nor chunked into the group, which reaches as far.
void Engine::put_plain(Group* open, uint64_t at, const uint8_t* data, size_t size,
                       uint32_t payload_crc, uint64_t lsn) {
  uint8_t header[format::kMaxRecordHeaderBytes] = {};
  uint32_t crc = 0;
  const size_t header_bytes = format::encode_record_header(header, format::RecordType::user, 0,
                                                           size, lsn, payload_crc, &crc);
  const uint64_t content = kGroupHeaderBytes + at;
  const size_t within = content % kContentBytes;
  uint8_t* const sector = ring_at(*open, content / kContentBytes * kSectorBytes);
  format::set_first_record(sector, static_cast<uint16_t>(within), lsn);
  open->body_sum = crc32c::extend_u32(open->body_sum, crc);
  if (within + std::max(header_bytes + size, sizeof header) <= kContentBytes) {
    // What lies behind the header's end is written next, or zeroed with the rest of the group.
    uint8_t* const to = sector + within;
    format::fetch_for_store(to, header_bytes + size);
    std::memcpy(to, header, sizeof header);
    if (size > 0) std::memcpy(to + header_bytes, data, size);  // data may be null then
    return;
  }
  copy_to_stream(*open, at, header, header_bytes);
  copy_to_stream(*open, at + header_bytes, data, size);
}

// Appends one record to the open group; returns the stream offset of its payload.
uint64_t Engine::put_record(Group* open, const uint8_t* data, size_t size, uint32_t sum_crc,
                            const std::vector<uint32_t>* table, uint8_t flags, uint64_t lsn,
                            bool copy) {
  uint8_t header[format::kMaxRecordHeaderBytes];
  uint32_t crc = 0;
  const size_t header_bytes = format::encode_record_header(header, format::RecordType::user, flags,
                                                           size, lsn, sum_crc, &crc);
  const uint64_t at = open->stream_bytes;
  const size_t table_bytes = table == nullptr ? 0 : 4 * table->size();
  extend_group(open, at + header_bytes + table_bytes + size);
  const uint64_t content = kGroupHeaderBytes + at;
  format::set_first_record(ring_at(*open, content / kContentBytes * kSectorBytes),
                           static_cast<uint16_t>(content % kContentBytes), lsn);
  copy_to_stream(*open, at, header, header_bytes);
  if (table_bytes > 0) {
    copy_to_stream(*open, at + header_bytes, reinterpret_cast<const uint8_t*>(table->data()),
                   table_bytes);
  }
  const uint64_t payload_at = at + header_bytes + table_bytes;
  if (copy) copy_to_stream(*open, payload_at, data, size);
  open->body_sum = crc32c::extend_u32(open->body_sum, crc);
  return payload_at;
}

void Engine::copy_payloads(const Admission& admission, const RecordInput* records, size_t count) {
  // Without the lock: the group is not submitted before copied(), and its place in the ring stays.
  Group place{};
  place.ring = admission.ring;
  for (size_t i = 0; i < count; i++) {
    copy_to_stream(place, admission.payload_at[i], records[i].data, records[i].size);
  }
}

void Engine::copied(const Admission& admission) { group(admission.group).copies--; }

void Engine::demand_all() {
  publish();
  demand_group_ = next_group_ - 1;
  flush_group_ = next_group_ - 1;
}

bool Engine::control_fits(uint64_t stream_bytes, uint64_t spare_blocks) const {
  const uint64_t file_bytes = group_file_bytes(stream_bytes, options_.block_bytes);
  return ring_has(file_bytes) && current().end + file_bytes + spare_blocks * options_.block_bytes <=
                                     current().place.file_bytes;
}

void Engine::put_control(GroupKind kind, uint16_t flags, const ControlWriter& content,
                         uint64_t now_ns) {
  if (has_open_) close_group();
  open_group(kind, last_lsn_ + 1, now_ns);
  Group& control = group(next_group_ - 1);
  extend_group(&control, content.stream().size());
  copy_to_stream(control, 0, content.stream().data(), content.stream().size());
  control.flags = flags;
  control.body_sum = content.body_sum();
  control.durable_wish = true;
  close_group();
  publish();
  demand_group_ = std::max(demand_group_, next_group_ - 1);
  counters_.control_groups++;
}

void Engine::switch_segment(uint64_t now_ns) {
  if (has_open_) close_group();
  Segment& old = current();
  old.finished = true;
  demand_group_ = std::max(demand_group_, next_group_ - 1);  // rotation syncs at every level
  const format::Predecessor predecessor{old.place.sequence, old.place.id, old.end, last_lsn_};
  Segment next;
  next.place = prepared_.front();
  prepared_.pop_front();
  next.first_lsn = last_lsn_ + 1;
  next.last_lsn = last_lsn_;
  next.durable_lsn = last_lsn_;
  next.end = format::kFirstGroupBlock * options_.block_bytes;
  next.start_group = next_group_;
  live_.push_back(next);
  ControlWriter content;
  content.predecessor(predecessor);
  content.state(state_);
  put_control(GroupKind::start, 0, content, now_ns);
  counters_.rotations++;
}

Code Engine::set_head(uint64_t first_lsn, uint64_t first_sequence, uint64_t now_ns,
                      uint64_t* group_index) {
  if (poisoned_) return Code::poisoned;
  if (closing()) return Code::closed;
  // What was given up may be gone; nor is there a head in what does not exist yet.
  if (first_lsn < state_.first_lsn || first_sequence < state_.first_sequence ||
      first_lsn > last_lsn_ + 1 || first_sequence > current().place.sequence)
    return Code::bad_argument;
  ControlWriter content;
  content.head(first_lsn, first_sequence);
  if (!control_fits(content.stream().size(), 3)) {  // a watermark, a close and one block to spare
    if (!ring_has(16 * uint64_t{options_.block_bytes})) return refuse_queue();
    if (!can_rotate()) return refuse_space();
    switch_segment(now_ns);
  }
  state_.first_lsn = first_lsn;
  state_.first_sequence = first_sequence;
  std::erase_if(state_.holes, [&](const format::Hole& hole) { return hole.to < first_lsn; });
  std::erase_if(state_.salvaged, [&](uint64_t sequence) { return sequence < first_sequence; });
  put_control(GroupKind::control, 0, content, now_ns);
  *group_index = next_group_ - 1;
  return Code::ok;
}

Code Engine::rotate(uint64_t now_ns) {
  if (poisoned_) return Code::poisoned;
  if (closing()) return Code::closed;
  if (current().records == 0) return Code::ok;
  if (!ring_has(16 * uint64_t{options_.block_bytes})) return refuse_queue();
  if (!can_rotate()) return refuse_space();
  switch_segment(now_ns);
  return Code::ok;
}

void Engine::begin_close(uint64_t now_ns) {
  if (closing()) return;
  if (has_open_) close_group();
  demand_all();
  close_stage_ = CloseStage::draining;
  advance_close(now_ns);
}

bool Engine::ready() const {
  return !space_refused_ && 2 * pending_bytes_ < options_.queue_bytes &&
         2 * ring_used_ < ring_size_;
}

std::vector<Engine::Live> Engine::live() const {
  std::vector<Live> out;
  for (const Segment& segment : live_) {
    out.push_back({segment.place.sequence, segment.first_lsn, segment.durable_end,
                   segment.durable_lsn,
                   segment.finished && segment.last_group < first_group_ &&
                       segment.start_group < first_group_});
  }
  return out;
}

std::vector<Engine::Sealed> Engine::take_sealed() { return std::exchange(sealed_, {}); }

}  // namespace stonelog::log
