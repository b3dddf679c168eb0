#include "driver/catalog.h"

#include <algorithm>

namespace stonelog::driver {

using log::SegmentEntry;

namespace {

bool sequence_below(const SegmentEntry& entry, uint64_t sequence) {
  return entry.header.sequence < sequence;
}

}  // namespace

SegmentEntry* Catalog::find(uint64_t sequence) {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), sequence, sequence_below);
  return at != entries_.end() && at->header.sequence == sequence ? &*at : nullptr;
}

SegmentEntry* Catalog::holding(uint64_t lsn) {
  const auto above = std::upper_bound(
      entries_.begin(), entries_.end(), lsn,
      [](uint64_t wanted, const SegmentEntry& entry) { return wanted < entry.first_lsn; });
  return above == entries_.begin() ? nullptr : &*(above - 1);
}

SegmentEntry* Catalog::after(uint64_t sequence) {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), sequence + 1, sequence_below);
  return at == entries_.end() ? nullptr : &*at;
}

ReadStart Catalog::start_of(uint64_t lsn, const format::ControlState& state) {
  ReadStart start;
  start.lsn = lsn == 0 ? state.first_lsn : lsn;
  start.place = ReadStart::Place::unmade;
  if (entries_.empty()) return start;
  const SegmentEntry* const held = holding(start.lsn);
  const SegmentEntry& entry = held == nullptr ? entries_.front() : *held;
  start.segment = {entry, &entry != &entries_.back()};
  start.place = held != nullptr ? ReadStart::Place::segment
                : format::is_hole(state.holes, start.lsn, entry.first_lsn - 1)
                    ? ReadStart::Place::hole
                    : ReadStart::Place::nowhere;
  return start;
}

std::vector<SegmentEntry> Catalog::release_before(uint64_t sequence) {
  const auto keep = std::lower_bound(entries_.begin(), entries_.end(), sequence, sequence_below);
  std::vector<SegmentEntry> out(entries_.begin(), keep);
  entries_.erase(entries_.begin(), keep);
  return out;
}

}  // namespace stonelog::driver
