#include "driver/group_index.h"

#include <algorithm>

namespace stonelog::driver {

namespace {

bool precedes(const GroupPlace& one, const GroupPlace& other) {
  return one.sequence != other.sequence ? one.sequence < other.sequence
                                        : one.first_lsn() < other.first_lsn();
}

GroupPlace at_lsn(uint64_t sequence, uint64_t lsn) {
  GroupPlace place;
  place.sequence = sequence;
  place.extent.first_lsn = lsn;
  return place;
}

}  // namespace

GroupPlace place_of(const format::GroupHeader& header, uint64_t offset) {
  GroupPlace place;
  place.sequence = header.sequence;
  place.tag = format::tag_of(header.segment_id);
  place.plain = header.kind == format::GroupKind::data && header.count > 0 && header.codec == 0 &&
                header.key_id == 0;
  place.extent = {offset, header.file_bytes, header.first_lsn, header.count};
  place.timestamp_micros = header.timestamp_micros;
  return place;
}

// Whether a neighbour in the same segment is nearer than the spacing.
bool GroupIndex::crowded(std::vector<GroupPlace>::const_iterator at,
                         const GroupPlace& place) const {
  const bool behind_one = at != places_.begin() && (at - 1)->sequence == place.sequence;
  if (behind_one && (at - 1)->extent.offset + spacing_ > place.extent.offset) return true;
  return at != places_.end() && at->sequence == place.sequence &&
         place.extent.offset + spacing_ > at->extent.offset;
}

void GroupIndex::note(const GroupPlace& place) {
  if (!place.plain) return;
  const std::lock_guard<std::mutex> guard(mutex_);
  auto at = places_.cend();
  if (!places_.empty() && !precedes(places_.back(), place))
    at = std::lower_bound(places_.cbegin(), places_.cend(), place, precedes);
  const bool known = at != places_.cend() && !precedes(place, *at);
  if (known || crowded(at, place)) return;
  places_.insert(at, place);
  if (places_.size() > most_) thin_out();
}

void GroupIndex::thin_out() {
  size_t kept = 0;
  for (size_t i = 0; i < places_.size(); i += 2) places_[kept++] = places_[i];
  places_.resize(kept);
  spacing_ = std::min(2 * spacing_, kMostSpacing);
}

GroupIndex::Around GroupIndex::around(uint64_t sequence, uint32_t tag, uint64_t lsn,
                                      uint64_t end) const {
  const std::lock_guard<std::mutex> guard(mutex_);
  Around found;
  auto at = std::upper_bound(places_.begin(), places_.end(), at_lsn(sequence, lsn), precedes);
  const auto usable = [&](const GroupPlace& place) {
    return place.sequence == sequence && place.tag == tag && place.end() <= end;
  };
  if (at != places_.end() && usable(*at)) found.after = *at;
  // Those of groups that are not durable yet come last.
  while (at != places_.begin() && (at - 1)->sequence == sequence && (at - 1)->end() > end) at--;
  if (at != places_.begin() && usable(*(at - 1))) found.before = *(at - 1);
  return found;
}

void GroupIndex::forget_before(uint64_t sequence) {
  const std::lock_guard<std::mutex> guard(mutex_);
  const auto first =
      std::lower_bound(places_.begin(), places_.end(), at_lsn(sequence, 0), precedes);
  places_.erase(places_.begin(), first);
  if (places_.size() < most_ / 4) spacing_ = kLeastSpacing;
}

size_t GroupIndex::size() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return places_.size();
}

}  // namespace stonelog::driver
