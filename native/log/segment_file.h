// Making a segment's file: aside, written, synced, renamed, directory synced - in this order, so
// that a file under a segment's name is always whole.
#pragma once

#include <string>
#include <vector>

#include "format/segment_header.h"
#include "io/file.h"
#include "log/engine.h"

namespace stonelog::log {

struct SegmentSpec {
  std::string directory;
  uint64_t sequence = 0;
  format::Id log_id{};
  uint32_t block_bytes = format::kMinBlockBytes;
  uint64_t file_bytes = 0;
  uint32_t file_mode = 0600;
  bool direct = false;
  bool zeroes = true;                    // zero-filling ahead pays
  uint64_t first_piece_bytes = 1 << 20;  // zeroed before the file is used
  // A released segment's file to be used again: its path, its old tag, and how far it was ever
  // written.
  std::string recycle_path;
  uint32_t recycle_tag = 0;
  uint64_t recycle_written_end = 0;
  // The start group of a life: its stamped blocks follow the header in the same file before it is
  // named.
  const std::vector<uint8_t>* start_stream = nullptr;
  format::GroupHeader start_header;  // identity and sizes are filled in
};

struct MadeSegment {
  SegmentPlace place;
  format::SegmentHeader header;
  uint64_t end = 0;  // behind the start group, if there is one
  uint32_t start_checksum = 0;
  bool reserved = false;  // the file system guarantees the space
};

// On failure nothing is left under the segment's name that was not there before, except where
// *fatal is set: the directory could not be synced, so that nobody knows which names would survive
// a power cut.
Status make_segment(io::FileSystem& fs, const SegmentSpec& spec, MadeSegment* made, bool* fatal);

format::Id random_id(io::FileSystem& fs);

}  // namespace stonelog::log
