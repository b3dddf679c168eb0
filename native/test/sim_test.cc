// The simulated disk itself, and a few seeds of the simulation, so that a broken engine fails the
// unit tests.
#include <doctest/doctest.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "crc32c/crc32c.h"
#include "sim/every_call.h"
#include "sim/sim_file_system.h"
#include "sim/simulation.h"

using namespace stonelog;
using namespace stonelog::sim;

namespace {

struct Fixture {
  SimFileSystem fs;
  std::unique_ptr<io::File> file;
  explicit Fixture(uint64_t seed = 3) : fs(seed) {
    bool created = false;
    REQUIRE(fs.make_directory("/d", &created).ok());
    REQUIRE(fs.sync_directory("/").ok());
    REQUIRE(fs.open("/d/file", io::Access::create, false, 0600, &file).ok());
    REQUIRE(fs.sync_directory("/d").ok());
  }
  void write(uint64_t offset, char value, io::WriteMode mode = io::WriteMode::plain) {
    const std::string bytes(4096, value);
    const io::Part part{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
    REQUIRE(file->write(offset, &part, 1, mode).ok());
  }
  char at(uint64_t offset) {
    uint8_t byte = 0;
    fs.disk().find("/d/file")->visible.read(offset, &byte, 1);
    return static_cast<char>(byte);
  }
};

}  // namespace

TEST_CASE("sim: only what was synced survives the harshest power cut") {
  Fixture f;
  f.write(0, 'a');
  REQUIRE(f.file->sync().ok());
  f.write(4096, 'b');
  f.fs.lose_cache();
  CHECK(f.at(0) == 'a');
  CHECK(f.at(4096) == 0);
}

// ensures that FUA is modelled: a DSYNC write makes itself durable and nothing else.
TEST_CASE("sim: a DSYNC write covers only itself") {
  Fixture f;
  f.write(0, 'a');
  f.write(4096, 'b', io::WriteMode::dsync);
  f.fs.lose_cache();
  CHECK(f.at(0) == 0);
  CHECK(f.at(4096) == 'b');
}

TEST_CASE("sim: a sync covers only what was written before it was issued") {
  Fixture f;
  f.write(0, 'a');
  const uint64_t sync = f.fs.begin_sync("/d/file");
  f.write(4096, 'b');
  REQUIRE(f.fs.complete(sync).ok());
  f.fs.lose_cache();
  CHECK(f.at(0) == 'a');
  CHECK(f.at(4096) == 0);
}

TEST_CASE("sim: an older write in the cache does not come over a newer DSYNC write") {
  for (uint64_t seed = 1; seed <= 50; seed++) {
    Fixture f(seed);
    f.write(0, 'a');
    f.write(0, 'b', io::WriteMode::dsync);
    f.fs.crash(Names::subset);
    REQUIRE(f.at(0) == 'b');
  }
}

TEST_CASE("sim: names pend until their directory is synced") {
  Fixture f;
  REQUIRE(f.fs.rename("/d/file", "/d/other").ok());
  f.fs.lose_cache();
  CHECK(f.fs.disk().find("/d/file") != nullptr);
  REQUIRE(f.fs.rename("/d/file", "/d/other").ok());
  REQUIRE(f.fs.sync_directory("/d").ok());
  f.fs.lose_cache();
  CHECK(f.fs.disk().find("/d/file") == nullptr);
  CHECK(f.fs.disk().find("/d/other") != nullptr);
}

TEST_CASE("sim: space runs out, and comes back with an unlink") {
  Fixture f;
  f.fs.set_capacity(64 << 10);
  bool reserved = false;
  CHECK(f.file->reserve(128 << 10, &reserved).code == Code::no_space);
  REQUIRE(f.file->reserve(64 << 10, &reserved).ok());
  std::unique_ptr<io::File> other;
  REQUIRE(f.fs.open("/d/other", io::Access::create, false, 0600, &other).ok());
  CHECK(other->reserve(4096, &reserved).error == ENOSPC);
  REQUIRE(f.fs.unlink("/d/file").ok());
  CHECK(other->reserve(4096, &reserved).ok());
}

TEST_CASE("sim: a buffer that changes in flight, and writes that overlap, are noticed") {
  Fixture f;
  std::string bytes(4096, 'a');
  const io::Part part{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  const uint64_t ticket = f.fs.begin_write("/d/file", 0, &part, 1, io::WriteMode::plain);
  bytes[100] = 'b';
  CHECK(f.fs.complete(ticket).ok());
  CHECK(f.fs.violation().find("changed") != std::string::npos);
  Fixture g;
  g.fs.begin_write("/d/file", 0, &part, 1, io::WriteMode::plain);
  g.fs.begin_write("/d/file", 0, &part, 1, io::WriteMode::plain);
  CHECK(g.fs.violation().find("overlaps") != std::string::npos);
}

// ensures that a flush error is modelled: what was written is gone, and the page cache lies about
// it.
TEST_CASE("sim: after a failed sync the page cache shows what the device does not have") {
  Fixture f;
  f.fs.probe_result.direct = false;
  f.write(0, 'a');
  REQUIRE(f.file->sync().ok());
  f.write(0, 'b');
  f.fs.add({kSyncs, 0, 1, EIO, "", Effect::nothing});
  CHECK(f.file->sync().error == EIO);
  CHECK(f.file->sync().ok());
  CHECK(f.at(0) == 'b');
  REQUIRE(f.file->evict().ok());
  CHECK(f.at(0) == 'a');
}

TEST_CASE("sim: a call that fails may have done its work, or half of it") {
  Fixture f;
  f.fs.add({kRenames, 0, 1, EIO, "", Effect::whole});
  CHECK(f.fs.rename("/d/file", "/d/other").error == EIO);
  CHECK(f.fs.disk().find("/d/other") != nullptr);
  f.fs.add({kWrites, 0, 1, 0, "", Effect::prefix});
  const std::string bytes(8192, 'a');
  const io::Part part{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  CHECK_FALSE(f.file->write(0, &part, 1, io::WriteMode::plain).ok());
  uint8_t page[8192];
  f.fs.disk().find("/d/other")->visible.read(0, page, sizeof page);
  CHECK(page[4095] == 'a');
  CHECK(page[4096] == 0);
}

TEST_CASE("sim: a device with large sectors tears between them only") {
  bool torn = false;
  for (uint64_t seed = 1; seed <= 50; seed++) {
    Fixture f(seed);
    f.fs.set_sector(4096);
    for (uint64_t at = 0; at < 8 * 4096; at += 4096) f.write(at, 'a');
    const std::string bytes(8 * 4096, 'b');
    const io::Part part{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
    f.fs.begin_write("/d/file", 0, &part, 1, io::WriteMode::plain);
    f.fs.kill();
    size_t kept = 0;
    for (uint64_t at = 0; at < 8 * 4096; at += 512) {
      CHECK(f.at(at) == f.at(at / 4096 * 4096));
      kept += f.at(at) == 'b' ? 1 : 0;
    }
    torn = torn || (kept > 0 && kept < 64);
  }
  CHECK(torn);
}

TEST_CASE("sim: what was acknowledged is watched over") {
  Fixture f;
  f.write(0, 'a', io::WriteMode::dsync);
  const std::string bytes(4096, 'a');
  const uint32_t crc = crc32c::extend(0, bytes.data(), bytes.size());
  CHECK(f.fs.is_durable("/d/file", 0, 4096, crc));
  CHECK_FALSE(f.fs.is_durable("/d/file", 0, 4096, crc + 1));
  f.fs.guard("/d/file", 1, 4096);
  f.write(4096, 'b');
  CHECK_FALSE(f.fs.is_durable("/d/file", 4096, 4096, crc));
  CHECK(f.fs.violation().empty());
  REQUIRE(f.file->punch(0, 8192).ok());
  CHECK(f.fs.violation().find("a hole") != std::string::npos);
  Fixture g;
  g.write(0, 'a', io::WriteMode::dsync);
  g.fs.guard("/d/file", 1, 4096);
  REQUIRE(g.fs.unlink("/d/file").ok());
  CHECK(g.fs.violation().find("removed") != std::string::npos);
}

TEST_CASE("sim: every call of a scripted life fails") {
  const EveryCallResult result = fail_every_call({41, "", false});
  CHECK_MESSAGE(result.failed == 0, result.findings);
  CHECK(result.runs > 150);
  CHECK(result.coverage.of("poisoned") > 0);
  CHECK(result.coverage.of("opens refused") > 0);
  CHECK(result.coverage.of("resumed after a refusal") > 0);
}

TEST_CASE("sim: the same seed gives the same run") {
  Simulation first({7, 3000, false});
  Simulation second({7, 3000, false});
  CHECK(first.run());
  CHECK(second.run());
  CHECK(first.describe() == second.describe());
}

TEST_CASE("sim: a few seeds find nothing") {
  for (uint64_t seed = 5000; seed < 5010; seed++) {
    Simulation simulation({seed, 4000, false});
    CAPTURE(seed);
    CHECK_MESSAGE(simulation.run(), simulation.finding());
  }
}
