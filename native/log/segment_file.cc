#include "log/segment_file.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "format/bytes.h"
#include "format/stamp.h"
#include "log/group_reader.h"
#include "log/recovery.h"

namespace stonelog::log {

namespace {

constexpr size_t kZeroPieceBytes = 256 << 10;

std::string temporary_path(io::FileSystem& fs, const std::string& directory) {
  char name[64];
  std::snprintf(name, sizeof name, "/prepare-%016llx%s",
                static_cast<unsigned long long>(fs.random64()), kTemporarySuffix);
  return directory + name;
}

// Zeros [from, to) in bounded pieces.
Status write_zeros(io::File& file, uint64_t from, uint64_t to) {
  AlignedBuffer zeros(kZeroPieceBytes);
  std::memset(zeros.data(), 0, zeros.size());
  for (uint64_t at = from; at < to;) {
    const io::Part part{zeros.data(),
                        static_cast<size_t>(std::min<uint64_t>(kZeroPieceBytes, to - at))};
    Status status = file.write(at, &part, 1, io::WriteMode::plain);
    if (!status.ok()) return status;
    at += part.size;
  }
  return {};
}

// Header, and the start group if there is one, in one buffer and one write.
Status write_beginning(io::File& file, const SegmentSpec& spec, MadeSegment* made) {
  const uint32_t block = spec.block_bytes;
  const size_t start_bytes =
      spec.start_stream == nullptr ? 0 : format::group_file_bytes(spec.start_stream->size(), block);
  AlignedBuffer header_block(block);
  format::encode_segment_header(made->header, header_block.data());
  const io::Part header_part{header_block.data(), block};
  Status status = file.write(0, &header_part, 1, io::WriteMode::plain);
  made->end = format::kFirstGroupBlock * uint64_t{block};
  if (!status.ok() || start_bytes == 0) return status;
  AlignedBuffer group(start_bytes);
  format::GroupHeader start = spec.start_header;
  start.sequence = spec.sequence;
  start.segment_id = made->header.segment_id;
  start.durable_end = made->end;
  format::encode_group(&start, *spec.start_stream, block, group.data());
  format::stamp_sectors(group.data(), start_bytes / format::kSectorBytes,
                        made->end / format::kSectorBytes, made->header.tag(), true);
  made->start_checksum = start.checksum;
  const io::Part part{group.data(), start_bytes};
  status = file.write(made->end, &part, 1, io::WriteMode::plain);
  made->end += start_bytes;
  return status;
}

Status fill(io::FileSystem& fs, const SegmentSpec& spec, const std::string& path,
            MadeSegment* made) {
  std::unique_ptr<io::File> file;
  Status status = fs.open(path, io::Access::create, spec.direct, spec.file_mode, &file);
  if (status.ok()) status = file->reserve(spec.file_bytes, &made->reserved);
  if (!status.ok()) return status;
  const bool recycled = !spec.recycle_path.empty();
  made->place.written_end = recycled ? spec.recycle_written_end : 0;
  if (!spec.zeroes) {
    made->place.written_end = spec.file_bytes;
  } else if (made->place.written_end < spec.first_piece_bytes) {
    const uint64_t to =
        std::min(spec.first_piece_bytes / spec.block_bytes * spec.block_bytes, spec.file_bytes);
    status = write_zeros(*file, made->place.written_end, to);
    made->place.written_end = to;
  }
  if (status.ok()) status = write_beginning(*file, spec, made);
  if (status.ok()) status = file->sync();
  return status;
}

}  // namespace

format::Id random_id(io::FileSystem& fs) {
  format::Id id;
  do {
    format::store(id.data(), fs.random64());
    format::store(id.data() + 8, fs.random64());
  } while (format::tag_of(id) == 0);
  return id;
}

Status make_segment(io::FileSystem& fs, const SegmentSpec& spec, MadeSegment* made, bool* fatal) {
  *fatal = false;
  format::SegmentHeader& header = made->header;
  header.block_bytes = spec.block_bytes;
  header.log_id = spec.log_id;
  header.sequence = spec.sequence;
  do {
    header.segment_id = random_id(fs);
  } while (header.tag() == spec.recycle_tag);
  header.file_bytes = spec.file_bytes;
  header.recycled = !spec.recycle_path.empty();
  header.created_micros = fs.wall_micros();
  made->place = {spec.sequence, header.segment_id, spec.file_bytes, 0};

  const std::string path = header.recycled ? spec.recycle_path : temporary_path(fs, spec.directory);
  Status status = fill(fs, spec, path, made);
  if (status.ok()) status = fs.rename(path, spec.directory + "/" + segment_name(spec.sequence));
  if (!status.ok()) {
    (void)fs.unlink(path);  // best effort: a leftover of this name is removed by the next open
    return status;
  }
  status = fs.sync_directory(spec.directory);
  *fatal = !status.ok();
  return status;
}

}  // namespace stonelog::log
