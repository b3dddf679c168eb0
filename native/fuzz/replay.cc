// fuzz-replay CORPUS [TARGET]             runs every input of CORPUS/<target>/ through its target
// fuzz-replay --pack DIRECTORY CORPUS NAME   makes inputs of a real log's files
//
// Needs no libFuzzer. A broken promise aborts; the input's name was printed before.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "fuzz/pack.h"
#include "fuzz/target.h"

namespace fs = std::filesystem;
using stonelog::fuzz::Target;

namespace {

std::vector<fs::path> inputs_of(const fs::path& folder) {
  std::vector<fs::path> paths;
  if (!fs::is_directory(folder)) return paths;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file()) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

void replay(const Target& target, const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(in),
                                std::istreambuf_iterator<char>()};
  // Exactly as large as the input, so that sanitizers see a read beyond it.
  const std::unique_ptr<uint8_t[]> copy(new uint8_t[bytes.size()]);
  std::copy(bytes.begin(), bytes.end(), copy.get());
  std::printf("%s %s\n", target.name, path.filename().c_str());
  std::fflush(stdout);
  target.run(copy.get(), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 5 && std::strcmp(argv[1], "--pack") == 0)
    return stonelog::fuzz::pack_log(argv[2], argv[3], argv[4]) ? 0 : 1;
  if (argc != 2 && argc != 3) {
    std::fprintf(stderr, "usage: fuzz-replay CORPUS [TARGET] | --pack DIRECTORY CORPUS NAME\n");
    return 2;
  }
  stonelog::fuzz::thorough = true;
  size_t count = 0;
  size_t missing = 0;
  for (const Target& target : stonelog::fuzz::targets()) {
    if (argc == 3 && std::strcmp(argv[2], target.name) != 0) continue;
    const std::vector<fs::path> paths = inputs_of(fs::path(argv[1]) / target.name);
    if (paths.empty()) {
      std::printf("FAILED %s: there is no input for it\n", target.name);
      missing++;
    }
    for (const fs::path& path : paths) replay(target, path);
    count += paths.size();
  }
  std::printf("%zu passed, %zu failed, 0 skipped\n", count, missing);
  return missing == 0 ? 0 : 1;
}
