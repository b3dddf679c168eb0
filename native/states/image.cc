#include "states/image.h"

#include <set>

namespace stonelog::states {

Image empty_image() {
  Image image;
  image.nodes[1].directory = true;
  image.names["/"] = 1;
  image.next_node = 2;
  return image;
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  return slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
}

void prune(Image* image) {
  for (bool changed = true; changed;) {
    changed = false;
    for (auto name = image->names.begin(); name != image->names.end();) {
      const bool orphan = name->first != "/" && image->names.count(parent_of(name->first)) == 0;
      changed = changed || orphan;
      name = orphan ? image->names.erase(name) : std::next(name);
    }
  }
  std::set<uint64_t> used;
  for (const auto& [name, node] : image->names) used.insert(node);
  std::erase_if(image->nodes, [&](const auto& entry) { return used.count(entry.first) == 0; });
}

bool same(const Image& a, const Image& b) {
  if (a.names.size() != b.names.size()) return false;
  for (const auto& [name, node] : a.names) {
    const Node* other = b.find(name);
    const Node& mine = a.nodes.at(node);
    if (other == nullptr || other->directory != mine.directory || other->size != mine.size ||
        !(other->content == mine.content))
      return false;
  }
  return true;
}

}  // namespace stonelog::states
