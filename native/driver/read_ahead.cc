#include "driver/read_ahead.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "driver/threads.h"

namespace stonelog::driver {

ReadAhead::~ReadAhead() {
  std::unique_lock<std::mutex> lock(mutex_);
  drop(&lock);
}

void ReadAhead::change_file(std::unique_ptr<io::File> file) {
  std::unique_lock<std::mutex> lock(mutex_);
  drop(&lock);
  file_ = std::move(file);
  limit_ = 0;
  expected_ = 0;
  next_fetch_ = 0;
}

void ReadAhead::set_limit(uint64_t limit) {
  const std::lock_guard<std::mutex> guard(mutex_);
  limit_ = limit / format::kMaxBlockBytes * format::kMaxBlockBytes;
}

// Forgets everything; what is under way is waited for, since it writes into the pieces' memory.
void ReadAhead::drop(std::unique_lock<std::mutex>* lock) {
  for (Piece& piece : pieces_) {
    wait_for(lock, piece);
    piece.state = State::idle;
  }
}

void ReadAhead::wait_for(std::unique_lock<std::mutex>* lock, const Piece& piece) {
  while (piece.state == State::fetching) {
    const uint32_t ticket = fetched_.prepare();
    lock->unlock();
    fetched_.wait(ticket, UINT64_MAX);
    lock->lock();
  }
}

void ReadAhead::fetch_next() {
  for (Piece& piece : pieces_) {
    if (piece.state != State::idle || next_fetch_ + kPieceBytes > limit_) continue;
    if (buffer_.size() == 0) buffer_.resize(kDepth * kPieceBytes);
    piece.data = buffer_.data() + static_cast<size_t>(&piece - pieces_.data()) * kPieceBytes;
    piece.state = State::fetching;
    piece.offset = next_fetch_;
    Piece* const target = &piece;
    if (!fetch_threads().run([this, target] { run(target); }).ok()) {
      piece.state = State::idle;  // then it is read when it is asked for
      return;
    }
    next_fetch_ += kPieceBytes;
  }
}

void ReadAhead::run(Piece* piece) {
  size_t got = 0;
  Status status = file_->read(piece->offset, piece->data, kPieceBytes, &got);
  const std::lock_guard<std::mutex> guard(mutex_);
  piece->status = std::move(status);
  piece->got = got;
  piece->state = State::ready;
  fetched_.wake_all();
}

ReadAhead::Piece* ReadAhead::find(uint64_t offset) {
  for (Piece& piece : pieces_) {
    if (piece.state != State::idle && piece.offset <= offset && offset < piece.offset + kPieceBytes)
      return &piece;
  }
  return nullptr;
}

// What lies before `offset` is given back: the caller has done with it.
size_t ReadAhead::lend(uint64_t offset, size_t size, const uint8_t** data) {
  std::unique_lock<std::mutex> lock(mutex_);
  for (Piece& piece : pieces_) {
    if (piece.state == State::ready && piece.offset + kPieceBytes <= offset)
      piece.state = State::idle;
  }
  Piece* piece = find(offset);
  if (piece == nullptr) {
    if (offset + kPieceBytes > limit_) return 0;
    drop(&lock);
    next_fetch_ = offset;
    fetch_next();
    piece = find(offset);
    if (piece == nullptr) return 0;  // no thread fetches it
  } else {
    fetch_next();
  }
  wait_for(&lock, *piece);
  if (!piece->status.ok() || piece->got < kPieceBytes) return 0;
  const size_t within = static_cast<size_t>(offset - piece->offset);
  *data = piece->data + within;
  return std::min(size, kPieceBytes - within);
}

Status ReadAhead::read(uint64_t offset, uint8_t* data, size_t size, size_t* got) {
  std::unique_lock<std::mutex> lock(mutex_);
  *got = 0;
  if (offset != expected_) {
    drop(&lock);
    next_fetch_ = offset + size;
  }
  while (*got < size) {
    Piece* piece = find(offset + *got);
    if (piece == nullptr) break;
    wait_for(&lock, *piece);
    if (!piece->status.ok()) return piece->status;
    const uint64_t within = offset + *got - piece->offset;
    if (within >= piece->got) return {};  // the file ends here
    const size_t part = std::min<size_t>(size - *got, piece->got - within);
    std::memcpy(data + *got, piece->data + within, part);
    *got += part;
    const bool short_piece = piece->got < kPieceBytes;
    if (within + part == piece->got && !short_piece) piece->state = State::idle;
    expected_ = offset + *got;
    fetch_next();
    if (short_piece) return {};
  }
  if (*got == size) return {};
  // Not fetched ahead: the rest now, and from then on what follows.
  next_fetch_ = std::max(next_fetch_, offset + size);
  expected_ = offset + size;
  fetch_next();
  lock.unlock();
  size_t rest = 0;
  Status status = file_->read(offset + *got, data + *got, size - *got, &rest);
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
