// What must come of a damage, from the rules of docs/durability.md alone.
#include <algorithm>
#include <set>

#include "every_byte/damage.h"
#include "format/stamp.h"

namespace stonelog::every_byte {

namespace {

using format::SectorState;

struct Effects {
  std::set<size_t> lost;        // groups of which whole sectors vanished
  std::set<size_t> lost_seals;  // segments
  Ruling ruling;
};

uint32_t tag_of(const Subject& subject, size_t segment) {
  uint8_t tag[4];
  subject.image.find(subject.segments[segment].path)
      ->content.read(format::kStampTag, tag, sizeof tag);
  return tag[0] | tag[1] << 8 | tag[2] << 16 | static_cast<uint32_t>(tag[3]) << 24;
}

// Whether an ordinary open reads the segment's groups.
bool walked(const Segment& segment) { return !segment.sealed && segment.accepted == 0; }

void judge_sector(const Subject& subject, const states::Image& damaged, const Place& place,
                  Effects* out) {
  const Segment& segment = subject.segments[place.segment];
  const uint64_t at = place.sector * kSector;
  uint8_t bytes[kSector];
  damaged.find(segment.path)->content.read(at, bytes, sizeof bytes);
  const SectorState state =
      format::check_sector(bytes, place.sector, tag_of(subject, place.segment));
  const bool gone =
      state == SectorState::unwritten || (state == SectorState::older && segment.recycled);
  const bool intact = state == SectorState::valid || state == SectorState::group_start;
  Ruling& ruling = out->ruling;
  if (at < kBlock) {
    if (!intact) ruling.refuse_all = ruling.refuse_quick = true;
    return;
  }
  if (at < 2 * kBlock) {
    if (!gone && !intact) ruling.refuse_all = ruling.refuse_quick = true;
    if (gone) out->lost_seals.insert(place.segment);
    return;
  }
  for (size_t i = 0; i < subject.groups.size(); i++) {
    const Group& group = subject.groups[i];
    if (group.file != place.segment || at < group.offset || at >= group.end) continue;
    if (gone) {
      out->lost.insert(i);
    } else if (!intact) {
      ruling.refuse_all = true;
      if (walked(segment) || group.offset == 2 * kBlock) ruling.refuse_quick = true;
    }
    return;
  }
  // Behind the end nothing is believed; in a segment that an open reads, damage is damage.
  if (!gone && !intact && walked(segment)) ruling.refuse_all = ruling.refuse_quick = true;
}

// Whether what is left of the log proves that the group was there: a seal, a successor, a later
// life, a watermark or a durable end that survives.
bool is_proven(const Subject& subject, const Effects& effects, const Group& group) {
  const Segment& segment = subject.segments[group.file];
  const auto first_group = [&](size_t file) {
    for (size_t i = 0; i < subject.groups.size(); i++) {
      if (subject.groups[i].file == file) return i;
    }
    return subject.groups.size();
  };
  if (segment.sealed && effects.lost_seals.count(group.file) == 0) return true;
  const bool successor = group.file + 1 < subject.segments.size() &&
                         effects.lost.count(first_group(group.file + 1)) == 0;
  if (successor && segment.accepted >= group.end) return true;
  if (group.offset == 2 * kBlock && segment.seal_before &&
      effects.lost_seals.count(group.file - 1) == 0)
    return true;
  for (size_t i = 0; i < subject.groups.size(); i++) {
    const Group& other = subject.groups[i];
    if (effects.lost.count(i) > 0) continue;
    if (other.file == group.file && other.durable_end >= group.end) return true;
    if (group.last_lsn >= group.first_lsn && other.durable_lsn >= group.last_lsn) return true;
  }
  return false;
}

}  // namespace

Ruling rule(const Subject& subject, const states::Image& damaged,
            const std::vector<Place>& changed) {
  Effects effects;
  effects.ruling.floor = subject.expected.required;
  for (const Place& place : changed) judge_sector(subject, damaged, place, &effects);
  Ruling& ruling = effects.ruling;
  for (const size_t i : effects.lost) {
    const Group& group = subject.groups[i];
    if (is_proven(subject, effects, group)) {
      ruling.refuse_all = true;
      if (walked(subject.segments[group.file])) ruling.refuse_quick = true;
      ruling.rule = "proven lost";
    } else {
      // "Silent loss of whole sectors above the last watermark"
      ruling.floor = std::min(ruling.floor, group.first_lsn - 1);
      if (*ruling.rule == 0) ruling.rule = "above the last watermark";
    }
  }
  return ruling;
}

}  // namespace stonelog::every_byte
