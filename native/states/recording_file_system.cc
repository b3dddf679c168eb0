#include "states/recording_file_system.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

namespace stonelog::states {

namespace {

constexpr uint64_t kSector = 512;
constexpr uint64_t kBlock = 4096;

uint64_t next_device() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1);  // the table of open logs tells file systems apart by it
}

// Null if all is zero: most of what preparation writes.
std::shared_ptr<const std::vector<uint8_t>> gather(const io::Part* parts, int count) {
  std::vector<uint8_t> data;
  for (int i = 0; i < count; i++)
    data.insert(data.end(), parts[i].data, parts[i].data + parts[i].size);
  const bool zeros = std::all_of(data.begin(), data.end(), [](uint8_t byte) { return byte == 0; });
  return zeros ? nullptr : std::make_shared<const std::vector<uint8_t>>(std::move(data));
}

}  // namespace

class RecordingFileSystem::HeldLock final : public io::Lock {
 public:
  HeldLock(RecordingFileSystem& fs, std::string path) : fs_(fs), path_(std::move(path)) {}
  ~HeldLock() override {
    const std::lock_guard<std::mutex> guard(fs_.mutex_);
    fs_.locks_.erase(path_);
  }

 private:
  RecordingFileSystem& fs_;
  const std::string path_;
};

class RecordedFile final : public io::File {
 public:
  RecordedFile(RecordingFileSystem& fs, uint64_t node, std::string path, bool direct)
      : fs_(fs), node_(node), path_(std::move(path)), direct_(direct) {}

  Status read(uint64_t offset, uint8_t* data, size_t size, size_t* got) override {
    *got = 0;
    const bool aligned = offset % kBlock == 0 && size % kBlock == 0 &&
                         reinterpret_cast<uintptr_t>(data) % kBlock == 0;
    const std::lock_guard<std::mutex> guard(fs_.mutex_);
    if (fs_.dead_) return fs_.refuse("pread", EIO, path_);
    if (direct_ && !aligned) return fs_.refuse("pread", EINVAL, path_);
    const Node& node = fs_.now_.nodes.at(node_);
    if (offset >= node.size) return {};
    *got = static_cast<size_t>(std::min<uint64_t>(size, node.size - offset));
    node.content.read(offset, data, *got);
    return {};
  }
  Status write(uint64_t offset, const io::Part* parts, int count, io::WriteMode mode) override {
    for (int i = 0; direct_ && i < count; i++) {
      if (offset % kBlock != 0 || parts[i].size % kBlock != 0)
        return fs_.refuse("pwritev", EINVAL, path_);
    }
    // Where DSYNC is not trusted it is ignored, as some file systems do.
    const bool dsync = mode == io::WriteMode::dsync && fs_.recording_.probe.dsync_trusted;
    return fs_.write(node_, path_, offset, parts, count, dsync ? Kind::dsync_write : Kind::write);
  }
  Status sync() override { return fs_.sync(node_, path_); }
  Status reserve(uint64_t size, bool* reserved) override {
    const std::lock_guard<std::mutex> guard(fs_.mutex_);
    if (fs_.dead_) return fs_.refuse("fallocate", EIO, path_);
    *reserved = true;
    Operation op;
    op.kind = Kind::reserve;
    op.node = node_;
    op.size = size;
    op.path = path_;
    fs_.now_.nodes.at(node_).size = size;
    fs_.end(fs_.begin(std::move(op)));
    return {};
  }
  Status punch(uint64_t from, uint64_t to) override {
    const std::lock_guard<std::mutex> guard(fs_.mutex_);
    if (fs_.dead_) return fs_.refuse("fallocate", EIO, path_);
    Operation op;
    op.kind = Kind::punch;
    op.node = node_;
    op.offset = from;
    op.size = to - from;
    op.path = path_;
    fs_.now_.nodes.at(node_).content.write(from, nullptr, to - from);
    fs_.end(fs_.begin(std::move(op)));
    return {};
  }
  Status size(uint64_t* bytes) override {
    const std::lock_guard<std::mutex> guard(fs_.mutex_);
    if (fs_.dead_) return fs_.refuse("fstat", EIO, path_);
    *bytes = fs_.now_.nodes.at(node_).size;
    return {};
  }
  Status evict() override { return {}; }

 private:
  RecordingFileSystem& fs_;
  const uint64_t node_;
  const std::string path_;
  const bool direct_;
};

RecordingFileSystem::RecordingFileSystem(const Image& start, const io::Probe& probe, uint64_t seed,
                                         uint32_t most_delay_us)
    : random_(seed), most_delay_us_(most_delay_us), device_(next_device()), now_(start) {
  recording_.start = start;
  recording_.probe = probe;
}

Status RecordingFileSystem::refuse(const char* syscall, int error, const std::string& path) const {
  return Status::system(error == ENOENT ? Code::not_found : Code::io, syscall, error, path);
}

size_t RecordingFileSystem::begin(Operation op) {
  if (op.kind != Kind::mark && op.kind != Kind::sync && op.kind != Kind::sync_directory) changes_++;
  recording_.operations.push_back(std::move(op));
  const size_t index = recording_.operations.size() - 1;
  const Kind kind = recording_.operations[index].kind;
  const bool instant =
      kind == Kind::mark || kind == Kind::names || kind == Kind::reserve || kind == Kind::punch;
  if (!instant) recording_.events.push_back({static_cast<uint32_t>(index), false});
  return index;
}

void RecordingFileSystem::end(size_t index) {
  recording_.events.push_back({static_cast<uint32_t>(index), true});
}

void RecordingFileSystem::pause() {
  if (most_delay_us_ == 0) return;
  mutex_.lock();
  const uint64_t us = random_.below(most_delay_us_);
  mutex_.unlock();
  usleep(static_cast<useconds_t>(us));
}

Status RecordingFileSystem::write(uint64_t node, const std::string& path, uint64_t offset,
                                  const io::Part* parts, int count, Kind kind) {
  Operation op;
  op.kind = kind;
  op.node = node;
  op.offset = offset;
  op.path = path;
  for (int i = 0; i < count; i++) op.size += parts[i].size;
  op.data = gather(parts, count);
  const std::shared_ptr<const std::vector<uint8_t>> data = op.data;
  const uint64_t size = op.size;
  mutex_.lock();
  if (dead_) {
    mutex_.unlock();
    return refuse("pwritev", EIO, path);
  }
  const size_t index = begin(std::move(op));
  mutex_.unlock();
  pause();
  const std::lock_guard<std::mutex> guard(mutex_);
  Operation& written = recording_.operations[index];
  uint64_t from = 0;
  uint64_t to = size;
  if (dead_) {
    written.failed = true;
    const uint64_t sectors = size / kSector;
    const uint64_t fate = random_.below(3);
    if (fate == 0) to = 0;
    if (fate == 1 && sectors > 1) {
      from = random_.below(sectors) * kSector;
      to = from + random_.between(1, sectors - from / kSector) * kSector;
    }
    written.kept_from = from;
    written.kept_to = to;
  }
  Node& file = now_.nodes.at(node);
  if (from < to) {
    file.content.write(offset + from, data ? data->data() + from : nullptr, to - from);
    file.size = std::max(file.size, offset + to);
  }
  end(index);
  return dead_ ? refuse("pwritev", EIO, path) : Status{};
}

Status RecordingFileSystem::sync(uint64_t node, const std::string& path) {
  Operation op;
  op.kind = Kind::sync;
  op.node = node;
  op.path = path;
  mutex_.lock();
  if (dead_) {
    mutex_.unlock();
    return refuse("fdatasync", EIO, path);
  }
  const size_t index = begin(std::move(op));
  mutex_.unlock();
  pause();
  const std::lock_guard<std::mutex> guard(mutex_);
  recording_.operations[index].failed = dead_;
  end(index);
  return dead_ ? refuse("fdatasync", EIO, path) : Status{};
}

void RecordingFileSystem::edit(std::vector<NameEdit> edits, const std::string& path,
                               bool directory) {
  Operation op;
  op.kind = Kind::names;
  op.first = directory ? 1 : 0;
  op.path = path;
  for (const NameEdit& name : edits) {
    if (name.node == 0)
      now_.names.erase(name.path);
    else
      now_.names[name.path] = name.node;
  }
  op.edits = std::move(edits);
  end(begin(std::move(op)));
}

Status RecordingFileSystem::open(const std::string& path, io::Access access, bool direct, uint32_t,
                                 std::unique_ptr<io::File>* file) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (dead_) return refuse("openat", EIO, path);
  auto name = now_.names.find(path);
  if (name == now_.names.end()) {
    if (access != io::Access::create || now_.names.count(parent_of(path)) == 0)
      return refuse("openat", ENOENT, path);
    const uint64_t node = now_.next_node++;
    now_.nodes[node] = Node{};
    edit({{path, node}}, path);
    name = now_.names.find(path);
  }
  *file = std::make_unique<RecordedFile>(*this, name->second, path, direct);
  return {};
}

Status RecordingFileSystem::rename(const std::string& from, const std::string& to) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (dead_) return refuse("renameat", EIO, from);
  const auto name = now_.names.find(from);
  if (name == now_.names.end() || now_.names.count(parent_of(to)) == 0)
    return refuse("renameat", ENOENT, from);
  const uint64_t node = name->second;
  edit({{to, node}, {from, 0}}, from);
  return {};
}

Status RecordingFileSystem::unlink(const std::string& path) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (dead_) return refuse("unlinkat", EIO, path);
  if (now_.names.count(path) == 0) return refuse("unlinkat", ENOENT, path);
  edit({{path, 0}}, path);
  return {};
}

Status RecordingFileSystem::list(const std::string& path, std::vector<std::string>* names) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (dead_) return refuse("getdents64", EIO, path);
  if (now_.names.count(path) == 0) return refuse("openat", ENOENT, path);
  names->clear();
  for (const auto& [name, node] : now_.names) {
    if (name != "/" && parent_of(name) == path)
      names->push_back(name.substr(name.find_last_of('/') + 1));
  }
  return {};
}

Status RecordingFileSystem::make_directory(const std::string& path, bool* created) {
  *created = false;
  const std::lock_guard<std::mutex> guard(mutex_);
  if (dead_) return refuse("mkdirat", EIO, path);
  const Node* found = now_.find(path);
  if (found != nullptr) return found->directory ? Status{} : refuse("mkdirat", EEXIST, path);
  if (now_.names.count(parent_of(path)) == 0) return refuse("mkdirat", ENOENT, path);
  const uint64_t node = now_.next_node++;
  now_.nodes[node] = Node{};
  now_.nodes[node].directory = true;
  edit({{path, node}}, path, true);
  *created = true;
  return {};
}

Status RecordingFileSystem::sync_directory(const std::string& path) {
  Operation op;
  op.kind = Kind::sync_directory;
  op.path = path;
  mutex_.lock();
  const bool missing = now_.names.count(path) == 0;
  if (dead_ || missing) {
    mutex_.unlock();
    return refuse("fsync", missing ? ENOENT : EIO, path);
  }
  const size_t index = begin(std::move(op));
  mutex_.unlock();
  pause();
  const std::lock_guard<std::mutex> guard(mutex_);
  recording_.operations[index].failed = dead_;
  end(index);
  return dead_ ? refuse("fsync", EIO, path) : Status{};
}

Status RecordingFileSystem::free_bytes(const std::string&, uint64_t* bytes) {
  *bytes = uint64_t{1} << 40;
  return {};
}

Status RecordingFileSystem::identity(const std::string& path, uint64_t* device, uint64_t* inode) {
  const std::lock_guard<std::mutex> guard(mutex_);
  const auto name = now_.names.find(path);
  if (name == now_.names.end()) return refuse("stat", ENOENT, path);
  *device = device_;
  *inode = name->second;
  return {};
}

Status RecordingFileSystem::probe(const std::string&, io::DirectIo, bool, io::Probe* probe) {
  *probe = recording_.probe;
  return {};
}

Status RecordingFileSystem::lock(const std::string& path, uint32_t,
                                 std::unique_ptr<io::Lock>* lock) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (now_.names.count(parent_of(path)) == 0) return refuse("openat", ENOENT, path);
  if (!locks_.insert(path).second) return Status::of(Code::locked, "held");
  *lock = std::make_unique<HeldLock>(*this, path);
  return {};
}

Status RecordingFileSystem::is_locked(const std::string& path, bool* locked, uint64_t* pid) {
  const std::lock_guard<std::mutex> guard(mutex_);
  *locked = locks_.count(path) > 0;
  *pid = 0;
  return {};
}

uint64_t RecordingFileSystem::random64() {
  const std::lock_guard<std::mutex> guard(mutex_);
  return random_.next();
}

uint64_t RecordingFileSystem::wall_micros() {
  const std::lock_guard<std::mutex> guard(mutex_);
  return wall_micros_ += 10;
}

void RecordingFileSystem::mark(Mark mark, uint64_t first, uint64_t last) {
  Operation op;
  op.mark = mark;
  op.first = first;
  op.last = last;
  const std::lock_guard<std::mutex> guard(mutex_);
  end(begin(std::move(op)));
}

void RecordingFileSystem::kill() {
  mark(Mark::killed);
  const std::lock_guard<std::mutex> guard(mutex_);
  dead_ = true;
}

void RecordingFileSystem::revive() {
  const std::lock_guard<std::mutex> guard(mutex_);
  dead_ = false;
}

Recording RecordingFileSystem::recording() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return recording_;
}

Image RecordingFileSystem::image() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return now_;
}

}  // namespace stonelog::states
