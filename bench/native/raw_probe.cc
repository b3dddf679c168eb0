// The raw probe: what the device and the kernel can do, measured without stonelog.
//
//   raw-probe DIR
//
// prepares a fully written file in DIR, then obeys commands on stdin and answers each with one line
// of JSON on stdout:
//
//   commit MS [latencies]  4 KiB synchronous overwrites, one in flight, for MS ms. With `latencies`
//                          also all of them, as pairs of microseconds and count.
//   beside KIND PER_SECOND MS
//                          commits as above, all latencies, while another thread does something
//                          PER_SECOND times a second, each in a file of its own in DIR: `overwrite`
//                          (512 KiB synchronously into written blocks), `zero` (the same into
//                          blocks that are only allocated), `zero-here` (those in the file that
//                          the commits go to, behind them), `create` (create, allocate 1 MiB,
//                          sync), `name` (rename, sync the directory), `unlink` (of a written 1
//                          MiB), `punch` (give 512 KiB of a written file back) or `sync` (plain 512
//                          KiB, fdatasync).
//   write MS               1 MiB synchronous overwrites, two in flight.
//   read MS [PATH]         1 MiB reads, four in flight, of the file or of PATH.
//   look MS [PATH]         the same, and a word of each cache line is looked at: memory that a
//                          processor has looked at costs the device more to write to again.
//   evict PATH             drops the file's pages from the page cache; says how many remain.
//   info                   file system, kernel, device.
//
// The file's name is removed as soon as it is open, so nothing is left behind, however this ends.
//
// Why a written file: on ext4 a commit into blocks that are only allocated takes twice as long,
// since it must also commit the change of the extent to the journal.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "device.h"
#include "neighbour.h"

using namespace raw_probe;

namespace {

constexpr size_t kFileBytes = 64 << 20;
constexpr size_t kCommitBytes = 4 << 10;
constexpr size_t kBulkBytes = 1 << 20;
constexpr int kWritesInFlight = 2;
constexpr int kReadsInFlight = 4;

uint64_t cpu_micros() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto micros = [](const timeval& time) {
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000 + static_cast<uint64_t>(time.tv_usec);
  };
  return micros(usage.ru_utime) + micros(usage.ru_stime);
}

// The written file, and how it can be reached.
class Target {
 public:
  explicit Target(const std::string& directory);
  // One overwrite that is durable when this returns.
  void overwrite(void* data, size_t size, uint64_t offset) const;
  int fd() const { return fd_; }
  bool direct() const { return direct_; }
  bool dsync() const { return dsync_; }

 private:
  bool try_overwrite(void* data, size_t size, uint64_t offset, int flags) const;

  int fd_ = -1;
  bool direct_ = true;
  bool dsync_ = true;
};

bool Target::try_overwrite(void* data, size_t size, uint64_t offset, int flags) const {
  const iovec part{data, size};
  const ssize_t written = pwritev2(fd_, &part, 1, static_cast<off_t>(offset), flags);
  if (written >= 0 && static_cast<size_t>(written) != size) fail("writing", EIO);
  return written >= 0;
}

Target::Target(const std::string& directory) {
  const std::string path = directory + "/raw-probe." + std::to_string(getpid());
  const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
  fd_ = open(path.c_str(), flags | O_DIRECT, 0600);
  // Some file systems refuse O_DIRECT only after they have created the file.
  if (fd_ < 0 && errno == EINVAL) {
    direct_ = false;
    unlink(path.c_str());
    fd_ = open(path.c_str(), flags, 0600);
  }
  if (fd_ < 0) fail("creating the file", errno);
  if (unlink(path.c_str()) != 0) fail("removing the file's name", errno);
  const Block block(kBulkBytes);
  if (direct_ && !try_overwrite(block.data(), kBulkBytes, 0, 0)) {
    if (errno != EINVAL) fail("writing", errno);
    direct_ = false;
    if (fcntl(fd_, F_SETFL, 0) != 0) fail("turning direct I/O off", errno);
  }
  for (uint64_t offset = 0; offset < kFileBytes; offset += kBulkBytes) {
    if (!try_overwrite(block.data(), kBulkBytes, offset, 0)) fail("writing", errno);
  }
  if (fsync(fd_) != 0) fail("syncing", errno);
  dsync_ = try_overwrite(block.data(), kBulkBytes, 0, RWF_DSYNC);
  if (!dsync_ && errno != EOPNOTSUPP) fail("writing", errno);
}

void Target::overwrite(void* data, size_t size, uint64_t offset) const {
  if (!try_overwrite(data, size, offset, dsync_ ? RWF_DSYNC : 0)) fail("writing", errno);
  if (!dsync_ && fdatasync(fd_) != 0) fail("syncing", errno);
}

// `part` of the sorted values, nearest rank.
double percentile_micros(const std::vector<uint32_t>& sorted_ns, double part) {
  if (sorted_ns.empty()) return 0;
  const auto rank = static_cast<size_t>(part * static_cast<double>(sorted_ns.size()));
  return sorted_ns[std::min(rank, sorted_ns.size() - 1)] / 1e3;
}

std::string histogram_of(const std::vector<uint32_t>& latencies_ns) {
  std::map<uint32_t, uint32_t> counts;
  for (const uint32_t latency : latencies_ns) counts[(latency + 500) / 1000]++;
  std::string text;
  for (const auto& [micros, count] : counts) {
    text +=
        (text.empty() ? "[" : ",[") + std::to_string(micros) + "," + std::to_string(count) + "]";
  }
  return "[" + text + "]";
}

struct Commits {
  std::vector<uint32_t> latencies_ns;
  uint64_t elapsed_ns = 0;
  uint64_t cpu = 0;
};

// 4 KiB synchronous overwrites, one in flight; latencies sorted.
Commits commit_for(const Target& target, uint64_t duration_ns) {
  static uint64_t offset = 0;
  const Block block(kCommitBytes);
  Commits out;
  out.latencies_ns.reserve(duration_ns / 10'000);
  const uint64_t cpu_before = cpu_micros();
  const uint64_t began = now_ns();
  uint64_t before = began;
  while (before < began + duration_ns) {
    target.overwrite(block.data(), kCommitBytes, offset);
    offset = (offset + kCommitBytes) % kFileBytes;
    const uint64_t after = now_ns();
    out.latencies_ns.push_back(
        static_cast<uint32_t>(std::min<uint64_t>(after - before, UINT32_MAX)));
    before = after;
  }
  out.elapsed_ns = before - began;
  out.cpu = cpu_micros() - cpu_before;
  std::sort(out.latencies_ns.begin(), out.latencies_ns.end());
  return out;
}

void print_commits(const Target& target, const char* command, const Commits& commits, bool all) {
  const std::vector<uint32_t>& latencies = commits.latencies_ns;
  printf(
      "{\"command\":\"%s\",\"direct\":%s,\"dsync\":%s,\"count\":%zu,\"seconds\":%.6f,"
      "\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f,\"cpuMicros\":%" PRIu64,
      command, target.direct() ? "true" : "false", target.dsync() ? "true" : "false",
      latencies.size(), static_cast<double>(commits.elapsed_ns) / 1e9,
      percentile_micros(latencies, 0.5), percentile_micros(latencies, 0.9),
      percentile_micros(latencies, 0.99), percentile_micros(latencies, 0.999),
      latencies.back() / 1e3, commits.cpu);
  if (all) printf(",\"latencies\":%s", histogram_of(latencies).c_str());
}

void commit(const Target& target, uint64_t duration_ns, bool all) {
  print_commits(target, "commit", commit_for(target, duration_ns), all);
  printf("}\n");
}

// Runs `work(data, offset)` on `threads` threads, each over the next 1 MiB of `size`, round and
// round, for `duration_ns`; prints what came of it.
template <class Work>
void stream(const char* name, const Target& target, uint64_t size, int threads,
            uint64_t duration_ns, Work work) {
  static std::atomic<uint64_t> next{0};
  std::atomic<uint64_t> bytes{0};
  std::vector<std::thread> running;
  std::vector<Block*> blocks;
  for (int i = 0; i < threads; i++) blocks.push_back(new Block(kBulkBytes));
  const uint64_t pieces = size / kBulkBytes;
  const uint64_t began = now_ns();
  for (int i = 0; i < threads; i++) {
    running.emplace_back([&, data = blocks[i]->data()] {
      while (now_ns() < began + duration_ns) bytes += work(data, next++ % pieces * kBulkBytes);
    });
  }
  for (std::thread& thread : running) thread.join();
  const double seconds = static_cast<double>(now_ns() - began) / 1e9;
  for (const Block* block : blocks) delete block;
  printf("{\"command\":\"%s\",\"direct\":%s,\"dsync\":%s,\"bytes\":%" PRIu64
         ",\"seconds\":%.6f,\"bytesPerSecond\":%.0f}\n",
         name, target.direct() ? "true" : "false", target.dsync() ? "true" : "false", bytes.load(),
         seconds, static_cast<double>(bytes) / seconds);
}

void write(const Target& target, uint64_t duration_ns) {
  stream("write", target, kFileBytes, kWritesInFlight, duration_ns,
         [&](void* data, uint64_t offset) {
           target.overwrite(data, kBulkBytes, offset);
           return kBulkBytes;
         });
}

// A word of each line of the cache.
void look_at(const void* data, size_t size) {
  const auto* const words = static_cast<const volatile uint64_t*>(data);
  for (size_t i = 0; i < size / sizeof *words; i += 8) (void)words[i];
}

void read(const char* name, const Target& target, uint64_t duration_ns, const std::string& path,
          bool looking) {
  int fd = target.fd();
  uint64_t size = kFileBytes;
  if (!path.empty()) {
    fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | (target.direct() ? O_DIRECT : 0));
    if (fd < 0) fail("opening the file to read", errno);
    struct stat facts {};
    if (fstat(fd, &facts) != 0) fail("looking at the file to read", errno);
    size = static_cast<uint64_t>(facts.st_size);
    if (size < kBulkBytes) fail("the file to read is smaller than 1 MiB", EINVAL);
  }
  stream(name, target, size, kReadsInFlight, duration_ns, [&](void* data, uint64_t offset) {
    const ssize_t got = pread(fd, data, kBulkBytes, static_cast<off_t>(offset));
    if (got < 0) fail("reading", errno);
    if (looking) look_at(data, static_cast<size_t>(got));
    return static_cast<size_t>(got);
  });
  if (!path.empty()) close(fd);
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= ' ') out += c;
  }
  return out + "\"";
}

void commit_beside(const Target& target, const std::string& directory, const std::string& kind,
                   double per_second, uint64_t duration_ns) {
  Neighbour neighbour(directory, kind, target.fd(), kFileBytes);
  std::atomic<bool> stop{false};
  uint64_t acted = 0;
  std::thread thread([&] {
    const auto interval_ns = static_cast<uint64_t>(1e9 / per_second);
    for (uint64_t due = now_ns(); !stop; due += interval_ns) {
      while (!stop && now_ns() < due) usleep(100);
      if (stop) return;
      neighbour.act();
      acted++;
    }
  });
  const Commits commits = commit_for(target, duration_ns);
  stop = true;
  thread.join();
  print_commits(target, "beside", commits, true);
  printf(",\"kind\":%s,\"acted\":%" PRIu64 "}\n", quoted(kind).c_str(), acted);
}

// How many pages of the file are in the page cache, by mincore on a mapping that is never touched.
uint64_t resident_pages(int fd, uint64_t size) {
  if (size == 0) return 0;
  void* mapping = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (mapping == MAP_FAILED) fail("mapping the file to evict", errno);
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> pages((size + page - 1) / page);
  if (mincore(mapping, size, pages.data()) != 0) fail("looking at the file's pages", errno);
  munmap(mapping, size);
  return static_cast<uint64_t>(
      std::count_if(pages.begin(), pages.end(), [](unsigned char here) { return here & 1; }));
}

void evict(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("opening the file to evict", errno);
  struct stat facts {};
  // Only clean pages are dropped.
  if (fsync(fd) != 0 || fstat(fd, &facts) != 0) fail("syncing the file to evict", errno);
  const int error = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  if (error != 0) fail("evicting", error);
  printf("{\"command\":\"evict\",\"bytes\":%" PRIu64 ",\"residentPages\":%" PRIu64 "}\n",
         static_cast<uint64_t>(facts.st_size),
         resident_pages(fd, static_cast<uint64_t>(facts.st_size)));
  close(fd);
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line.substr(0, line.find_last_not_of(" \t") + 1);
}

struct Mount {
  std::string type;
  std::string options;
};

// The line of /proc/self/mountinfo for a device: `… major:minor root point options … - type source
// super-options`.
Mount mount_of(unsigned device_major, unsigned device_minor) {
  const std::string wanted = std::to_string(device_major) + ":" + std::to_string(device_minor);
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string id, parent, device, root, point, own, word, type, source, super;
    words >> id >> parent >> device >> root >> point >> own;
    if (device != wanted) continue;
    while (words >> word && word != "-") {
    }
    words >> type >> source >> super;
    return {type, super};
  }
  return {};
}

// Properties of the block device under a file, from sysfs; a partition's are those of its disk.
std::string device_json(unsigned device_major, unsigned device_minor) {
  const std::string id = std::to_string(device_major) + ":" + std::to_string(device_minor);
  std::string place = "/sys/dev/block/" + id;
  char resolved[PATH_MAX];
  if (realpath(place.c_str(), resolved) == nullptr) return "null";
  place = resolved;
  if (access((place + "/queue").c_str(), F_OK) != 0) place = place.substr(0, place.rfind('/'));
  std::string text = "{\"name\":" + quoted(place.substr(place.rfind('/') + 1));
  const auto add = [&](const char* name, const std::string& path) {
    const std::string value = first_line(place + path);
    if (!value.empty()) text += "," + quoted(name) + ":" + quoted(value);
  };
  add("writeCache", "/queue/write_cache");
  add("fua", "/queue/fua");
  add("rotational", "/queue/rotational");
  add("scheduler", "/queue/scheduler");
  add("logicalBlockBytes", "/queue/logical_block_size");
  add("physicalBlockBytes", "/queue/physical_block_size");
  add("largestWriteKib", "/queue/max_sectors_kb");
  add("model", "/device/model");
  return text + "}";
}

void info(const Target& target) {
  struct stat facts {};
  struct statfs volume {};
  utsname kernel{};
  if (fstat(target.fd(), &facts) != 0 || fstatfs(target.fd(), &volume) != 0 ||
      uname(&kernel) != 0) {
    fail("looking at the file", errno);
  }
  const Mount mount = mount_of(major(facts.st_dev), minor(facts.st_dev));
  printf(
      "{\"command\":\"info\",\"direct\":%s,\"dsync\":%s,\"fileSystem\":%s,\"mountOptions\":%s,"
      "\"fileSystemMagic\":%lu,\"fileSystemBlockBytes\":%ld,\"kernel\":%s,\"machine\":%s,"
      "\"cores\":%u,\"device\":%s}\n",
      target.direct() ? "true" : "false", target.dsync() ? "true" : "false",
      quoted(mount.type).c_str(), quoted(mount.options).c_str(),
      static_cast<unsigned long>(volume.f_type), static_cast<long>(volume.f_bsize),
      quoted(kernel.release).c_str(), quoted(kernel.machine).c_str(),
      std::thread::hardware_concurrency(),
      device_json(major(facts.st_dev), minor(facts.st_dev)).c_str());
}

// False if there is no such command.
bool obey(const Target& target, const std::string& directory, const std::string& line) {
  std::istringstream words(line);
  std::string command;
  words >> command;
  if (command == "info") {
    info(target);
    return true;
  }
  if (command == "evict") {
    std::string path;
    if (!std::getline(words >> std::ws, path)) return false;
    evict(path);
    return true;
  }
  if (command == "beside") {
    std::string kind;
    double per_second = 0;
    double duration_ms = 0;
    if (!(words >> kind >> per_second >> duration_ms) || !Neighbour::knows(kind)) return false;
    if (!(per_second > 0 && duration_ms > 0 && duration_ms <= 600'000)) return false;
    commit_beside(target, directory, kind, per_second, static_cast<uint64_t>(duration_ms * 1e6));
    return true;
  }
  double ms = 0;
  if (!(words >> ms) || !(ms > 0 && ms <= 600'000)) return false;
  const auto duration_ns = static_cast<uint64_t>(ms * 1e6);
  std::string rest;
  std::getline(words >> std::ws, rest);
  if (command == "commit" && (rest.empty() || rest == "latencies")) {
    commit(target, duration_ns, !rest.empty());
  } else if (command == "write" && rest.empty()) {
    write(target, duration_ns);
  } else if (command == "read" || command == "look") {
    read(command.c_str(), target, duration_ns, rest, command == "look");
  } else {
    return false;
  }
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    fprintf(stderr,
            "usage: raw-probe DIR, then commands on stdin:\n"
            "  commit MS [latencies] | beside KIND PER_SECOND MS | write MS | read MS [PATH] | "
            "look MS [PATH] | evict PATH | info\n");
    return 2;
  }
  const Target target(arguments[1]);
  for (std::string line; std::getline(std::cin, line);) {
    if (line.empty()) continue;
    if (!obey(target, arguments[1], line)) {
      fprintf(stderr, "raw-probe: no such command: %s\n", line.c_str());
      return 2;
    }
    fflush(stdout);
  }
  return 0;
}
