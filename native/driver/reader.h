// A reader: durable records of a source, in order, verified, in slabs. Not thread-safe: one call at
// a time.
#pragma once

#include <memory>
#include <vector>

#include "driver/read_ahead.h"
#include "driver/slab.h"
#include "driver/source.h"
#include "log/group_reader.h"
#include "log/salvage.h"

namespace stonelog::driver {

struct RecordBatch {
  struct Run {  // records of one group
    uint32_t index;
    uint64_t first_lsn;
    uint64_t epoch;
    uint64_t timestamp_micros;
  };
  std::unique_ptr<Slab> slab;     // null: no payload
  std::vector<uint32_t> offsets;  // of each payload in the slab
  std::vector<uint32_t> lengths;
  std::vector<Run> runs;
  std::vector<format::Hole> skipped;

  ~RecordBatch();
  bool empty() const { return offsets.empty(); }
  size_t bytes() const { return slab == nullptr ? 0 : slab->size(); }
  void clear();
  // Room for so many bytes at the slab's end, whatever is moved for it; a new slab is made for
  // `expected` bytes.
  uint8_t* make_room(size_t bytes, size_t expected);
};

class Reader {
 public:
  // Reads LSNs from..to; 0 is the first there is. Retains the source.
  Reader(Source* source, uint64_t from, uint64_t to);
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // The next slab; empty at the end of what is durable now. Code::not_found if what comes next was
  // released, Code::corrupt at damage, after everything before it was handed out.
  Status next(RecordBatch* batch);

 private:
  Status open_file(const ReadableSegment& segment, std::unique_ptr<io::File>* file) const;
  Status open_segment(const ReadableSegment& segment);
  void enter(const ReadableSegment& segment);
  void look_ahead();
  Status find_start();
  Status start_in(const GroupPlace& place);
  Status read_group(RecordBatch* batch, bool* more);
  enum class Lent : uint8_t { taken, full, none };
  Lent take_lent(RecordBatch* batch);
  Status meet_damage(log::Defect defect, uint64_t bad_offset, RecordBatch* batch, bool* more);
  Status add_records_before(log::Defect defect, uint64_t bad_offset, RecordBatch* batch);
  Status skip_to(uint64_t lsn, RecordBatch* batch, bool damaged, uint64_t offset);
  Status next_segment(bool* more);
  Status relocate(bool* more);
  Status released() const;
  bool was_replaced();
  void add_group(RecordBatch* batch);
  void move_on();
  void note_place();

  const SlabUser slab_user_;
  Source* source_;
  uint64_t next_lsn_;
  const uint64_t to_;
  uint64_t durable_lsn_ = 0;  // nothing beyond is shown
  size_t batch_bytes_;        // a slab ends with the record that reaches this
  format::Hole front_hole_;   // known to be missing before the first segment
  bool started_ = false;
  ReadableSegment segment_;
  std::unique_ptr<ReadAhead> file_;
  std::unique_ptr<log::GroupReader> groups_;
  uint64_t offset_ = 0;
  uint64_t noted_to_ = 0;  // no place before it is worth noting
  bool looked_ahead_ = false;
  format::Id ahead_id_{};  // of the segment whose file was opened ahead, if one was
  log::Expectation expected_;
  log::GroupView view_;
  log::GroupPart first_part_;  // what view_ is of at first, of a large group
  bool unread_ = false;        // records of view_ are still to be handed out
  Status pending_;             // reported when what precedes it was handed out
};

}  // namespace stonelog::driver
