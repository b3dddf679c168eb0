// Mutations of an image that bytes alone rarely hit: sectors moved, doubled and dropped, fields of
// headers set to the values at which arithmetic goes wrong.
#include <algorithm>
#include <array>
#include <cstring>
#include <random>

#include "format/bytes.h"
#include "format/layout.h"
#include "fuzz/image.h"

namespace stonelog::fuzz {

using namespace format;

namespace {

struct Field {
  size_t at;
  size_t size;
};
constexpr std::array<Field, 14> kGroupFields = {{{kGroupKind, 1},
                                                 {kGroupCodec, 1},
                                                 {kGroupFlags, 2},
                                                 {kGroupFileBytes, 4},
                                                 {kGroupStoredBytes, 4},
                                                 {kGroupRawBytes, 4},
                                                 {kGroupCount, 4},
                                                 {kGroupFirstLsn, 8},
                                                 {kGroupEpoch, 8},
                                                 {kGroupDurableLsn, 8},
                                                 {kGroupDurableEnd, 8},
                                                 {kGroupSequence, 8},
                                                 {kGroupLink, 4},
                                                 {kGroupKeyId, 4}}};
constexpr std::array<Field, 7> kHeaderFields = {{{kHeaderSubVersion, 2},
                                                 {kHeaderReadOnlyCompatible, 4},
                                                 {kHeaderBlockBytes, 4},
                                                 {kHeaderLogId, 8},
                                                 {kHeaderSequence, 8},
                                                 {kHeaderFileBytes, 8},
                                                 {kHeaderFlags, 1}}};

class Mutation {
 public:
  explicit Mutation(uint32_t seed) : random_(seed) {}

  void change(Image* image) {
    if (image->files.empty()) return;
    FileEntry& file = image->files[below(image->files.size())];
    switch (below(12)) {
      case 0:
        file.flags ^= static_cast<uint8_t>(1 << below(6));
        return;
      case 1:
        file.sequence = below(2) == 0 ? below(5) : interesting(file.sequence);
        return;
      case 2:
        file.sectors = static_cast<uint16_t>(interesting(file.sectors));
        return;
      case 3:
        change_files(image);
        return;
      default:
        if (!file.entries.empty()) change_sectors(image, &file);
    }
  }

 private:
  uint64_t below(uint64_t bound) { return random_() % bound; }

  uint64_t interesting(uint64_t now) {
    const std::array<uint64_t, 16> values = {0,
                                             1,
                                             2,
                                             4096,
                                             8192,
                                             12288,
                                             0xffff,
                                             1 << 24,
                                             1 << 30,
                                             kMaxLsn,
                                             kMaxLsn + 1,
                                             UINT64_MAX,
                                             uint64_t{1} << 63,
                                             now + 1,
                                             now - 1,
                                             now ^ (uint64_t{1} << below(64))};
    return values[below(values.size())];
  }

  void change_files(Image* image) {
    const size_t i = below(image->files.size());
    const size_t k = below(image->files.size());
    if (below(3) == 0) {
      image->files.erase(image->files.begin() + static_cast<ptrdiff_t>(i));
    } else if (below(2) == 0) {
      std::swap(image->files[i].sequence, image->files[k].sequence);
    } else {
      image->files.push_back(FileEntry(image->files[i]));
      image->files.back().sequence++;
    }
  }

  void change_sectors(Image* image, FileEntry* file) {
    const size_t i = below(file->entries.size());
    SectorEntry& entry = file->entries[i];
    switch (below(9)) {
      case 0:
        file->entries.erase(file->entries.begin() + static_cast<ptrdiff_t>(i));
        return;
      case 1:
        move(&entry, file);
        return;
      case 2: {
        SectorEntry copy = entry;
        move(&copy, file);
        FileEntry& into = image->files[below(image->files.size())];
        into.entries.push_back(std::move(copy));
        return;
      }
      case 3:
        entry.mode ^= static_cast<uint8_t>(1 << below(4));
        return;
      case 4:
        entry.mode |= kFirstRecord;
        entry.first_record = static_cast<uint16_t>(below(2) == 0 ? below(kContentBytes)
                                                                 : interesting(entry.first_record));
        if (below(2) == 0) entry.lsn_low = static_cast<uint16_t>(interesting(entry.lsn_low));
        return;
      case 5:
        entry.repeat = static_cast<uint8_t>(interesting(entry.repeat));
        return;
      default:
        set_field(&entry);
    }
  }

  void move(SectorEntry* entry, FileEntry* file) {
    const SectorEntry& other = file->entries[below(file->entries.size())];
    const uint16_t block = kMinBlockBytes / kSectorBytes;
    entry->index =
        below(2) == 0 ? other.index : static_cast<uint16_t>(below(kMaxSectors / block) * block);
  }

  void set_field(SectorEntry* entry) {
    Field field{below(kContentBytes), size_t{1} << below(4)};
    if (entry->index == 0) {
      if (below(4) != 0) field = kHeaderFields[below(kHeaderFields.size())];
    } else if ((entry->mode & kStartsGroup) != 0) {
      // Behind the header begins the stream: a control record's fields are u64 there.
      if (below(3) != 0) {
        field = kGroupFields[below(kGroupFields.size())];
      } else {
        field = {kGroupHeaderBytes + below(160), below(2) == 0 ? size_t{1} : size_t{8}};
      }
    }
    if (entry->bytes.size() < field.at + field.size) entry->bytes.resize(field.at + field.size);
    uint64_t value = 0;
    std::memcpy(&value, entry->bytes.data() + field.at, field.size);
    value = interesting(value);
    std::memcpy(entry->bytes.data() + field.at, &value, field.size);
  }

  std::minstd_rand random_;
};

}  // namespace

size_t mutate_image(uint8_t* data, size_t size, size_t max_size, uint32_t seed) {
  Image image = parse_image(data, size);
  Mutation mutation(seed);
  for (uint32_t i = 0; i <= seed % 3; i++) mutation.change(&image);
  const std::vector<uint8_t> out = format_image(image);
  if (out.empty() || out.size() > max_size) return size;
  std::copy(out.begin(), out.end(), data);
  return out.size();
}

}  // namespace stonelog::fuzz
