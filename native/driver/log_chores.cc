// What the preparer does: segments made ahead, zeroes ahead of the writer, space given back; and
// whether the log's files are still where they were.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "driver/log.h"
#include "driver/threads.h"
#include "log/segment_file.h"

namespace stonelog::driver {

using log::Chore;
using log::ChoreKind;
using log::EngineOptions;

namespace {

constexpr uint64_t kFirstPieceBytes = 1 << 20;

Status gone(std::string path, const char* what) {
  Status status = Status::of(Code::io, what);
  status.path = std::move(path);
  return status;
}

}  // namespace

void Log::preparer() {
  block_signals();
  std::unique_lock<WakingMutex> lock(mutex_);
  for (;;) {
    Chore chore;
    if (engine_->next_chore(now_ns(), &chore)) {
      chore_under_way_ = true;
      do_chore(&lock, chore);
      chore_under_way_ = false;
      progressed();
      continue;
    }
    if (stopping_) return;
    const uint64_t deadline = engine_->next_chore_deadline();
    const uint32_t ticket = chores_.prepare();
    lock.unlock();
    chores_.wait(ticket, deadline);
    lock.lock();
  }
}

void Log::do_chore(std::unique_lock<WakingMutex>* lock, const Chore& chore) {
  if (chore.kind == ChoreKind::prepare) prepare_segment(lock, chore.sequence);
  if (chore.kind == ChoreKind::zero) zero_ahead(lock, chore);
  if (chore.kind == ChoreKind::give_back) give_back(lock, chore);
}

Status Log::check_free_space(bool recycles) {
  if (recycles || options_.min_free_bytes == 0) return {};
  uint64_t free_bytes = 0;
  Status status = fs_.free_bytes(options_.directory, &free_bytes);
  if (!status.ok()) return status;
  const uint64_t segment = format::segment_file_bytes(options_.segment_bytes, probe_.block_size);
  if (free_bytes >= options_.min_free_bytes + segment) return {};
  return Status::of(Code::no_space,
                    "a segment of " + std::to_string(segment) + " bytes and minFreeBytes " +
                        std::to_string(options_.min_free_bytes) + " are more than the " +
                        std::to_string(free_bytes) + " bytes that are free");
}

// What others did to the files of an open log: whoever moves, replaces or deletes its directory,
// its lock or a file that is being written takes records with it that are acknowledged after that.
// Asked where segments are prepared (so once per rotation), released, and at the close; never for
// an append.
Status Log::check_place() {
  struct InUse {
    uint64_t sequence;
    uint64_t bytes;
    io::File* file;
  };
  std::vector<InUse> files;
  std::unique_lock<WakingMutex> lock(mutex_);
  if (engine_->poisoned() || lock_ == nullptr) return {};
  for (const auto& [sequence, file] : files_) {
    const auto header = headers_.find(sequence);  // a sealed one has none any more
    if (header != headers_.end())
      files.push_back({sequence, header->second.file_bytes, file.get()});
  }
  looks_++;  // keeps the files and the lock
  io::Lock* const held = lock_.get();
  lock.unlock();
  Status status = look_at_directory(held);
  for (size_t i = 0; status.ok() && i < files.size(); i++) {
    status = look_at_file(files[i].sequence, files[i].bytes, files[i].file);
    if (status.ok()) continue;
    // Not of the files in use any more: it was sealed meanwhile, and then it may have been
    // released.
    const std::lock_guard<WakingMutex> guard(mutex_);
    if (headers_.count(files[i].sequence) == 0) status = {};
  }
  lock.lock();
  looks_--;
  if (looks_ == 0) retired_.clear();
  if (engine_->poisoned()) release_lock();
  return status;
}

Status Log::look_at_directory(io::Lock* held) {
  uint64_t device = 0;
  uint64_t inode = 0;
  Status status = fs_.identity(options_.directory, &device, &inode);
  // What cannot be asked proves nothing; that nothing has the name any more does.
  const bool same = status.ok() && device == device_ && inode == inode_;
  if (status.ok() ? !same : status.code == Code::not_found || status.error == ENOTDIR)
    return gone(options_.directory, "the log's directory was moved, replaced or deleted");
  if (!status.ok()) return {};
  if (!held->is_named())
    return gone(options_.directory + "/" + log::kLockName,
                "the lock's file was replaced or deleted");
  return {};
}

Status Log::look_at_file(uint64_t sequence, uint64_t bytes, io::File* file) {
  bool named = false;
  uint64_t size = 0;
  Status status = file->is_named(&named);
  if (status.ok() && !named)
    return gone(segment_path(sequence), "a segment in use was moved, replaced or deleted")
        .at(sequence, 0);
  status = file->size(&size);
  if (status.ok() && size != bytes)
    return gone(segment_path(sequence), "the size of a segment in use was changed")
        .at(sequence, size);
  return {};
}

void Log::prepare_segment(std::unique_lock<WakingMutex>* lock, uint64_t sequence) {
  log::SegmentSpec spec;
  spec.directory = options_.directory;
  spec.sequence = sequence;
  spec.log_id = log_id_;
  spec.block_bytes = probe_.block_size;
  spec.file_bytes = format::segment_file_bytes(options_.segment_bytes, spec.block_bytes);
  spec.file_mode = options_.file_mode;
  spec.direct = probe_.direct;
  spec.zeroes = !probe_.copy_on_write;
  spec.first_piece_bytes = std::min(kFirstPieceBytes, spec.file_bytes);
  if (!recyclable_.empty()) {
    spec.recycle_path = recyclable_.back().path;
    spec.recycle_tag = recyclable_.back().tag;
    spec.recycle_written_end = recyclable_.back().written_end;
    recyclable_.pop_back();
  }
  lock->unlock();
  Status status = check_place();
  bool fatal = !status.ok();
  if (status.ok()) status = check_free_space(!spec.recycle_path.empty());
  log::MadeSegment made;
  std::unique_ptr<io::File> file;
  if (status.ok()) status = log::make_segment(fs_, spec, &made, &fatal);
  if (status.ok())
    status = fs_.open(segment_path(sequence), io::Access::read_write, probe_.direct, 0, &file);
  // Again: what was made may lie in a directory that took the place of the log's meanwhile.
  if (!fatal) {
    Status moved = check_place();
    fatal = !moved.ok();
    if (fatal) status = std::move(moved);
  }
  lock->lock();
  if (fatal) {
    engine_->poison(status);
  } else if (!status.ok()) {
    // Not of the log yet: tried again. Until then whoever finds no room is told why.
    if (status.code != Code::no_space) status.code = Code::io;
    engine_->segment_failed(status.code, now_ns());
    prepare_failure_ = std::move(status);
  } else {
    files_[sequence] = std::move(file);
    headers_[sequence] = made.header;
    engine_->segment_ready(made.place);
  }
}

void Log::zero_ahead(std::unique_lock<WakingMutex>* lock, const Chore& chore) {
  io::File* file = files_[chore.sequence].get();
  lock->unlock();
  static const log::AlignedBuffer* const zeros = [] {
    auto* buffer = new log::AlignedBuffer(EngineOptions{}.zero_piece_bytes);
    std::memset(buffer->data(), 0, buffer->size());
    return buffer;
  }();
  const io::Part part{zeros->data(), static_cast<size_t>(chore.to - chore.from)};
  Status status = file->write(chore.from, &part, 1, io::WriteMode::dsync);
  if (!status.ok()) {
    status.code = Code::io;
    status = std::move(status).at(chore.sequence, chore.from);
  }
  lock->lock();
  zeroed_bytes_ += part.size;
  engine_->zeroed(chore, status);
  wake_for_work();  // a group may have waited for these blocks
}

// Also the end of the file's use by the threads: nothing is written to a sealed segment.
void Log::give_back(std::unique_lock<WakingMutex>* lock, const Chore& chore) {
  std::unique_ptr<io::File> file = std::move(files_[chore.sequence]);
  files_.erase(chore.sequence);
  lock->unlock();
  if (file != nullptr && chore.from < chore.to)
    (void)file->punch(chore.from, chore.to);  // only costs space
  lock->lock();
  if (looks_ > 0) {
    retired_.push_back(std::move(file));  // somebody looks at it just now
    return;
  }
  lock->unlock();
  file.reset();
  lock->lock();
}

}  // namespace stonelog::driver
