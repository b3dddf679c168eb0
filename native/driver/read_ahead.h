// A file that is read from front to back, with the next pieces on their way while the current one
// is looked at: one read at a time leaves the device idle between two of them.
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
  static constexpr size_t kDepth = 4;  // pieces under way or ready: 4 MiB of memory

  explicit ReadAhead(std::unique_ptr<io::File> file) : file_(std::move(file)) {}
  ~ReadAhead() override;
  // Goes on with another file, in the same memory.
  void change_file(std::unique_ptr<io::File> file);

  // Nothing at or beyond `limit` is fetched before it is asked for: it may be written meanwhile.
  void set_limit(uint64_t limit);

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
    size_t got = 0;
    Status status;
    uint8_t* data = nullptr;
  };

  void fetch_next();  // with the lock held: starts fetching while there is a free piece
  void run(Piece* piece);
  void wait_for(std::unique_lock<std::mutex>* lock, const Piece& piece);
  void drop(std::unique_lock<std::mutex>* lock);
  Piece* find(uint64_t offset);

  std::unique_ptr<io::File> file_;
  std::mutex mutex_;
  Parker fetched_;
  log::AlignedBuffer buffer_;  // of all pieces; allocated at the first fetch
  std::array<Piece, kDepth> pieces_;
  uint64_t limit_ = 0;
  uint64_t expected_ = 0;    // where a sequential read goes on
  uint64_t next_fetch_ = 0;  // the next piece's offset
};

}  // namespace stonelog::driver
