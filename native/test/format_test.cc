// The disk format: what is written comes back, and what is changed is noticed.
#include <doctest/doctest.h>

#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "crc32c/crc32c.h"
#include "format/bytes.h"
#include "format/control.h"
#include "format/group.h"
#include "format/record.h"
#include "format/segment_header.h"
#include "format/stamp.h"
#include "log/group_reader.h"
#include "sim/sim_file_system.h"

using namespace stonelog;
using namespace stonelog::format;

namespace {

constexpr uint32_t kBlock = kMinBlockBytes;

std::vector<uint8_t> payload_of(size_t size) {
  std::vector<uint8_t> out(size);
  for (size_t i = 0; i < size; i++) out[i] = static_cast<uint8_t>(i * 31 + size);
  return out;
}

// A segment in memory: header, no seal, groups of the user's records from block 2 on.
struct Image {
  SegmentHeader header;
  std::vector<uint8_t> bytes;
  uint64_t end = kFirstGroupBlock * uint64_t{kBlock};
  uint64_t next_lsn = 1;
  uint32_t link = 0;

  explicit Image(uint64_t file_bytes = 256 << 10) : bytes(file_bytes) {
    header.sequence = 1;
    header.file_bytes = file_bytes;
    std::iota(header.segment_id.begin(), header.segment_id.end(), uint8_t{1});
    encode_segment_header(header, bytes.data());
  }

  void add_group(const std::vector<std::vector<uint8_t>>& payloads) {
    std::vector<uint8_t> stream;
    GroupHeader group;
    group.kind = GroupKind::data;
    group.count = static_cast<uint32_t>(payloads.size());
    group.first_lsn = next_lsn;
    group.epoch = 1;
    group.sequence = header.sequence;
    group.segment_id = header.segment_id;
    group.link = link;
    for (const auto& payload : payloads) {
      PayloadSum sum;
      sum_payload(payload.data(), payload.size(), &sum);
      uint8_t record[kMaxRecordHeaderBytes];
      uint32_t crc = 0;
      const size_t size = encode_record_header(record, RecordType::user, 0, payload.size(),
                                               next_lsn++, sum.crc, &crc);
      stream.insert(stream.end(), record, record + size);
      const auto* table = reinterpret_cast<const uint8_t*>(sum.table.data());
      if (!sum.table.empty()) stream.insert(stream.end(), table, table + 4 * sum.table.size());
      stream.insert(stream.end(), payload.begin(), payload.end());
      group.body_sum = crc32c::extend(group.body_sum, &crc, sizeof crc);
    }
    REQUIRE(end + group_file_bytes(stream.size(), kBlock) <= bytes.size());
    encode_group(&group, stream, kBlock, bytes.data() + end);
    stamp_sectors(bytes.data() + end, group.file_bytes / kSectorBytes, end / kSectorBytes,
                  header.tag(), true);
    link = group.checksum;
    end += group.file_bytes;
  }
};

// The image as a file, read by the one scanner.
struct Reading {
  sim::SimFileSystem fs{1};
  std::unique_ptr<io::File> file;
  SegmentHeader header;
  std::unique_ptr<log::GroupReader> reader;
  log::GroupView view;
  log::Defect defect = log::Defect::none;
  uint64_t bad_offset = 0;

  explicit Reading(const Image& image) : header(image.header) {
    fs.probe_result.direct = false;
    REQUIRE(fs.open("/segment", io::Access::create, false, 0, &file).ok());
    const io::Part part{image.bytes.data(), image.bytes.size()};
    REQUIRE(file->write(0, &part, 1, io::WriteMode::plain).ok());
  }
  log::Defect read(uint64_t offset, const log::Expectation& expected) {
    // A new one each time, so that nothing is read from its window; it owns what the view points
    // to.
    reader = std::make_unique<log::GroupReader>(*file, header, 64 << 10);
    REQUIRE(reader->read(offset, header.file_bytes, expected, &view, &defect, &bad_offset).ok());
    return defect;
  }
  log::Defect read_first() {
    return read(kFirstGroupBlock * uint64_t{kBlock}, {1, 1, 0, true, false});
  }
};

void check_round_trip(size_t size, size_t before) {
  CAPTURE(size);
  CAPTURE(before);
  Image image(segment_file_bytes(size + before + 4096, kBlock));
  const std::vector<std::vector<uint8_t>> payloads = {payload_of(before), payload_of(size),
                                                      payload_of(3)};
  image.add_group(payloads);
  Reading reading(image);
  REQUIRE(reading.read_first() == log::Defect::none);
  REQUIRE(reading.view.records.size() == payloads.size());
  for (size_t i = 0; i < payloads.size(); i++) {
    const log::RecordRef& record = reading.view.records[i];
    REQUIRE(record.payload_bytes == payloads[i].size());
    if (payloads[i].empty()) continue;
    REQUIRE(std::memcmp(reading.view.stream + record.payload_offset, payloads[i].data(),
                        payloads[i].size()) == 0);
  }
}

bool same(const Epoch& a, const Epoch& b) {
  return a.number == b.number && a.id == b.id && a.first_lsn == b.first_lsn;
}

// Parses a stream of control records as recovery does.
bool parse_control(const std::vector<uint8_t>& stream, ControlContent* content) {
  for (size_t at = 0; at < stream.size();) {
    Record record;
    if (decode_record(stream.data(), stream.size(), at, 0, &record) != RecordState::valid)
      return false;
    if (!read_control_record(record.type, stream.data() + record.payload_offset,
                             record.payload_bytes, content)) {
      return false;
    }
    at = record.end;
  }
  return true;
}

}  // namespace

// ensures that a record whose end, or whose successor's header, falls around the end of a sector's
// content or of a block comes back unchanged.
TEST_CASE("format: records straddle sector and block ends") {
  const size_t per_block = kBlock / kSectorBytes * kContentBytes - kGroupHeaderBytes;
  for (const size_t end :
       {kContentBytes - kGroupHeaderBytes, 2 * kContentBytes - kGroupHeaderBytes, per_block}) {
    for (size_t size = end - 40; size <= end + 40; size++) check_round_trip(size, 0);
  }
}

// ensures that the length's encoding changes size in the right places, and that long records are
// cut into chunks of which none is longer than one CRC may cover.
TEST_CASE("format: varint and chunk boundaries") {
  for (const size_t size :
       {size_t{0}, size_t{1}, size_t{127}, size_t{128}, size_t{16383}, size_t{16384},
        kChunkBytes - 1, kChunkBytes, kChunkBytes + 1, 2 * kChunkBytes, 2 * kChunkBytes + 1,
        (size_t{1} << 21) - 1, size_t{1} << 21}) {
    check_round_trip(size, 0);
    check_round_trip(size, 333);
  }
  CHECK(record_bytes(kChunkBytes) == kRecordFixedBytes + 3 + kChunkBytes);
  CHECK(record_bytes(kChunkBytes + 1) == kRecordFixedBytes + 3 + 8 + kChunkBytes + 1);
}

// ensures that each single bit of a group is covered: a flip is never altered or missing data.
TEST_CASE("format: every flipped bit of a group is noticed") {
  Image image(64 << 10);
  image.add_group(
      {payload_of(0), payload_of(100), payload_of(700), payload_of(4000), payload_of(1)});
  const uint64_t begin = kFirstGroupBlock * uint64_t{kBlock};
  REQUIRE(image.end - begin == 2 * kBlock);
  Reading reading(image);
  for (uint64_t at = begin; at < image.end; at++) {
    for (int bit = 0; bit < 8; bit++) {
      const auto flipped = static_cast<uint8_t>(image.bytes[at] ^ 1 << bit);
      reading.fs.damage("/segment", at, &flipped, 1);
      REQUIRE_MESSAGE(reading.read_first() == log::Defect::damaged, "bit " << bit << " at " << at);
    }
    reading.fs.damage("/segment", at, &image.bytes[at], 1);
  }
  CHECK(reading.read_first() == log::Defect::none);
}

// ensures that identity cannot change unnoticed, in any sector of the header block.
TEST_CASE("format: every flipped bit of a segment header is noticed") {
  Image image;
  for (size_t at = 0; at < kBlock; at++) {
    for (int bit = 0; bit < 8; bit++) {
      image.bytes[at] = static_cast<uint8_t>(image.bytes[at] ^ 1 << bit);
      SegmentHeader header;
      uint32_t version = 0;
      REQUIRE_MESSAGE(
          decode_segment_header(image.bytes.data(), &header, &version) == HeaderState::damaged,
          "bit " << bit << " at " << at);
      image.bytes[at] = static_cast<uint8_t>(image.bytes[at] ^ 1 << bit);
    }
  }
}

TEST_CASE("format: a segment header comes back") {
  Image image;
  image.header.recycled = true;
  image.header.created_micros = 1234567;
  encode_segment_header(image.header, image.bytes.data());
  SegmentHeader header;
  uint32_t version = 0;
  REQUIRE(decode_segment_header(image.bytes.data(), &header, &version) == HeaderState::valid);
  CHECK(header.segment_id == image.header.segment_id);
  CHECK(header.file_bytes == image.header.file_bytes);
  CHECK(header.recycled);
  CHECK(header.created_micros == 1234567);
  CHECK(version == (uint32_t{kVersion} << 16 | kSubVersion));
}

// ensures that a newer version, a foreign file and damage are three different findings.
TEST_CASE("format: newer version, foreign file, unwritten file") {
  SegmentHeader header;
  uint32_t version = 0;
  Image newer;
  store<uint16_t>(newer.bytes.data() + kHeaderVersion, 7);
  store(newer.bytes.data() + kHeaderPreambleCrc,
        crc32c::extend(0, newer.bytes.data(), kHeaderPreambleCrc));
  CHECK(decode_segment_header(newer.bytes.data(), &header, &version) == HeaderState::unsupported);
  CHECK((version >> 16) == 7);

  Image features;
  store<uint32_t>(features.bytes.data() + kHeaderIncompatible, 1u << 31);
  stamp_sectors(features.bytes.data(), 1, 0, features.header.tag(), true);
  CHECK(decode_segment_header(features.bytes.data(), &header, &version) ==
        HeaderState::unsupported);

  std::vector<uint8_t> foreign(kBlock, 'x');
  CHECK(decode_segment_header(foreign.data(), &header, &version) == HeaderState::not_a_log);
  std::vector<uint8_t> unwritten(kBlock);
  CHECK(decode_segment_header(unwritten.data(), &header, &version) == HeaderState::unwritten);
}

// ensures that a valid block read from, or written to, another place is noticed (misdirected I/O).
TEST_CASE("format: swapped blocks are noticed") {
  Image image;
  image.add_group({payload_of(10)});
  image.add_group({payload_of(20)});
  const auto first = image.bytes.begin() + kFirstGroupBlock * kBlock;
  std::swap_ranges(first, first + kBlock, first + kBlock);
  Reading reading(image);
  CHECK(reading.read_first() == log::Defect::damaged);
}

// ensures that each sector can be judged alone.
TEST_CASE("format: sector states") {
  uint8_t sector[kSectorBytes] = {};
  CHECK(check_sector(sector, 5, 0x1234) == SectorState::unwritten);
  sector[3] = 1;
  CHECK(check_sector(sector, 5, 0x1234) == SectorState::damaged);
  clear_stamp(sector);
  stamp_sectors(sector, 1, 5, 0x1234, false);
  CHECK(check_sector(sector, 5, 0x1234) == SectorState::valid);
  CHECK(check_sector(sector, 6, 0x1234) == SectorState::damaged);
  CHECK(check_sector(sector, 5, 0x1235) == SectorState::older);
  stamp_sectors(sector, 1, 5, 0x1234, true);
  CHECK(check_sector(sector, 5, 0x1234) == SectorState::group_start);
}

// ensures that a group is accepted only where the one before it leads to it.
TEST_CASE("format: a group that does not follow is refused") {
  Image image;
  image.add_group({payload_of(10)});
  const uint32_t link = image.link;
  const uint64_t second = image.end;
  image.add_group({payload_of(20)});
  Reading reading(image);
  CHECK(reading.read(second, {2, 1, link, true, false}) == log::Defect::none);
  CHECK(reading.read(second, {3, 1, link, true, false}) == log::Defect::inconsistent);
  CHECK(reading.read(second, {2, 2, link, true, false}) == log::Defect::inconsistent);
  CHECK(reading.read(second, {2, 1, link + 1, true, false}) == log::Defect::inconsistent);
  CHECK(reading.read(image.end, {3, 1, image.link, true, false}) == log::Defect::nothing);
}

// ensures that a group's identity, place in the log and watermark are what was written.
TEST_CASE("format: every bit of a group header is under its checksum") {
  GroupHeader header;
  header.kind = GroupKind::data;
  header.file_bytes = kBlock;
  header.first_lsn = 77;
  header.epoch = 5;
  uint8_t content[kGroupHeaderBytes];
  encode_group_header(&header, content);
  REQUIRE(decode_group_header(content, kBlock, &header));
  for (size_t bit = 0; bit < 8 * (kGroupChecksum + 4); bit++) {
    CAPTURE(bit);
    content[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    CHECK_FALSE(decode_group_header(content, kBlock, &header));
    content[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
  }
}

// ensures that a torn group, of which some sectors were never written, is told from a damaged one.
TEST_CASE("format: a torn group is incomplete, not damaged") {
  Image image;
  image.add_group({payload_of(5000)});
  std::fill_n(image.bytes.begin() + kFirstGroupBlock * kBlock + 3 * kSectorBytes, kSectorBytes,
              uint8_t{0});
  Reading reading(image);
  CHECK(reading.read_first() == log::Defect::incomplete);
  CHECK(reading.bad_offset == kFirstGroupBlock * kBlock + 3 * kSectorBytes);
}

// ensures that of a group with a bad sector the records before the first one can be had, and none
// of what lies there: a record of another life proves itself under the LSN that is due.
TEST_CASE("format: the records before a bad sector") {
  // One record up to the first sector's end, then four in each sector.
  std::vector<std::vector<uint8_t>> payloads(57, payload_of(118));
  payloads.front() = payload_of(356);
  Image image;
  image.add_group(payloads);
  Image other;
  other.header.segment_id.fill(77);
  for (auto& payload : payloads) payload.front()++;
  other.add_group(payloads);
  const uint64_t begin = kFirstGroupBlock * uint64_t{kBlock};
  const std::vector<uint8_t> zeros(kSectorBytes);
  Reading reading(image);
  const auto check = [&](uint64_t sector, log::Defect defect, uint64_t told) {
    CAPTURE(sector);
    REQUIRE(reading.read_first() == defect);
    REQUIRE(reading.bad_offset == begin + told * kSectorBytes);
    REQUIRE(reading.reader->read_before_defect(&reading.view).ok());
    REQUIRE(reading.view.records.size() == 1 + 4 * (sector - 1));
    for (const log::RecordRef& record : reading.view.records)
      CHECK(reading.view.stream[record.payload_offset] == payload_of(record.payload_bytes)[0]);
  };
  for (uint64_t sector = 1; sector < 15; sector++) {
    const uint64_t at = begin + sector * kSectorBytes;
    const auto put = [&](const uint8_t* bytes) {
      reading.fs.damage("/segment", at, bytes, kSectorBytes);
    };
    put(zeros.data());
    check(sector, log::Defect::incomplete, sector);
    put(other.bytes.data() + at);
    check(sector, log::Defect::damaged, sector);
    reading.header.recycled = true;
    check(sector, log::Defect::incomplete, sector);
    reading.header.recycled = false;
    put(zeros.data());
    const uint8_t junk = 1;
    reading.fs.damage("/segment", begin + 15 * kSectorBytes, &junk, 1);
    check(sector, log::Defect::damaged, 15);
    reading.fs.damage("/segment", begin + 15 * kSectorBytes,
                      image.bytes.data() + begin + 15 * kSectorBytes, 1);
    put(image.bytes.data() + at);
    REQUIRE(reading.read_first() == log::Defect::none);
  }
}

// ensures that zeros, unknown flags and lengths out of bounds never parse as a record.
TEST_CASE("format: what is not a record is refused") {
  Record record;
  const std::vector<uint8_t> zeros(64);
  CHECK(decode_record(zeros.data(), zeros.size(), 0, 1, &record) == RecordState::damaged);
  uint8_t bytes[64] = {};
  uint32_t crc = 0;
  const size_t size =
      encode_record_header(bytes, RecordType::user, 0, 4, 9, crc32c::extend(0, bytes + 7, 4), &crc);
  REQUIRE(size == 7);
  CHECK(decode_record(bytes, sizeof bytes, 0, 9, &record) == RecordState::valid);
  CHECK(decode_record(bytes, sizeof bytes, 0, 10, &record) == RecordState::damaged);  // another LSN
  CHECK(decode_record(bytes, 10, 0, 9, &record) == RecordState::truncated);
  bytes[5] |= kFlagsRefused;
  CHECK(decode_record(bytes, sizeof bytes, 0, 9, &record) == RecordState::damaged);
  uint8_t huge[16] = {0, 0, 0, 0, 1, kFlagChunked, 0xff, 0xff, 0xff, 0xff, 0x0f};
  CHECK(decode_record(huge, sizeof huge, 0, 1, &record) == RecordState::damaged);
  uint8_t padded[16] = {0, 0, 0, 0, 1, 0, 0x81, 0x00};  // 1, not in the shortest form
  CHECK(decode_record(padded, sizeof padded, 0, 1, &record) == RecordState::damaged);
}

// ensures that the control state comes back whole, at its limits, too.
TEST_CASE("format: control state at its limits comes back") {
  ControlState state;
  state.first_lsn = 77;
  state.first_sequence = 5;
  state.epoch = {900, {1, 2, 3}, 70};
  for (uint64_t i = 0; i < kMaxHistory; i++)
    state.history.push_back({i + 1, {static_cast<uint8_t>(i)}, i + 1});
  for (uint64_t i = 0; i < kMaxHoles; i++) state.holes.push_back({1000 + 10 * i, 1003 + 10 * i});
  for (uint64_t i = 0; i < kMaxSalvaged; i++) state.salvaged.push_back(i + 1);
  ControlWriter writer;
  writer.predecessor({4, {9, 9}, 123 << 12, 76});
  writer.state(state);
  ControlContent content;
  REQUIRE(parse_control(writer.stream(), &content));
  CHECK(content.predecessor.sequence == 4);
  CHECK(content.predecessor.end == uint64_t{123} * 4096);
  CHECK(content.predecessor.last_lsn == 76);
  CHECK(content.state.first_lsn == 77);
  CHECK(content.state.first_sequence == 5);
  CHECK(same(content.state.epoch, state.epoch));
  REQUIRE(content.state.history.size() == kMaxHistory);
  CHECK(same(content.state.history.back(), state.history.back()));
  REQUIRE(content.state.holes.size() == kMaxHoles);
  CHECK(content.state.holes.back().to == state.holes.back().to);
  CHECK(content.state.salvaged == state.salvaged);
  CHECK(group_file_bytes(writer.stream().size(), kBlock) <=
        8 * kBlock);  // what rotation sets aside for it
}

TEST_CASE("format: control lists beyond their limits or out of order are refused") {
  const auto refuses = [](const ControlState& state) {
    ControlWriter writer;
    writer.state(state);
    ControlContent content;
    return !parse_control(writer.stream(), &content);
  };
  ControlState state;
  CHECK(!refuses(state));
  state.holes = {{5, 9}, {9, 12}};
  CHECK(refuses(state));
  state.holes = {{5, 4}};
  CHECK(refuses(state));
  state.holes.clear();
  state.salvaged.resize(kMaxSalvaged + 1, 1);
  CHECK(refuses(state));
  state.salvaged.clear();
  state.history.resize(kMaxHistory + 1);
  CHECK(refuses(state));
}

TEST_CASE("format: a seal comes back") {
  ControlWriter writer;
  writer.seal({10, 20, 8192, 0xdeadbeef});
  ControlContent content;
  REQUIRE(parse_control(writer.stream(), &content));
  REQUIRE(content.has_seal);
  CHECK(content.seal.first_lsn == 10);
  CHECK(content.seal.last_lsn == 20);
  CHECK(content.seal.end == 8192);
  CHECK(content.seal.checksum == 0xdeadbeef);
}

TEST_CASE("format: holes merge with their neighbours") {
  std::vector<Hole> holes;
  CHECK(add_hole(&holes, 10, 12));
  CHECK(add_hole(&holes, 20, 22));
  CHECK(add_hole(&holes, 13, 15));
  CHECK(add_hole(&holes, 5, 4));  // nothing
  REQUIRE(holes.size() == 2);
  CHECK(is_hole(holes, 10, 15));
  CHECK(!is_hole(holes, 15, 20));
  CHECK(add_hole(&holes, 16, 19));
  CHECK(holes.size() == 1);
  for (uint64_t i = 0; i < kMaxHoles - 1; i++) REQUIRE(add_hole(&holes, 100 + 2 * i, 100 + 2 * i));
  CHECK(!add_hole(&holes, 1'000'000, 1'000'000));
}

// ensures that a record proves its type, flags, length, payload and LSN by itself, without its
// sectors.
TEST_CASE("format: every bit of a record, and its LSN, is under its checksum") {
  using namespace stonelog::format;
  const std::vector<uint8_t> payload = {'p', 'a', 'y', 'l', 'o', 'a', 'd', 0, 1, 2};
  PayloadSum sum;
  sum_payload(payload.data(), payload.size(), &sum);
  uint8_t header[kMaxRecordHeaderBytes];
  uint32_t crc = 0;
  const size_t size = encode_record_header(header, RecordType::user, kFlagBatchMore, payload.size(),
                                           77, sum.crc, &crc);
  std::vector<uint8_t> stream(header, header + size);
  stream.insert(stream.end(), payload.begin(), payload.end());
  stream.resize(stream.size() + 300);  // a longer length finds bytes, too
  Record record;
  REQUIRE(decode_record(stream.data(), stream.size(), 0, 77, &record) == RecordState::valid);
  CHECK(decode_record(stream.data(), stream.size(), 0, 78, &record) == RecordState::damaged);
  for (size_t bit = 0; bit < 8 * (size + payload.size()); bit++) {
    CAPTURE(bit);
    stream[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    CHECK(decode_record(stream.data(), stream.size(), 0, 77, &record) != RecordState::valid);
    stream[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
  }
}

// ensures that type 0 is invalid whatever its checksum says, so that zeros can never become a
// record.
TEST_CASE("format: type 0 is no record, with the right checksum either") {
  PayloadSum sum;
  sum_payload(nullptr, 0, &sum);
  uint8_t header[kMaxRecordHeaderBytes];
  uint32_t crc = 0;
  encode_record_header(header, RecordType::invalid, 0, 0, 0, sum.crc, &crc);
  std::vector<uint8_t> stream(header, header + sizeof header);
  Record record;
  CHECK(decode_record(stream.data(), stream.size(), 0, 1, &record) == RecordState::damaged);
  CHECK(decode_record(stream.data(), stream.size(), 0, 0, &record) == RecordState::damaged);
}
