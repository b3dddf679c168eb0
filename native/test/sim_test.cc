// The simulated disk itself, and a few seeds of the simulation, so that a broken engine fails the
// unit tests.
#include <doctest/doctest.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "sim/sim_file_system.h"
#include "sim/simulation.h"

using namespace stonelog;
using namespace stonelog::sim;

namespace {

struct Fixture {
  SimFileSystem fs{3};
  std::unique_ptr<io::File> file;
  Fixture() {
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
  for (int i = 0; i < 50; i++) {
    Fixture f;
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
