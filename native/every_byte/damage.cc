#include "every_byte/damage.h"

#include <algorithm>
#include <cstring>

#include "every_byte/repair.h"
#include "format/bytes.h"
#include "format/stamp.h"

namespace stonelog::every_byte {

namespace {

using states::Image;
using states::Node;
using states::RecordingFileSystem;

std::string number(uint64_t value) { return std::to_string(value); }

bool is_refusal(Code code) {
  return code == Code::corrupt || code == Code::not_a_log || code == Code::unsupported_version;
}

// One subject with one damage: opened in both ways, read, judged.
class Trial {
 public:
  Trial(const Subject& subject, std::string what, Counters* counters)
      : subject_(subject), what_(std::move(what)), counters_(counters), image_(subject.image) {}

  Image& image() { return image_; }
  Node& node(size_t segment) {
    return image_.nodes.at(image_.names.at(subject_.segments[segment].path));
  }
  void write(size_t segment, uint64_t at, const uint8_t* data, size_t size) {
    node(segment).content.write(at, data, size);
  }

  std::string run(const std::vector<Place>& changed) {
    return run(rule(subject_, image_, changed));
  }
  std::string run(const Ruling& ruling) {
    std::string reason = open(ruling, false);
    if (reason.empty()) reason = open(ruling, true);
    if (reason.empty() && is_repaired())
      reason = judge_repairs(subject_, image_, ruling, counters_);
    return reason.empty() ? reason
                          : subject_.name + ", " + what_ + " (" + ruling.rule + "): " + reason;
  }

 private:
  // One in eight, always the same ones.
  bool is_repaired() const {
    return states::hash_of(reinterpret_cast<const uint8_t*>(what_.data()), what_.size()) % 8 == 0;
  }
  std::string open(const Ruling& ruling, bool scan_all) {
    RecordingFileSystem fs(image_, probe(), 1, 0);
    log::RecoveryPolicy policy;
    policy.scan_all = scan_all;
    log::Examination examination;
    const Status status = log::examine(fs, states::kLogDirectory, probe(), policy, &examination);
    const std::string mode = scan_all ? "reading everything: " : "";
    if (fs.changes() != 0) return mode + "the examination changed a file";
    if (!status.ok()) {
      if (!is_refusal(status.code) || status.path.empty() || status.detail.empty())
        return mode + "refused without saying why: " + status.path + ": " + status.detail;
      counters_->refused++;
      return {};
    }
    const log::RecoveryReport& report = examination.report;
    if (scan_all ? ruling.refuse_all : ruling.refuse_quick)
      return mode + "it opens, " + report.row + ", LSN " + number(report.last_lsn);
    if (report.last_lsn < ruling.floor)
      return mode + "it opens without LSN " + number(ruling.floor) + ": " + report.row + ", LSN " +
             number(report.last_lsn);
    if (report.first_lsn > subject_.expected.most_head)
      return mode + "it opens with the head " + number(report.first_lsn);
    return read(fs, examination, scan_all, mode);
  }

  // What is read is what was written; where it cannot be, the reader says so.
  std::string read(RecordingFileSystem& fs, const log::Examination& examination, bool scan_all,
                   const std::string& mode) {
    std::string altered;
    const std::string stop = states::read_records(
        fs, probe(), states::kLogDirectory, examination,
        [&](uint64_t lsn, const uint8_t* data, size_t size) {
          const states::Appended* appended = subject_.expected.find(lsn);
          counters_->records++;
          if (appended == nullptr || appended->hash != states::hash_of(data, size))
            altered = "LSN " + number(lsn) + " is not what was appended";
          return altered;
        });
    if (!altered.empty()) return mode + altered;
    const bool unreadable = stop.find("cannot be read") != std::string::npos;
    if (!stop.empty() && (scan_all || !unreadable)) return mode + stop;
    if (!stop.empty())
      counters_->stopped++;
    else if (examination.report.last_lsn < subject_.expected.required)
      counters_->cut++;
    else
      counters_->intact++;
    const states::Appended* last = subject_.expected.find(examination.report.last_lsn);
    if (last != nullptr && last->batch_last > examination.report.last_lsn)
      return mode + "half a batch";
    return {};
  }

  const Subject& subject_;
  const std::string what_;
  Counters* counters_;
  Image image_;
};

// The bytes of one sector, and what is done to each.
class Sector {
 public:
  Sector(const Subject& subject, size_t segment, uint64_t sector, Counters* counters)
      : subject_(subject), place_{segment, sector}, counters_(counters) {
    content().read(sector * kSector, bytes_, sizeof bytes_);
    for (const Group& group : subject.groups) {
      starts_group_ = starts_group_ || (group.file == segment && group.offset == sector * kSector);
    }
    starts_group_ = starts_group_ || sector == 0 || sector * kSector == kBlock;
  }

  std::string flip(size_t byte, uint8_t mask) {
    counters_->flips++;
    return change("a byte xor " + number(mask), byte, bytes_[byte] ^ mask, false);
  }
  std::string zero(size_t byte) {
    if (bytes_[byte] == 0) return {};
    counters_->zeroed_bytes++;
    return change("a zeroed byte", byte, 0, false);
  }
  // What a lying memory does: the sector is stamped as it is.
  std::string forge(size_t byte, uint8_t mask) {
    if (byte >= format::kStampTag) return {};
    counters_->forged++;
    return change("a byte xor " + number(mask) + " under a right stamp", byte, bytes_[byte] ^ mask,
                  true);
  }
  bool blank() const {
    return std::all_of(bytes_, bytes_ + kSector, [](uint8_t byte) { return byte == 0; });
  }

 private:
  const states::Content& content() const {
    return subject_.image.find(subject_.segments[place_.segment].path)->content;
  }
  std::string change(const std::string& how, size_t byte, int value, bool stamped) {
    uint8_t changed[kSector];
    std::memcpy(changed, bytes_, sizeof changed);
    changed[byte] = static_cast<uint8_t>(value);
    if (stamped) {
      uint32_t tag = 0;
      std::memcpy(&tag, bytes_ + format::kStampTag, sizeof tag);
      format::stamp_sectors(changed, 1, place_.sector, tag, starts_group_);
    }
    Trial trial(subject_,
                how + " at " + number(place_.sector * kSector + byte) + " of " +
                    subject_.segments[place_.segment].path,
                counters_);
    trial.write(place_.segment, place_.sector * kSector, changed, sizeof changed);
    return trial.run({place_});
  }

  const Subject& subject_;
  const Place place_;
  Counters* counters_;
  uint8_t bytes_[kSector];
  bool starts_group_ = false;
};

// Sectors or blocks, from `place` on.
class Region {
 public:
  Region(const Subject& subject, const Place& place, size_t sectors, Counters* counters)
      : subject_(subject),
        place_(place),
        sectors_(sectors),
        name_(sectors == 1 ? "a sector" : "a block"),
        counters_(counters) {}

  std::string zero() { return put("zeroed", std::vector<uint8_t>(sectors_ * kSector)); }
  std::string copy_from(const Place& other) {
    return put("overwritten by that at " + where(other), bytes_of(subject_.image, other));
  }
  std::string copy_from(const char* what, const Image& image) {
    const Node* node = image.find(subject_.segments[place_.segment].path);
    if (node == nullptr || node->size < (place_.sector + sectors_) * kSector) return {};
    return put(what, bytes_of(image, place_));
  }
  std::string exchange(const Place& other) {
    const std::vector<uint8_t> mine = bytes_of(subject_.image, place_);
    const std::vector<uint8_t> theirs = bytes_of(subject_.image, other);
    if (mine == theirs) return {};
    Trial trial(subject_,
                name_ + " at " + where(place_) + " exchanged with that at " + where(other),
                counters_);
    trial.write(place_.segment, place_.sector * kSector, theirs.data(), theirs.size());
    trial.write(other.segment, other.sector * kSector, mine.data(), mine.size());
    std::vector<Place> changed;
    add_changed(place_, mine, theirs, &changed);
    add_changed(other, theirs, mine, &changed);
    count();
    return trial.run(changed);
  }

 private:
  void count() { (sectors_ == 1 ? counters_->sectors : counters_->blocks)++; }
  std::string where(const Place& place) const {
    return number(place.sector * kSector) + " of " + subject_.segments[place.segment].path;
  }
  std::vector<uint8_t> bytes_of(const Image& image, const Place& place) const {
    std::vector<uint8_t> out(sectors_ * kSector);
    image.find(subject_.segments[place.segment].path)
        ->content.read(place.sector * kSector, out.data(), out.size());
    return out;
  }
  void add_changed(const Place& place, const std::vector<uint8_t>& before,
                   const std::vector<uint8_t>& after, std::vector<Place>* out) const {
    for (size_t i = 0; i < sectors_; i++) {
      if (std::memcmp(before.data() + i * kSector, after.data() + i * kSector, kSector) != 0)
        out->push_back({place.segment, place.sector + i});
    }
  }
  std::string put(const std::string& how, const std::vector<uint8_t>& bytes) {
    const std::vector<uint8_t> before = bytes_of(subject_.image, place_);
    if (before == bytes) return {};
    Trial trial(subject_, name_ + " at " + where(place_) + " " + how, counters_);
    trial.write(place_.segment, place_.sector * kSector, bytes.data(), bytes.size());
    std::vector<Place> changed;
    add_changed(place_, before, bytes, &changed);
    count();
    return trial.run(changed);
  }

  const Subject& subject_;
  const Place place_;
  const size_t sectors_;
  const std::string name_;
  Counters* counters_;
};

std::string damage_region(const Subject& subject, const Place& place, size_t sectors,
                          sim::Random* random, bool all, Counters* counters) {
  Region region(subject, place, sectors, counters);
  std::string reason = region.zero();
  if (reason.empty()) reason = region.copy_from("of an earlier time", subject.older);
  if (reason.empty()) reason = region.copy_from("of another log", subject.foreign);
  const auto some_place = [&](size_t segment) {
    const uint64_t count = subject.segments[segment].end / kSector / sectors;
    return Place{segment, random->below(count) * sectors};
  };
  std::vector<Place> others;
  for (int i = 0; i < (all ? 4 : 1); i++) others.push_back(some_place(place.segment));
  for (size_t segment = 0; segment < subject.segments.size(); segment++) {
    if (segment == place.segment || (!all && !random->chance(30))) continue;
    others.push_back(some_place(segment));
    if ((place.sector + sectors) * kSector <= subject.segments[segment].size)
      others.push_back({segment, place.sector});
  }
  if ((place.sector + 2 * sectors) * kSector <= subject.segments[place.segment].size)
    others.push_back({place.segment, place.sector + sectors});
  for (const Place& other : others) {
    if (reason.empty()) reason = region.copy_from(other);
    if (reason.empty()) reason = region.exchange(other);
  }
  return reason;
}

// A file has the size its header says, or it is refused.
std::string damage_size(const Subject& subject, size_t segment, uint64_t size, Counters* counters) {
  if (size == subject.segments[segment].size) return {};
  Trial trial(subject, subject.segments[segment].path + " cut to " + number(size), counters);
  Node& node = trial.node(segment);
  if (size < node.size) node.content.write(size, nullptr, node.size - size);
  node.size = size;
  counters->sizes++;
  return trial.run({true, true, subject.expected.required, "size"});
}

}  // namespace

std::string damage_sector(const Subject& subject, size_t segment, uint64_t sector,
                          const Thoroughness& how, Counters* counters) {
  sim::Random random(how.seed * 1'000'003 + segment * 10'007 + sector);
  const Place place{segment, sector};
  const bool inside = (sector + 1) * kSector <= subject.segments[segment].size;
  Sector bytes(subject, segment, sector, counters);
  // Of sectors that hold nothing a few bytes are enough: they are all alike.
  const uint64_t one_in = bytes.blank() ? 128 : how.all ? 1 : how.one_in;
  std::string reason;
  for (size_t byte = 0; byte < kSector && inside && reason.empty(); byte++) {
    if (!random.rarely(one_in)) continue;
    for (int bit = 0; bit < 8 && how.all && reason.empty(); bit++)
      reason = bytes.flip(byte, static_cast<uint8_t>(1 << bit));
    if (reason.empty()) reason = bytes.flip(byte, static_cast<uint8_t>(random.between(1, 255)));
    if (reason.empty() && how.all) reason = bytes.flip(byte, 0xff);
    if (reason.empty()) reason = bytes.zero(byte);
    if (reason.empty()) reason = bytes.forge(byte, static_cast<uint8_t>(1 << random.below(8)));
  }
  if (reason.empty() && inside && (how.all || random.rarely(how.one_in / 24 + 1)))
    reason = damage_region(subject, place, 1, &random, how.all, counters);
  const uint64_t in_block = kBlock / kSector;
  if (reason.empty() && inside && sector % in_block == 0 &&
      (how.all || random.rarely(how.one_in / 200 + 1)))
    reason = damage_region(subject, place, in_block, &random, how.all, counters);
  for (const int64_t by : {0, -1, 1, 100}) {
    const int64_t size = static_cast<int64_t>(sector * kSector) + by;
    if (!reason.empty() || size < 0 || (by != 0 && !how.all && !random.rarely(8)) ||
        (!how.all && !random.rarely(how.one_in / 200 + 1)))
      continue;
    reason = damage_size(subject, segment, static_cast<uint64_t>(size), counters);
  }
  return reason;
}

std::string damage_files(const Subject& subject, Counters* counters) {
  const auto run = [&](Trial* trial, const Ruling& ruling) {
    counters->files++;
    return trial->run(ruling);
  };
  const uint64_t all = subject.expected.required;
  for (size_t i = 0; i < subject.segments.size(); i++) {
    const Segment& segment = subject.segments[i];
    std::string reason;
    {
      // "Loss of the newest segment file": its predecessor's seal proves it, or nothing does.
      Trial trial(subject, segment.path + " deleted", counters);
      trial.image().names.erase(segment.path);
      states::prune(&trial.image());
      const bool last = i + 1 == subject.segments.size();
      const bool proven = !last || segment.seal_before;
      reason = run(&trial, {proven, proven, proven ? all : segment.first_lsn - 1, "deleted"});
    }
    for (size_t j = i + 1; j < subject.segments.size() && reason.empty(); j++) {
      Trial trial(subject, segment.path + " exchanged with " + subject.segments[j].path, counters);
      std::swap(trial.image().names.at(segment.path),
                trial.image().names.at(subject.segments[j].path));
      reason = run(&trial, {true, true, all, "exchanged"});
    }
    if (reason.empty()) {
      Trial trial(subject, segment.path + " doubled", counters);
      const std::string name = std::string(states::kLogDirectory) + "/" +
                               log::segment_name(subject.segments.back().sequence + 50);
      trial.image().nodes[99'999] = trial.node(i);
      trial.image().names[name] = 99'999;
      reason = run(&trial, {true, true, all, "doubled"});
    }
    const Node* foreign = subject.foreign.find(segment.path);
    if (reason.empty() && foreign != nullptr && subject.segments.size() > 2) {
      Trial trial(subject, segment.path + " of another log", counters);
      trial.node(i) = *foreign;
      reason = run(&trial, {true, true, all, "another log's"});
    }
    const Node* older = subject.older.find(segment.path);
    if (reason.empty() && older != nullptr && older->size == segment.size) {
      Trial trial(subject, segment.path + " of an earlier time", counters);
      trial.node(i) = *older;
      std::vector<Place> changed;
      for (uint64_t s = 0; s < segment.size / kSector; s++) changed.push_back({i, s});
      counters->files++;
      reason = trial.run(changed);
    }
    if (!reason.empty()) return reason;
  }
  return {};
}

}  // namespace stonelog::every_byte
