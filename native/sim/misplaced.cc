// Damage that moves things: misdirected, duplicated and swapped blocks; lost, truncated,
// duplicated, swapped and foreign files. The oracle says of each whether the evidence proves it.
#include <algorithm>

#include "crc32c/crc32c.h"
#include "format/stamp.h"
#include "log/group_reader.h"
#include "log/loaded_segment.h"
#include "sim/simulation.h"

namespace stonelog::sim {

namespace {

std::string number(uint64_t value) { return std::to_string(value); }

log::RecoveryPolicy policy_of(log::OnDamage damage) {
  log::RecoveryPolicy policy;
  policy.damage = damage;
  policy.scan_all = true;
  return policy;
}

}  // namespace

bool Simulation::Harm::covers(uint64_t from, uint64_t to) const {
  for (uint64_t lsn = from; lsn <= to; lsn++) {
    const auto holds = [&](const format::Hole& hole) { return hole.from <= lsn && lsn <= hole.to; };
    if (std::none_of(lost.begin(), lost.end(), holds)) return false;
  }
  return true;
}

// What is refused exactly if it must be, changes nothing when it is, and keeps what each mode
// promises to keep.
void Simulation::judge(const Harm& harm) {
  say(harm.what);
  coverage_.add("damage: " + harm.kind);
  counters_.damages++;
  const Disk damaged = fs_.disk();
  log::Examination examination;
  Status status = log::examine(fs_, kDirectory, fs_.probe_result, policy_of(log::OnDamage::refuse),
                               &examination);
  if (!fs_.disk().looks_like(damaged)) model_.fail(harm.what + ": the examination changed a file");
  uint64_t first = settled_last_lsn_ + 1;
  for (const format::Hole& lost : harm.lost) first = std::min(first, lost.from);
  if (status.ok()) {
    if (harm.verdict == Expected::refused)
      return model_.fail(harm.what + ": opened, verdict " + examination.report.row);
    coverage_.add("damage that proves nothing, opened");
    // With the head that only it stated, released segments come back, of which some are gone.
    const bool released = harm.hides_head && first <= settled_first_lsn_;
    if (examination.report.last_lsn + 1 < first && !examination.empty && !released)
      return model_.fail(harm.what + ": opened up to " + number(examination.report.last_lsn));
    if (!examination.empty) model_.check_records(fs_, fs_.probe_result, examination, false);
    return;
  }
  if (status.code != Code::corrupt)
    return model_.fail(harm.what + ": neither opened nor corrupt: " + describe_status(status));
  if (harm.verdict == Expected::opened)
    return model_.fail(harm.what + ": refused: " + describe_status(status));
  coverage_.add("damage refused");
  if (harm.forgets_cut || random_.chance(50))
    cut_harm(harm, first);
  else
    salvage_harm(harm);
}

void Simulation::cut_harm(const Harm& harm, uint64_t first) {
  model_.remember_sectors(fs_.disk());
  log::Examination examination;
  Status status =
      log::examine(fs_, kDirectory, fs_.probe_result, policy_of(log::OnDamage::cut), &examination);
  if (status.code == Code::corrupt && examination.segments.empty())
    return;  // no start group is left
  if (!status.ok())
    return model_.fail(harm.what + ": point-in-time refuses: " + describe_status(status));
  say("cut: " + describe_examination(examination));
  // A head that the damage hides leaves released segments missing; how far that reaches is a guess.
  const bool hidden = harm.hides_head || examination.state.first_lsn < settled_first_lsn_;
  if (examination.report.last_lsn + 1 < first && !hidden) {
    model_.fail(harm.what + ": point-in-time ends with LSN " + number(examination.report.last_lsn));
  }
  model_.check_records(fs_, fs_.probe_result, examination, false);
  coverage_.add("opened up to damage");
  const Head head{examination.state.first_lsn, examination.state.first_sequence};
  if (good()) live_on(harm.what + ", cut", &examination, examination.report.epoch, head, false);
}

void Simulation::salvage_harm(const Harm& harm) {
  model_.remember_sectors(fs_.disk());
  log::Examination examination;
  Status status =
      log::examine(fs_, kDirectory, fs_.probe_result, policy_of(log::OnDamage::skip), &examination);
  if (!status.ok()) return model_.fail(harm.what + ": salvage refuses: " + describe_status(status));
  say("salvaged: " + describe_examination(examination));
  const bool hidden = harm.hides_head || examination.state.first_lsn < settled_first_lsn_;
  for (const format::Hole& hole : examination.state.holes) {
    const uint64_t from = std::max(hole.from, model_.head().first_lsn);
    const uint64_t to = std::min(hole.to, settled_last_lsn_);
    if (from <= to && !harm.covers(from, to) && !hidden)
      model_.fail(harm.what + ": salvage gives up LSNs " + number(from) + " to " + number(to));
  }
  const uint64_t last = std::max(examination.report.last_lsn, model_.head().first_lsn - 1);
  if (last < settled_last_lsn_ && !harm.covers(last + 1, settled_last_lsn_))
    model_.fail(harm.what + ": salvage ends with LSN " + number(last));
  model_.check_records(fs_, fs_.probe_result, examination, true);
  coverage_.add("salvaged around damage");
  const Head head{examination.state.first_lsn, examination.state.first_sequence};
  if (good()) live_on(harm.what + ", salvaged", &examination, examination.report.epoch, head, true);
}

// Whether a segment holds other groups than these: the last trace of a life may go with them, and
// with it the statement where the one before was cut.
bool Simulation::leaves_others(const std::vector<Place>& places, const Place& one,
                               const Place& two) const {
  const auto others = [&](const Place& victim) {
    return std::any_of(places.begin(), places.end(), [&](const Place& other) {
      return other.sequence == victim.sequence && other.offset != one.offset &&
             other.offset != two.offset;
    });
  };
  return others(one) && others(two);
}

void Simulation::damage_placement(const std::vector<Place>& places) {
  const Place& source = places[random_.below(places.size())];
  const Place& target = places[random_.below(places.size())];
  const uint64_t block = engine_options_.block_bytes;
  const uint64_t from = source.offset + random_.below(source.size / block) * block;
  uint64_t to = target.offset + random_.below(target.size / block) * block;
  std::vector<uint8_t> moved(block);
  std::vector<uint8_t> there(block);
  fs_.disk().find(source.path)->visible.read(from, moved.data(), block);
  Harm harm;
  const uint64_t kind = random_.below(4);
  if (kind == 3) {  // behind the end of the newest segment
    const log::SegmentEntry& tip = settled_segments_.back();
    if (tip.end + block > tip.header.file_bytes) return;
    to = tip.end + random_.below((tip.header.file_bytes - tip.end) / block) * block;
    const bool older = source.sequence != tip.header.sequence && from == to;
    harm.kind = "write behind the end";
    harm.what = "a block of segment " + number(source.sequence) + " at " + number(from) +
                " written behind the end of the newest one, at " + number(to);
    harm.verdict =
        tip.sealed || (older && tip.header.recycled) ? Expected::opened : Expected::refused;
    fs_.damage(path_of(tip.header.sequence), to, moved.data(), block);
    return judge(harm);
  }
  if (source.path == target.path && from == to) return;
  fs_.disk().find(target.path)->visible.read(to, there.data(), block);
  fs_.damage(target.path, to, moved.data(), block);
  harm.lost.push_back({target.first_lsn, std::max(target.first_lsn, target.last_lsn)});
  // In a recycled file a block of another segment, at its own place, is no more than not written.
  const bool foreign = source.sequence != target.sequence && from == to;
  const bool proven = !(foreign && target.recycled) || target.proven || target.sealed;
  bool proven_source = false;
  harm.kind = "block duplicated";
  if (kind > 0) {
    const bool swapped = kind == 1;
    harm.kind = swapped ? "blocks swapped" : "block misdirected";
    if (!swapped) std::fill(there.begin(), there.end(), uint8_t{0});
    fs_.damage(source.path, from, there.data(), block);
    harm.lost.push_back({source.first_lsn, std::max(source.first_lsn, source.last_lsn)});
    proven_source = source.proven || source.sealed || (swapped && !(foreign && source.recycled));
  }
  harm.what = harm.kind + ", from " + number(from) + " in segment " + number(source.sequence) +
              " to " + number(to) + " in segment " + number(target.sequence);
  harm.verdict = proven || proven_source ? Expected::refused : Expected::either;
  if (!leaves_others(places, source, target)) harm.verdict = Expected::either;
  if (!leaves_others(places, source, target)) return;
  judge(harm);
}

uint64_t Simulation::highest_name() const {
  uint64_t highest = 0;
  for (const auto& [path, id] : fs_.disk().names) {
    uint64_t sequence = 0;
    if (path.size() > sizeof kDirectory &&
        log::parse_segment_name(path.substr(sizeof kDirectory), &sequence))
      highest = std::max(highest, sequence);
  }
  return highest;
}

void Simulation::lose_segment(size_t at, Harm* harm) {
  const log::SegmentEntry& entry = settled_segments_[at];
  harm->lost.push_back({entry.first_lsn, std::max(entry.first_lsn, entry.last_lsn)});
  const bool newest = at + 1 == settled_segments_.size();
  harm->kind = newest ? "newest segment lost" : "segment lost";
  harm->what = "segment " + number(entry.header.sequence) + " is deleted";
  harm->verdict = Expected::refused;
  harm->hides_head = harm->forgets_cut = newest;  // only its groups may have moved it, or state it
  if (newest) {
    harm->verdict = Expected::either;
    log::LoadedSegment before;
    const bool sealed = at > 0 &&
                        log::load_segment(fs_, path_of(settled_segments_[at - 1].header.sequence),
                                          fs_.probe_result, false, &before)
                            .ok() &&
                        before.sealed() && !before.closed();
    if (sealed) harm->verdict = Expected::refused;
  }
  fs_.remove(path_of(entry.header.sequence));
}

void Simulation::truncate_segment(const std::vector<Place>& places, size_t at, Harm* harm) {
  const log::SegmentEntry& entry = settled_segments_[at];
  // Anywhere; where a sector of the log ends; or behind all of it, where only the size is wrong.
  const uint64_t file_bytes = entry.header.file_bytes;
  const uint64_t kind = random_.below(3);
  const uint64_t size = kind == 0 ? random_.below(file_bytes)
                        : kind == 1 || entry.end >= file_bytes
                            ? random_.below(entry.end / 512 + 1) * 512
                            : random_.between(entry.end, file_bytes - 1);
  harm->kind = "segment truncated";
  harm->what = "segment " + number(entry.header.sequence) + " is cut short at " + number(size);
  harm->verdict = Expected::refused;
  harm->hides_head = harm->forgets_cut = at + 1 == settled_segments_.size();
  for (const Place& place : places) {
    if (place.sequence != entry.header.sequence) continue;
    if (place.offset + place.size <= size) {
      harm->forgets_cut = false;  // the start group is there
      continue;
    }
    harm->lost.push_back({place.first_lsn, std::max(place.first_lsn, place.last_lsn)});
  }
  fs_.shorten(path_of(entry.header.sequence), size);
}

// A whole file that is intact, but of another log.
void Simulation::put_alien(size_t at, Harm* harm) {
  const uint64_t sequence = highest_name() + 1;
  fs_.copy_file(path_of(settled_segments_[at].header.sequence), path_of(sequence));
  format::SegmentHeader header = settled_segments_[at].header;
  header.sequence = sequence;
  header.log_id[3] ^= 0x55;
  std::vector<uint8_t> block(header.block_bytes);
  format::encode_segment_header(header, block.data());
  fs_.damage(path_of(sequence), 0, block.data(), block.size());
  harm->kind = "segment of another log";
  harm->what = "segment " + number(sequence) + " is of another log";
  // Of two files of different logs nobody knows which one is at home.
  harm->verdict = settled_segments_.size() > 1 ? Expected::refused : Expected::either;
}

void Simulation::damage_files(const std::vector<Place>& places) {
  const size_t at = random_.below(settled_segments_.size());
  const size_t other = random_.below(settled_segments_.size());
  const std::string path = path_of(settled_segments_[at].header.sequence);
  const format::Hole range{
      settled_segments_[at].first_lsn,
      std::max(settled_segments_[at].first_lsn, settled_segments_[at].last_lsn)};
  Harm harm;
  harm.verdict = Expected::refused;
  switch (random_.below(7)) {
    case 0:
      lose_segment(at, &harm);
      break;
    case 1:
      lose_segment(settled_segments_.size() - 1, &harm);
      break;
    case 2:
      truncate_segment(places, at, &harm);
      break;
    case 3: {
      const std::string copy = path_of(highest_name() + 1);
      fs_.copy_file(path, copy);
      harm.kind = "segment duplicated";
      harm.what = path + " lies there again as " + copy;
      break;
    }
    case 4:
      if (at == other) return;
      fs_.swap_names(path, path_of(settled_segments_[other].header.sequence));
      harm.kind = "segments swapped";
      harm.what = path + " and " + path_of(settled_segments_[other].header.sequence) + " swapped";
      harm.lost = {
          range,
          {settled_segments_[other].first_lsn,
           std::max(settled_segments_[other].first_lsn, settled_segments_[other].last_lsn)}};
      harm.hides_head = true;
      break;
    case 5:
      put_alien(at, &harm);
      break;
    default: {
      constexpr const char* names[] = {"/notes.txt", "/1.wal", "/0000000000000000000x.wal",
                                       "/prepare-foreign.tmp"};
      const std::string copy = kDirectory + std::string(names[random_.below(4)]);
      fs_.copy_file(path, copy);
      harm.kind = "foreign file";
      harm.what = copy + " is put into the directory";
      harm.verdict = Expected::opened;
      break;
    }
  }
  judge(harm);
}

}  // namespace stonelog::sim
