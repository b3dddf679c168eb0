// What tests do behind the log's back, and the watch over bytes that were acknowledged.
#include <algorithm>

#include "crc32c/crc32c.h"
#include "sim/sim_file_system.h"

namespace stonelog::sim {

void SimFileSystem::guard(const std::string& path, uint64_t sequence, uint64_t end) {
  const auto name = disk_.names.find(path);
  if (name == disk_.names.end()) return;
  Guard& guarded = guards_[name->second];
  guarded.sequence = sequence;
  guarded.end = std::max(guarded.end, end);
}

void SimFileSystem::unguard_below(uint64_t sequence) {
  std::erase_if(guards_, [&](const auto& entry) { return entry.second.sequence < sequence; });
}

// The seal block, the second one, is written after what it seals.
void SimFileSystem::check_guard(uint64_t inode, uint64_t from, uint64_t to, const char* what) {
  const auto guarded = guards_.find(inode);
  if (guarded == guards_.end() || guard_suspended_ || from >= guarded->second.end) return;
  const uint64_t block = probe_result.block_size;
  if (from >= block && to <= 2 * block) return;
  violation_ = std::string(what) + " from " + std::to_string(from) + " to " + std::to_string(to) +
               " destroys what was acknowledged in segment " +
               std::to_string(guarded->second.sequence) + " up to " +
               std::to_string(guarded->second.end);
}

void SimFileSystem::check_guarded_name(const std::string& path, const char* what) {
  const auto name = disk_.names.find(path);
  if (name == disk_.names.end() || guard_suspended_ || guards_.count(name->second) == 0) return;
  violation_ = path + " is " + what + ", but holds what was acknowledged";
}

bool SimFileSystem::is_durable(const std::string& path, uint64_t offset, uint64_t size,
                               uint32_t crc) const {
  const auto name = disk_.durable_names.find(path);
  if (name == disk_.durable_names.end()) return false;
  for (std::string at = parent_of(path); at != "/"; at = parent_of(at)) {
    if (disk_.durable_names.count(at) == 0) return false;
  }
  const Inode& file = disk_.inodes.at(name->second);
  if (offset + size > file.durable_size) return false;
  uint8_t page[kPageBytes];
  uint32_t sum = 0;
  for (uint64_t at = 0; at < size; at += kPageBytes) {
    file.durable.read(offset + at, page, kPageBytes);
    sum = crc32c::extend(sum, page, kPageBytes);
  }
  return sum == crc;
}

void SimFileSystem::restore(const Disk& disk) {
  disk_ = disk;
  in_flight_.clear();
  crashed_ = false;
  crash_in_ = UINT64_MAX;
  allocated_ = disk_.allocated_bytes();
}

void SimFileSystem::shorten(const std::string& path, uint64_t size) {
  Inode& file = inode(disk_.names.at(path));
  file.size = file.durable_size = size;
}

void SimFileSystem::damage(const std::string& path, uint64_t offset, const uint8_t* bytes,
                           size_t size) {
  Inode& file = inode(disk_.names.at(path));
  file.durable.write(offset, bytes, size);
  file.visible.write(offset, bytes, size);
}

void SimFileSystem::remove(const std::string& path) {
  disk_.names.erase(path);
  disk_.durable_names.erase(path);
}

void SimFileSystem::swap_names(const std::string& one, const std::string& other) {
  std::swap(disk_.names.at(one), disk_.names.at(other));
  disk_.durable_names[one] = disk_.names.at(one);
  disk_.durable_names[other] = disk_.names.at(other);
}

void SimFileSystem::copy_file(const std::string& from, const std::string& to) {
  const uint64_t id = disk_.next_inode++;
  const Inode copy = *disk_.find(from);
  disk_.inodes[id] = copy;
  disk_.names[to] = disk_.durable_names[to] = id;
}

}  // namespace stonelog::sim
