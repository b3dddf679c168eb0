#include "sim/sim_file_system.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

namespace stonelog::sim {

namespace {

Code code_of(int error) {
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) return Code::no_space;
  return error == ENOENT ? Code::not_found : Code::io;
}

Status failed(const char* syscall, int error, const std::string& path) {
  return Status::system(code_of(error), syscall, error, path);
}

}  // namespace

class SimFile final : public io::File {
 public:
  SimFile(SimFileSystem& fs, uint64_t id, std::string path, bool direct)
      : fs_(fs), id_(id), path_(std::move(path)), direct_(direct) {}

  Status read(uint64_t offset, uint8_t* data, size_t size, size_t* got) override {
    *got = 0;
    Status status = fs_.enter(kReads, "pread", path_);
    if (!status.ok()) return status;
    const uint64_t unit = fs_.probe_result.block_size;
    if (direct_ && (offset % unit != 0 || size % unit != 0 ||
                    reinterpret_cast<uintptr_t>(data) % kPageBytes != 0)) {
      return failed("pread", EINVAL, path_);
    }
    Inode& file = fs_.inode(id_);
    if (!fs_.probe_result.direct) fs_.evict_lies(&file, 1);  // memory was needed for something else
    if (offset >= file.size) return {};
    *got = static_cast<size_t>(std::min<uint64_t>(size, file.size - offset));
    file.visible.read(offset, data, *got);
    return {};
  }

  Status write(uint64_t offset, const io::Part* parts, int count, io::WriteMode mode) override {
    for (int i = 0; direct_ && i < count; i++) {
      const uint64_t unit = fs_.probe_result.block_size;
      if (offset % unit != 0 || parts[i].size % unit != 0) return failed("pwritev", EINVAL, path_);
    }
    const uint64_t ticket = fs_.begin_write(path_, offset, parts, count, mode);
    fs_.in_flight_.at(ticket).inode = id_;  // the name may be another file's by now
    return fs_.complete(ticket);
  }

  Status sync() override {
    const uint64_t ticket = fs_.begin_sync(path_);
    fs_.in_flight_.at(ticket).inode = id_;
    fs_.in_flight_.at(ticket).issued_size = fs_.inode(id_).size;
    return fs_.complete(ticket);
  }

  Status reserve(uint64_t size, bool* reserved) override {
    Status status = fs_.enter(kReserves, "fallocate", path_);
    if (!status.ok()) return status;
    Inode& file = fs_.inode(id_);
    status = fs_.allocate(&file, 0, size, path_, "fallocate");
    if (!status.ok()) return status;
    file.size = size;
    *reserved = true;
    return {};
  }

  Status punch(uint64_t from, uint64_t to) override {
    Status status = fs_.enter(kWrites, "fallocate", path_);
    if (!status.ok()) return status;
    fs_.check_guard(id_, from, to, "a hole");
    Inode& file = fs_.inode(id_);
    UnsyncedWrite hole;
    hole.offset = from;
    hole.size = to - from;
    hole.completed = ++fs_.completions_;
    fs_.apply_visible(&file, hole);
    file.unsynced.push_back(std::move(hole));
    for (uint64_t page = (from + kPageBytes - 1) / kPageBytes; page < to / kPageBytes; page++) {
      if (page < file.allocated.size() && file.allocated[page]) {
        file.allocated[page] = false;
        fs_.allocated_ -= kPageBytes;
      }
    }
    return {};
  }

  Status size(uint64_t* bytes) override {
    Status status = fs_.enter(kReads, "fstat", path_);
    if (status.ok()) *bytes = fs_.inode(id_).size;
    return status;
  }

  Status evict() override {
    Status status = fs_.enter(kReads, "posix_fadvise", path_);
    if (!status.ok() || direct_) return status;
    fs_.evict_lies(&fs_.inode(id_), 100);
    return {};
  }

 private:
  SimFileSystem& fs_;
  uint64_t id_;
  std::string path_;
  bool direct_;
};

void SimFileSystem::make_root() {
  Inode root;
  root.directory = true;
  disk_.inodes[disk_.next_inode] = root;
  disk_.names["/"] = disk_.durable_names["/"] = disk_.next_inode++;
  probe_result.direct = probe_result.dsync_trusted = probe_result.reserves = true;
  probe_result.file_system = "sim";
}

bool SimFileSystem::counts_down() {
  if (crash_in_ == UINT64_MAX || crash_in_-- > 0) return false;
  crash_in_ = UINT64_MAX;
  return crashed_ = true;
}

Status SimFileSystem::enter(Faulty operation, const char* syscall, const std::string& path,
                            Effect* effect) {
  operations_++;
  if (crashed_) return failed(syscall, EIO, path);
  if ((operation & (kReads | kLists | kOpens)) == 0 && counts_down())
    return failed(syscall, EIO, path);
  for (SimFault& fault : faults_) {
    if ((fault.operations & operation) == 0 || fault.times == 0) continue;
    if (!fault.path.empty() && path.find(fault.path) == std::string::npos) continue;
    if (fault.skip > 0) {
      fault.skip--;
      continue;
    }
    fault.times--;
    faults_fired_++;
    for (size_t bit = 0; bit < std::size(counters_.faults); bit++)
      counters_.faults[bit] += (operation >> bit) & 1;
    if (effect != nullptr) *effect = fault.effect;
    return failed(syscall, fault.error, path);
  }
  return {};
}

// Whether a change of names happens: a call may fail on its way back.
bool SimFileSystem::happens(const Status& status, Effect effect) {
  if (status.ok()) return true;
  if (crashed_ || effect == Effect::nothing || effect == Effect::prefix) return false;
  if (effect == Effect::chance && !random_.chance(30)) return false;
  counters_.failed_yet_done++;
  return true;
}

Status SimFileSystem::open(const std::string& path, io::Access access, bool direct, uint32_t,
                           std::unique_ptr<io::File>* file) {
  Status status = enter(kOpens, "openat", path);
  if (!status.ok()) return status;
  auto name = disk_.names.find(path);
  if (name == disk_.names.end()) {
    if (access != io::Access::create || disk_.names.count(parent_of(path)) == 0)
      return failed("openat", ENOENT, path);
    const uint64_t id = disk_.next_inode++;
    disk_.inodes[id] = Inode{};
    edit({{{path, id}}});
    name = disk_.names.find(path);
  }
  *file = std::make_unique<SimFile>(*this, name->second, path, direct);
  return {};
}

void SimFileSystem::edit(NameOp op) {
  for (const NameOp::Edit& edit : op.edits) {
    if (edit.inode == 0)
      disk_.names.erase(edit.path);
    else
      disk_.names[edit.path] = edit.inode;
  }
  disk_.pending.push_back(std::move(op));
}

Status SimFileSystem::rename(const std::string& from, const std::string& to) {
  Effect effect = Effect::nothing;
  Status status = enter(kRenames, "renameat", from, &effect);
  if (!happens(status, effect)) return status;
  const auto name = disk_.names.find(from);
  if (name == disk_.names.end() || disk_.names.count(parent_of(to)) == 0)
    return failed("renameat", ENOENT, from);
  check_guarded_name(from, "renamed");
  check_guarded_name(to, "replaced");
  const uint64_t id = name->second;
  edit({{{to, id}, {from, 0}}});
  allocated_ = disk_.allocated_bytes();
  return status;
}

Status SimFileSystem::unlink(const std::string& path) {
  Effect effect = Effect::nothing;
  Status status = enter(kUnlinks, "unlinkat", path, &effect);
  if (!happens(status, effect)) return status;
  if (disk_.names.count(path) == 0) return failed("unlinkat", ENOENT, path);
  check_guarded_name(path, "removed");
  edit({{{path, 0}}});
  allocated_ = disk_.allocated_bytes();
  return status;
}

Status SimFileSystem::list(const std::string& path, std::vector<std::string>* names) {
  Status status = enter(kLists, "getdents64", path);
  if (!status.ok()) return status;
  if (disk_.names.count(path) == 0) return failed("openat", ENOENT, path);
  names->clear();
  for (const auto& [name, id] : disk_.names) {
    if (name != "/" && parent_of(name) == path)
      names->push_back(name.substr(name.find_last_of('/') + 1));
  }
  return {};
}

Status SimFileSystem::make_directory(const std::string& path, bool* created) {
  *created = false;
  Status status = enter(kRenames, "mkdirat", path);
  if (!status.ok()) return status;
  const Inode* found = disk_.find(path);
  if (found != nullptr) return found->directory ? Status{} : failed("mkdirat", EEXIST, path);
  if (disk_.names.count(parent_of(path)) == 0) return failed("mkdirat", ENOENT, path);
  const uint64_t id = disk_.next_inode++;
  disk_.inodes[id] = Inode{};
  disk_.inodes[id].directory = true;
  edit({{{path, id}}});
  *created = true;
  return {};
}

Status SimFileSystem::sync_directory(const std::string& path) {
  Effect effect = Effect::nothing;
  Status status = enter(kDirectorySyncs, "fsync", path, &effect);
  if (!happens(status, effect)) return status;
  if (disk_.names.count(path) == 0) return failed("openat", ENOENT, path);
  std::vector<NameOp> still;
  for (NameOp& op : disk_.pending) {
    const bool concerned =
        std::any_of(op.edits.begin(), op.edits.end(),
                    [&](const NameOp::Edit& edit) { return parent_of(edit.path) == path; });
    if (!concerned) {
      still.push_back(std::move(op));
      continue;
    }
    for (const NameOp::Edit& edit : op.edits) {
      if (edit.inode == 0)
        disk_.durable_names.erase(edit.path);
      else
        disk_.durable_names[edit.path] = edit.inode;
    }
  }
  disk_.pending = std::move(still);
  return status;
}

Status SimFileSystem::free_bytes(const std::string&, uint64_t* bytes) {
  *bytes = capacity_ > allocated_ ? capacity_ - allocated_ : 0;
  return {};
}

Status SimFileSystem::identity(const std::string& path, uint64_t* device, uint64_t* id) {
  const auto name = disk_.names.find(path);
  if (name == disk_.names.end()) return failed("stat", ENOENT, path);
  *device = 1;
  *id = name->second;
  return {};
}

Status SimFileSystem::probe(const std::string&, io::DirectIo, bool, io::Probe* probe) {
  *probe = probe_result;
  return {};
}

Status SimFileSystem::lock(const std::string&, uint32_t, std::unique_ptr<io::Lock>* lock) {
  *lock = std::make_unique<io::Lock>();
  return {};
}

Status SimFileSystem::is_locked(const std::string&, bool* locked, uint64_t* pid) {
  *locked = false;
  *pid = 0;
  return {};
}

Status SimFileSystem::allocate(Inode* file, uint64_t from, uint64_t to, const std::string& path,
                               const char* syscall) {
  const uint64_t end = (to + kPageBytes - 1) / kPageBytes;
  if (file->allocated.size() < end) file->allocated.resize(end);
  uint64_t missing = 0;
  for (uint64_t page = from / kPageBytes; page < end; page++)
    missing += file->allocated[page] ? 0 : 1;
  if (missing == 0) return {};
  if (allocated_ + missing * kPageBytes > capacity_) return failed(syscall, ENOSPC, path);
  for (uint64_t page = from / kPageBytes; page < end; page++) file->allocated[page] = true;
  allocated_ += missing * kPageBytes;
  return {};
}

void SimFileSystem::check_overlap(const InFlight& op) {
  for (const auto& [ticket, other] : in_flight_) {
    if (other.is_sync || other.inode != op.inode) continue;
    if (op.write.offset < other.write.offset + other.write.size &&
        other.write.offset < op.write.offset + op.write.size) {
      violation_ = "a write to " + op.path + " at " + std::to_string(op.write.offset) +
                   " overlaps one in flight at " + std::to_string(other.write.offset);
    }
  }
}

uint64_t SimFileSystem::begin_write(const std::string& path, uint64_t offset, const io::Part* parts,
                                    int count, io::WriteMode mode) {
  InFlight op;
  op.path = path;
  op.mode = mode;
  op.write.offset = offset;
  op.parts.assign(parts, parts + count);
  bool zeros = true;
  for (int i = 0; i < count; i++) {
    op.write.size += parts[i].size;
    zeros = zeros && parts[i].size > 0 && parts[i].data[0] == 0 &&
            std::memcmp(parts[i].data, parts[i].data + 1, parts[i].size - 1) == 0;
  }
  if (!zeros) {
    op.write.data.reserve(op.write.size);
    for (const io::Part& part : op.parts)
      op.write.data.insert(op.write.data.end(), part.data, part.data + part.size);
  }
  const auto name = disk_.names.find(path);
  op.inode = name == disk_.names.end() ? 0 : name->second;
  if (op.inode != 0) {
    check_overlap(op);
    check_guard(op.inode, op.write.offset, op.write.offset + op.write.size, "a write");
  }
  const uint64_t ticket = next_ticket_++;
  in_flight_[ticket] = std::move(op);
  return ticket;
}

uint64_t SimFileSystem::begin_sync(const std::string& path) {
  InFlight op;
  op.path = path;
  op.is_sync = true;
  op.issued = completions_;
  const auto name = disk_.names.find(path);
  op.inode = name == disk_.names.end() ? 0 : name->second;
  if (op.inode != 0) op.issued_size = inode(op.inode).size;
  const uint64_t ticket = next_ticket_++;
  in_flight_[ticket] = std::move(op);
  return ticket;
}

Status SimFileSystem::complete(uint64_t ticket) {
  const auto at = in_flight_.find(ticket);
  if (crashed_) return failed("pwritev", EIO, at->second.path);  // stays in flight, for crash()
  if (at->second.inode == 0) {
    const std::string path = at->second.path;
    in_flight_.erase(at);
    return failed("pwritev", ENOENT, path);
  }
  const Faulty kind = at->second.is_sync ? kSyncs : kWrites;
  Effect effect = Effect::chance;
  Status status =
      enter(kind, at->second.is_sync ? "fdatasync" : "pwritev", at->second.path, &effect);
  if (crashed_) return status;
  InFlight op = std::move(at->second);
  in_flight_.erase(at);
  if (status.ok()) return op.is_sync ? finish_sync(op) : finish_write(&op);
  Inode& file = inode(op.inode);
  if (op.is_sync) {
    sync_failed(&file, op, effect);
  } else if (reaches_disk(&op.write, effect)) {
    file.size = std::max(file.size, op.write.offset + op.write.size);
    op.write.completed = ++completions_;
    file.unsynced.push_back(std::move(op.write));
    rebuild_visible(&file);
  }
  return status;
}

Status SimFileSystem::finish_write(InFlight* op) {
  size_t at = 0;
  for (const io::Part& part : op->parts) {
    if (!op->write.data.empty() &&
        std::memcmp(part.data, op->write.data.data() + at, part.size) != 0) {
      violation_ = "the bytes of a write to " + op->path + " changed while it was in flight";
    }
    at += part.size;
  }
  Inode& file = inode(op->inode);
  const uint64_t end = op->write.offset + op->write.size;
  Status status = allocate(&file, op->write.offset, end, op->path, "pwritev");
  if (!status.ok()) return status;
  file.size = std::max(file.size, end);
  op->write.completed = ++completions_;
  apply_visible(&file, op->write);
  if (op->mode == io::WriteMode::dsync) {
    file.durable_size = std::max(file.durable_size, end);
    supersede(&file, op->write);
    make_durable(&file, op->write);
  } else {
    file.unsynced.push_back(std::move(op->write));
  }
  return {};
}

Status SimFileSystem::finish_sync(const InFlight& op) {
  Inode& file = inode(op.inode);
  std::vector<UnsyncedWrite> still;
  for (UnsyncedWrite& write : file.unsynced) {
    if (write.dropped || write.completed > op.issued)
      still.push_back(std::move(write));
    else
      make_durable(&file, write);
  }
  file.unsynced = std::move(still);
  file.durable_size = op.issued_size;
  return {};
}

}  // namespace stonelog::sim
