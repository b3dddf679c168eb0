// Memory that verified records are handed out in. Slabs are used again: fresh memory costs a page
// fault for every 4 KiB, more than verifying what is copied there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace stonelog::driver {

class Slab {
 public:
  ~Slab();
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  size_t room() const { return capacity_ - size_; }
  size_t capacity() const { return capacity_; }
  uint8_t* end() const { return data_ + size_; }
  void grow(size_t bytes) { size_ += bytes; }  // over bytes written at end()

 private:
  friend std::unique_ptr<Slab> take_slab(size_t capacity);
  friend void give_back(std::unique_ptr<Slab> slab);
  explicit Slab(size_t capacity);

  uint8_t* data_;
  size_t size_ = 0;
  size_t capacity_;
};

// While one exists, slabs given back are kept for later: the collector returns them many at a time.
class SlabUser {
 public:
  SlabUser();
  ~SlabUser();
  SlabUser(const SlabUser&) = delete;
  SlabUser& operator=(const SlabUser&) = delete;
};

// An empty slab of at least that capacity, one given back or a new one.
std::unique_ptr<Slab> take_slab(size_t capacity);
// From any thread.
void give_back(std::unique_ptr<Slab> slab);
size_t kept_slab_bytes();  // what was given back and is kept

}  // namespace stonelog::driver
