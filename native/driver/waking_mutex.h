// A mutex that puts off waking others until it is released: whoever is woken finds it free, and the
// system calls that wake are not part of the time it is held.
#pragma once

#include <cstddef>
#include <mutex>

#include "driver/parker.h"

namespace stonelog::driver {

// What wakes somebody outside of the driver. Whoever hands one out has retained it for the one call
// of ring(), which may come after everything else of its owner is gone.
class Bell {
 public:
  virtual void ring() = 0;

 protected:
  ~Bell() = default;
};

// Lockable by std::lock_guard and std::unique_lock.
class WakingMutex {
 public:
  void lock() { mutex_.lock(); }
  void unlock() {
    Wake wakes[kMost];
    const size_t count = count_;
    for (size_t i = 0; i < count; i++) wakes[i] = wakes_[i];
    count_ = 0;
    mutex_.unlock();
    for (size_t i = 0; i < count; i++) wakes[i].carry_out();
  }

  // With the mutex held. A parker must outlive the wakes that follow the release: whoever locks the
  // mutex of something that others may give up holds a reference to it. A null bell is nobody's.
  void wake_one_later(Parker* parker) { later({parker, nullptr, false}); }
  void wake_all_later(Parker* parker) { later({parker, nullptr, true}); }
  void ring_later(Bell* bell) {
    if (bell != nullptr) later({nullptr, bell, false});
  }

 private:
  static constexpr size_t kMost = 8;

  struct Wake {
    Parker* parker;
    Bell* bell;
    bool all;
    void carry_out() const {
      if (bell != nullptr) {
        bell->ring();
      } else if (all) {
        parker->wake_all();
      } else {
        parker->wake_one();
      }
    }
  };

  // Where there is no place left somebody is woken too early, which is only slower.
  void later(Wake wake) {
    if (count_ == kMost) {
      wake.carry_out();
    } else {
      wakes_[count_++] = wake;
    }
  }

  std::mutex mutex_;
  size_t count_ = 0;
  Wake wakes_[kMost];
};

}  // namespace stonelog::driver
