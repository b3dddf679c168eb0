// Recovery: each row of the table is reached by a crafted log, and each policy gives what it must.
#include <doctest/doctest.h>

#include <cerrno>
#include <map>
#include <string>

#include "format/bytes.h"
#include "format/segment_header.h"
#include "format/stamp.h"
#include "log/loaded_segment.h"
#include "log/recovery_table.h"
#include "log/segment_file.h"
#include "sim/sim_log.h"
#include "sim/simulation.h"

using namespace stonelog;
using namespace stonelog::log;
using sim::SimLog;

namespace {

constexpr uint64_t kFirstGroup = 2 * 4096;

RecoveryPolicy policy_of(OnDamage torn_tail, OnDamage damage, bool scan_all = false) {
  RecoveryPolicy policy;
  policy.torn_tail = torn_tail;
  policy.damage = damage;
  policy.scan_all = scan_all;
  return policy;
}
const RecoveryPolicy kTolerate = policy_of(OnDamage::cut, OnDamage::refuse);
const RecoveryPolicy kStrict = policy_of(OnDamage::refuse, OnDamage::refuse);
const RecoveryPolicy kPointInTime = policy_of(OnDamage::cut, OnDamage::cut, true);
const RecoveryPolicy kSalvage = policy_of(OnDamage::cut, OnDamage::skip, true);
const RecoveryPolicy kVerify = policy_of(OnDamage::cut, OnDamage::refuse, true);

// Each record a group of one block: the start group at block 2, LSN n at block 2 + n.
struct Fixture {
  SimLog log;
  explicit Fixture(uint64_t seed = 1) : log(seed) { REQUIRE(log.open().ok()); }
  void append(int count) {
    for (int i = 0; i < count; i++) {
      REQUIRE(log.append("record " + std::to_string(log.engine->last_lsn() + 1)) != 0);
      log.run();
    }
  }
  static uint64_t group(uint64_t index) { return kFirstGroup + index * 4096; }
  void check_records(uint64_t first, uint64_t last) {
    const std::vector<std::string> records = log.read_all();
    REQUIRE(records.size() == last + 1 - first);
    for (size_t i = 0; i < records.size(); i++)
      CHECK(records[i] == "record " + std::to_string(first + i));
  }
};

void craft_missing_segment(Fixture* f) {
  f->append(1);
  f->log.rotate();
  f->append(1);
  f->log.rotate();
  f->log.power_cut();
  REQUIRE(f->log.fs.unlink(f->log.path(2)).ok());
}
void craft_short_file(Fixture* f) {
  f->append(1);
  f->log.power_cut();
  f->log.fs.shorten(f->log.path(1), 64 << 10);
}
void craft_damaged_header(Fixture* f) {
  f->append(1);
  f->log.power_cut();
  f->log.flip(1, 50);
}
void craft_damaged_sector(Fixture* f) {  // the very last record: no watermark covers it
  f->append(2);
  f->log.power_cut();
  f->log.flip(1, Fixture::group(2) + 150);
}
void craft_inconsistent(Fixture* f) {  // another segment under this name
  f->append(1);
  f->log.power_cut();
  REQUIRE(f->log.fs.rename(f->log.path(1), f->log.path(2)).ok());
}
void craft_seal_contradicted(Fixture* f) {
  f->append(2);
  f->log.rotate();
  f->log.power_cut();
  f->log.zero(1, Fixture::group(2), Fixture::group(3));
}
void craft_below_watermark(Fixture* f) {
  f->append(2);
  f->log.wait_idle();
  f->log.power_cut();
  f->log.zero(1, Fixture::group(2), Fixture::group(3));
}
void craft_torn_tail(Fixture* f) {  // two groups in flight, only the second is on the disk
  f->append(1);
  f->log.append("lost", Durability::each);
  f->log.append("record 3", Durability::each);
  Op lost;
  Op kept;
  REQUIRE(f->log.begin(&lost));
  REQUIRE(f->log.begin(&kept));
  f->log.land(kept);
  f->log.power_cut();
}
void craft_closed(Fixture* f) {
  f->append(1);
  REQUIRE(f->log.close());
}
void craft_open_end(Fixture* f) {
  f->append(1);
  f->log.power_cut();
}

const std::map<std::string, void (*)(Fixture*)> kCrafts = {
    {"missing-segment", craft_missing_segment},
    {"short-file", craft_short_file},
    {"damaged-header", craft_damaged_header},
    {"damaged-sector", craft_damaged_sector},
    {"inconsistent", craft_inconsistent},
    {"seal-contradicted", craft_seal_contradicted},
    {"below-watermark", craft_below_watermark},
    {"torn-tail", craft_torn_tail},
    {"closed", craft_closed},
    {"open-end", craft_open_end},
};

}  // namespace

// ensures that each row of the recovery table is reached, gives its verdict, and changes nothing on
// the way.
TEST_CASE("recovery: every row of the table") {
  CHECK(kCrafts.size() == kRecoveryTable.size());
  for (const RecoveryRow& row : kRecoveryTable) {
    INFO(std::string(row.name));
    REQUIRE(kCrafts.count(row.name) == 1);
    Fixture f;
    kCrafts.at(row.name)(&f);
    const sim::Disk before = f.log.fs.disk();
    Status status = f.log.examine(kVerify);
    CHECK(f.log.report().row == std::string(row.name));
    CHECK(f.log.report().verdict == row.verdict);
    if (row.verdict == Verdict::clean) CHECK(f.log.report().closed == (row.evidence == kClosed));
    CHECK(status.code == (row.verdict == Verdict::corrupt ? Code::corrupt : Code::ok));
    if (!status.ok()) CHECK(status.segment > 0);
    CHECK(f.log.fs.disk().looks_like(before));
  }
}

TEST_CASE("recovery: a torn tail is cut, reported and kept aside; strict refuses it") {
  Fixture f;
  craft_torn_tail(&f);
  CHECK(f.log.examine(kStrict).code == Code::torn_tail);
  REQUIRE(f.log.open(kTolerate).ok());
  CHECK(f.log.report().last_lsn == 1);
  CHECK(f.log.report().truncated_bytes > 0);
  REQUIRE(f.log.report().lost.size() == 1);
  CHECK(f.log.report().lost[0].from == 2);
  CHECK(f.log.report().lost[0].to == 3);
  CHECK(f.log.fs.disk().find("/log/" + f.log.report().lost[0].quarantine) != nullptr);
  f.check_records(1, 1);
  f.append(1);
  f.log.power_cut();
  REQUIRE(f.log.examine(kStrict).ok());
  f.check_records(1, 2);
}

// ensures that a group behind a hole never comes back to life, however often the log is opened.
TEST_CASE("recovery: no ghost after a cut") {
  Fixture f;
  craft_torn_tail(&f);
  REQUIRE(f.log.open().ok());
  f.log.power_cut();
  REQUIRE(f.log.open().ok());
  f.append(1);
  f.log.power_cut();
  REQUIRE(f.log.open().ok());
  CHECK(f.log.report().last_lsn == 2);
  f.check_records(1, 2);
}

TEST_CASE("recovery: strict accepts a whole log that was not closed") {
  Fixture f;
  craft_open_end(&f);
  CHECK(f.log.examine(kStrict).ok());
}

// ensures that crash loops grow neither the log nor the quarantine.
TEST_CASE("recovery: an empty segment of the life before is replaced") {
  Fixture f;
  f.append(1);
  for (int i = 0; i < 5; i++) {
    f.log.power_cut();
    REQUIRE(f.log.open().ok());
  }
  CHECK(f.log.examination().segments.size() == 1);
  CHECK(f.log.report().epoch == 6);
  CHECK(f.log.fs.disk().find(f.log.path(4)) == nullptr);
  CHECK(f.log.fs.disk().find("/log/quarantine") == nullptr);
}

// ensures that start groups in flight together may survive in any order without being taken for
// damage.
TEST_CASE("recovery: of two start groups in flight only the later one is on the disk") {
  SimLog log;
  log.options.pipeline_depth = 8;
  log.options.second_slot_bytes = 0;
  REQUIRE(log.open().ok());
  log.append("record 1");
  log.run();
  REQUIRE(log.engine->rotate(log.now_ns) == Code::ok);
  Chore chore;
  REQUIRE(log.engine->next_chore(log.now_ns, &chore));
  SegmentSpec spec;
  spec.directory = "/log";
  spec.sequence = chore.sequence;
  spec.log_id = log.log_id();
  spec.file_bytes = format::segment_file_bytes(log.options.segment_bytes, spec.block_bytes);
  spec.direct = true;
  MadeSegment made;
  bool fatal = false;
  REQUIRE(make_segment(log.fs, spec, &made, &fatal).ok());
  log.engine->segment_ready(made.place);
  log.append("in 2");
  REQUIRE(log.engine->rotate(log.now_ns) == Code::ok);
  Op op;
  do {
    REQUIRE(log.begin(&op));
  } while (op.segment != 3);
  log.land(op);
  log.power_cut();
  REQUIRE(log.examine().ok());
  CHECK(log.report().row == "torn-tail");
  CHECK(log.report().last_lsn == 1);
}

// ensures that the life after a close is not overlooked when its start group is destroyed.
TEST_CASE("recovery: a damaged start group behind a closed log is damage") {
  Fixture f;
  craft_closed(&f);
  REQUIRE(f.log.open().ok());
  f.append(1);
  f.log.power_cut();
  f.log.flip(2, kFirstGroup + 20);
  CHECK(f.log.examine().code == Code::corrupt);
}

TEST_CASE("recovery: a read error is an error, never a verdict") {
  for (uint64_t skip = 0; skip < 12; skip++) {
    Fixture f;
    f.append(3);
    f.log.rotate();
    f.append(1);
    f.log.power_cut();
    const sim::Disk before = f.log.fs.disk();
    f.log.fs.add({sim::kReads, skip, 1, EIO, ""});
    Status status = f.log.examine();
    if (f.log.fs.faults_fired() == 0) continue;
    CHECK(status.code == Code::io);
    CHECK(status.error == EIO);
    CHECK(f.log.fs.disk().looks_like(before));
    f.log.fs.clear_faults();
    REQUIRE(f.log.open().ok());
    f.check_records(1, 4);
  }
}

TEST_CASE("recovery: not a log and newer version are their own errors") {
  Fixture foreign;
  foreign.append(1);
  foreign.log.power_cut();
  const std::vector<uint8_t> text(foreign.log.fs.disk().find(foreign.log.path(1))->size, 'x');
  foreign.log.fs.damage(foreign.log.path(1), 0, text.data(), text.size());
  CHECK(foreign.log.examine(kSalvage).code == Code::not_a_log);

  Fixture newer;
  newer.append(1);
  newer.log.power_cut();
  uint8_t block[4096];
  newer.log.fs.disk().find(newer.log.path(1))->visible.read(0, block, sizeof block);
  block[format::kHeaderVersion] = 9;
  format::SegmentHeader header;
  uint32_t version = 0;
  REQUIRE(format::decode_segment_header(block, &header, &version) == format::HeaderState::damaged);
}

// ensures that a segment is known by its sectors where nothing is left of its first block: that is
// damage, which the modes for damage get over.
TEST_CASE("recovery: a segment whose beginning is overwritten is damaged, not foreign") {
  // The header; header, seal and start group.
  for (const uint64_t bytes : {uint64_t{4096}, kFirstGroup + 4096}) {
    INFO(bytes);
    Fixture f;
    f.append(3);
    f.log.rotate();
    f.append(2);
    f.log.wait_idle();
    f.log.power_cut();
    const std::vector<uint8_t> junk(bytes, 'x');
    f.log.fs.damage(f.log.path(1), 0, junk.data(), junk.size());
    const sim::Disk before = f.log.fs.disk();
    CHECK(f.log.open().code == Code::corrupt);
    CHECK(f.log.report().row == "damaged-header");
    CHECK(f.log.fs.disk().looks_like(before));
    if (bytes == 4096) {
      REQUIRE(f.log.open(kPointInTime).ok());
      f.check_records(1, 5);
      f.log.fs.restore(before);
    }
    REQUIRE(f.log.open(kSalvage).ok());
    f.check_records(1, 5);
    CHECK(f.log.append("record 6") == 6);
    f.log.run();
    f.log.power_cut();
    REQUIRE(f.log.open().ok());
    CHECK(f.log.report().last_lsn == 6);
  }
}

// ensures that zeros in place of the newest segment's header, with or without what follows, neither
// cost a record that can be read nor let an epoch be given again.
TEST_CASE("recovery: a segment whose beginning is gone still tells its records and its life") {
  constexpr uint64_t kWhole = UINT64_MAX;
  const std::vector<uint64_t> lengths = {512, 4096, 8192, kFirstGroup + 4096, kWhole};
  for (const uint64_t bytes : lengths) {
    for (const RecoveryPolicy& policy : {kPointInTime, kSalvage}) {
      for (const bool zeros : {true, false}) {
        INFO(bytes, " ", zeros);
        Fixture f;
        f.append(1);
        REQUIRE(f.log.close());
        REQUIRE(f.log.open().ok());
        f.append(2);
        const uint64_t epoch = f.log.report().epoch;
        REQUIRE(f.log.close());
        const uint64_t size = f.log.fs.disk().find(f.log.path(2))->size;
        const std::vector<uint8_t> junk(std::min(bytes, size), zeros ? 0 : 'x');
        f.log.fs.damage(f.log.path(2), 0, junk.data(), junk.size());
        const bool foreign = bytes == kWhole && !zeros;
        CHECK(f.log.open().code == (foreign ? Code::not_a_log : Code::corrupt));
        if (foreign) continue;
        CHECK(f.log.report().row == "damaged-header");
        REQUIRE(f.log.open(policy).ok());
        CHECK(f.log.engine->state().epoch.number > epoch);
        const bool salvages = policy.damage == OnDamage::skip;
        f.check_records(1, bytes <= 8192 || (salvages && bytes != kWhole) ? 3 : 1);
        CHECK(f.log.append("another") != 0);
        f.log.run();
        f.log.power_cut();
        REQUIRE(f.log.open().ok());
      }
    }
  }
}

// ensures that a group in the middle is not taken for a start group of larger blocks, which would
// give up what lies before it.
TEST_CASE("recovery: the size of blocks is not guessed from any group") {
  Fixture f;
  REQUIRE(f.log.append("record 1") == 1);
  f.log.run();
  REQUIRE(f.log.append(std::string(6000, 'y')) == 2);  // two blocks, at 4 times 4096
  f.log.run();
  f.log.wait_idle();
  f.log.power_cut();
  f.log.zero(1, 0, kFirstGroup + 4096);
  REQUIRE(f.log.open(kSalvage).ok());
  CHECK(f.log.report().lost.empty());
  const std::vector<std::string> records = f.log.read_all();
  REQUIRE(records.size() == 2);
  CHECK(records[0] == "record 1");
}

// ensures that a damaged file of another log, whose head is behind all of this one, releases
// nothing of it.
TEST_CASE("recovery: a rebuilt header of another log is no end of this one") {
  // The head stands in the start group, or moved on behind it.
  for (const bool at_start : {true, false}) {
    Fixture other(2);
    for (int i = 0; i < 5; i++) {
      other.append(1);
      other.log.rotate();
      other.log.run();
    }
    other.append(1);
    uint64_t group = 0;
    const auto move_head = [&](uint64_t sequence) {
      const uint64_t last = other.log.engine->last_lsn();
      REQUIRE(other.log.engine->set_head(last, sequence, 0, &group) == Code::ok);
      other.log.run();
    };
    if (at_start) move_head(6);
    REQUIRE(other.log.close());
    REQUIRE(other.log.open().ok());
    if (!at_start) move_head(7);
    REQUIRE(other.log.close());
    const sim::Inode* const file = other.log.fs.disk().find(other.log.path(7));
    REQUIRE(file != nullptr);
    std::vector<uint8_t> bytes(file->size);
    file->visible.read(0, bytes.data(), bytes.size());
    std::fill(bytes.begin(), bytes.begin() + 4096, uint8_t{0});

    for (const RecoveryPolicy& policy : {kPointInTime, kSalvage}) {
      Fixture f;
      f.append(2);
      f.log.rotate();
      f.append(1);
      REQUIRE(f.log.close());
      std::unique_ptr<io::File> put;
      REQUIRE(f.log.fs.open(f.log.path(7), io::Access::create, false, 0600, &put).ok());
      const io::Part part{bytes.data(), bytes.size()};
      REQUIRE(put->write(0, &part, 1, io::WriteMode::plain).ok());
      REQUIRE(put->sync().ok());
      put.reset();
      REQUIRE(f.log.fs.sync_directory("/").ok());
      CHECK(f.log.open().code == Code::corrupt);
      REQUIRE(f.log.open(policy).ok());
      f.check_records(1, 3);
      CHECK(f.log.append("record 4") == 4);
    }
  }
}

// ensures that a file that is cut short behind its last group takes nothing with it, also where the
// crash came before its seal.
TEST_CASE("recovery: a file cut short behind its end keeps what follows it") {
  for (const uint64_t rest : {uint64_t{0}, uint64_t{100}, uint64_t{4096}}) {
    CAPTURE(rest);
    Fixture f;
    f.append(3);
    f.log.rotate();
    f.append(2);
    f.log.wait_idle();
    f.log.power_cut();
    f.log.zero(1, 4096, 8192);  // its seal
    REQUIRE(f.log.examine(kStrict).ok());
    f.log.fs.shorten(f.log.path(1), Fixture::group(4) + rest);
    CHECK(f.log.examine(kTolerate).code == Code::corrupt);
    REQUIRE(f.log.open(kPointInTime).ok());
    CHECK(f.log.report().last_lsn == 5);
    f.check_records(1, 5);
  }
}

// ensures that a file which a life cut, but could not move aside, is not judged any more.
TEST_CASE("recovery: damage in a file that was cut and not moved is no news") {
  for (const RecoveryPolicy& policy : {kPointInTime, kSalvage}) {
    Fixture f;
    f.append(3);
    f.log.rotate();
    f.append(2);
    f.log.wait_idle();
    f.log.power_cut();
    if (policy.damage == OnDamage::cut) {
      f.log.flip(1, Fixture::group(3) + 140);
      f.log.flip(2, 50);
    } else {  // nothing tells whose it is
      f.log.zero(2, 512, f.log.fs.disk().find(f.log.path(2))->size);
      f.log.flip(2, 50);
    }
    f.log.fs.add({sim::kRenames, 0, 1000, EIO, ".wal", sim::Effect::nothing});
    REQUIRE(f.log.open(policy).ok());
    CHECK(f.log.fs.faults_fired() > 0);
    const uint64_t last = f.log.report().last_lsn;
    f.log.fs.clear_faults();
    f.log.power_cut();
    CHECK(f.log.fs.disk().find(f.log.path(2)) != nullptr);
    Status status = f.log.open();
    REQUIRE_MESSAGE(status.ok(), sim::describe_status(status));
    CHECK(f.log.report().last_lsn == last);
    CHECK(f.log.fs.disk().find(f.log.path(2)) == nullptr);
    CHECK(f.log.append("new") == last + 1);
  }
}

// ensures that what was given up does not come back, and that a head lies in the log.
TEST_CASE("recovery: the head only moves on") {
  Fixture f;
  SimLog& log = f.log;
  for (int i = 0; i < 3; i++) {
    log.append("a record");
    log.run();
    log.rotate();
  }
  uint64_t group = 0;
  CHECK(log.engine->set_head(3, 3, log.now_ns, &group) == Code::ok);
  CHECK(log.engine->set_head(3, 3, log.now_ns, &group) == Code::ok);
  const uint64_t last = group;
  const uint64_t wrong[][2] = {{2, 2}, {2, 3}, {3, 2}, {5, 4}, {4, 5}};
  for (const auto& [lsn, sequence] : wrong) {
    CHECK(log.engine->set_head(lsn, sequence, log.now_ns, &group) == Code::bad_argument);
  }
  CHECK(group == last);
  CHECK(log.engine->state().first_lsn == 3);
  CHECK(log.engine->state().first_sequence == 3);
  log.run();
  log.power_cut();
  REQUIRE(log.open().ok());
  CHECK(log.report().first_lsn == 3);
}

TEST_CASE("recovery: foreign names are left alone") {
  Fixture f;
  f.append(1);
  std::unique_ptr<io::File> file;
  for (const char* name : {"/log/notes.txt", "/log/1.wal", "/log/0000000000000000000x.wal"}) {
    REQUIRE(f.log.fs.open(name, io::Access::create, false, 0600, &file).ok());
  }
  REQUIRE(f.log.fs.sync_directory("/log").ok());
  f.log.power_cut();
  REQUIRE(f.log.open().ok());
  CHECK(f.log.fs.disk().find("/log/notes.txt") != nullptr);
  CHECK(f.log.fs.disk().find("/log/1.wal") != nullptr);
}

// ensures that point-in-time keeps everything up to the damage, and puts the rest aside before it
// is given up.
TEST_CASE("recovery: point-in-time") {
  Fixture f;
  f.append(3);
  f.log.rotate();
  f.append(2);
  f.log.wait_idle();
  f.log.power_cut();
  f.log.flip(1, Fixture::group(3) + 140);
  CHECK(f.log.examine(kVerify).code == Code::corrupt);
  REQUIRE(f.log.open(kPointInTime).ok());
  CHECK(f.log.report().last_lsn == 2);
  f.check_records(1, 2);
  f.log.power_cut();
  std::vector<std::string> kept;
  REQUIRE(f.log.fs.list("/log/quarantine", &kept).ok());
  CHECK(kept.size() == 3);  // the tail of segment 1, segment 2, the report
  REQUIRE(f.log.examine(kVerify).ok());
  CHECK(f.log.report().last_lsn == 2);
}

// ensures that salvage keeps the records on both sides of the damage and records the hole for good.
TEST_CASE("recovery: salvage") {
  Fixture f;
  f.append(5);
  f.log.wait_idle();
  f.log.power_cut();
  f.log.flip(1, Fixture::group(3) + 140);
  REQUIRE(f.log.open(kSalvage).ok());
  CHECK(f.log.report().last_lsn == 5);
  REQUIRE(f.log.report().lost.size() == 1);
  CHECK(f.log.report().lost[0].from == 3);
  CHECK(f.log.report().lost[0].to == 3);
  CHECK(f.log.read_all() ==
        std::vector<std::string>{"record 1", "record 2", "record 4", "record 5"});
  REQUIRE(f.log.append("record 6") == 6);
  f.log.run();
  f.log.power_cut();
  REQUIRE(f.log.examine(kVerify).ok());
  CHECK(f.log.report().lost.size() == 1);
  CHECK(f.log.read_all().size() == 5);
}

// ensures that a file cut short in the middle of a block is salvaged, though direct reads want
// whole ones.
TEST_CASE("recovery: salvage of a file that ends anywhere") {
  Fixture f;
  f.append(5);
  f.log.wait_idle();
  f.log.power_cut();
  f.log.fs.shorten(f.log.path(1), Fixture::group(4) + 1234);
  CHECK(f.log.open().code == Code::corrupt);
  REQUIRE(f.log.open(kSalvage).ok());
  f.check_records(1, 3);
  // What is left of the fourth record says that it was given.
  REQUIRE(f.log.report().lost.size() == 1);
  CHECK(f.log.report().lost[0].from == 4);
  CHECK(f.log.report().lost[0].to == 4);
  REQUIRE(f.log.append("record 5") == 5);
  f.log.run();
  f.log.power_cut();
  REQUIRE(f.log.open().ok());
  CHECK(f.log.read_all().size() == 4);
  CHECK(f.log.report().last_lsn == 5);
}

// ensures that a record whose LSN damage left, and no record behind it, is named as lost and its
// LSN not given again; what was torn is cut.
TEST_CASE("recovery: salvage names what damage took from the end") {
  for (const bool sectors : {true, false}) {
    Fixture f;
    f.append(2);
    REQUIRE(f.log.append(std::string(3000, 'y')) == 3);
    f.log.run();
    f.log.power_cut();
    const uint64_t at = Fixture::group(3) + 1536;
    f.log.flip(1, at + 200);
    if (!sectors) {  // under a right stamp
      uint8_t sector[512];
      f.log.fs.disk().find(f.log.path(1))->visible.read(at, sector, sizeof sector);
      const uint32_t tag = format::load<uint32_t>(sector + format::kStampTag);
      format::stamp_sectors(sector, 1, at / 512, tag, false);
      f.log.fs.damage(f.log.path(1), at, sector, sizeof sector);
    }
    f.log.flip(1, 4000);
    REQUIRE(f.log.open(kSalvage).ok());
    f.check_records(1, 2);
    REQUIRE(f.log.report().lost.size() == 1);
    CHECK(f.log.report().lost[0].from == 3);
    CHECK(f.log.report().lost[0].to == 3);
    CHECK(!f.log.report().lost[0].quarantine.empty());
    CHECK(f.log.append("record 4") == 4);
    f.log.run();
    f.log.power_cut();
    REQUIRE(f.log.open().ok());
    CHECK(f.log.report().last_lsn == 4);
  }
  Fixture torn;
  torn.append(2);
  REQUIRE(torn.log.append(std::string(3000, 'y')) == 3);
  torn.log.run();
  torn.log.power_cut();
  torn.log.zero(1, Fixture::group(3) + 1536, Fixture::group(4));
  torn.log.flip(1, 4000);
  REQUIRE(torn.log.open(kSalvage).ok());
  CHECK(torn.log.report().lost.empty());
  CHECK(torn.log.append("record 3") == 3);
}

// ensures that the loss report of point-in-time reaches to the end of the newest segment, wherever
// the damage lies.
TEST_CASE("recovery: point-in-time names all that it gives up") {
  for (const uint64_t at : {uint64_t{50}, Fixture::group(0) + 100, Fixture::group(1) + 140}) {
    Fixture f;
    f.append(2);
    f.log.rotate();
    f.append(3);
    f.log.wait_idle();
    f.log.power_cut();
    f.log.flip(1, at);
    f.log.flip(2, 4096 + 100);
    if (at == 50) f.log.zero(1, Fixture::group(0), Fixture::group(1));
    REQUIRE(f.log.open(kPointInTime).ok());
    CHECK(f.log.read_all().empty());
    REQUIRE(f.log.report().lost.size() == 1);
    CHECK(f.log.report().lost[0].from == 1);
    CHECK(f.log.report().lost[0].to == 5);
  }
}

// ensures that the header of another file, written before the groups of this one, costs no record,
// and that a start group of another one does not pass for this one's.
TEST_CASE("recovery: a block in the wrong file") {
  const auto fill = [](Fixture* f) {
    f->append(3);
    f->log.rotate();
    f->append(3);
    f->log.wait_idle();
  };
  Fixture other(2);
  fill(&other);
  for (const uint64_t at : {uint64_t{0}, Fixture::group(0)}) {
    for (const uint64_t size : {uint64_t{512}, uint64_t{4096}}) {
      for (const uint64_t to : {uint64_t{1}, uint64_t{2}}) {
        for (const bool foreign : {true, false}) {
          INFO(at, " ", size, " ", to, " ", foreign);
          Fixture f;
          fill(&f);
          const uint64_t epoch = f.log.engine->state().epoch.number;
          f.log.power_cut();
          SimLog& source = foreign ? other.log : f.log;
          std::vector<uint8_t> bytes(size);
          source.fs.disk()
              .find(source.path(foreign ? to : 3 - to))
              ->visible.read(at, bytes.data(), size);
          f.log.fs.damage(f.log.path(to), at, bytes.data(), size);
          CHECK(f.log.open().code == Code::corrupt);
          REQUIRE(f.log.open(kSalvage).ok());
          CHECK(f.log.engine->state().epoch.number > epoch);
          f.check_records(1, 6);
          CHECK(f.log.append("record 7") == 7);
        }
      }
    }
  }
}

// ensures that a lost seal and damage behind an end that the successor states cost no record.
TEST_CASE("recovery: damage behind a stated end") {
  for (const RecoveryPolicy& policy : {kPointInTime, kSalvage}) {
    Fixture f;
    f.append(3);
    f.log.rotate();
    f.append(2);
    f.log.wait_idle();
    f.log.power_cut();
    f.log.zero(1, 4096, 8192);  // its seal
    const std::vector<uint8_t> junk(512, 'x');
    f.log.fs.damage(f.log.path(1), Fixture::group(4), junk.data(), junk.size());
    CHECK(f.log.examine(kVerify).code == Code::corrupt);
    REQUIRE(f.log.open(policy).ok());
    f.check_records(1, 5);
    CHECK(f.log.report().lost.empty());
    CHECK(f.log.append("record 6") == 6);
    f.log.run();
    f.log.power_cut();
    REQUIRE(f.log.examine(kVerify).ok());
    f.check_records(1, 6);
  }
}

// ensures that what a watermark behind the damage speaks of is named as lost, too, and what lay
// between records that salvage picked out of the last groups.
TEST_CASE("recovery: losses that only a watermark or a neighbour tells") {
  Fixture f;
  f.append(3);
  f.log.wait_idle();
  f.log.power_cut();
  f.log.flip(1, Fixture::group(2) + 140);
  f.log.flip(1, Fixture::group(3) + 20);  // its header
  f.log.zero(1, Fixture::group(3) + 512, Fixture::group(4));
  REQUIRE(f.log.examine(kPointInTime).ok());
  REQUIRE(f.log.report().lost.size() == 1);
  CHECK(f.log.report().lost[0].from == 2);
  CHECK(f.log.report().lost[0].to == 3);

  Fixture g;
  REQUIRE(g.log.append("record 1") == 1);
  g.log.run();
  REQUIRE(g.log.append("record 2") == 2);
  g.log.run();
  REQUIRE(g.log.append(std::string(3000, 'y')) == 3);
  g.log.run();
  g.log.power_cut();
  g.log.flip(1, Fixture::group(2) + 3000);  // padding: the record can be picked out
  g.log.flip(1, Fixture::group(3) + 2000);
  REQUIRE(g.log.open(kSalvage).ok());
  g.check_records(1, 2);
  REQUIRE(g.log.report().lost.size() == 1);
  CHECK(g.log.report().lost[0].from == 3);
  CHECK(g.log.report().lost[0].to == 3);
  CHECK(g.log.append("record 4") == 4);
}

// ensures that point-in-time cuts a segment that was salvaged before at its new damage, for good.
TEST_CASE("recovery: point-in-time on a log that was salvaged") {
  struct Case {
    uint64_t segment;
    uint64_t at;
    uint64_t kept;
  };
  const Case cases[] = {{2, Fixture::group(2) + 140, 4},
                        {2, Fixture::group(0) + 20, 3},
                        {3, Fixture::group(1) + 140, 6},
                        {1, Fixture::group(3) + 140, 2},
                        {1, Fixture::group(0) + 20, 0},
                        {2, UINT64_MAX, 3},
                        {1, UINT64_MAX, 0}};
  for (const uint64_t hurt : {50, 4096 + 100, 8192 + 3 * 4096 + 140}) {
    for (const Case& damage : cases) {
      INFO(hurt, ": ", damage.segment, " at ", damage.at);
      Fixture f;
      for (int i = 0; i < 3; i++) {
        f.append(3);
        f.log.rotate();
      }
      f.log.wait_idle();
      f.log.power_cut();
      f.log.flip(2, hurt);
      CHECK(f.log.examine(kVerify).code == Code::corrupt);
      REQUIRE(f.log.open(kSalvage).ok());
      f.append(1);
      REQUIRE(f.log.close());
      if (damage.at == UINT64_MAX)
        REQUIRE(f.log.fs.unlink(f.log.path(damage.segment)).ok());
      else
        f.log.flip(damage.segment, damage.at);
      // No record lies in the start group of a segment that is scanned anyway.
      const bool costs = damage.segment != 2 || damage.at != Fixture::group(0) + 20;
      CHECK(f.log.examine(kVerify).code == (costs ? Code::corrupt : Code::ok));
      REQUIRE(f.log.open(kPointInTime).ok());
      const uint64_t last = f.log.report().last_lsn;
      CHECK(last <= 10);
      const size_t read = f.log.read_all().size();
      const uint64_t lsn = f.log.append("appended");
      REQUIRE(lsn > 0);
      f.log.run();
      REQUIRE(f.log.close());
      for (const RecoveryPolicy& policy : {kVerify, kPointInTime}) {
        REQUIRE(f.log.open(policy).ok());
        CHECK(f.log.report().verdict == Verdict::clean);
        CHECK(f.log.report().last_lsn == lsn);
        const std::vector<std::string> records = f.log.read_all();
        REQUIRE(records.size() == read + 1);
        CHECK(records.back() == "appended");
        REQUIRE(f.log.close());
      }
      if (hurt != 8192 + 3 * 4096 + 140) CHECK(read >= damage.kept);
    }
  }
}

// ensures the same where each segment is a life of its own.
TEST_CASE("recovery: point-in-time on lives that were salvaged") {
  for (const uint64_t salvaged : {1, 2, 3}) {
    for (const uint64_t hurt : {1, 2, 3}) {
      for (const uint64_t at :
           {uint64_t{50}, Fixture::group(0) + 20, Fixture::group(2) + 140, UINT64_MAX}) {
        INFO(salvaged, " ", hurt, " ", at);
        Fixture f;
        for (int i = 0; i < 3; i++) {
          f.append(3);
          f.log.power_cut();
          REQUIRE(f.log.open().ok());
        }
        f.append(1);
        f.log.power_cut();
        f.log.zero(salvaged, 0, 4096);
        REQUIRE(f.log.open(kSalvage).ok());
        f.append(1);
        REQUIRE(f.log.close());
        if (at == UINT64_MAX)
          REQUIRE(f.log.fs.unlink(f.log.path(hurt)).ok());
        else
          f.log.flip(hurt, at);
        REQUIRE(f.log.open(kPointInTime).ok());
        const size_t read = f.log.read_all().size();
        const uint64_t lsn = f.log.append("appended");
        f.log.run();
        REQUIRE(f.log.close());
        REQUIRE(f.log.open(kVerify).ok());
        CHECK(f.log.report().last_lsn == lsn);
        CHECK(f.log.read_all().size() == read + 1);
      }
    }
  }
}

// ensures that a crash after the release of a salvaged segment costs nothing: the head that moved
// on behind the newest start group is found, though the segment before it was known to be damaged.
TEST_CASE("recovery: a salvaged segment that was released is not missed") {
  Fixture f;
  f.append(5);
  f.log.wait_idle();
  f.log.power_cut();
  f.log.flip(1, Fixture::group(3) + 140);
  REQUIRE(f.log.open(kSalvage).ok());
  f.append(3);
  f.log.release();
  f.append(2);
  f.log.wait_idle();
  f.log.power_cut();
  (void)f.log.fs.unlink(f.log.path(1));
  REQUIRE(f.log.fs.disk().find(f.log.path(1)) == nullptr);
  for (const RecoveryPolicy& policy : {kStrict, kVerify, kPointInTime, kSalvage}) {
    REQUIRE(f.log.examine(policy).ok());
    CHECK(f.log.report().verdict == Verdict::clean);
    CHECK(f.log.report().first_lsn == 6);
    CHECK(f.log.report().last_lsn == 10);
    CHECK(f.log.report().lost.empty());
  }
}

// ensures that the seal of a segment whose end was cut later does not hide what the later life
// wrote.
TEST_CASE("recovery: a seal that is older than the cut") {
  Fixture f;
  f.append(9);
  REQUIRE(f.log.close());
  f.log.flip(1, Fixture::group(5) + 140);
  REQUIRE(f.log.open(kPointInTime).ok());
  REQUIRE(f.log.report().last_lsn == 4);
  f.append(6);
  f.log.power_cut();
  f.log.flip(2, Fixture::group(0) + 20);
  REQUIRE(f.log.open(kSalvage).ok());
  f.check_records(1, 10);
  CHECK(f.log.report().lost.empty());
}

// ensures that lives that never begin use up neither epochs nor space for copies of the same tail.
TEST_CASE("recovery: openings that fail leave one copy of the tail") {
  Fixture f;
  craft_torn_tail(&f);
  for (int i = 0; i < 3; i++) {
    f.log.fs.add({.operations = sim::kOpens, .path = "prepare-"});
    CHECK(!f.log.open().ok());
    f.log.fs.clear_faults();
  }
  REQUIRE(f.log.open().ok());
  CHECK(f.log.engine->state().epoch.number == 2);
  std::vector<std::string> kept;
  REQUIRE(f.log.fs.list("/log/quarantine", &kept).ok());
  CHECK(kept.size() == 2);  // the tail and the report
}

// ensures that a group of which nothing is left but damage is named as one record at least, by
// both modes, also behind a record that salvage picked out of damage; and that a seal says better.
TEST_CASE("recovery: damage that hides how much it took") {
  for (const RecoveryPolicy& policy : {kPointInTime, kSalvage}) {
    Fixture f;
    f.append(3);
    f.log.power_cut();
    for (uint64_t at = 0; at < 4096; at += 512) f.log.flip(1, Fixture::group(3) + at + 30);
    REQUIRE(f.log.open(policy).ok());
    REQUIRE(f.log.report().lost.size() == 1);
    CHECK(f.log.report().lost[0].from == 3);
  }
  Fixture picked;
  picked.append(3);
  picked.log.power_cut();
  picked.log.flip(1, Fixture::group(3) - 512 + 30);  // padding of the record before
  picked.log.flip(1, Fixture::group(3) + 30);
  REQUIRE(picked.log.open(kSalvage).ok());
  picked.check_records(1, 2);
  REQUIRE(picked.log.report().lost.size() == 1);
  CHECK(picked.log.report().lost[0].from == 3);
  Fixture closed;
  closed.append(3);
  REQUIRE(closed.log.close());
  closed.log.flip(1, Fixture::group(4) + 30);  // the close group
  REQUIRE(closed.log.open(kSalvage).ok());
  closed.check_records(1, 3);
  CHECK(closed.log.report().lost.empty());
  CHECK(closed.log.report().closed);
}

// ensures that the close of an earlier life is not taken for that of the last one.
TEST_CASE("recovery: a close that a later life undid") {
  Fixture f;
  craft_closed(&f);
  REQUIRE(f.log.open().ok());
  f.append(1);
  f.log.power_cut();
  f.log.flip(2, kFirstGroup + 20);
  CHECK(f.log.examine(kVerify).code == Code::corrupt);
  CHECK(!f.log.report().closed);
}

// ensures that the loss of the oldest segment stays known.
TEST_CASE("recovery: a missing head is a hole") {
  Fixture f;
  f.append(2);
  f.log.rotate();
  f.append(2);
  f.log.power_cut();
  REQUIRE(f.log.fs.unlink(f.log.path(1)).ok());
  for (int i = 0; i < 2; i++) {
    REQUIRE(f.log.open(i == 0 ? kSalvage : kStrict).ok());
    CHECK(f.log.report().first_lsn == 1);
    CHECK(f.log.report().last_lsn == 4);
    REQUIRE(f.log.report().lost.size() == 1);
    CHECK(f.log.report().lost[0].from == 1);
    CHECK(f.log.report().lost[0].to == 2);
    REQUIRE(f.log.close());
  }
}

// ensures that a rebuilt header is vouched for by its epoch where its predecessor is gone.
TEST_CASE("recovery: a rebuilt header behind a missing segment") {
  Fixture f;
  for (int i = 0; i < 2; i++) {
    f.append(2);
    f.log.rotate();
  }
  f.append(2);
  REQUIRE(f.log.close());  // no prepared segment lies behind it
  REQUIRE(f.log.fs.unlink(f.log.path(2)).ok());
  f.log.flip(3, 50);
  REQUIRE(f.log.open(kSalvage).ok());
  CHECK(f.log.read_all().size() == 4);
  CHECK(f.log.report().last_lsn == 6);
}

// ensures that an epoch is known from what was kept aside when nothing else is left of its life.
TEST_CASE("recovery: an epoch that only the quarantine tells") {
  Fixture f;
  f.append(3);
  REQUIRE(f.log.close());
  f.log.flip(1, Fixture::group(2) + 140);
  for (int i = 0; i < 3; i++) {  // empty lives replace each other
    REQUIRE(f.log.open(kPointInTime).ok());
    REQUIRE(f.log.close());
  }
  REQUIRE(f.log.open(kPointInTime).ok());
  f.append(1);
  f.log.rotate();
  f.log.flip(2, Fixture::group(1) + 140);
  f.log.power_cut();
  REQUIRE(f.log.open(kPointInTime).ok());
  const uint64_t epoch = f.log.engine->state().epoch.number;
  f.append(1);
  f.log.power_cut();
  REQUIRE(f.log.fs.unlink(f.log.path(f.log.examination().highest_sequence + 1)).ok());
  REQUIRE(f.log.open(kSalvage).ok());
  CHECK(f.log.engine->state().epoch.number > epoch);
}

// ensures that the epoch of a life of which only a file without a group is left is not given again.
TEST_CASE("recovery: a file without a group hides a life") {
  for (const bool cut_short : {true, false}) {
    for (const RecoveryPolicy& policy : {kPointInTime, kSalvage}) {
      Fixture f;
      f.append(2);
      REQUIRE(f.log.close());
      REQUIRE(f.log.open().ok());
      f.append(1);
      const uint64_t epoch = f.log.engine->state().epoch.number;
      f.log.power_cut();
      if (cut_short) {
        f.log.fs.shorten(f.log.path(2), 8192);
      } else {
        f.log.flip(2, Fixture::group(0) + 20);
        f.log.flip(2, Fixture::group(1) + 20);
      }
      CHECK(f.log.open().code == Code::corrupt);
      REQUIRE(f.log.open(policy).ok());
      CHECK(f.log.engine->state().epoch.number > epoch);
      CHECK(f.log.append("another") != 0);
      f.log.run();
      f.log.power_cut();
      REQUIRE(f.log.open().ok());
    }
  }
}

// ensures that the epoch of a life whose only file was replaced by another log's is not given
// again.
TEST_CASE("recovery: another log's file hides a life") {
  Fixture other(2);
  other.append(1);
  REQUIRE(other.log.close());
  REQUIRE(other.log.open().ok());
  other.append(1);
  REQUIRE(other.log.close());
  const sim::Inode* const file = other.log.fs.disk().find(other.log.path(2));
  REQUIRE(file != nullptr);
  std::vector<uint8_t> bytes(file->size);
  file->visible.read(0, bytes.data(), bytes.size());
  for (const RecoveryPolicy& policy : {kPointInTime, kSalvage}) {
    Fixture f;
    f.append(2);
    REQUIRE(f.log.close());
    REQUIRE(f.log.open().ok());
    f.append(1);
    const uint64_t epoch = f.log.engine->state().epoch.number;
    f.log.power_cut();
    f.log.fs.damage(f.log.path(2), 0, bytes.data(), bytes.size());
    CHECK(f.log.open().code == Code::corrupt);
    REQUIRE(f.log.open(policy).ok());
    f.check_records(1, 2);
    CHECK(f.log.engine->state().epoch.number > epoch);
  }
}

// ensures that damage behind the first 4096 bytes of a larger header block is met, and that its
// identity is found again in the start group.
TEST_CASE("recovery: a header block of 16 KiB is judged as a whole") {
  sim::SimFileSystem fs(1);
  fs.probe_result.block_size = 16 << 10;
  format::ControlWriter content;
  content.predecessor({});
  content.state({});
  SegmentSpec spec;
  spec.directory = "/";
  spec.sequence = 1;
  spec.block_bytes = 16 << 10;
  spec.file_bytes = 256 << 10;
  spec.direct = true;
  spec.start_stream = &content.stream();
  spec.start_header.kind = format::GroupKind::start;
  spec.start_header.first_lsn = 1;
  spec.start_header.body_sum = content.body_sum();
  MadeSegment made;
  bool fatal = false;
  REQUIRE(make_segment(fs, spec, &made, &fatal).ok());
  const std::string path = "//" + segment_name(1);
  for (const uint64_t at : {uint64_t{100}, uint64_t{5000}, uint64_t{16383}}) {
    const sim::Disk whole = fs.disk();
    LoadedSegment before;
    before.sequence = 1;
    REQUIRE(load_segment(fs, path, fs.probe_result, false, &before).ok());
    CHECK(before.header_state == format::HeaderState::valid);
    CHECK(before.started());
    uint8_t byte = 0;
    fs.disk().find(path)->visible.read(at, &byte, 1);
    byte ^= 4;
    fs.damage(path, at, &byte, 1);
    LoadedSegment after;
    after.sequence = 1;
    REQUIRE(load_segment(fs, path, fs.probe_result, false, &after).ok());
    CHECK(after.header_state == format::HeaderState::damaged);
    CHECK(after.header_rebuilt);
    CHECK(after.header.block_bytes == 16 << 10);
    CHECK(after.started());
    fs.restore(whole);
  }
}

// ensures that what was durable in a batch is recovered whole, and half a batch not at all.
TEST_CASE("recovery: a batch is whole or absent") {
  Fixture f;
  f.append(1);
  f.log.append_batch({std::string(3000, 'a'), std::string(3000, 'b'), std::string(3000, 'c')});
  Op op;
  REQUIRE(f.log.begin(&op));
  f.log.land(op);
  f.log.power_cut();
  f.log.zero(1, Fixture::group(2) + 4096, Fixture::group(2) + 8192);
  REQUIRE(f.log.open().ok());
  CHECK(f.log.report().last_lsn == 1);
  f.check_records(1, 1);
}

// ensures that opening needs no space for what it cuts: it stays where it is, and that is told.
TEST_CASE("recovery: a full disk keeps what is cut in place") {
  Fixture f;
  craft_torn_tail(&f);
  f.log.fs.add({sim::kWrites, 0, 1000, ENOSPC, "quarantine/"});
  REQUIRE(f.log.open().ok());
  CHECK(!f.log.report().events.empty());
  CHECK(f.log.report().lost[0].quarantine.empty());
  uint8_t sector[512];
  f.log.fs.disk().find(f.log.path(1))->visible.read(Fixture::group(3), sector, sizeof sector);
  CHECK(!format::is_zero(sector, sizeof sector));
}
