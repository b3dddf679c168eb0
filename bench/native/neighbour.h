// What else may be going on while the raw probe commits.
#pragma once

#include <string>

#include "device.h"

namespace raw_probe {

inline constexpr size_t kNeighbourBytes = 512 << 10;
inline constexpr uint64_t kNeighbourFileBytes = 32 << 20;
inline constexpr int kUnlinked = 64;

// What a thread does beside the commits, in files of its own that are gone afterwards.
class Neighbour {
 public:
  // `commits_fd`: the file the commits go to, `behind` bytes of which are written.
  Neighbour(const std::string& directory, const std::string& kind, int commits_fd, uint64_t behind);
  ~Neighbour();
  static bool knows(const std::string& kind);
  // Once; makes ready for the next time where that takes no device time worth mentioning.
  void act();

 private:
  int make_file(const std::string& path, bool written) const;
  void put(int fd, uint64_t offset, int flags) const;
  // Blocks behind the written part of the commits' file that are allocated but not written.
  void unwrite_behind() const;

  std::string kind_;
  std::string directory_;
  std::string path_;
  std::string other_;
  int directory_fd_;
  int commits_fd_;
  uint64_t behind_;
  int fd_ = -1;
  uint64_t at_ = 0;
  uint64_t next_unlinked_ = 0;
  Block block_{kNeighbourBytes};
};

}  // namespace raw_probe
