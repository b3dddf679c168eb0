#include "fuzz/image.h"

#include <algorithm>
#include <cstring>

#include "crc32c/crc32c.h"
#include "format/bytes.h"
#include "format/group.h"
#include "format/segment_header.h"
#include "format/stamp.h"
#include "fuzz/mend.h"
#include "fuzz/target.h"
#include "log/recovery.h"

namespace stonelog::fuzz {

using namespace format;

namespace {

constexpr uint8_t kFileMark = 'F';
constexpr uint8_t kSectorMark = 'S';
// Of the last group, in a seal whose first record is that of SealInfo.
constexpr size_t kSealChecksum = kGroupHeaderBytes + kRecordFixedBytes + 1 + 24;

template <typename T>
void put(std::vector<uint8_t>* out, T value) {
  uint8_t bytes[sizeof value];
  store(bytes, value);
  out->insert(out->end(), bytes, bytes + sizeof value);
}

SectorEntry take_sector(Input* input) {
  SectorEntry entry;
  entry.index = input->take<uint16_t>();
  entry.repeat = input->take<uint8_t>();
  entry.mode = input->take<uint8_t>();
  const size_t size = std::min<size_t>(input->take<uint16_t>(), kSectorBytes);
  if ((entry.mode & kFirstRecord) != 0) {
    entry.first_record = input->take<uint16_t>();
    entry.lsn_low = input->take<uint16_t>();
  }
  entry.bytes.resize(std::min(size, input->left()));
  input->take_bytes(entry.bytes.data(), entry.bytes.size());
  return entry;
}

// The modes of a file's sectors, beside their bytes.
using Modes = std::vector<uint8_t>;

void lay_out(const SectorEntry& entry, std::vector<uint8_t>* bytes, Modes* modes) {
  for (size_t i = entry.index; i <= size_t{entry.index} + entry.repeat && i < modes->size(); i++) {
    uint8_t* const sector = bytes->data() + i * kSectorBytes;
    std::memset(sector, 0, kSectorBytes);
    std::copy(entry.bytes.begin(), entry.bytes.end(), sector);
    (*modes)[i] = entry.mode;
    if ((entry.mode & kStamped) == 0) continue;
    if (entry.bytes.size() <= kContentBytes) clear_stamp(sector);
    if ((entry.mode & kFirstRecord) == 0) continue;
    store(sector + kStampFirstRecord, entry.first_record);
    store(sector + kStampLsnLow, entry.lsn_low);
  }
}

void restamp(uint8_t* sectors, const std::vector<uint8_t>& content) {
  for (size_t at = 0; at < content.size(); at += kContentBytes) {
    std::copy_n(content.begin() + static_cast<ptrdiff_t>(at),
                std::min(kContentBytes, content.size() - at),
                sectors + at / kContentBytes * kSectorBytes);
  }
}

// One group: `most` sectors are there. *link is the checksum of the one before, 0 if there is none
// in this file, and becomes that of this one.
void mend_group(uint8_t flags, const uint8_t* header, uint8_t* sectors, size_t most,
                uint32_t block_bytes, uint32_t* link) {
  std::vector<uint8_t> content(most * kContentBytes);
  unstamp(sectors, most, content.data());
  uint8_t* const group = content.data();
  const auto stored = load<uint32_t>(group + kGroupStoredBytes);
  const size_t there = std::min<size_t>(stored, content.size() - kGroupHeaderBytes);
  if ((flags & kMendIdentity) != 0) {
    std::memcpy(group + kGroupSequence, header + kHeaderSequence, 8);
    std::memcpy(group + kGroupSegmentId, header + kHeaderSegmentId, 16);
  }
  if ((flags & kMendSizes) != 0)
    store(group + kGroupFileBytes, static_cast<uint32_t>(group_file_bytes(stored, block_bytes)));
  if ((flags & kMendLinks) != 0 && *link != 0) store(group + kGroupLink, *link);
  if ((flags & kMendSums) != 0) {
    const auto first_lsn = load<uint64_t>(group + kGroupFirstLsn);
    store(group + kGroupBodySum, mend_records(group + kGroupHeaderBytes, there, first_lsn));
    store(group + kGroupChecksum, crc32c::extend(0, group, kGroupChecksum));
  }
  *link = load<uint32_t>(group + kGroupChecksum);
  restamp(sectors, content);
}

uint32_t block_bytes_of(const uint8_t* header) {
  const auto stated = load<uint32_t>(header + kHeaderBlockBytes);
  const bool sane =
      stated >= kMinBlockBytes && stated <= kMaxBlockBytes && (stated & (stated - 1)) == 0;
  return sane ? stated : kMinBlockBytes;
}

void mend_file(uint8_t flags, std::vector<uint8_t>* bytes, const Modes& modes) {
  if (modes.empty()) return;
  uint8_t* const header = bytes->data();
  if ((flags & kMendPreamble) != 0)
    store(header + kHeaderPreambleCrc, crc32c::extend(0, header, kHeaderPreambleCrc));
  const uint32_t block_bytes = block_bytes_of(header);
  const size_t block = block_bytes / kSectorBytes;
  const auto group_at = [&](size_t i) {
    uint8_t* const sectors = bytes->data() + i * kSectorBytes;
    const bool starts = i < modes.size() && (modes[i] & kStamped) != 0 &&
                        (modes[i] & kStartsGroup) != 0 && load<uint32_t>(sectors) == kGroupMagic;
    return starts ? sectors : nullptr;
  };
  uint32_t link = 0;
  for (size_t i = kFirstGroupBlock * block; i < modes.size(); i += block) {
    const uint8_t* const sector = bytes->data() + i * kSectorBytes;
    uint8_t* const group = group_at(i);
    if (group != nullptr) {
      mend_group(flags, header, group, modes.size() - i, block_bytes, &link);
    } else if (load<uint32_t>(sector) == kGroupMagic) {
      link = load<uint32_t>(sector + kGroupChecksum);  // damaged, but what follows names it
    }
  }
  uint8_t* const seal = group_at(block);
  if (seal == nullptr) return;
  if ((flags & kMendSeal) != 0 && link != 0) store(seal + kSealChecksum, link);
  mend_group(flags, header, seal, block, block_bytes, &link);
}

void stamp_file(std::vector<uint8_t>* bytes, const Modes& modes) {
  const auto tag = modes.empty() ? 0 : load<uint32_t>(bytes->data() + kHeaderSegmentId);
  for (size_t i = 0; i < modes.size(); i++) {
    if ((modes[i] & kStamped) == 0) continue;
    uint8_t* const sector = bytes->data() + i * kSectorBytes;
    stamp_sectors(sector, 1, i, (modes[i] & kOlder) != 0 ? tag ^ 0x5a5a5a5a : tag,
                  (modes[i] & kStartsGroup) != 0);
  }
}

}  // namespace

Image parse_image(const uint8_t* data, size_t size) {
  Input input(data, size);
  Image image;
  while (!input.empty()) {
    const auto mark = input.take<uint8_t>();
    if (mark == kFileMark && image.files.size() < kMaxFiles) {
      FileEntry file;
      file.flags = input.take<uint8_t>();
      file.sequence = input.take<uint64_t>();
      file.sectors = input.take<uint16_t>();
      image.files.push_back(std::move(file));
    } else if (mark == kSectorMark) {
      SectorEntry entry = take_sector(&input);
      if (!image.files.empty()) image.files.back().entries.push_back(std::move(entry));
    }
  }
  return image;
}

std::vector<uint8_t> format_image(const Image& image) {
  std::vector<uint8_t> out;
  for (const FileEntry& file : image.files) {
    out.push_back(kFileMark);
    out.push_back(file.flags);
    put(&out, file.sequence);
    put(&out, file.sectors);
    for (const SectorEntry& entry : file.entries) {
      out.push_back(kSectorMark);
      put(&out, entry.index);
      out.push_back(entry.repeat);
      out.push_back(entry.mode);
      put(&out, static_cast<uint16_t>(entry.bytes.size()));
      if ((entry.mode & kFirstRecord) != 0) {
        put(&out, entry.first_record);
        put(&out, entry.lsn_low);
      }
      out.insert(out.end(), entry.bytes.begin(), entry.bytes.end());
    }
  }
  return out;
}

std::vector<ExpandedFile> expand(const Image& image) {
  std::vector<ExpandedFile> out;
  for (const FileEntry& file : image.files) {
    const size_t count = std::min<size_t>(file.sectors, kMaxSectors);
    ExpandedFile expanded{log::segment_name(file.sequence), {}};
    expanded.bytes.resize(count * kSectorBytes);
    Modes modes(count);
    for (const SectorEntry& entry : file.entries) lay_out(entry, &expanded.bytes, &modes);
    mend_file(file.flags, &expanded.bytes, modes);
    stamp_file(&expanded.bytes, modes);
    out.push_back(std::move(expanded));
  }
  return out;
}

namespace {

SectorEntry pack_sector(const uint8_t* sector, uint64_t index, uint32_t tag) {
  SectorEntry entry;
  entry.index = static_cast<uint16_t>(index);
  const SectorState state = check_sector(sector, index, tag);
  const bool stamped = state == SectorState::valid || state == SectorState::group_start;
  size_t size = stamped ? kContentBytes : kSectorBytes;
  while (size > 0 && sector[size - 1] == 0) size--;
  entry.bytes.assign(sector, sector + size);
  if (!stamped) return entry;
  entry.mode = state == SectorState::group_start ? kStamped | kStartsGroup : kStamped;
  entry.first_record = load<uint16_t>(sector + kStampFirstRecord);
  entry.lsn_low = load<uint16_t>(sector + kStampLsnLow);
  if (entry.first_record != kNoRecord) entry.mode |= kFirstRecord;
  return entry;
}

}  // namespace

FileEntry pack_file(uint64_t sequence, const std::vector<uint8_t>& bytes) {
  FileEntry file;
  file.flags = kMendAll;
  file.sequence = sequence;
  file.sectors = static_cast<uint16_t>(bytes.size() / kSectorBytes);
  const auto tag = file.sectors == 0 ? 0 : load<uint32_t>(bytes.data() + kStampTag);
  for (size_t i = 0; i < file.sectors; i++) {
    const uint8_t* const sector = bytes.data() + i * kSectorBytes;
    if (is_zero(sector, kSectorBytes)) continue;
    SectorEntry entry = pack_sector(sector, i, tag);
    SectorEntry* const last = file.entries.empty() ? nullptr : &file.entries.back();
    const bool joins = last != nullptr && last->repeat < 255 && (entry.mode & kFirstRecord) == 0 &&
                       size_t{last->index} + last->repeat + 1 == i && last->mode == entry.mode &&
                       last->bytes == entry.bytes;
    if (joins) {
      last->repeat++;
    } else {
      file.entries.push_back(std::move(entry));
    }
  }
  return file;
}

}  // namespace stonelog::fuzz
