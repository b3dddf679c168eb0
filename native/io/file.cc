#include "io/file.h"

#include <cerrno>

namespace stonelog::io {
namespace {

// "a/b/" and "a//b" have the parent "a", "a" has ".", and roots have themselves.
std::string parent_of(const std::string& path) {
  size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return path.empty() ? "." : "/";
  end = path.find_last_of('/', end);
  if (end == std::string::npos) return ".";
  end = path.find_last_not_of('/', end);
  return end == std::string::npos ? "/" : path.substr(0, end + 1);
}

}  // namespace

Status make_directories(FileSystem& fs, const std::string& path, bool* created) {
  *created = false;
  if (path.empty()) return Status::system(Code::not_found, "mkdir", ENOENT);
  // Down from `path` to the first ancestor that exists or can be made ...
  std::vector<std::string> missing;
  std::string at = path;
  bool made = false;
  for (;;) {
    Status status = fs.make_directory(at, &made);
    if (status.ok()) break;
    std::string parent = parent_of(at);
    if (status.code != Code::not_found || parent == at) return status;
    missing.push_back(std::move(at));
    at = std::move(parent);
  }
  // ... and up again. Each new name is made durable in its parent before anything is put below it.
  for (;;) {
    if (made) {
      Status status = fs.sync_directory(parent_of(at));
      if (!status.ok()) return status;
    }
    if (missing.empty()) break;
    at = std::move(missing.back());
    missing.pop_back();
    Status status = fs.make_directory(at, &made);
    if (!status.ok()) return status;
  }
  *created = made;
  return {};
}

}  // namespace stonelog::io
