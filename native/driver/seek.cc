#include "driver/seek.h"

#include <algorithm>

#include "log/group_reader.h"

namespace stonelog::driver {

using log::Defect;
using log::GroupReader;

namespace {

// A guess is looked at with what lies around it; groups of a bulk load are larger, and their
// headers are looked for in larger strides.
constexpr uint64_t kNearBytes = 32 << 10;
constexpr uint64_t kNearBlocks = 5;
constexpr size_t kFarBytes = 256 << 10;
constexpr uint64_t kNearBlocksBefore = 3;
// So many guesses may narrow the range down by less than a half before a half is taken.
constexpr int kPatience = 3;

// Narrows down the range in which the group may start, by guesses at where the LSN's share of the
// range would have it, as interpolation search does (Peterson, 1957), with halving as its safeguard
// where records are of very different sizes.
class Seeker {
 public:
  Seeker(io::File& file, const log::SegmentEntry& segment, uint64_t lsn)
      : block_(segment.header.block_bytes),
        lsn_(lsn),
        near_(file, segment.header, std::max(kNearBytes, kNearBlocks * block_)),
        far_(file, segment.header, kFarBytes),
        from_(format::kFirstGroupBlock * block_),
        from_lsn_(segment.first_lsn),
        to_(segment.end / block_ * block_),
        to_lsn_(std::max(segment.last_lsn, lsn) + 1) {
    near_.window().set_limit(to_);
    far_.window().set_limit(to_);
  }

  // What is known already.
  void start_from(const GroupPlace& place) { found_at_or_before(place); }
  void end_at(const GroupPlace& place) {
    to_ = place.extent.offset;
    to_lsn_ = place.first_lsn();
  }

  Status run();
  const std::optional<GroupPlace>& place() const { return place_; }

 private:
  uint64_t guess(bool by_half) const;
  Status look_at(uint64_t guess);
  Status find_header(uint64_t at, bool* found, uint64_t* offset, format::GroupHeader* header);
  Status search_down(GroupReader* reader, uint64_t lowest, uint64_t highest, bool* found,
                     uint64_t* offset, format::GroupHeader* header) const;
  void found_at_or_before(const GroupPlace& place);

  const uint64_t block_;
  const uint64_t lsn_;
  GroupReader near_;
  GroupReader far_;
  // The group, unless it is place_, starts in [from_, to_); from_lsn_ is the first LSN behind
  // place_, to_lsn_ that of the group at to_.
  uint64_t from_;
  uint64_t from_lsn_;
  uint64_t to_;
  uint64_t to_lsn_;
  std::optional<GroupPlace> place_;
};

void Seeker::found_at_or_before(const GroupPlace& place) {
  place_ = place;
  from_ = place.end();
  from_lsn_ = place.next_lsn();
}

uint64_t Seeker::guess(bool by_half) const {
  const uint64_t blocks = (to_ - from_) / block_;
  if (by_half || from_lsn_ >= to_lsn_) return from_ + blocks / 2 * block_;
  const double share = static_cast<double>(lsn_ - std::min(lsn_, from_lsn_)) /
                       static_cast<double>(to_lsn_ - from_lsn_);
  const auto ahead = static_cast<uint64_t>(share * static_cast<double>(blocks));
  return from_ + std::min(ahead, blocks - 1) * block_;
}

// The last header in [lowest, highest].
Status Seeker::search_down(GroupReader* reader, uint64_t lowest, uint64_t highest, bool* found,
                           uint64_t* offset, format::GroupHeader* header) const {
  Defect defect = Defect::none;
  Status status = reader->read_header(lowest, header, &defect);  // and what follows it
  for (*offset = highest; status.ok(); *offset -= block_) {
    status = reader->read_header(*offset, header, &defect);
    *found = status.ok() && defect == Defect::none;
    if (*found || *offset == lowest) break;
  }
  return status;
}

// The last header in [from_, at].
Status Seeker::find_header(uint64_t at, bool* found, uint64_t* offset,
                           format::GroupHeader* header) {
  *found = false;
  const auto held = [this](uint64_t offset) { return near_.window().holds(offset, block_); };
  uint64_t lowest = at;
  if (!held(at)) lowest = std::max(from_, at - std::min(at, kNearBlocksBefore * block_));
  while (held(lowest) && lowest > from_ && held(lowest - block_)) lowest -= block_;
  Status status = search_down(&near_, lowest, at, found, offset, header);
  while (status.ok() && !*found && lowest > from_) {
    const uint64_t highest = lowest - block_;
    lowest = std::max(from_, lowest - std::min<uint64_t>(lowest, kFarBytes));
    status = search_down(&far_, lowest, highest, found, offset, header);
  }
  return status;
}

Status Seeker::look_at(uint64_t guess) {
  bool found = false;
  uint64_t offset = 0;
  format::GroupHeader header;
  Status status = find_header(guess, &found, &offset, &header);
  if (!status.ok()) return status;
  if (found && header.first_lsn > lsn_) {
    to_ = offset;
    to_lsn_ = header.first_lsn;
    return {};
  }
  if (found) {
    found_at_or_before(place_of(header, offset));
  }
  from_ = std::max(from_, guess + block_);
  return {};
}

Status Seeker::run() {
  int patience = kPatience;
  while (from_ < to_ && (!place_.has_value() || lsn_ >= place_->next_lsn())) {
    const uint64_t before = to_ - from_;
    const bool at_hand = near_.window().holds(from_, block_);
    Status status = look_at(at_hand ? from_ : guess(patience == 0));
    if (!status.ok()) return status;
    const bool halved = from_ >= to_ || to_ - from_ <= before / 2;
    if (halved || patience == 0) {
      patience = kPatience;
    } else if (!at_hand) {
      patience--;
    }
  }
  return {};
}

}  // namespace

Status seek(io::File& file, const log::SegmentEntry& segment, uint64_t lsn, GroupIndex* index,
            std::optional<GroupPlace>* place) {
  Seeker seeker(file, segment, lsn);
  const GroupIndex::Around known =
      index->around(segment.header.sequence, segment.header.tag(), lsn, segment.end);
  if (known.before.has_value()) seeker.start_from(*known.before);
  if (known.after.has_value()) seeker.end_at(*known.after);
  Status status = seeker.run();
  *place = seeker.place();
  if (status.ok() && place->has_value() && (*place)->end() <= segment.end) index->note(**place);
  return status;
}

}  // namespace stonelog::driver
