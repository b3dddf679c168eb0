#include "fuzz/memory_disk.h"

#include <algorithm>
#include <cerrno>

#include "fuzz/target.h"

namespace stonelog::fuzz {

namespace {

// A window of 1 MiB, read ahead in pieces of as much, and a largest block.
constexpr size_t kMostBeyond = (2 << 20) + (64 << 10);

class MemoryFile final : public io::File {
 public:
  MemoryFile(std::shared_ptr<MemoryDisk::Content> content, std::atomic<uint64_t>* changes)
      : content_(std::move(content)), changes_(changes) {}

  Status read(uint64_t offset, uint8_t* data, size_t size, size_t* got) override {
    const std::lock_guard<std::mutex> guard(content_->mutex);
    const std::vector<uint8_t>& bytes = content_->bytes;
    FUZZ_CHECK(size <= bytes.size() + kMostBeyond);
    const uint64_t from = std::min<uint64_t>(offset, bytes.size());
    *got = std::min<size_t>(size, bytes.size() - from);
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(from), *got, data);
    return {};
  }
  Status write(uint64_t offset, const io::Part* parts, int count, io::WriteMode) override {
    const std::lock_guard<std::mutex> guard(content_->mutex);
    for (int i = 0; i < count; i++) {
      if (content_->bytes.size() < offset + parts[i].size)
        content_->bytes.resize(offset + parts[i].size);
      std::copy_n(parts[i].data, parts[i].size,
                  content_->bytes.begin() + static_cast<ptrdiff_t>(offset));
      offset += parts[i].size;
    }
    (*changes_)++;
    return {};
  }
  Status sync() override { return {}; }
  Status reserve(uint64_t size, bool* reserved) override {
    const std::lock_guard<std::mutex> guard(content_->mutex);
    content_->bytes.resize(size);
    *reserved = true;
    (*changes_)++;
    return {};
  }
  Status punch(uint64_t from, uint64_t to) override {
    const std::lock_guard<std::mutex> guard(content_->mutex);
    const uint64_t end = std::min<uint64_t>(to, content_->bytes.size());
    if (from < end)
      std::fill(content_->bytes.begin() + static_cast<ptrdiff_t>(from),
                content_->bytes.begin() + static_cast<ptrdiff_t>(end), uint8_t{0});
    (*changes_)++;
    return {};
  }
  Status size(uint64_t* bytes) override {
    const std::lock_guard<std::mutex> guard(content_->mutex);
    *bytes = content_->bytes.size();
    return {};
  }
  Status evict() override { return {}; }

 private:
  const std::shared_ptr<MemoryDisk::Content> content_;
  std::atomic<uint64_t>* const changes_;
};

class NoLock final : public io::Lock {};

}  // namespace

void MemoryDisk::put(const std::string& path, std::vector<uint8_t> bytes) {
  auto content = std::make_shared<Content>();
  content->bytes = std::move(bytes);
  files_[path] = std::move(content);
}

Status MemoryDisk::open(const std::string& path, io::Access access, bool, uint32_t,
                        std::unique_ptr<io::File>* file) {
  const std::lock_guard<std::mutex> guard(mutex_);
  auto found = files_.find(path);
  if (found == files_.end()) {
    if (access != io::Access::create) return Status::system(Code::not_found, "open", ENOENT, path);
    found = files_.emplace(path, std::make_shared<Content>()).first;
    changes_++;
  }
  if (found->second == nullptr) return Status::system(Code::io, "open", EISDIR, path);
  *file = std::make_unique<MemoryFile>(found->second, &changes_);
  return {};
}

Status MemoryDisk::rename(const std::string& from, const std::string& to) {
  const std::lock_guard<std::mutex> guard(mutex_);
  const auto found = files_.find(from);
  if (found == files_.end()) return Status::system(Code::not_found, "rename", ENOENT, from);
  const std::shared_ptr<Content> content = found->second;
  files_.erase(found);
  files_[to] = content;
  changes_++;
  return {};
}

Status MemoryDisk::unlink(const std::string& path) {
  const std::lock_guard<std::mutex> guard(mutex_);
  changes_++;
  if (files_.erase(path) == 0) return Status::system(Code::not_found, "unlink", ENOENT, path);
  return {};
}

Status MemoryDisk::list(const std::string& path, std::vector<std::string>* names) {
  const std::lock_guard<std::mutex> guard(mutex_);
  names->clear();
  for (const auto& [name, content] : files_) {
    const size_t slash = name.find_last_of('/');
    if (name.compare(0, slash, path) == 0) names->push_back(name.substr(slash + 1));
  }
  return {};
}

Status MemoryDisk::make_directory(const std::string& path, bool* created) {
  const std::lock_guard<std::mutex> guard(mutex_);
  *created = files_.emplace(path, nullptr).second;
  changes_++;
  return {};
}

Status MemoryDisk::sync_directory(const std::string&) { return {}; }
Status MemoryDisk::free_bytes(const std::string&, uint64_t* bytes) {
  *bytes = uint64_t{1} << 40;
  return {};
}
Status MemoryDisk::identity(const std::string&, uint64_t* device, uint64_t* inode) {
  *device = *inode = 1;
  return {};
}
Status MemoryDisk::probe(const std::string&, io::DirectIo, bool, io::Probe* probe) {
  *probe = io::Probe{};
  return {};
}
Status MemoryDisk::lock(const std::string&, uint32_t, std::unique_ptr<io::Lock>* lock) {
  *lock = std::make_unique<NoLock>();
  return {};
}
Status MemoryDisk::is_locked(const std::string&, bool* locked, uint64_t* pid) {
  *locked = false;
  *pid = 0;
  return {};
}

}  // namespace stonelog::fuzz
