#include "io/fault_file_system.h"

#include <utility>

#include "io/host.h"
#include "io/posix_calls.h"

namespace stonelog::io {
namespace {

constexpr const char* operation_names[] = {
    "open",     "read",  "write",          "dsync_write",    "sync",
    "reserve",  "punch", "size",           "evict",          "rename",
    "unlink",   "list",  "make_directory", "sync_directory", "free_bytes",
    "identity", "probe", "lock",           "is_locked",      "any"};
static_assert(std::size(operation_names) == static_cast<size_t>(Operation::any) + 1);

}  // namespace

void HeldWrite::refuse_next(Begun answer) {
  const std::lock_guard<std::mutex> guard(mutex_);
  answer_ = answer;
}

void HeldWrite::fail_next(int64_t result) {
  const std::lock_guard<std::mutex> guard(mutex_);
  forced_ = result;
}

void HeldWrite::hold() {
  const std::lock_guard<std::mutex> guard(mutex_);
  held_ = true;
}

void HeldWrite::release() {
  const std::lock_guard<std::mutex> guard(mutex_);
  held_ = false;
  tell();
}

void HeldWrite::tell() {
  news_.fetch_add(1);
  wake_sleepers(&news_, INT32_MAX);
}

uint64_t HeldWrite::begun() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return begun_;
}

uint64_t HeldWrite::taken() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return taken_;
}

class FaultAsyncWrite final : public AsyncWrite {
 public:
  explicit FaultAsyncWrite(HeldWrite* held) : held_(held) {}

  int signal() const override { return -1; }
  void clear_signal() override {}
  bool take(int64_t* result) override {
    const std::lock_guard<std::mutex> guard(held_->mutex_);
    return take_held(result);
  }
  int64_t wait() override {
    int64_t result = 0;
    for (;;) {
      const uint32_t seen = held_->news_.load();
      if (take(&result)) return result;
      sleep_on(&held_->news_, seen, UINT64_MAX);
    }
  }

 private:
  bool take_held(int64_t* result) {
    if (!held_->under_way_ || held_->held_) return false;
    held_->under_way_ = false;
    held_->taken_++;
    *result = held_->result_;
    return true;
  }

  HeldWrite* const held_;
};

class FaultFile final : public File {
 public:
  FaultFile(FaultFileSystem& fs, std::unique_ptr<File> wrapped, std::string path)
      : fs_(fs), wrapped_(std::move(wrapped)), path_(std::move(path)) {}

  Status read(uint64_t offset, uint8_t* data, size_t size, size_t* got) override {
    *got = 0;
    Status status = fs_.enter(Operation::read, path_);
    return status.ok() ? wrapped_->read(offset, data, size, got) : std::move(status).at(0, offset);
  }
  Status write(uint64_t offset, const Part* parts, int count, WriteMode mode) override {
    size_t short_size = FaultRule::no_short_write;
    const auto operation = mode == WriteMode::dsync ? Operation::dsync_write : Operation::write;
    Status status = fs_.enter(operation, path_, {}, &short_size);
    if (status.ok()) return wrapped_->write(offset, parts, count, mode);
    if (short_size != FaultRule::no_short_write) {
      Status torn = write_first(short_size, offset, parts, count, mode);
      if (!torn.ok()) return torn;
    }
    return std::move(status).at(0, offset);
  }
  AsyncWrite::Begun begin_write(AsyncWrite*, uint64_t offset, const Part* parts,
                                int count) override {
    HeldWrite& held = *fs_.held_write_;
    std::unique_lock<std::mutex> lock(held.mutex_);
    const AsyncWrite::Begun answer = std::exchange(held.answer_, AsyncWrite::Begun::yes);
    if (answer != AsyncWrite::Begun::yes) return answer;
    int64_t result = std::exchange(held.forced_, 0);
    lock.unlock();
    if (result == 0) {
      for (int index = 0; index < count; index++) result += static_cast<int64_t>(parts[index].size);
      Status status = write(offset, parts, count, WriteMode::dsync);
      if (!status.ok()) result = -int64_t{status.error};
    }
    lock.lock();
    held.begun_++;
    held.under_way_ = true;
    held.result_ = result;
    held.tell();
    return AsyncWrite::Begun::yes;
  }
  Status sync() override {
    Status status = fs_.enter(Operation::sync, path_);
    return status.ok() ? wrapped_->sync() : status;
  }
  Status reserve(uint64_t size, bool* reserved) override {
    *reserved = false;
    Status status = fs_.enter(Operation::reserve, path_);
    return status.ok() ? wrapped_->reserve(size, reserved) : status;
  }
  Status punch(uint64_t from, uint64_t to) override {
    Status status = fs_.enter(Operation::punch, path_);
    return status.ok() ? wrapped_->punch(from, to) : status;
  }
  Status size(uint64_t* bytes) override {
    Status status = fs_.enter(Operation::size, path_);
    return status.ok() ? wrapped_->size(bytes) : status;
  }
  Status is_named(bool* named) override {
    *named = false;
    Status status = fs_.enter(Operation::identity, path_);
    return status.ok() ? wrapped_->is_named(named) : status;
  }
  Status evict() override {
    Status status = fs_.enter(Operation::evict, path_);
    return status.ok() ? wrapped_->evict() : status;
  }

 private:
  Status write_first(size_t size, uint64_t offset, const Part* parts, int count, WriteMode mode) {
    std::vector<Part> first;
    for (int index = 0; index < count && size > 0; index++) {
      const size_t piece = parts[index].size < size ? parts[index].size : size;
      first.push_back({parts[index].data, piece});
      size -= piece;
    }
    return wrapped_->write(offset, first.data(), static_cast<int>(first.size()), mode);
  }

  FaultFileSystem& fs_;
  const std::unique_ptr<File> wrapped_;
  const std::string path_;
};

std::unique_ptr<AsyncWrite> FaultFileSystem::async_write() {
  if (held_write_ == nullptr) return nullptr;
  return std::make_unique<FaultAsyncWrite>(held_write_);
}

const char* operation_name(Operation operation) {
  return operation_names[static_cast<size_t>(operation)];
}

void FaultFileSystem::add(FaultRule rule) {
  const std::lock_guard<std::mutex> guard(mutex_);
  rules_.push_back({std::move(rule)});
}

void FaultFileSystem::clear_rules() {
  const std::lock_guard<std::mutex> guard(mutex_);
  rules_.clear();
}

void FaultFileSystem::set_hook(Hook hook) {
  const std::lock_guard<std::mutex> guard(mutex_);
  hook_ = std::move(hook);
}

uint64_t FaultFileSystem::count(Operation operation) const {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (operation != Operation::any) return counts_[static_cast<size_t>(operation)];
  uint64_t sum = 0;
  for (const uint64_t one : counts_) sum += one;
  return sum;
}

uint64_t FaultFileSystem::failures() const {
  const std::lock_guard<std::mutex> guard(mutex_);
  return failures_;
}

void FaultFileSystem::reset_counts() {
  const std::lock_guard<std::mutex> guard(mutex_);
  counts_.fill(0);
  failures_ = 0;
}

Status FaultFileSystem::enter(Operation operation, const std::string& path,
                              const std::string& other, size_t* short_size) {
  Hook hook;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    hook = hook_;
  }
  if (hook) hook(operation, path);

  const std::lock_guard<std::mutex> guard(mutex_);
  counts_[static_cast<size_t>(operation)]++;
  for (Armed& armed : rules_) {
    const FaultRule& rule = armed.rule;
    if (rule.operation != Operation::any && rule.operation != operation) continue;
    const bool concerned =
        path.find(rule.path) != std::string::npos || other.find(rule.path) != std::string::npos;
    if (!concerned) continue;
    // A rule that is still skipping or has done its work leaves the call to the next one.
    const uint64_t index = armed.seen++;
    if (index < rule.skip || index - rule.skip >= rule.times) continue;
    failures_++;
    if (short_size != nullptr) *short_size = rule.short_size;
    Status status = system_status(operation_name(operation), rule.error, path);
    status.detail = "injected";
    return status;
  }
  return {};
}

Status FaultFileSystem::open(const std::string& path, Access access, bool direct, uint32_t mode,
                             std::unique_ptr<File>* file) {
  Status status = enter(Operation::open, path);
  if (!status.ok()) return status;
  std::unique_ptr<File> wrapped;
  status = wrapped_.open(path, access, direct, mode, &wrapped);
  if (status.ok()) *file = std::make_unique<FaultFile>(*this, std::move(wrapped), path);
  return status;
}

Status FaultFileSystem::rename(const std::string& from, const std::string& to) {
  Status status = enter(Operation::rename, from, to);
  return status.ok() ? wrapped_.rename(from, to) : status;
}

Status FaultFileSystem::unlink(const std::string& path) {
  Status status = enter(Operation::unlink, path);
  return status.ok() ? wrapped_.unlink(path) : status;
}

Status FaultFileSystem::list(const std::string& path, std::vector<std::string>* names) {
  Status status = enter(Operation::list, path);
  return status.ok() ? wrapped_.list(path, names) : status;
}

Status FaultFileSystem::make_directory(const std::string& path, bool* created) {
  *created = false;
  Status status = enter(Operation::make_directory, path);
  return status.ok() ? wrapped_.make_directory(path, created) : status;
}

Status FaultFileSystem::sync_directory(const std::string& path) {
  Status status = enter(Operation::sync_directory, path);
  return status.ok() ? wrapped_.sync_directory(path) : status;
}

Status FaultFileSystem::free_bytes(const std::string& path, uint64_t* bytes) {
  Status status = enter(Operation::free_bytes, path);
  return status.ok() ? wrapped_.free_bytes(path, bytes) : status;
}

Status FaultFileSystem::identity(const std::string& path, uint64_t* device, uint64_t* inode) {
  Status status = enter(Operation::identity, path);
  return status.ok() ? wrapped_.identity(path, device, inode) : status;
}

Status FaultFileSystem::probe(const std::string& directory, DirectIo wish, bool may_write,
                              Probe* probe) {
  Status status = enter(Operation::probe, directory);
  if (status.ok()) status = wrapped_.probe(directory, wish, may_write, probe);
  if (status.ok() && held_write_ != nullptr) probe->dsync_trusted = probe->async_dsync = true;
  return status;
}

Status FaultFileSystem::lock(const std::string& path, uint32_t mode, std::unique_ptr<Lock>* lock) {
  Status status = enter(Operation::lock, path);
  return status.ok() ? wrapped_.lock(path, mode, lock) : status;
}

Status FaultFileSystem::is_locked(const std::string& path, bool* locked, uint64_t* pid) {
  Status status = enter(Operation::is_locked, path);
  return status.ok() ? wrapped_.is_locked(path, locked, pid) : status;
}

}  // namespace stonelog::io
