#include "log/loaded_segment.h"

#include <algorithm>
#include <vector>

namespace stonelog::log {

namespace {

// From the group whose first block is given, if it is one of this segment; `start`: its start
// group.
bool take_identity(const uint8_t* block, uint64_t offset, uint32_t block_bytes, bool start,
                   LoadedSegment* out) {
  format::GroupHeader group;
  if (!format::decode_group_header(block, block_bytes, &group) ||
      (start && group.kind != format::GroupKind::start) || group.sequence != out->sequence ||
      format::check_sector(block, offset / format::kSectorBytes,
                           format::tag_of(group.segment_id)) != format::SectorState::group_start) {
    return false;
  }
  out->header = format::SegmentHeader{};
  out->header.block_bytes = block_bytes;
  out->header.sequence = group.sequence;
  out->header.segment_id = group.segment_id;
  out->header.file_bytes = out->size / block_bytes * block_bytes;
  out->header.recycled = true;
  out->rebuilt_epoch = group.epoch;
  return out->header_rebuilt = true;
}

// A header that is not intact, or not there, can be made good from a group, which repeats the
// identity: only what gets over damage goes on with such a segment. The size of its blocks is not
// known any more; the start group's place tells it and, where that is gone, too, the first group
// that makes sense.
Status rebuild_header(io::File& file, uint32_t smallest_block, LoadedSegment* out) {
  FileWindow window(file, smallest_block, 256 << 10);
  const uint8_t* block = nullptr;
  size_t got = 0;
  for (uint32_t bytes = smallest_block; bytes <= format::kMaxBlockBytes; bytes *= 2) {
    const uint64_t start = format::kFirstGroupBlock * uint64_t{bytes};
    Status status = window.view(start, bytes, &block, &got);
    if (!status.ok()) return status;
    if (got >= bytes && take_identity(block, start, bytes, true, out)) return {};
  }
  for (uint64_t at = smallest_block; at + smallest_block <= out->size; at += smallest_block) {
    Status status = window.view(at, smallest_block, &block, &got);
    if (!status.ok()) return status;
    for (uint32_t bytes = smallest_block; bytes <= format::kMaxBlockBytes && at % bytes == 0;
         bytes *= 2) {
      if (got >= smallest_block && take_identity(block, at, bytes, false, out)) return {};
    }
  }
  return {};
}

// A header that belongs elsewhere, as a misdirected write leaves it, before the groups of the
// segment that the name tells: what the groups say counts. It may as well be the start group that
// was misdirected; the sectors behind it tell which, and where there are none, the name.
Status find_misplaced_header(io::File& file, const std::vector<uint8_t>& beginning,
                             LoadedSegment* out) {
  const uint32_t bytes = out->header.block_bytes;
  const uint64_t start = format::kFirstGroupBlock * uint64_t{bytes};
  LoadedSegment by_start = *out;
  if (beginning.size() < start + bytes ||
      !take_identity(beginning.data() + start, start, bytes, true, &by_start) ||
      by_start.header.segment_id == out->header.segment_id)
    return {};
  bool misplaced = out->header.sequence != out->sequence;
  for (LoadedSegment* segment : {&by_start, out}) {
    TailEvidence behind;
    const uint64_t to = std::min(segment->header.file_bytes, out->size);
    Status status = scan_tail(file, segment->header, start + bytes, to, 1 << 20, &behind);
    if (!status.ok()) return status;
    for (uint64_t at = start + format::kSectorBytes; at < start + bytes; at += format::kSectorBytes)
      behind.current = behind.current ||
                       format::check_sector(beginning.data() + at, at / format::kSectorBytes,
                                            segment->header.tag()) == format::SectorState::valid;
    if (behind.current) misplaced = segment == &by_start;
  }
  if (!misplaced) return {};
  by_start.header_state = format::HeaderState::damaged;
  *out = std::move(by_start);
  return {};
}

// Whether a validly stamped sector of any life lies in its place anywhere behind the first block:
// then the file is a segment, though its beginning is not that of one.
Status find_stamp(io::File& file, uint32_t block_bytes, uint64_t size, bool* found) {
  FileWindow window(file, block_bytes, 256 << 10);
  for (uint64_t at = block_bytes; at < size && !*found; at += block_bytes) {
    const uint8_t* block = nullptr;
    size_t got = 0;
    Status status = window.view(at, block_bytes, &block, &got);
    if (!status.ok()) return status;
    for (size_t i = 0; i < got / format::kSectorBytes && !*found; i++) {
      const uint8_t* const sector = block + i * format::kSectorBytes;
      const format::SectorState state =
          format::check_sector(sector, at / format::kSectorBytes + i, 0);
      *found = state == format::SectorState::older;
    }
  }
  return {};
}

// The sectors of a header block that is larger than the smallest one are judged as all others are.
Status judge_rest_of_header(FileWindow* window, LoadedSegment* out) {
  const uint32_t bytes = out->header.block_bytes;
  if (out->header_state != format::HeaderState::valid || bytes == format::kMinBlockBytes) return {};
  const uint8_t* block = nullptr;
  size_t got = 0;
  Status status = window->view(0, bytes, &block, &got);
  if (!status.ok()) return status;
  const size_t sectors = got / format::kSectorBytes;
  if (format::first_invalid(block, sectors, 0, out->header.tag(), true) < sectors)
    out->header_state = format::HeaderState::damaged;
  return {};
}

// A seal that was torn leaves whole sectors; any other is damage, as it is everywhere.
Status judge_torn_seal(FileWindow& window, LoadedSegment* out) {
  const uint32_t bytes = out->header.block_bytes;
  const uint8_t* block = nullptr;
  size_t got = 0;
  Status status = window.view(bytes, bytes, &block, &got);
  if (!status.ok()) return status;
  for (size_t at = 0; at + format::kSectorBytes <= got; at += format::kSectorBytes) {
    const uint64_t index = (bytes + at) / format::kSectorBytes;
    const format::SectorState state = format::check_sector(block + at, index, out->header.tag());
    const bool stale = state == format::SectorState::older && !out->header.recycled;
    if (state == format::SectorState::damaged || stale) out->seal_defect = Defect::damaged;
  }
  return {};
}

Status read_seal_and_start(io::File& file, const uint8_t* beginning, size_t size,
                           LoadedSegment* out) {
  const uint32_t block = out->header.block_bytes;
  GroupReader reader(file, out->header, size_t{format::kFirstGroupBlock + 1} * block);
  reader.window().fill(0, beginning, size);  // what was read for the header holds both as a rule
  Expectation any;
  any.any = true;
  GroupView view;
  uint64_t bad_offset = 0;
  Status status =
      reader.read(uint64_t{block}, 2 * uint64_t{block}, any, &view, &out->seal_defect, &bad_offset);
  if (!status.ok()) return status;
  if (out->seal_defect == Defect::none) {
    out->seal_group = view.header;
    out->seal = view.control;
    if (view.header.kind != format::GroupKind::seal || !view.control.has_seal)
      out->seal_defect = Defect::inconsistent;
  }
  if (out->seal_defect == Defect::nothing || out->seal_defect == Defect::incomplete) {
    status = judge_torn_seal(reader.window(), out);
    if (!status.ok()) return status;
  }
  status = reader.read(format::kFirstGroupBlock * uint64_t{block}, out->header.file_bytes, any,
                       &view, &out->start_defect, &out->start_bad_offset);
  if (!status.ok()) return status;
  if (out->start_defect == Defect::none) {
    out->start_group = view.header;
    out->start = view.control;
    const bool complete =
        view.control.has_predecessor && view.control.has_state && view.control.has_head;
    if (view.header.kind != format::GroupKind::start || !complete)
      out->start_defect = Defect::inconsistent;
  }
  return {};
}

}  // namespace

Status load_segment(io::FileSystem& fs, const std::string& path, const io::Probe& probe, bool evict,
                    LoadedSegment* out) {
  std::unique_ptr<io::File> file;
  Status status = fs.open(path, io::Access::read, probe.direct, 0, &file);
  if (!status.ok()) return status;
  if (evict) {
    status = file->evict();
    if (!status.ok()) return status;
  }
  status = file->size(&out->size);
  if (!status.ok()) return status;
  FileWindow window(*file, probe.block_size, 3 * size_t{probe.block_size});
  const uint8_t* block = nullptr;
  size_t got = 0;
  status = window.view(0, 3 * size_t{probe.block_size}, &block, &got);
  if (!status.ok()) return status;
  const std::vector<uint8_t> beginning(block, block + got);
  AlignedBuffer padded(probe.block_size);
  std::fill(padded.data(), padded.data() + padded.size(), uint8_t{0});
  std::copy(beginning.data(), beginning.data() + std::min<size_t>(got, probe.block_size),
            padded.data());
  out->header_state = format::decode_segment_header(padded.data(), &out->header, &out->version);
  status = judge_rest_of_header(&window, out);
  if (!status.ok()) return status;
  if (out->header_state == format::HeaderState::not_a_log) {
    bool ours = false;
    status = find_stamp(*file, probe.block_size, out->size, &ours);
    if (!status.ok()) return status;
    if (ours) out->header_state = format::HeaderState::damaged;
  }
  // A file is named only when its header is durable: zeros in its place are damage, too.
  if (out->header_state == format::HeaderState::damaged ||
      out->header_state == format::HeaderState::unwritten) {
    status = rebuild_header(*file, probe.block_size, out);
    if (!status.ok()) return status;
  }
  if (out->header_state != format::HeaderState::valid && !out->header_rebuilt) return {};
  status = read_seal_and_start(*file, beginning.data(), beginning.size(), out);
  if (!status.ok() || out->header_state != format::HeaderState::valid ||
      out->start_defect == Defect::none)
    return status;
  status = find_misplaced_header(*file, beginning, out);
  if (!status.ok() || !out->header_rebuilt) return status;
  return read_seal_and_start(*file, beginning.data(), beginning.size(), out);
}

}  // namespace stonelog::log
