// Records and control records: decoders of a stream of any length.
#include <algorithm>
#include <cstring>
#include <memory>

#include "crc32c/crc32c.h"
#include "format/bytes.h"
#include "format/control.h"
#include "format/record.h"
#include "fuzz/mend.h"
#include "fuzz/target.h"

namespace stonelog::fuzz {

using namespace format;

namespace {

// --- Records. Input: LSN u64, zeros u32 (so many follow the stream), stream.
constexpr size_t kRecordPrefix = 8 + 4;
constexpr uint32_t kMostZeros = 80 << 10;

// What was accepted must be what this build writes, byte for byte.
void check_reencoding(const uint8_t* stream, size_t at, uint64_t lsn, const Record& record) {
  PayloadSum sum;
  sum_payload(stream + record.payload_offset, record.payload_bytes, &sum);
  uint8_t header[kMaxRecordHeaderBytes];
  uint32_t crc = 0;
  const uint64_t covered = is_user_record(record.type) ? lsn : 0;
  const size_t size = encode_record_header(header, static_cast<RecordType>(record.type),
                                           record.flags & static_cast<uint8_t>(~kFlagChunked),
                                           record.payload_bytes, covered, sum.crc, &crc);
  FUZZ_CHECK(crc == record.crc && std::memcmp(header, stream + at, size) == 0);
  const size_t table_bytes = 4 * sum.table.size();
  FUZZ_CHECK(at + size + table_bytes == record.payload_offset);
  FUZZ_CHECK(table_bytes == 0 ||
             std::memcmp(sum.table.data(), stream + at + size, table_bytes) == 0);
}

void run_record(const uint8_t* data, size_t size) {
  Input input(data, size);
  uint64_t lsn = input.take<uint64_t>();
  const size_t zeros = input.take<uint32_t>() % kMostZeros;
  const size_t stream_bytes = input.left() + zeros;
  const std::unique_ptr<uint8_t[]> stream(new uint8_t[stream_bytes]());
  std::copy(input.rest(), input.rest() + input.left(), stream.get());
  Record record;
  for (size_t at = 0;; at = record.end) {
    record.end = 0;
    const RecordState state = decode_record(stream.get(), stream_bytes, at, lsn, &record);
    // Bounds are judged before anything else, from every prefix.
    if (state != RecordState::valid) break;
    FUZZ_CHECK(record.type != 0 && (record.flags & kFlagsRefused) == 0);
    FUZZ_CHECK(record.payload_offset > at && record.end <= stream_bytes);
    FUZZ_CHECK(record.payload_offset + record.payload_bytes == record.end);
    FUZZ_CHECK(record.payload_bytes <= kMaxPayloadBytes);
    FUZZ_CHECK(record.end - at == record_bytes(record.payload_bytes));
    check_reencoding(stream.get(), at, lsn, record);
    Record shorter;
    FUZZ_CHECK(decode_record(stream.get(), record.end - 1, at, lsn, &shorter) ==
               RecordState::truncated);
    if (is_user_record(record.type)) lsn++;
  }
}

void mend_record(uint8_t* data, size_t size) {
  if (size <= kRecordPrefix) return;
  const size_t zeros = load<uint32_t>(data + 8) % kMostZeros;
  // The zeros are part of the last record, so the sums are computed where they are.
  std::vector<uint8_t> stream(data + kRecordPrefix, data + size);
  stream.resize(stream.size() + zeros);
  mend_records(stream.data(), stream.size(), load<uint64_t>(data));
  std::copy(stream.begin(), stream.begin() + static_cast<ptrdiff_t>(size - kRecordPrefix),
            data + kRecordPrefix);
}

// --- Control records. Input: each one's type u8, size u16, payload.
bool same(const Epoch& a, const Epoch& b) {
  return a.number == b.number && a.id == b.id && a.first_lsn == b.first_lsn;
}
bool same(const Hole& a, const Hole& b) { return a.from == b.from && a.to == b.to; }

template <typename T>
bool all_same(const std::vector<T>& a, const std::vector<T>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const T& x, const T& y) { return same(x, y); });
}

bool same(const ControlContent& a, const ControlContent& b) {
  return a.has_predecessor == b.has_predecessor &&
         a.predecessor.sequence == b.predecessor.sequence &&
         a.predecessor.segment_id == b.predecessor.segment_id &&
         a.predecessor.end == b.predecessor.end &&
         a.predecessor.last_lsn == b.predecessor.last_lsn &&
         a.state.first_lsn == b.state.first_lsn &&
         a.state.first_sequence == b.state.first_sequence && same(a.state.epoch, b.state.epoch) &&
         all_same(a.state.history, b.state.history) && all_same(a.state.holes, b.state.holes) &&
         a.state.salvaged == b.state.salvaged && a.has_seal == b.has_seal &&
         a.seal.first_lsn == b.seal.first_lsn && a.seal.last_lsn == b.seal.last_lsn &&
         a.seal.end == b.seal.end && a.seal.checksum == b.seal.checksum;
}

void check_holes(const ControlState& state) {
  const auto disjoint = [](const std::vector<Hole>& holes) {
    for (size_t i = 0; i < holes.size(); i++) {
      if (holes[i].from < 1 || holes[i].to < holes[i].from) return false;
      if (i > 0 && holes[i].from <= holes[i - 1].to) return false;
    }
    return true;
  };
  FUZZ_CHECK(disjoint(state.holes) && state.holes.size() <= kMaxHoles);
  if (state.holes.empty()) return;
  // A hole between the first and the last one joins what it touches.
  std::vector<Hole> holes = state.holes;
  const uint64_t from = holes.front().to;
  const uint64_t to = holes.back().from;
  if (to < from) return;
  FUZZ_CHECK(add_hole(&holes, from, to) && disjoint(holes) && is_hole(holes, from, to));
  for (const Hole& hole : state.holes) FUZZ_CHECK(is_hole(holes, hole.from, hole.to));
}

// Decodes a control stream that this build wrote.
ControlContent read_back(const ControlWriter& writer) {
  ControlContent content;
  const std::vector<uint8_t>& stream = writer.stream();
  Record record;
  uint32_t body_sum = 0;
  for (size_t at = 0; at < stream.size(); at = record.end) {
    FUZZ_CHECK(decode_record(stream.data(), stream.size(), at, 0, &record) == RecordState::valid);
    FUZZ_CHECK(read_control_record(record.type, stream.data() + record.payload_offset,
                                   record.payload_bytes, &content));
    body_sum = crc32c::extend(body_sum, &record.crc, sizeof record.crc);
  }
  FUZZ_CHECK(body_sum == writer.body_sum());
  return content;
}

void run_control(const uint8_t* data, size_t size) {
  Input input(data, size);
  ControlContent content;
  while (!input.empty()) {
    const auto type = input.take<uint8_t>();
    const size_t wanted = input.take<uint16_t>();
    const size_t bytes = std::min(wanted, input.left());
    const std::unique_ptr<uint8_t[]> payload(new uint8_t[bytes]);
    input.take_bytes(payload.get(), bytes);
    if (!read_control_record(type, payload.get(), bytes, &content)) return;
  }
  check_holes(content.state);
  FUZZ_CHECK(content.state.history.size() <= kMaxHistory);
  FUZZ_CHECK(content.state.salvaged.size() <= kMaxSalvaged);
  ControlWriter writer;
  if (content.has_predecessor) writer.predecessor(content.predecessor);
  writer.state(content.state);
  if (content.has_seal) writer.seal(content.seal);
  FUZZ_CHECK(same(read_back(writer), content));
}

}  // namespace

uint32_t mend_records(uint8_t* stream, size_t size, uint64_t first_lsn) {
  uint32_t body_sum = 0;
  uint64_t lsn = first_lsn;
  for (size_t at = 0; at + kRecordFixedBytes < size;) {
    uint64_t length = 0;
    size_t varint = 0;
    for (; varint < kMaxVarintBytes && at + kRecordFixedBytes + varint < size; varint++) {
      const uint8_t byte = stream[at + kRecordFixedBytes + varint];
      length |= uint64_t{byte & 0x7fu} << (7 * varint);
      if ((byte & 0x80) == 0) break;
    }
    const size_t table = 4 * chunk_count(length);
    const size_t payload = at + kRecordFixedBytes + varint + 1 + table;
    if (length > kMaxPayloadBytes || payload > size || length > size - payload) break;
    PayloadSum sum;
    sum_payload(stream + payload, length, &sum);
    if (!sum.table.empty()) std::memcpy(stream + payload - table, sum.table.data(), table);
    const uint8_t type = stream[at + 4];
    const uint8_t flags = stream[at + 5] & static_cast<uint8_t>(~kFlagChunked);
    uint8_t header[kMaxRecordHeaderBytes];
    uint32_t crc = 0;
    encode_record_header(header, static_cast<RecordType>(type), flags, length,
                         is_user_record(type) ? lsn : 0, sum.crc, &crc);
    std::memcpy(stream + at, header, kRecordFixedBytes);
    body_sum = crc32c::extend(body_sum, &crc, sizeof crc);
    if (is_user_record(type)) lsn++;
    at = payload + length;
  }
  return body_sum;
}

const Target kRecordTarget = {"record", 4096, run_record, mend_record, nullptr};
const Target kControlTarget = {"control", 16 << 10, run_control, nullptr, nullptr};

}  // namespace stonelog::fuzz
