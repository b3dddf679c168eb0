// A file tree at rest: what a machine finds when it comes up. A copy is cheap, pages are shared.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "sim/sim_file_system.h"

namespace stonelog::states {

using sim::Content;

struct Node {
  bool directory = false;
  uint64_t size = 0;
  Content content;
};

struct Image {
  std::map<uint64_t, Node> nodes;
  std::map<std::string, uint64_t> names;  // absolute paths; "/" is always there
  uint64_t next_node = 1;

  const Node* find(const std::string& path) const {
    const auto name = names.find(path);
    return name == names.end() ? nullptr : &nodes.at(name->second);
  }
};

Image empty_image();
std::string parent_of(const std::string& path);
// Removes names whose directory is gone, and what has no name.
void prune(Image* image);
bool same(const Image& a, const Image& b);  // names, sizes and bytes

}  // namespace stonelog::states
