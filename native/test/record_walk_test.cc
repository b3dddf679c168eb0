// Records in a run of sectors: which of them count, and where they start.
#include "log/record_walk.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "format/bytes.h"
#include "format/record.h"

using namespace stonelog;
using log::WalkedRecord;

namespace {

constexpr uint8_t kMore = format::kFlagBatchMore;
constexpr uint8_t kPart = format::kFlagBatchPart;
constexpr auto kUser = static_cast<uint8_t>(format::RecordType::user);
constexpr uint64_t kFirst = 70'000;  // beyond the low half of an LSN

// A stream as its owner keeps it, with what the walk finds in it.
struct Stream {
  std::vector<uint8_t> bytes;
  std::vector<WalkedRecord> records;

  void add(uint64_t lsn, uint8_t flags, uint8_t type = kUser) {
    const std::string text = "record " + std::to_string(lsn);
    const auto* payload = reinterpret_cast<const uint8_t*>(text.data());
    format::PayloadSum sum;
    format::sum_payload(payload, text.size(), &sum);
    uint8_t header[format::kMaxRecordHeaderBytes];
    uint32_t crc = 0;
    const size_t size =
        format::encode_record_header(header, static_cast<format::RecordType>(type), flags,
                                     text.size(), type == kUser ? lsn : 0, sum.crc, &crc);
    bytes.insert(bytes.end(), header, header + size);
    bytes.insert(bytes.end(), payload, payload + text.size());
  }
  void add_row(const std::vector<uint8_t>& flags) {
    for (size_t i = 0; i < flags.size(); i++) add(kFirst + i, flags[i]);
  }
  uint64_t walk(uint64_t lsn = kFirst, uint64_t end_lsn = UINT64_MAX) {
    return log::walk_records({bytes.data(), bytes.size()}, 0, lsn, end_lsn, &records);
  }
  // Which ones, as the LSN's distance from the first.
  std::vector<uint64_t> found() const {
    std::vector<uint64_t> out;
    for (const auto& [lsn, record] : records) {
      const std::string text = "record " + std::to_string(lsn);
      REQUIRE(record.payload_bytes == text.size());
      CHECK(text == std::string(bytes.begin() + record.payload_offset,
                                bytes.begin() + record.payload_offset + text.size()));
      out.push_back(lsn - kFirst);
    }
    return out;
  }
};

using Found = std::vector<uint64_t>;

}  // namespace

// ensures that of a batch of which the run lacks the beginning or the end nothing counts, and all
// of one that lies in it.
TEST_CASE("record walk: batches") {
  Stream s;
  s.add_row({kPart | kMore, kPart, 0, kMore, kMore | kPart, kPart, 0, kMore, kMore | kPart});
  CHECK(s.walk() == kFirst + 9);
  CHECK(s.found() == Found{2, 3, 4, 5, 6});
  // The end of the walk may lie in a batch; what was found before stays.
  CHECK(s.walk(kFirst, kFirst + 5) == kFirst + 5);
  CHECK(s.found() == Found{2, 3, 4, 5, 6, 2});
}

// ensures that a walk ends where a record is not proven any more: at padding, at the end of the
// run, under another LSN.
TEST_CASE("record walk: its end") {
  Stream s;
  s.add_row({0, 0, 0});
  CHECK(s.walk(kFirst + 1) == kFirst + 1);
  CHECK(s.walk(kFirst + (1 << 16)) == kFirst + (1 << 16));
  CHECK(s.records.empty());
  s.bytes.resize(s.bytes.size() + 20);
  CHECK(s.walk() == kFirst + 3);
  CHECK(s.found() == Found{0, 1, 2});
  s.records.clear();
  s.bytes.resize(s.bytes.size() - 21);
  CHECK(s.walk() == kFirst + 2);
  CHECK(s.found() == Found{0, 1});
  CHECK(log::is_record({s.bytes.data(), s.bytes.size()}, 0, kFirst));
  CHECK_FALSE(log::is_record({s.bytes.data(), s.bytes.size()}, 0, kFirst + 1));
}

// ensures that records that are not the user's have no LSN: those that may be passed over are,
// others end the walk.
TEST_CASE("record walk: records of other types") {
  Stream s;
  s.add(kFirst, 0);
  s.add(0, 0, format::kTypeIgnorable | 2);
  s.add(kFirst + 1, 0);
  s.add(0, 0, static_cast<uint8_t>(format::RecordType::head));
  s.add(kFirst + 2, 0);
  CHECK(s.walk() == kFirst + 2);
  CHECK(s.found() == Found{0, 1});
  Stream control;
  control.add(0, 0, static_cast<uint8_t>(format::RecordType::head));
  CHECK_FALSE(log::is_record({control.bytes.data(), control.bytes.size()}, 0, 0));
}

// ensures that what a stamp says is believed only where a record can start.
TEST_CASE("record walk: stamps") {
  std::vector<uint8_t> sector(format::kSectorBytes);
  const auto start = [&](uint16_t first, bool starts_group) {
    format::store<uint16_t>(sector.data() + format::kStampFirstRecord, first);
    format::store<uint16_t>(sector.data() + format::kStampLsnLow, 0x1234);
    size_t at = 0;
    uint16_t low = 0;
    if (!log::stamped_start(sector.data(), starts_group, &at, &low)) return false;
    CHECK(at == first);
    CHECK(low == 0x1234);
    return true;
  };
  CHECK(start(0, false));
  CHECK(start(499, false));
  CHECK(start(format::kGroupHeaderBytes, true));
  CHECK_FALSE(start(format::kGroupHeaderBytes - 1, true));
  CHECK_FALSE(start(format::kContentBytes, false));
  CHECK_FALSE(start(format::kNoRecord, false));
}
