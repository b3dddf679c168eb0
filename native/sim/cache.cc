// The volatile cache of the simulated disk: what a failed sync, a killed process and a power cut
// leave of it.
#include <algorithm>
#include <cstring>

#include "sim/sim_file_system.h"

namespace stonelog::sim {

namespace {

constexpr size_t kSector = 512;

}  // namespace

// The device decides: dropped data is gone at once where reads come from the device (direct I/O),
// and once it is evicted where they come from the page cache.
void SimFileSystem::sync_failed(Inode* file, const InFlight& op, Effect effect) {
  if (effect == Effect::whole) {
    counters_.failed_yet_done++;
    (void)finish_sync(op);
    return;
  }
  const uint64_t percent = effect == Effect::nothing ? 100 : 50;
  for (UnsyncedWrite& write : file->unsynced) {
    if (write.dropped || !random_.chance(percent)) continue;
    write.dropped = true;
    counters_.dropped_by_sync++;
    if (!probe_result.direct) counters_.lying_pages++;
  }
  if (!probe_result.direct) return;
  std::erase_if(file->unsynced, [](const UnsyncedWrite& write) { return write.dropped; });
  rebuild_visible(file);
}

// Pages that a failed sync marked clean leave the page cache: reads show the device again.
void SimFileSystem::evict_lies(Inode* file, uint64_t percent) {
  const size_t erased = std::erase_if(file->unsynced, [&](const UnsyncedWrite& write) {
    return write.dropped && (percent == 100 || random_.chance(percent));
  });
  counters_.evicted_lies += erased;
  if (erased > 0) rebuild_visible(file);
}

// What a failed or short write leaves in the cache; false: nothing.
bool SimFileSystem::reaches_disk(UnsyncedWrite* write, Effect effect) {
  if (effect == Effect::chance) return tear(write);
  if (effect == Effect::nothing) return false;
  if (effect == Effect::whole) {
    counters_.failed_yet_done++;
    return true;
  }
  counters_.short_writes++;
  write->size = write->size / 2 / kSector * kSector;
  if (!write->data.empty()) write->data.resize(write->size);
  return write->size > 0;
}

void SimFileSystem::apply_visible(Inode* file, const UnsyncedWrite& write) {
  file->visible.write(write.offset, write.data.empty() ? nullptr : write.data.data(), write.size);
}

void SimFileSystem::make_durable(Inode* file, const UnsyncedWrite& write) {
  if (write.superseded.empty()) {
    file->durable.write(write.offset, write.data.empty() ? nullptr : write.data.data(), write.size);
    return;
  }
  for (uint64_t at = 0; at < write.size; at += kSector) {
    if (write.superseded[at / kSector]) continue;
    file->durable.write(write.offset + at, write.data.empty() ? nullptr : write.data.data() + at,
                        std::min<uint64_t>(kSector, write.size - at));
  }
}

void SimFileSystem::supersede(Inode* file, const UnsyncedWrite& by) {
  for (UnsyncedWrite& write : file->unsynced) {
    const uint64_t from = std::max(write.offset, by.offset);
    const uint64_t to = std::min(write.offset + write.size, by.offset + by.size);
    if (from >= to) continue;
    if (write.superseded.empty()) write.superseded.resize((write.size + kSector - 1) / kSector);
    for (uint64_t at = from; at < to; at += kSector)
      write.superseded[(at - write.offset) / kSector] = true;
  }
}

void SimFileSystem::rebuild_visible(Inode* file) {
  file->visible = file->durable;
  Inode scratch;
  for (const UnsyncedWrite& write : file->unsynced) {
    scratch.durable = std::move(file->visible);
    make_durable(&scratch, write);
    file->visible = std::move(scratch.durable);
  }
}

// Keeps the write, loses it (false), or keeps contiguous runs of its sectors.
bool SimFileSystem::tear(UnsyncedWrite* write) {
  const uint64_t fate = random_.below(10);
  if (fate < 4) {
    counters_.writes_lost++;
    return false;
  }
  const size_t unit = sector_bytes_ / kSector;
  const size_t count = (write->size + kSector - 1) / kSector;
  if (fate < 7 || count < 2 * unit) {
    counters_.writes_kept++;
    return true;
  }
  counters_.writes_torn++;
  if (write->superseded.empty()) write->superseded.resize(count);
  bool keep = random_.chance(50);
  const uint64_t longest = random_.chance(50) ? count / unit : 8;
  for (size_t i = 0; i < count; keep = !keep) {
    for (uint64_t run = unit * random_.between(1, longest); run > 0 && i < count; run--, i++) {
      if (!keep) write->superseded[i] = true;
    }
  }
  return true;
}

void SimFileSystem::kill() {
  for (auto& [ticket, op] : in_flight_) {
    if (op.is_sync || op.inode == 0 || !tear(&op.write)) continue;
    Inode& file = inode(op.inode);
    op.write.completed = ++completions_;
    file.unsynced.push_back(std::move(op.write));
    rebuild_visible(&file);
  }
  in_flight_.clear();
  crashed_ = false;
  collect_garbage();
}

void SimFileSystem::crash(Names mode) {
  kill();
  std::map<std::string, bool> cut;  // directories whose prefix of names ended
  for (const NameOp& op : disk_.pending) {
    const std::string directory = parent_of(op.edits.front().path);
    if ((mode == Names::prefix && cut[directory]) || random_.chance(40)) {
      cut[directory] = true;
      counters_.names_lost++;
      continue;
    }
    counters_.names_kept++;
    for (const NameOp::Edit& edit : op.edits) {
      if (edit.inode == 0)
        disk_.durable_names.erase(edit.path);
      else
        disk_.durable_names[edit.path] = edit.inode;
    }
  }
  disk_.pending.clear();
  for (auto& [id, file] : disk_.inodes) {
    for (UnsyncedWrite& write : file.unsynced) {
      if (!tear(&write)) continue;
      make_durable(&file, write);
      // A file that grew without a sync may have grown, its size and data being independent.
      if (random_.chance(50))
        file.durable_size = std::max(file.durable_size, write.offset + write.size);
    }
    if (file.size != file.durable_size && random_.chance(50)) file.durable_size = file.size;
  }
  restart();
}

void SimFileSystem::lose_cache() {
  in_flight_.clear();
  crashed_ = false;
  disk_.pending.clear();
  restart();
}

// The machine comes back with what is durable.
void SimFileSystem::restart() {
  for (bool changed = true;
       changed;) {  // what lies below a directory that was lost is lost with it
    changed = false;
    for (auto name = disk_.durable_names.begin(); name != disk_.durable_names.end();) {
      const bool orphan = disk_.durable_names.count(parent_of(name->first)) == 0;
      changed = changed || orphan;
      name = orphan ? disk_.durable_names.erase(name) : std::next(name);
    }
  }
  disk_.names = disk_.durable_names;
  collect_garbage();
  for (auto& [id, file] : disk_.inodes) {
    file.unsynced.clear();
    file.size = file.durable_size;
    file.visible = file.durable;
  }
  allocated_ = disk_.allocated_bytes();
}

void SimFileSystem::collect_garbage() {
  std::vector<bool> used(disk_.next_inode);
  for (const auto& [name, id] : disk_.names) used[id] = true;
  for (const auto& [name, id] : disk_.durable_names) used[id] = true;
  for (const NameOp& op : disk_.pending) {
    for (const NameOp::Edit& edit : op.edits) used[edit.inode] = true;
  }
  std::erase_if(disk_.inodes, [&](const auto& entry) { return !used[entry.first]; });
}

}  // namespace stonelog::sim
