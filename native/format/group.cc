#include "format/group.h"

#include <algorithm>
#include <cstring>

#include "crc32c/crc32c.h"
#include "format/bytes.h"
#include "format/stamp.h"

namespace stonelog::format {

void encode_group_header(GroupHeader* header, uint8_t* content) {
  std::memset(content, 0, kGroupHeaderBytes);
  store(content, kGroupMagic);
  content[kGroupKind] = static_cast<uint8_t>(header->kind);
  content[kGroupCodec] = header->codec;
  store(content + kGroupFlags, header->flags);
  store(content + kGroupFileBytes, header->file_bytes);
  store(content + kGroupStoredBytes, header->stored_bytes);
  store(content + kGroupRawBytes, header->raw_bytes);
  store(content + kGroupCount, header->count);
  store(content + kGroupFirstLsn, header->first_lsn);
  store(content + kGroupEpoch, header->epoch);
  store(content + kGroupDurableLsn, header->durable_lsn);
  store(content + kGroupDurableEnd, header->durable_end);
  store(content + kGroupTimestamp, header->timestamp_micros);
  store(content + kGroupSequence, header->sequence);
  std::memcpy(content + kGroupSegmentId, header->segment_id.data(), header->segment_id.size());
  store(content + kGroupLink, header->link);
  store(content + kGroupBodySum, header->body_sum);
  header->checksum = crc32c::extend(0, content, kGroupChecksum);
  store(content + kGroupChecksum, header->checksum);
  store(content + kGroupKeyId, header->key_id);
}

void encode_group(GroupHeader* header, const std::vector<uint8_t>& stream, uint32_t block_bytes,
                  uint8_t* out) {
  header->stored_bytes = static_cast<uint32_t>(stream.size());
  header->raw_bytes = header->stored_bytes;
  header->file_bytes = static_cast<uint32_t>(group_file_bytes(stream.size(), block_bytes));
  std::memset(out, 0, header->file_bytes);
  for (size_t at = 0; at < stream.size();) {
    const size_t place = kGroupHeaderBytes + at;
    const size_t within = place % kContentBytes;
    const size_t piece = std::min(stream.size() - at, kContentBytes - within);
    std::memcpy(out + place / kContentBytes * kSectorBytes + within, stream.data() + at, piece);
    at += piece;
  }
  for (size_t at = 0; at < header->file_bytes; at += kSectorBytes) clear_stamp(out + at);
  encode_group_header(header, out);
}

bool decode_group_header(const uint8_t* content, uint32_t block_bytes, GroupHeader* header) {
  if (load<uint32_t>(content) != kGroupMagic) return false;
  header->checksum = load<uint32_t>(content + kGroupChecksum);
  if (header->checksum != crc32c::extend(0, content, kGroupChecksum)) return false;
  header->kind = static_cast<GroupKind>(content[kGroupKind]);
  header->codec = content[kGroupCodec];
  header->flags = load<uint16_t>(content + kGroupFlags);
  header->file_bytes = load<uint32_t>(content + kGroupFileBytes);
  header->stored_bytes = load<uint32_t>(content + kGroupStoredBytes);
  header->raw_bytes = load<uint32_t>(content + kGroupRawBytes);
  header->count = load<uint32_t>(content + kGroupCount);
  header->first_lsn = load<uint64_t>(content + kGroupFirstLsn);
  header->epoch = load<uint64_t>(content + kGroupEpoch);
  header->durable_lsn = load<uint64_t>(content + kGroupDurableLsn);
  header->durable_end = load<uint64_t>(content + kGroupDurableEnd);
  header->timestamp_micros = load<uint64_t>(content + kGroupTimestamp);
  header->sequence = load<uint64_t>(content + kGroupSequence);
  std::memcpy(header->segment_id.data(), content + kGroupSegmentId, header->segment_id.size());
  header->link = load<uint32_t>(content + kGroupLink);
  header->body_sum = load<uint32_t>(content + kGroupBodySum);
  header->key_id = load<uint32_t>(content + kGroupKeyId);
  const bool known = header->kind >= GroupKind::data && header->kind <= GroupKind::seal;
  return known && header->file_bytes >= block_bytes &&
         header->file_bytes == group_file_bytes(header->stored_bytes, block_bytes) &&
         header->count <= header->raw_bytes && header->first_lsn >= 1 &&
         header->first_lsn <= kMaxLsn + 1 && header->first_lsn + header->count <= kMaxLsn + 1 &&
         header->durable_lsn <= header->first_lsn + header->count;
}

// Whole sectors are copied, in pieces that become a few vector moves each; the next sector
// overwrites what the stamp left behind. A copy of 500 bytes by itself takes twice as long.
void unstamp(const uint8_t* sectors, size_t count, uint8_t* content) {
  constexpr size_t kPiece = 64;
  if (count == 0) return;
  for (size_t i = 0; i + 1 < count; i++) {
    const uint8_t* const from = sectors + i * kSectorBytes;
    uint8_t* const to = content + i * kContentBytes;
    for (size_t at = 0; at < kSectorBytes; at += kPiece) {
      uint8_t piece[kPiece];
      fetch_for_store(to + at, kPiece);
      std::memcpy(piece, from + at, kPiece);
      std::memcpy(to + at, piece, kPiece);
    }
  }
  std::memcpy(content + (count - 1) * kContentBytes, sectors + (count - 1) * kSectorBytes,
              kContentBytes);
}

size_t unstamp_valid(const uint8_t* sectors, size_t count, uint64_t index, uint32_t tag,
                     bool starts_group, uint8_t* content) {
  constexpr size_t kBurst = 64;  // 32 KiB; a quarter of that is no quicker
  for (size_t done = 0; done < count; done += kBurst) {
    const size_t burst = std::min(kBurst, count - done);
    const uint8_t* const from = sectors + done * kSectorBytes;
    const size_t valid = first_invalid(from, burst, index + done, tag, starts_group && done == 0);
    if (valid < burst) return done + valid;
    unstamp(from, burst, content + done * kContentBytes);
  }
  return count;
}

}  // namespace stonelog::format
