// Intrusive reference counts: what the event loop, our threads and the log share. (std::shared_ptr
// may ask for a newer C++ library than the prebuilt binaries can count on.)
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace stonelog::binding {

template <class T>
class Counted {
 public:
  Counted() = default;
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

  void retain() { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete static_cast<T*>(this);
  }

 protected:
  ~Counted() = default;

 private:
  std::atomic<uint32_t> references_{0};
};

template <class T>
class Ref {
 public:
  Ref() = default;
  explicit Ref(T* target) : target_(target) { retain(); }
  Ref(const Ref& other) : target_(other.target_) { retain(); }
  Ref(Ref&& other) noexcept : target_(std::exchange(other.target_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(target_, other.target_);
    return *this;
  }
  ~Ref() {
    if (target_ != nullptr) target_->Counted<T>::release();
  }

  T* get() const { return target_; }
  T* operator->() const { return target_; }
  T& operator*() const { return *target_; }
  explicit operator bool() const { return target_ != nullptr; }

 private:
  void retain() {
    if (target_ != nullptr) target_->Counted<T>::retain();
  }

  T* target_ = nullptr;
};

}  // namespace stonelog::binding
