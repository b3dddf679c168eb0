#include "format/record.h"

#include <algorithm>

#include "crc32c/crc32c.h"
#include "format/bytes.h"

namespace stonelog::format {

namespace {

uint32_t finish(uint32_t payload_sum_crc, uint8_t type, uint8_t flags, size_t payload_bytes,
                uint64_t lsn) {
  const uint64_t shape =
      uint64_t{type} | uint64_t{flags} << 8 | static_cast<uint64_t>(payload_bytes) << 32;
  return crc32c::extend_u64(crc32c::extend_u64(payload_sum_crc, shape), lsn);
}

size_t encode_varint(uint8_t* out, uint64_t value) {
  size_t size = 0;
  while (value >= 0x80) {
    out[size++] = static_cast<uint8_t>(value | 0x80);
    value >>= 7;
  }
  out[size++] = static_cast<uint8_t>(value);
  return size;
}

// False if the varint is not the shortest form or too long; *size 0 if the bytes end first.
bool decode_varint(const uint8_t* bytes, size_t available, uint64_t* value, size_t* size) {
  *value = 0;
  for (size_t i = 0; i < kMaxVarintBytes; i++) {
    if (i == available) {
      *size = 0;
      return true;
    }
    *value |= uint64_t{bytes[i] & 0x7fu} << (7 * i);
    if ((bytes[i] & 0x80) == 0) {
      *size = i + 1;
      return i + 1 == varint_bytes(*value);
    }
  }
  return false;
}

// Verifies the chunks against the table, and returns the CRC of the table.
bool check_chunks(const uint8_t* table, const uint8_t* payload, size_t payload_bytes,
                  uint32_t* table_crc) {
  const size_t chunks = chunk_count(payload_bytes);
  *table_crc = crc32c::extend(0, table, 4 * chunks);
  for (size_t i = 0; i < chunks; i++) {
    const size_t from = i * kChunkBytes;
    const size_t size = std::min(kChunkBytes, payload_bytes - from);
    if (chunk_crc(payload + from, size, static_cast<uint32_t>(i)) != load<uint32_t>(table + 4 * i))
      return false;
  }
  return true;
}

}  // namespace

uint32_t chunk_crc(const uint8_t* data, size_t size, uint32_t index) {
  return crc32c::extend_u64(crc32c::extend(0, data, size), index);
}

void sum_payload(const uint8_t* data, size_t size, PayloadSum* sum) {
  sum->table.clear();
  if (!is_chunked(size)) {
    sum->crc = crc32c::extend(0, data, size);
    return;
  }
  for (size_t from = 0; from < size; from += kChunkBytes) {
    const auto index = static_cast<uint32_t>(sum->table.size());
    sum->table.push_back(chunk_crc(data + from, std::min(kChunkBytes, size - from), index));
  }
  sum->crc = crc32c::extend(0, sum->table.data(), 4 * sum->table.size());
}

size_t encode_record_header(uint8_t* out, RecordType type, uint8_t flags, size_t payload_bytes,
                            uint64_t lsn, uint32_t payload_sum_crc, uint32_t* record_crc) {
  if (is_chunked(payload_bytes)) flags |= kFlagChunked;
  out[4] = static_cast<uint8_t>(type);
  out[5] = flags;
  *record_crc = finish(payload_sum_crc, out[4], flags, payload_bytes, lsn);
  store(out, *record_crc);
  return kRecordFixedBytes + encode_varint(out + kRecordFixedBytes, payload_bytes);
}

RecordState decode_record(const uint8_t* stream, size_t size, size_t at, uint64_t lsn,
                          Record* record) {
  const size_t available = at < size ? size - at : 0;
  if (available < kRecordFixedBytes + 1) return RecordState::truncated;
  const uint8_t* bytes = stream + at;
  record->crc = load<uint32_t>(bytes);
  record->type = bytes[4];
  record->flags = bytes[5];
  if (record->type == 0 || (record->flags & kFlagsRefused) != 0) return RecordState::damaged;
  uint64_t payload_bytes = 0;
  size_t varint = 0;
  if (!decode_varint(bytes + kRecordFixedBytes, available - kRecordFixedBytes, &payload_bytes,
                     &varint)) {
    return RecordState::damaged;
  }
  if (varint == 0) return RecordState::truncated;
  const bool chunked = (record->flags & kFlagChunked) != 0;
  if (payload_bytes > kMaxPayloadBytes || chunked != is_chunked(payload_bytes))
    return RecordState::damaged;
  const size_t table_bytes = 4 * chunk_count(payload_bytes);
  const size_t header_bytes = kRecordFixedBytes + varint + table_bytes;
  if (available < header_bytes + payload_bytes) return RecordState::truncated;
  const uint8_t* payload = bytes + header_bytes;
  uint32_t sum = 0;
  if (!chunked) {
    sum = crc32c::extend(0, payload, payload_bytes);
  } else if (!check_chunks(payload - table_bytes, payload, payload_bytes, &sum)) {
    return RecordState::damaged;
  }
  const uint64_t covered_lsn = is_user_record(record->type) ? lsn : 0;
  if (finish(sum, record->type, record->flags, payload_bytes, covered_lsn) != record->crc)
    return RecordState::damaged;
  record->payload_offset = at + header_bytes;
  record->payload_bytes = payload_bytes;
  record->end = at + header_bytes + payload_bytes;
  return RecordState::valid;
}

}  // namespace stonelog::format
