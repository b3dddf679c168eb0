#include "format/control.h"

#include <algorithm>
#include <cstring>

#include "crc32c/crc32c.h"
#include "format/bytes.h"
#include "format/record.h"

namespace stonelog::format {

namespace {

void put(std::vector<uint8_t>* out, uint64_t value) {
  uint8_t bytes[8];
  store(bytes, value);
  out->insert(out->end(), bytes, bytes + 8);
}
void put(std::vector<uint8_t>* out, const Id& id) { out->insert(out->end(), id.begin(), id.end()); }
void put(std::vector<uint8_t>* out, const Epoch& epoch) {
  put(out, epoch.number);
  put(out, epoch.id);
  put(out, epoch.first_lsn);
}

// Bounded reads: every field is there or `ok` turns false.
struct Fields {
  const uint8_t* at;
  size_t left;
  bool ok = true;

  bool take(size_t size) {
    if (!ok || left < size) return ok = false;
    at += size;
    left -= size;
    return true;
  }
  uint64_t u64() { return take(8) ? load<uint64_t>(at - 8) : 0; }
  Id id() {
    Id id{};
    if (take(id.size())) std::memcpy(id.data(), at - id.size(), id.size());
    return id;
  }
  // An LSN, or the next one to be given: bounded here, so that nobody who counts on from it wraps.
  uint64_t lsn() {
    const uint64_t value = u64();
    if (value > kMaxLsn + 1) ok = false;
    return value;
  }
  Epoch epoch() {
    Epoch epoch;
    epoch.number = u64();
    epoch.id = id();
    epoch.first_lsn = lsn();
    return epoch;
  }
};

constexpr size_t kEpochBytes = 8 + 16 + 8;

bool read_list_size(Fields* fields, size_t item_bytes, size_t most, size_t* count) {
  *count = fields->left / item_bytes;
  return fields->left % item_bytes == 0 && *count <= most;
}

bool read_holes(Fields* fields, std::vector<Hole>* holes) {
  size_t count = 0;
  if (!read_list_size(fields, 16, kMaxHoles, &count)) return false;
  holes->clear();
  for (size_t i = 0; i < count; i++) {
    const uint64_t from = fields->lsn();
    const uint64_t to = fields->lsn();
    if (!fields->ok || from < 1 || to < from || (!holes->empty() && from <= holes->back().to))
      return false;
    holes->push_back({from, to});
  }
  return true;
}

bool read_history(Fields* fields, std::vector<Epoch>* history) {
  size_t count = 0;
  if (!read_list_size(fields, kEpochBytes, kMaxHistory, &count)) return false;
  history->clear();
  for (size_t i = 0; i < count; i++) history->push_back(fields->epoch());
  return fields->ok;
}

bool read_salvaged(Fields* fields, std::vector<uint64_t>* salvaged) {
  size_t count = 0;
  if (!read_list_size(fields, 8, kMaxSalvaged, &count)) return false;
  salvaged->clear();
  for (size_t i = 0; i < count; i++) salvaged->push_back(fields->u64());
  return true;
}

}  // namespace

void ControlWriter::record(RecordType type, const std::vector<uint8_t>& payload) {
  PayloadSum sum;
  sum_payload(payload.data(), payload.size(), &sum);
  uint8_t header[kMaxRecordHeaderBytes];
  uint32_t crc = 0;
  const size_t size = encode_record_header(header, type, 0, payload.size(), 0, sum.crc, &crc);
  stream_.insert(stream_.end(), header, header + size);
  stream_.insert(stream_.end(), payload.begin(), payload.end());
  body_sum_ = crc32c::extend(body_sum_, &crc, sizeof crc);
}

void ControlWriter::predecessor(const Predecessor& value) {
  std::vector<uint8_t> out;
  put(&out, value.sequence);
  put(&out, value.segment_id);
  put(&out, value.end);
  put(&out, value.last_lsn);
  record(RecordType::predecessor, out);
}

void ControlWriter::head(uint64_t first_lsn, uint64_t first_sequence) {
  std::vector<uint8_t> out;
  put(&out, first_lsn);
  put(&out, first_sequence);
  record(RecordType::head, out);
}

void ControlWriter::state(const ControlState& value) {
  std::vector<uint8_t> out;
  put(&out, value.epoch);
  record(RecordType::epoch, out);
  head(value.first_lsn, value.first_sequence);
  if (!value.history.empty()) {
    out.clear();
    for (const Epoch& epoch : value.history) put(&out, epoch);
    record(RecordType::epoch_history, out);
  }
  if (!value.holes.empty()) {
    out.clear();
    for (const Hole& hole : value.holes) {
      put(&out, hole.from);
      put(&out, hole.to);
    }
    record(RecordType::holes, out);
  }
  if (!value.salvaged.empty()) {
    out.clear();
    for (const uint64_t sequence : value.salvaged) put(&out, sequence);
    record(RecordType::salvaged_segments, out);
  }
}

void ControlWriter::seal(const SealInfo& value) {
  std::vector<uint8_t> out;
  put(&out, value.first_lsn);
  put(&out, value.last_lsn);
  put(&out, value.end);
  put(&out, value.checksum);
  record(RecordType::seal, out);
}

bool read_control_record(uint8_t type, const uint8_t* payload, size_t size,
                         ControlContent* content) {
  Fields fields{payload, size};
  switch (static_cast<RecordType>(type & ~kTypeIgnorable)) {
    case RecordType::predecessor:
      content->has_predecessor = true;
      content->predecessor.sequence = fields.u64();
      content->predecessor.segment_id = fields.id();
      content->predecessor.end = fields.u64();
      content->predecessor.last_lsn = fields.lsn();
      return fields.ok && fields.left == 0;
    case RecordType::epoch:
      content->has_state = true;
      content->state = ControlState{};
      content->state.epoch = fields.epoch();
      return fields.ok && fields.left == 0;
    case RecordType::head:
      content->has_head = true;
      content->state.first_lsn = fields.lsn();
      content->state.first_sequence = fields.u64();
      return fields.ok && fields.left == 0;
    case RecordType::epoch_history:
      return read_history(&fields, &content->state.history);
    case RecordType::holes:
      return read_holes(&fields, &content->state.holes);
    case RecordType::salvaged_segments:
      return read_salvaged(&fields, &content->state.salvaged);
    case RecordType::seal:
      content->has_seal = true;
      content->seal.first_lsn = fields.lsn();
      content->seal.last_lsn = fields.lsn();
      content->seal.end = fields.u64();
      content->seal.checksum = static_cast<uint32_t>(fields.u64());
      return fields.ok && fields.left == 0;
    default:
      return (type & kTypeIgnorable) != 0;
  }
}

void apply(const ControlContent& content, ControlState* state) {
  if (content.has_state) {
    *state = content.state;
  } else if (content.has_head) {
    state->first_lsn = content.state.first_lsn;
    state->first_sequence = content.state.first_sequence;
  }
}

bool add_hole(std::vector<Hole>* holes, uint64_t from, uint64_t to) {
  if (to < from) return true;
  std::vector<Hole> merged;
  for (const Hole& hole : *holes) {
    if (hole.to + 1 < from || hole.from > to + 1) {
      merged.push_back(hole);
    } else {
      from = std::min(from, hole.from);
      to = std::max(to, hole.to);
    }
  }
  const auto place = std::find_if(merged.begin(), merged.end(),
                                  [&](const Hole& hole) { return hole.from > from; });
  merged.insert(place, {from, to});
  *holes = std::move(merged);
  return holes->size() <= kMaxHoles;
}

bool is_hole(const std::vector<Hole>& holes, uint64_t from, uint64_t to) {
  return std::any_of(holes.begin(), holes.end(),
                     [&](const Hole& hole) { return hole.from <= from && to <= hole.to; });
}

}  // namespace stonelog::format
