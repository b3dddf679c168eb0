// The oracle: what was admitted, handed to the device and acknowledged, and what recovery may make
// of it.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "log/recovery.h"
#include "sim/sim_file_system.h"

namespace stonelog::sim {

inline constexpr char kDirectory[] = "/log";

// The payload of a record is a function of the life that admitted it, its LSN and its size, so that
// a ghost of an earlier life never passes for it.
void fill_payload(uint64_t life, uint64_t lsn, uint8_t* data, size_t size);

struct ReadRecord {
  uint64_t lsn;
  std::vector<uint8_t> data;
};

struct Head {
  uint64_t first_lsn;
  uint64_t first_sequence;
  bool operator==(const Head&) const = default;
};

class Model {
 public:
  void begin_life(uint64_t epoch, const format::Id& epoch_id);
  void admitted(uint64_t first_lsn, const std::vector<uint32_t>& sizes);
  void submitted(const uint8_t* sectors, size_t size, uint64_t last_lsn);
  void acknowledged(uint64_t lsn);
  void head_requested(const Head& head) { heads_.push_back(head); }
  void head_durable(const Head& head);
  void not_written_from(uint64_t lsn) { not_written_ = std::min(not_written_, lsn); }
  void closing() { closing_ = true; }
  void closed() { closed_ = true; }

  // What an examination after a mere crash may say; then what was cut is forgotten for good.
  void check_recovered(const log::Examination& examination);
  // All records that the accepted segments hold, and that they are what was admitted. `salvage`
  // reads on behind damage; the LSNs of `lost` may be missing then.
  void check_records(io::FileSystem& fs, const io::Probe& probe,
                     const log::Examination& examination, bool salvage);

  // What a reader beside the writer saw: nothing that is not acknowledged, everything up to there
  // unaltered, as far as its files were not released meanwhile. Returns the records compared.
  uint64_t check_seen(io::FileSystem& fs, const io::Probe& probe,
                      const log::Examination& examination);

  // Nothing that reached the disk may vanish in recovery, other than below the head.
  void remember_sectors(const Disk& disk);
  void check_sectors(const Disk& disk, const Head& head);

  void fail(const std::string& what);
  const std::string& finding() const { return finding_; }
  uint64_t last_lsn() const { return records_.size() - 1; }
  uint64_t acknowledged_lsn() const { return acknowledged_; }
  uint64_t submitted_lsn() const { return submitted_; }
  uint64_t life() const { return life_; }
  uint64_t verified() const { return verified_; }
  const Head& head() const { return heads_.front(); }
  uint64_t record_bytes(uint64_t lsn) const { return records_[lsn].size; }
  uint64_t batch_first(uint64_t lsn) const { return records_[lsn].batch_first; }

 private:
  struct Record {
    uint64_t life = 0;
    uint32_t size = 0;
    uint64_t batch_first = 0;
    uint64_t batch_last = 0;
  };

  void check_record(uint64_t lsn, const uint8_t* data, size_t size);
  void read_segment(io::FileSystem& fs, const io::Probe& probe, const log::SegmentEntry& entry,
                    bool salvage, uint64_t* next, const std::vector<format::Hole>& holes);
  void pass(uint64_t lsn, const uint8_t* data, size_t size, uint64_t* next,
            const std::vector<format::Hole>& holes);

  std::vector<Record> records_ = std::vector<Record>(1);  // by LSN
  uint64_t acknowledged_ = 0;
  uint64_t submitted_ = 0;
  uint64_t not_written_ = UINT64_MAX;
  bool closing_ = false;
  bool closed_ = false;
  bool recovered_ = false;  // since the last admission: recovering again gives the same
  uint64_t life_ = 0;
  uint64_t epoch_ = 0;
  std::set<format::Id> epoch_ids_;
  std::vector<Head> heads_ = {{1, 1}};  // the durable one, then those that may be
  std::unordered_map<uint64_t, uint64_t>
      sectors_;  // stamp of a user's sector -> last LSN of its group
  std::unordered_map<uint64_t, uint64_t> remembered_;  // stamp -> sequence of the file it was in
  std::vector<uint8_t> scratch_;
  uint64_t verified_ = 0;  // records compared with what was admitted
  std::string finding_;
};

}  // namespace stonelog::sim
