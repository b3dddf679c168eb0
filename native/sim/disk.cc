// The bytes and names of the simulated disk.
#include <algorithm>
#include <cstring>

#include "sim/sim_file_system.h"

namespace stonelog::sim {

std::string parent_of(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  return slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
}

void Content::read(uint64_t offset, uint8_t* data, size_t size) const {
  while (size > 0) {
    const uint64_t within = offset % kPageBytes;
    const size_t piece = static_cast<size_t>(std::min<uint64_t>(size, kPageBytes - within));
    const uint8_t* from = page(offset / kPageBytes);
    if (from != nullptr)
      std::memcpy(data, from + within, piece);
    else
      std::memset(data, 0, piece);
    offset += piece;
    data += piece;
    size -= piece;
  }
}

void Content::write(uint64_t offset, const uint8_t* data, size_t size) {
  while (size > 0) {
    const uint64_t index = offset / kPageBytes;
    const uint64_t within = offset % kPageBytes;
    const size_t piece = static_cast<size_t>(std::min<uint64_t>(size, kPageBytes - within));
    if (index >= pages_.size()) pages_.resize(index + 1);
    auto& page = pages_[index];
    if (data == nullptr && piece == kPageBytes) {
      page.reset();
    } else {
      if (!page)
        page = std::make_shared<Page>();
      else if (page.use_count() > 1)
        page = std::make_shared<Page>(*page);
      if (data != nullptr)
        std::memcpy(page->data() + within, data, piece);
      else
        std::memset(page->data() + within, 0, piece);
    }
    offset += piece;
    size -= piece;
    if (data != nullptr) data += piece;
  }
}

bool Content::operator==(const Content& other) const {
  static const Page zeros{};
  for (size_t i = 0; i < std::max(pages_.size(), other.pages_.size()); i++) {
    const uint8_t* mine = page(i);
    const uint8_t* theirs = other.page(i);
    if (mine == theirs) continue;
    if (std::memcmp(mine != nullptr ? mine : zeros.data(),
                    theirs != nullptr ? theirs : zeros.data(), kPageBytes) != 0) {
      return false;
    }
  }
  return true;
}

const Inode* Disk::find(const std::string& path) const {
  const auto name = names.find(path);
  return name == names.end() ? nullptr : &inodes.at(name->second);
}

uint64_t Disk::allocated_bytes() const {
  uint64_t pages = 0;
  for (const auto& [name, id] : names) {
    const Inode& file = inodes.at(id);
    pages += static_cast<uint64_t>(std::count(file.allocated.begin(), file.allocated.end(), true));
  }
  return pages * kPageBytes;
}

bool Disk::looks_like(const Disk& other) const {
  if (names != other.names) return false;
  for (const auto& [name, id] : names) {
    const Inode& mine = inodes.at(id);
    const Inode& theirs = other.inodes.at(id);
    if (mine.size != theirs.size || !(mine.visible == theirs.visible)) return false;
  }
  return true;
}

}  // namespace stonelog::sim
