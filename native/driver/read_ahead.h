// A file that is read from front to back, with the next pieces on their way while the current one
// is looked at: one read at a time leaves the device idle between two of them. It begins slowly:
// the first pieces are what is asked for, since many a reader wants no more than one group.
#pragma once

#include <array>
#include <memory>
#include <mutex>

#include "driver/parker.h"
#include "io/file.h"
#include "log/group_reader.h"

namespace stonelog::driver {

class ReadAhead final : public io::File, public log::SpanSource {
 public:
  static constexpr size_t kPieceBytes = 1 << 20;
  static constexpr size_t kLeastBytes = 64 << 10;  // of a piece, but for a file's last
  static constexpr int kSlowReads = 2;
  static constexpr size_t kDepth = 4;  // pieces under way or ready: 4 MiB of memory

  explicit ReadAhead(std::unique_ptr<io::File> file) : file_(std::move(file)) {}
  ~ReadAhead() override;
  // Goes on with another file, in the same memory, as fast as in the one before.
  void change_file(std::unique_ptr<io::File> file);

  // Nothing at or beyond `limit`, whole blocks, is lent: it may be written meanwhile.
  void set_limit(uint64_t limit);

  // Past what is fetched, but for bytes that are at hand.
  Status read(uint64_t offset, uint8_t* data, size_t size, size_t* got) override;
  size_t lend(uint64_t offset, size_t size, const uint8_t** data) override;
  Status size(uint64_t* bytes) override { return file_->size(bytes); }
  // A reader only reads.
  Status write(uint64_t, const io::Part*, int, io::WriteMode) override;
  Status sync() override;
  Status reserve(uint64_t, bool*) override;
  Status punch(uint64_t, uint64_t) override;
  Status evict() override { return {}; }

 private:
  enum class State : uint8_t { idle, fetching, ready };
  struct Piece {
    State state = State::idle;
    uint64_t offset = 0;
    size_t size = 0;
    size_t got = 0;
    Status status;
    uint8_t* data = nullptr;
  };

  // With the lock held:
  Piece* take_next(size_t size);  // a free piece for what follows the last; null if there is none
  void fetch_next();              // starts fetching while there is a free piece
  Piece* fetch_here(std::unique_lock<std::mutex>* lock, uint64_t offset, size_t size);

  void run(Piece* piece);
  void wait_for(std::unique_lock<std::mutex>* lock, const Piece& piece);
  void drop(std::unique_lock<std::mutex>* lock);
  Piece* find(uint64_t offset);

  std::unique_ptr<io::File> file_;
  std::mutex mutex_;
  Parker fetched_;
  // Made when they are needed: of a slow read (a small one costs no huge page to be cleared), and
  // of all pieces.
  log::AlignedBuffer slow_buffer_;
  log::AlignedBuffer buffer_;
  std::array<Piece, kDepth> pieces_;
  uint64_t limit_ = 0;
  uint64_t next_fetch_ = 0;  // the next piece's offset
  int slow_ = kSlowReads;    // so many more before anything is read ahead
};

}  // namespace stonelog::driver
