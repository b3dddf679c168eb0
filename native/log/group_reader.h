// Reads one segment's groups in order and verifies everything about them: the one scanner that
// reading, verifying and recovery share. Memory is bounded by a window and the largest group met.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "format/control.h"
#include "format/group.h"
#include "format/record.h"
#include "format/segment_header.h"
#include "format/stamp.h"
#include "io/file.h"
#include "io/status.h"
#include "log/record_walk.h"

namespace stonelog::log {

// Block-aligned memory. Large pieces are mapped, not taken from the heap: it would keep them, in
// one arena for each thread that ever asked. Very large ones ask for huge pages: a direct transfer
// of 1 MiB is one piece to the device then, not 256.
class AlignedBuffer {
 public:
  explicit AlignedBuffer(size_t size = 0) { resize(size); }
  ~AlignedBuffer();
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  void resize(size_t size);      // contents are lost
  bool try_resize(size_t size);  // whether there is so much memory; empty, if not
  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  void free_memory();
  void map();

  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  uint8_t* mapped_ = nullptr;  // null if the memory is the heap's
  size_t mapped_size_ = 0;
};

// A window over a file, filled by large aligned reads.
class FileWindow {
 public:
  FileWindow(io::File& file, uint32_t block_bytes, size_t window_bytes)
      : file_(file), block_bytes_(block_bytes), window_bytes_(window_bytes) {}
  // The bytes [offset, offset + size), aligned to blocks; *data stays valid until the next call.
  // *got is smaller at the end of the file, 0 where that ends inside of more than a window. Nothing
  // is read again that the window already holds, so forget() it where the file may have changed.
  Status view(uint64_t offset, size_t size, const uint8_t** data, size_t* got);
  void forget() { begin_ = end_ = 0; }
  bool holds(uint64_t offset, size_t size) const {
    return begin_ <= offset && offset + size <= end_;
  }
  // Takes over what was read elsewhere: whole blocks from `offset` on.
  void fill(uint64_t offset, const uint8_t* data, size_t size);
  // Reads ahead no further than this: what lies beyond may be written meanwhile.
  void set_limit(uint64_t limit) { limit_ = limit; }
  uint64_t bytes_read() const { return bytes_read_; }

 private:
  Status reaches(uint64_t end, bool* there);

  io::File& file_;
  uint32_t block_bytes_;
  size_t window_bytes_;
  AlignedBuffer buffer_;
  uint64_t begin_ = 0;  // offsets held
  uint64_t end_ = 0;
  uint64_t bytes_read_ = 0;
  uint64_t limit_ = UINT64_MAX;
};

// Lends what was read ahead, without a copy.
class SpanSource {
 public:
  // Whole sectors from `offset` on, at most `size` bytes, valid until the next call; none where
  // nothing is read ahead, or its reading failed: the file is to be asked then.
  virtual size_t lend(uint64_t offset, size_t size, const uint8_t** data) = 0;

 protected:
  ~SpanSource() = default;
};

// Why a group could not be read. Only the last three are damage in themselves; what the first two
// mean depends on what lies beyond them.
enum class Defect : uint8_t {
  none,
  nothing,       // unwritten, or only sectors of older lives, where a group would start
  incomplete,    // a group of which some sectors are unwritten: a torn write
  damaged,       // a sector that is neither its group's, nor unwritten, nor of an older life
  inconsistent,  // intact sectors that contradict what precedes them or themselves
  short_file,    // the file ends inside
};

struct GroupView {
  format::GroupHeader header;
  uint64_t offset = 0;
  const uint8_t* stream = nullptr;  // valid until the next call
  std::vector<RecordRef> records;   // of the user
  format::ControlContent control;   // of start, control and seal groups
};

// What must be true of the next group, from what precedes it.
struct Expectation {
  uint64_t first_lsn = 0;
  uint64_t epoch = 0;
  uint32_t link = 0;
  bool check_link = true;  // false where the predecessor was not read
  bool any = false;        // nothing is known: seals, start groups, groups behind damage
};

class GroupReader {
 public:
  GroupReader(io::File& file, const format::SegmentHeader& header, size_t window_bytes)
      : header_(header), window_(file, header.block_bytes, window_bytes) {}

  // Reads the group at `offset`, bounded by `limit` bytes of the file. A read error is an error,
  // never a defect. *bad_offset tells where the defect is.
  Status read(uint64_t offset, uint64_t limit, const Expectation& expected, GroupView* view,
              Defect* defect, uint64_t* bad_offset);
  // Of the group of which read() found a sector behind the first one damaged or lost, the records
  // that lie before it: view->records is of these then, and view->stream holds them.
  Status read_before_defect(GroupView* view);
  // The way past the window, for what is as it should be: the header of the group at `offset`, then
  // the group into `content`, header.file_bytes / 512 * 500 bytes, where view->stream points to
  // then. False if anything is not at hand or out of order: read() tells what it is.
  bool peek(SpanSource* source, uint64_t offset, uint64_t limit, const Expectation& expected,
            format::GroupHeader* header) const;
  bool take(SpanSource* source, uint64_t offset, const format::GroupHeader& header,
            uint8_t* content, GroupView* view) const;
  // Only the header at `offset`, verified by its own sector; for finding a place quickly.
  Status read_header(uint64_t offset, format::GroupHeader* header, Defect* defect);
  FileWindow& window() { return window_; }
  // Goes on with another segment, whose file the same object stands for now, in the same memory.
  void change_segment(const format::SegmentHeader& header) {
    header_ = header;
    window_.forget();
  }
  const format::SegmentHeader& header() const { return header_; }

 private:
  static bool follows(const format::GroupHeader& header, const Expectation& expected);
  static Defect parse(const uint8_t* content, GroupView* view);
  // What is wrong with a group whose sector `bad` is the first that is not in order.
  Defect judge_from(size_t bad, const uint8_t* sectors, size_t count, uint64_t offset,
                    uint64_t* bad_offset) const;

  format::SegmentHeader header_;
  FileWindow window_;
  std::vector<uint8_t> stream_;
};

// What lies in [from, to) of a segment's file beyond its last good group.
struct TailEvidence {
  uint64_t base_lsn =
      0;  // set by the caller: the last LSN before, to complete the stamps' low halves
  bool current = false;   // validly stamped sectors of this life
  uint64_t used_end = 0;  // end of the last sector that is of this life or damaged; 0: none
  bool damaged = false;
  uint64_t damaged_offset = 0;
  bool short_file = false;
  bool headless = false;       // a group whose header is gone: sectors of it, or damaged ones
  uint64_t covered_end = 0;    // end of the last group whose header survives
  uint64_t watermark_lsn = 0;  // the highest durable LSN stated there
  uint64_t watermark_end = 0;  // the highest durable end of this file stated there
  uint64_t first_lsn = 0;      // of the first intact group there; 0: none
  uint64_t first_epoch = 0;    // of the same group
  uint64_t highest_lsn = 0;    // the highest LSN seen, started or spoken of there
  uint64_t highest_epoch = 0;  // of the groups there
};
Status scan_tail(io::File& file, const format::SegmentHeader& header, uint64_t from, uint64_t to,
                 size_t window_bytes, TailEvidence* evidence);

}  // namespace stonelog::log
