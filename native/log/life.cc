#include "log/life.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "log/quarantine.h"

namespace stonelog::log {

namespace {

// An empty segment of the previous life is replaced, so that crash loops do not grow the log.
bool last_is_empty(const Examination& examination) {
  if (examination.segments.empty()) return false;
  const SegmentEntry& last = examination.segments.back();
  return last.first_lsn == last.last_lsn + 1 && !last.salvaged;
}

struct Succession {
  format::Predecessor predecessor;
  uint64_t sequence = 1;
};

Succession succeed(Examination* examination) {
  Succession out;
  const bool torn_files = !examination->dead.empty();
  if (examination->segments.empty()) {
    out.sequence = examination->highest_sequence + 1;
    return out;
  }
  const SegmentEntry last = examination->segments.back();
  if (last_is_empty(*examination)) {
    out.predecessor = examination->before_last;
    out.sequence = last.header.sequence;
    if (examination->tail_end != 0 || torn_files) {
      // What is cut from it must stay: the whole file goes to the quarantine, its name is not used
      // again.
      if (examination->tail_end != 0)
        examination->dead.push_back(segment_name(last.header.sequence));
      else
        examination->leftover.push_back(segment_name(last.header.sequence));
      out.sequence = examination->highest_sequence + 1;
    }
    examination->segments.pop_back();
    examination->tail_end = 0;
    return out;
  }
  out.predecessor = {last.header.sequence, last.header.segment_id, last.end, last.last_lsn};
  out.sequence = torn_files ? examination->highest_sequence + 1 : last.header.sequence + 1;
  return out;
}

// Above every epoch that was seen, in what is cut, too: its records were given LSNs of that number.
void begin_epoch(io::FileSystem& fs, uint64_t last_lsn, uint64_t highest,
                 format::ControlState* state) {
  std::erase_if(state->history,
                [&](const format::Epoch& epoch) { return epoch.first_lsn > last_lsn; });
  if (state->epoch.number > 0 && state->epoch.first_lsn <= last_lsn)
    state->history.push_back(state->epoch);
  if (state->history.size() > format::kMaxHistory) state->history.erase(state->history.begin());
  state->epoch.number = std::max(state->epoch.number, highest) + 1;
  state->epoch.id = random_id(fs);
  state->epoch.first_lsn = last_lsn + 1;
}

const char* shortage_text(int error) {
  if (error == EFBIG) return "the process may not write files of that size";
  if (error == EDQUOT) return "the quota is used up";
  return "the disk is full";
}

}  // namespace

Status begin_life(io::FileSystem& fs, const LifeOptions& options, Examination* examination,
                  LifeStart* start, format::SegmentHeader* header) {
  const uint64_t last_lsn = examination->report.last_lsn;
  const Succession succession = succeed(examination);
  format::ControlState state = examination->state;
  begin_epoch(fs, last_lsn, examination->highest_epoch, &state);
  if (examination->segments.empty()) {
    state.first_sequence = succession.sequence;
    state.first_lsn = last_lsn + 1;
    state.holes.clear();
    state.salvaged.clear();
  }

  SegmentSpec spec;
  spec.directory = options.directory;
  spec.sequence = succession.sequence;
  spec.log_id = examination->log_id == format::Id{} ? random_id(fs) : examination->log_id;
  spec.block_bytes = options.probe.block_size;
  spec.file_bytes = format::segment_file_bytes(options.segment_bytes, spec.block_bytes);
  spec.file_mode = options.file_mode;
  spec.direct = options.probe.direct;
  spec.zeroes = !options.probe.copy_on_write;
  spec.first_piece_bytes = std::min<uint64_t>(256 << 10, spec.file_bytes);
  format::ControlWriter content;
  content.predecessor(succession.predecessor);
  content.state(state);
  spec.start_stream = &content.stream();
  spec.start_header.kind = format::GroupKind::start;
  spec.start_header.flags = format::kLifeStart;
  spec.start_header.first_lsn = last_lsn + 1;
  spec.start_header.epoch = state.epoch.number;
  spec.start_header.durable_lsn = last_lsn;
  spec.start_header.timestamp_micros = fs.wall_micros();
  spec.start_header.link = examination->last_checksum;
  spec.start_header.body_sum = content.body_sum();

  MadeSegment made;
  bool fatal = false;
  Status status = keep_aside(fs, options, state.epoch.number, examination);
  if (!status.ok()) return status;
  status = make_segment(fs, spec, &made, &fatal);
  if (status.code == Code::no_space && !examination->tail_copy.empty()) {
    drop_aside(fs, options, state.epoch.number, examination);
    status = make_segment(fs, spec, &made, &fatal);
  }
  if (status.code == Code::no_space) {
    start->shortage = status;
    // On a full disk a life begins small: nothing can be appended yet, but truncateBefore can make
    // room.
    spec.file_bytes = format::group_file_bytes(content.stream().size(), spec.block_bytes) +
                      (format::kFirstGroupBlock + format::kControlReserveBlocks) * spec.block_bytes;
    spec.first_piece_bytes = spec.file_bytes;
    status = make_segment(fs, spec, &made, &fatal);
    if (status.ok()) {
      examination->report.events.push_back(std::string(shortage_text(start->shortage.error)) +
                                           ": opened with a segment that takes no records yet");
    }
  }
  if (!status.ok()) return status;
  *header = made.header;
  start->segment = made.place;
  start->state = state;
  start->last_lsn = last_lsn;
  start->end = made.end;
  start->checksum = made.start_checksum;
  examination->report.epoch = state.epoch.number;
  examination->report.first_lsn = state.first_lsn;
  std::erase(examination->leftover, segment_name(succession.sequence));  // replaced by the rename
  return clean_up(fs, options, state.epoch.number, examination);
}

}  // namespace stonelog::log
