// What no crash explains: flipped bits, lost sectors, read errors. Each scenario works on a copy of
// the disk as a crash left it, and says what must be proven, what must be kept, and that nothing
// was changed before.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "format/stamp.h"
#include "log/group_reader.h"
#include "sim/simulation.h"

namespace stonelog::sim {

namespace {

std::string number(uint64_t value) { return std::to_string(value); }

log::RecoveryPolicy policy_of(log::OnDamage damage, bool scan_all) {
  log::RecoveryPolicy policy;
  policy.damage = damage;
  policy.scan_all = scan_all;
  return policy;
}

}  // namespace

void Simulation::damage_scenarios() {
  const Disk before = fs_.disk();
  fs_.clear_faults();
  fs_.set_capacity(UINT64_MAX);
  fs_.suspend_guard(true);  // what is damaged may have been acknowledged
  fs_.crash(names_);
  const Disk settled = fs_.disk();
  const std::vector<Place> places = groups_on_disk();
  if (good() && !places.empty()) {
    fail_read();
    for (int i = 0; i < 3 && good(); i++) {
      fs_.restore(settled);
      damage_group(places);
      counters_.damages++;
    }
    fs_.restore(settled);
    if (good()) damage_identity(places);
    for (int i = 0; i < 2 && good(); i++) {
      fs_.restore(settled);
      damage_placement(places);
    }
    for (int i = 0; i < 2 && good(); i++) {
      fs_.restore(settled);
      damage_files(places);
    }
  }
  fs_.restore(before);
  fs_.suspend_guard(false);
}

// The groups of the accepted log, and what later ones prove about them.
std::vector<Simulation::Place> Simulation::groups_on_disk() {
  std::vector<Place> places;
  log::Examination examination;
  Status status = log::examine(fs_, kDirectory, fs_.probe_result,
                               policy_of(log::OnDamage::refuse, false), &examination);
  if (!status.ok()) {
    model_.fail("examination of a copy fails: " + describe_status(status));
    return places;
  }
  settled_last_lsn_ = examination.report.last_lsn;
  settled_first_lsn_ = examination.report.first_lsn;
  settled_segments_ = examination.segments;
  log::Examination whole;
  status = log::examine(fs_, kDirectory, fs_.probe_result, policy_of(log::OnDamage::refuse, true),
                        &whole);
  if (!status.ok() || whole.report.last_lsn != settled_last_lsn_ ||
      whole.report.row != examination.report.row) {
    model_.fail("scanning everything says otherwise: " + whole.report.row + ", not " +
                examination.report.row + "; " + describe_status(status));
  }
  for (const log::SegmentEntry& entry : examination.segments) {
    std::unique_ptr<io::File> file;
    const std::string path = path_of(entry.header.sequence);
    if (!fs_.open(path, io::Access::read, fs_.probe_result.direct, 0, &file).ok()) continue;
    log::GroupReader reader(*file, entry.header, 128 << 10);
    log::GroupView view;
    log::Expectation any;
    any.any = true;
    const size_t first = places.size();
    for (uint64_t at = format::kFirstGroupBlock * uint64_t{entry.header.block_bytes};
         at < entry.end;) {
      log::Defect defect = log::Defect::none;
      uint64_t bad = 0;
      if (!reader.read(at, entry.end, any, &view, &defect, &bad).ok() ||
          defect != log::Defect::none)
        break;
      const format::GroupHeader& header = view.header;
      const uint64_t last = header.first_lsn + header.count - 1;
      for (size_t i = 0; i < places.size(); i++) {
        const bool covered = i >= first && places[i].offset + places[i].size <= header.durable_end;
        const bool stated =
            places[i].last_lsn >= places[i].first_lsn && header.durable_lsn >= places[i].last_lsn;
        places[i].proven = places[i].proven || covered || stated;
      }
      places.push_back({path, entry.header.sequence, at, header.file_bytes, header.first_lsn, last,
                        false, entry.sealed, entry.header.recycled});
      at += header.file_bytes;
    }
  }
  return places;
}

void Simulation::fail_read() {
  const Disk before = fs_.disk();
  const uint64_t skip = random_.below(20);
  const uint32_t calls = random_.chance(70) ? kReads : random_.chance(50) ? kOpens : kLists;
  fs_.add({calls, calls == kLists ? 0 : skip, 1, EIO, ""});
  const uint64_t fired = fs_.faults_fired();
  log::Examination examination;
  Status status = log::examine(fs_, kDirectory, fs_.probe_result, {}, &examination);
  fs_.clear_faults();
  if (fs_.faults_fired() == fired) return;
  if (status.code != Code::io)
    model_.fail("a read error is taken for something else: " + describe_status(status));
  if (!fs_.disk().looks_like(before))
    model_.fail("the examination changed a file after a read error");
}

// Flips a bit in, or loses whole sectors of, one group.
void Simulation::damage_group(const std::vector<Place>& places) {
  const Place& place = places[random_.below(places.size())];
  const bool flip = random_.chance(60);
  const uint64_t sector = random_.below(place.size / format::kSectorBytes);
  uint8_t bytes[format::kSectorBytes] = {};
  const uint64_t at = place.offset + sector * format::kSectorBytes;
  if (flip) {
    fs_.disk().find(place.path)->visible.read(at, bytes, sizeof bytes);
    bytes[random_.below(sizeof bytes)] ^= static_cast<uint8_t>(1 << random_.below(8));
    fs_.damage(place.path, at, bytes, sizeof bytes);
  } else {
    const uint64_t end = random_.chance(50) ? at + sizeof bytes : place.offset + place.size;
    for (uint64_t zero = at; zero < end; zero += sizeof bytes)
      fs_.damage(place.path, zero, bytes, sizeof bytes);
  }
  const std::string what = std::string(flip ? "a flipped bit" : "a lost sector") + " in segment " +
                           number(place.sequence) + " at " + number(at) + ", LSNs " +
                           number(place.first_lsn) + " to " + number(place.last_lsn) +
                           (place.sealed ? ", sealed" : "") + (place.proven ? ", proven" : "");
  say(what);
  coverage_.add(flip ? "damage: flipped bit" : "damage: lost sectors");
  const Disk damaged = fs_.disk();
  log::Examination examination;
  const bool proven = flip || place.proven || place.sealed;
  Status status = log::examine(fs_, kDirectory, fs_.probe_result,
                               policy_of(log::OnDamage::refuse, true), &examination);
  if (proven && status.code != Code::corrupt) {
    model_.fail(what + ": verdict " + examination.report.row + ", but it is corrupt");
  }
  if (!fs_.disk().looks_like(damaged)) model_.fail(what + ": the examination changed a file");
  if (!place.sealed && good()) {
    log::Examination quick;
    const Code code = log::examine(fs_, kDirectory, fs_.probe_result, {}, &quick).code;
    if (proven && code != Code::corrupt)
      model_.fail(what + ": not met by an open, verdict " + quick.report.row);
  }
  if (!good() || !proven) return;
  // With the only group of a life nothing is left that says where the one before it was cut.
  const bool only = std::none_of(places.begin(), places.end(), [&](const Place& other) {
    return other.sequence == place.sequence && other.offset != place.offset;
  });
  if (only || random_.chance(50))
    cut_at_damage(what, place.first_lsn - 1, place.sequence);
  else
    salvage_damage(what, place);
}

// Point-in-time: the log up to the damage; the rest is kept aside.
void Simulation::cut_at_damage(const std::string& what, uint64_t last_lsn, uint64_t sequence) {
  model_.remember_sectors(fs_.disk());
  log::Examination examination;
  Status status = log::examine(fs_, kDirectory, fs_.probe_result,
                               policy_of(log::OnDamage::cut, true), &examination);
  if (status.code == Code::corrupt && examination.segments.empty())
    return;  // no start group is left
  if (!status.ok())
    return model_.fail(what + ": point-in-time refuses: " + describe_status(status));
  say("cut: " + describe_examination(examination));
  const uint64_t kept = examination.report.last_lsn;
  // A head that the damage hides leaves released segments missing; how far that reaches is a guess.
  const uint64_t last =
      examination.segments.empty() ? 0 : examination.segments.back().header.sequence;
  const bool gap = last < sequence && fs_.disk().find(path_of(last + 1)) == nullptr;
  if (kept != last_lsn && !gap) model_.fail(what + ": point-in-time ends with LSN " + number(kept));
  model_.check_records(fs_, fs_.probe_result, examination, false);
  const Head head{examination.state.first_lsn, examination.state.first_sequence};
  const uint64_t epoch = examination.report.epoch;
  if (good()) live_on(what + ", cut", &examination, epoch, head, false);
}

// Salvage: every record on both sides of the damage; the lost ones are known holes from then on.
void Simulation::salvage_damage(const std::string& what, const Place& place) {
  model_.remember_sectors(fs_.disk());
  log::Examination examination;
  Status status = log::examine(fs_, kDirectory, fs_.probe_result,
                               policy_of(log::OnDamage::skip, true), &examination);
  if (!status.ok()) return model_.fail(what + ": salvage refuses: " + describe_status(status));
  // A head that the damage hides leaves released segments, and gaps where others were: what those
  // held is a guess.
  if (examination.report.row == "missing-segment") return;
  for (const format::Hole& hole : examination.state.holes) {
    if (hole.to < model_.head().first_lsn) continue;  // released by a head that the damage hides
    if (hole.from > settled_last_lsn_)
      continue;  // behind the end there may be whole groups of a torn tail
    if (hole.from < place.first_lsn ||
        (hole.to > place.last_lsn && place.last_lsn < settled_last_lsn_)) {
      model_.fail(what + ": salvage gives up LSNs " + number(hole.from) + " to " + number(hole.to));
    }
  }
  const bool at_end = place.last_lsn >= settled_last_lsn_;
  if (examination.report.last_lsn < settled_last_lsn_ && !at_end) {
    model_.fail(what + ": salvage ends with LSN " + number(examination.report.last_lsn));
  }
  say("salvaged: " + describe_examination(examination));
  model_.check_records(fs_, fs_.probe_result, examination, true);
  const Head head{examination.state.first_lsn, examination.state.first_sequence};
  if (good()) live_on(what + ", salvaged", &examination, examination.report.epoch, head, true);
}

// A life begins on what was accepted; after a power cut it opens as it was left.
void Simulation::live_on(const std::string& what, log::Examination* examination, uint64_t epoch,
                         const Head& head, bool salvaged) {
  const uint64_t last_lsn = examination->report.last_lsn;
  log::LifeStart start;
  format::SegmentHeader header;
  Status status = log::begin_life(fs_, life_options_, examination, &start, &header);
  if (!status.ok()) return model_.fail(what + ": no life can begin: " + describe_status(status));
  if (start.state.epoch.number <= epoch) model_.fail(what + ": the epoch does not rise");
  fs_.crash(names_);
  model_.check_sectors(fs_.disk(), head);
  for (const bool scan_all : {false, true}) {
    log::Examination again;
    status = log::examine(fs_, kDirectory, fs_.probe_result,
                          policy_of(log::OnDamage::refuse, scan_all), &again);
    say("opened again: " + describe_examination(again));
    if (!status.ok()) return model_.fail(what + ", then opened again: " + describe_status(status));
    if (again.report.last_lsn != last_lsn) {
      model_.fail(what + ": LSN " + number(last_lsn) + " was the last, now it is " +
                  number(again.report.last_lsn));
    }
    model_.check_records(fs_, fs_.probe_result, again, salvaged);
  }
  if (!good() && model_.finding().find("segment") != 0) say("after: " + what);
}

// Header and seal blocks: every sector of them is ours to judge.
void Simulation::damage_identity(const std::vector<Place>& places) {
  const Place& place = places[random_.below(places.size())];
  const uint64_t block =
      random_.chance(70) || !place.sealed ? format::kHeaderBlock : format::kSealBlock;
  const uint64_t at =
      block * engine_options_.block_bytes + random_.below(engine_options_.block_bytes);
  uint8_t byte = 0;
  const Inode* file = fs_.disk().find(place.path);
  file->visible.read(at, &byte, 1);
  if (file->visible.page(block) == nullptr) return;  // sealed by the next life's start group only
  byte ^= static_cast<uint8_t>(1 << random_.below(8));
  fs_.damage(place.path, at, &byte, 1);
  coverage_.add("damage: header or seal");
  log::Examination examination;
  Status status = log::examine(fs_, kDirectory, fs_.probe_result, {}, &examination);
  if (status.code != Code::corrupt) {
    model_.fail("a flipped bit in block " + number(block) + " of segment " +
                number(place.sequence) + " at " + number(at) +
                " is not met: " + examination.report.row + " " + describe_status(status));
  }
}

}  // namespace stonelog::sim
