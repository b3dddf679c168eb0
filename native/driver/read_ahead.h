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
  static constexpr size_t kDepth = 6;  // pieces under way or ready: 6 MiB of memory
  // Where so much is left of a file, there may be nothing left to fetch of it soon.
  static constexpr uint64_t kAheadBytes = (kDepth + 2) * kPieceBytes;
  static constexpr size_t kLeastBytes = 64 << 10;  // of a piece, but for a file's last
  static constexpr int kSlowReads = 2;

  explicit ReadAhead(std::unique_ptr<io::File> file) { now_.file = std::move(file); }
  ~ReadAhead() override;
  // Goes on with another file, in the same memory, as fast as in the one before.
  void change_file(std::unique_ptr<io::File> file);
  // The file that is to come after this one, wanted from `from` to `limit`: it is fetched as soon
  // as nothing is left to fetch of this one.
  void set_next_file(std::unique_ptr<io::File> file, uint64_t from, uint64_t limit);
  bool has_next_file() const { return next_.file != nullptr; }
  // Goes on with that file; what is fetched of it stays.
  void change_to_next_file();

  bool reads_ahead() const { return slow_ == 0; }

  // Nothing at or beyond `limit`, whole blocks, is lent: it may be written meanwhile.
  void set_limit(uint64_t limit);

  // Past what is fetched, but for bytes that are at hand.
  Status read(uint64_t offset, uint8_t* data, size_t size, size_t* got) override;
  size_t lend(uint64_t offset, size_t size, const uint8_t** data) override;
  Status size(uint64_t* bytes) override { return now_.file->size(bytes); }
  // A reader only reads.
  Status write(uint64_t, const io::Part*, int, io::WriteMode) override;
  Status sync() override;
  Status reserve(uint64_t, bool*) override;
  Status punch(uint64_t, uint64_t) override;
  Status evict() override { return {}; }

 private:
  enum class State : uint8_t { idle, fetching, ready };
  struct Source {
    std::unique_ptr<io::File> file;
    uint64_t limit = 0;
    uint64_t fetched = 0;  // where the next piece begins
    uint64_t from = 0;
  };
  struct Piece {
    State state = State::idle;
    io::File* file = nullptr;
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

  Source now_;
  Source next_;
  std::mutex mutex_;
  Parker fetched_;
  // Made when they are needed: of a slow read (a small one costs no huge page to be cleared), and
  // of all pieces.
  log::AlignedBuffer slow_buffer_;
  log::AlignedBuffer buffer_;
  std::array<Piece, kDepth> pieces_;
  int slow_ = kSlowReads;  // so many more before anything is read ahead
};

}  // namespace stonelog::driver
