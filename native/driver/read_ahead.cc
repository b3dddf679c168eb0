#include "driver/read_ahead.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "driver/threads.h"

namespace stonelog::driver {

namespace {

uint64_t whole_blocks(uint64_t bytes) {
  return bytes / format::kMinBlockBytes * format::kMinBlockBytes;
}

}  // namespace

ReadAhead::~ReadAhead() {
  std::unique_lock<std::mutex> lock(mutex_);
  drop(&lock);
}

void ReadAhead::change_file(std::unique_ptr<io::File> file) {
  std::unique_lock<std::mutex> lock(mutex_);
  drop(&lock);
  now_ = Source{std::move(file), 0, 0, 0};
  next_ = Source{};
}

void ReadAhead::set_next_file(std::unique_ptr<io::File> file, uint64_t from, uint64_t limit) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (next_.file != nullptr) std::abort();  // pieces of it may be under way
  next_ = Source{std::move(file), whole_blocks(limit), from, from};
}

void ReadAhead::change_to_next_file() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (Piece& piece : pieces_) {
    if (piece.file == next_.file.get()) continue;
    wait_for(&lock, piece);
    piece.state = State::idle;
  }
  now_ = std::move(next_);
  next_ = Source{};
}

void ReadAhead::set_limit(uint64_t limit) {
  const std::lock_guard<std::mutex> guard(mutex_);
  now_.limit = whole_blocks(limit);
}

// Forgets everything; what is under way is waited for, since it writes into the pieces' memory.
void ReadAhead::drop(std::unique_lock<std::mutex>* lock) {
  for (Piece& piece : pieces_) {
    wait_for(lock, piece);
    piece.state = State::idle;
  }
  next_.fetched = next_.from;
}

void ReadAhead::wait_for(std::unique_lock<std::mutex>* lock, const Piece& piece) {
  while (piece.state == State::fetching) {
    const uint32_t ticket = fetched_.prepare();
    lock->unlock();
    fetched_.wait(ticket, UINT64_MAX);
    lock->lock();
  }
}

ReadAhead::Piece* ReadAhead::take_next(size_t size) {
  Source& source = now_.fetched < now_.limit ? now_ : next_;
  if (source.fetched >= source.limit) return nullptr;
  for (Piece& piece : pieces_) {
    if (piece.state != State::idle) continue;
    if (slow_ > 0) {
      if (slow_buffer_.size() < size) slow_buffer_.resize(size);
      piece.data = slow_buffer_.data();
    } else {
      if (buffer_.size() == 0) buffer_.resize(kDepth * kPieceBytes);
      piece.data = buffer_.data() + static_cast<size_t>(&piece - pieces_.data()) * kPieceBytes;
    }
    piece.state = State::fetching;
    piece.file = source.file.get();
    piece.offset = source.fetched;
    piece.size = static_cast<size_t>(std::min<uint64_t>(size, source.limit - source.fetched));
    source.fetched += piece.size;
    return &piece;
  }
  return nullptr;
}

void ReadAhead::fetch_next() {
  while (Piece* const piece = take_next(kPieceBytes)) {
    if (fetch_threads().run([this, piece] { run(piece); }).ok()) continue;
    piece->state = State::idle;  // then it is read when it is asked for
    (piece->file == now_.file.get() ? now_ : next_).fetched = piece->offset;
    return;
  }
}

// What is wanted now is read by this thread, rather than by another that is to be woken. Slow reads
// come one at a time: the last one was used up.
ReadAhead::Piece* ReadAhead::fetch_here(std::unique_lock<std::mutex>* lock, uint64_t offset,
                                        size_t size) {
  if (offset != now_.fetched || slow_ > 0) drop(lock);
  now_.fetched = offset;
  const size_t asked = (size + kLeastBytes - 1) / kLeastBytes * kLeastBytes;
  Piece* const piece = take_next(slow_ > 0 ? std::min(asked, kPieceBytes) : kPieceBytes);
  if (piece == nullptr) return nullptr;
  if (slow_ > 0) {
    slow_--;
  } else {
    fetch_next();
  }
  lock->unlock();
  run(piece);
  lock->lock();
  return piece;
}

void ReadAhead::run(Piece* piece) {
  size_t got = 0;
  Status status = piece->file->read(piece->offset, piece->data, piece->size, &got);
  const std::lock_guard<std::mutex> guard(mutex_);
  piece->status = std::move(status);
  piece->got = got;
  piece->state = State::ready;
  fetched_.wake_all();
}

ReadAhead::Piece* ReadAhead::find(uint64_t offset) {
  for (Piece& piece : pieces_) {
    if (piece.state != State::idle && piece.file == now_.file.get() && piece.offset <= offset &&
        offset < piece.offset + piece.size)
      return &piece;
  }
  return nullptr;
}

// What lies before `offset` is given back: the caller has done with it.
size_t ReadAhead::lend(uint64_t offset, size_t size, const uint8_t** data) {
  std::unique_lock<std::mutex> lock(mutex_);
  for (Piece& piece : pieces_) {
    const bool done = piece.state == State::ready && piece.file == now_.file.get() &&
                      piece.offset + piece.size <= offset;
    if (!done) continue;
    piece.state = State::idle;
    if (slow_ == 0 && piece.data == slow_buffer_.data()) slow_buffer_.resize(0);
  }
  Piece* piece = find(offset);
  if (piece == nullptr) {
    if (offset >= now_.limit) return 0;
    piece = fetch_here(&lock, offset, size);
    if (piece == nullptr) return 0;
  } else {
    if (slow_ == 0) fetch_next();
    wait_for(&lock, *piece);
  }
  if (!piece->status.ok() || piece->got < piece->size) return 0;
  const size_t within = static_cast<size_t>(offset - piece->offset);
  *data = piece->data + within;
  return std::min(size, piece->size - within);
}

Status ReadAhead::read(uint64_t offset, uint8_t* data, size_t size, size_t* got) {
  std::unique_lock<std::mutex> lock(mutex_);
  *got = 0;
  while (*got < size) {
    Piece* piece = find(offset + *got);
    if (piece == nullptr) break;
    wait_for(&lock, *piece);
    if (!piece->status.ok() || piece->got < piece->size) break;  // the file itself is to tell
    const auto within = static_cast<size_t>(offset + *got - piece->offset);
    const size_t part = std::min(size - *got, piece->size - within);
    std::memcpy(data + *got, piece->data + within, part);
    *got += part;
  }
  lock.unlock();
  if (*got == size) return {};
  size_t rest = 0;
  Status status = now_.file->read(offset + *got, data + *got, size - *got, &rest);
  *got += rest;
  return status;
}

namespace {

Status refuse(const char* call) { return Status::system(Code::io, call, EBADF); }

}  // namespace

Status ReadAhead::write(uint64_t, const io::Part*, int, io::WriteMode) { return refuse("pwritev"); }
Status ReadAhead::sync() { return refuse("fdatasync"); }
Status ReadAhead::reserve(uint64_t, bool*) { return refuse("fallocate"); }
Status ReadAhead::punch(uint64_t, uint64_t) { return refuse("fallocate"); }

}  // namespace stonelog::driver
