#include "log/record_walk.h"

#include "format/bytes.h"
#include "format/record.h"

namespace stonelog::log {

bool stamped_start(const uint8_t* sector, bool starts_group, size_t* at, uint16_t* lsn_low) {
  *at = format::load<uint16_t>(sector + format::kStampFirstRecord);
  *lsn_low = format::load<uint16_t>(sector + format::kStampLsnLow);
  return *at >= (starts_group ? format::kGroupHeaderBytes : 0) && *at < format::kContentBytes;
}

bool is_record(const RecordStream& stream, size_t at, uint64_t lsn) {
  format::Record record;
  return format::decode_record(stream.data, stream.size, at, lsn, &record) ==
             format::RecordState::valid &&
         format::is_user_record(record.type);
}

uint64_t walk_records(const RecordStream& stream, size_t at, uint64_t lsn, uint64_t end_lsn,
                      std::vector<WalkedRecord>* records) {
  size_t whole = records->size();  // what is added of a batch counts when its last record is there
  bool in_batch = false;
  format::Record record;
  while (lsn < end_lsn && format::decode_record(stream.data, stream.size, at, lsn, &record) ==
                              format::RecordState::valid) {
    at = record.end;
    if (!format::is_user_record(record.type)) {
      if ((record.type & format::kTypeIgnorable) == 0) break;
      continue;  // has no LSN
    }
    const bool part = (record.flags & format::kFlagBatchPart) != 0;
    const uint64_t here = lsn++;
    if (part && !in_batch) continue;  // the batch began before the run
    in_batch = (record.flags & format::kFlagBatchMore) != 0;
    records->push_back({here,
                        {static_cast<uint32_t>(record.payload_bytes), record.type, record.flags,
                         record.payload_offset}});
    if (!in_batch) whole = records->size();
  }
  records->resize(whole);
  return lsn;
}

}  // namespace stonelog::log
