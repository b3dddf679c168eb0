#include "fuzz/pack.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <vector>

#include "format/bytes.h"
#include "format/group.h"
#include "format/record.h"
#include "format/stamp.h"
#include "fuzz/image.h"
#include "fuzz/target.h"
#include "log/recovery.h"

namespace stonelog::fuzz {

using namespace format;
namespace fs = std::filesystem;

namespace {

using Bytes = std::vector<uint8_t>;

template <typename T>
void put(Bytes* out, T value) {
  uint8_t bytes[sizeof value];
  store(bytes, value);
  out->insert(out->end(), bytes, bytes + sizeof value);
}

class Packer {
 public:
  Packer(const std::string& corpus, const std::string& name) : corpus_(corpus), name_(name) {}

  void write(const char* target, const std::string& suffix, const Bytes& bytes) {
    if (bytes.size() > find_target(target)->max_bytes) {
      std::fprintf(stderr, "%s/%s%s: %zu bytes are too many, left out\n", target, name_.c_str(),
                   suffix.c_str(), bytes.size());
      return;
    }
    const fs::path path = fs::path(corpus_) / target / (name_ + suffix);
    fs::create_directories(path.parent_path());
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
    ok_ = ok_ && out.good();
  }

  void segment(uint64_t sequence, const Bytes& file) {
    const std::string suffix = "-" + std::to_string(sequence);
    Image alone;
    alone.files.push_back(pack_file(sequence, file));
    const Bytes image = format_image(alone);
    // What is expanded is what was packed, or nothing that the targets find would mean anything.
    if (expand(parse_image(image.data(), image.size())).front().bytes != file) {
      std::fprintf(stderr, "segment %s expands to other bytes\n", suffix.c_str());
      ok_ = false;
    }
    if (whole_.files.size() < kMaxFiles) whole_.files.push_back(alone.files.front());
    if (++segments_ > 2) return;
    write("segment", suffix, image);
    if (segments_ == 1 && file.size() >= kMinBlockBytes)
      write("segment-header", suffix, Bytes(file.begin(), file.begin() + kMinBlockBytes));
    groups(file);
  }

  void groups(const Bytes& file) {
    for (size_t at = kMinBlockBytes; at + kMinBlockBytes <= file.size(); at += kMinBlockBytes) {
      GroupHeader header;
      if (!decode_group_header(file.data() + at, kMinBlockBytes, &header) ||
          at + header.file_bytes > file.size())
        continue;
      // One of each kind tells as much as all.
      const std::string kind = "-kind" + std::to_string(static_cast<int>(header.kind));
      if (counts_[kind]++ > 0) continue;
      Bytes input{0};
      input.insert(input.end(), &file[at], &file[at] + kGroupHeaderBytes);
      write("group-header", kind, input);
      Bytes stamp;
      put(&stamp, at / kSectorBytes | kGroupStartPlace);
      put(&stamp, load<uint32_t>(&file[at] + kStampTag));
      stamp.insert(stamp.end(), &file[at], &file[at] + kSectorBytes);
      write("stamp", kind, stamp);
      streams(file.data() + at, header, kind);
    }
  }

  bool finish() {
    write("directory", "", format_image(whole_));
    for (const FileEntry& file : whole_.files) {
      const std::string name = log::segment_name(file.sequence);
      if (&file == &whole_.files.front())
        write("name", "-" + std::to_string(file.sequence), Bytes(name.begin(), name.end()));
    }
    return ok_;
  }

 private:
  void streams(const uint8_t* sectors, const GroupHeader& header, const std::string& kind) {
    Bytes content(header.file_bytes / kSectorBytes * kContentBytes);
    unstamp(sectors, header.file_bytes / kSectorBytes, content.data());
    const uint8_t* const stream = content.data() + kGroupHeaderBytes;
    Bytes records;
    put(&records, header.first_lsn);
    // A record of many zeros at its end is kept small.
    size_t size = header.stored_bytes;
    while (size > 0 && stream[size - 1] == 0) size--;
    put(&records, static_cast<uint32_t>(header.stored_bytes - size));
    records.insert(records.end(), stream, stream + size);
    write("record", kind, records);
    if (header.kind == GroupKind::data) return;
    Bytes control;
    Record record;
    for (size_t at = 0; at < header.stored_bytes; at = record.end) {
      if (decode_record(stream, header.stored_bytes, at, 0, &record) != RecordState::valid) return;
      control.push_back(record.type);
      put(&control, static_cast<uint16_t>(record.payload_bytes));
      control.insert(control.end(), stream + record.payload_offset, stream + record.end);
    }
    if (!control.empty()) write("control", kind, control);
  }

  const std::string corpus_;
  const std::string name_;
  Image whole_;
  std::map<std::string, int> counts_;
  int segments_ = 0;
  bool ok_ = true;
};

}  // namespace

bool pack_log(const std::string& directory, const std::string& corpus, const std::string& name) {
  std::map<uint64_t, fs::path> segments;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    uint64_t sequence = 0;
    if (log::parse_segment_name(entry.path().filename().string(), &sequence))
      segments[sequence] = entry.path();
  }
  Packer packer(corpus, name);
  for (const auto& [sequence, path] : segments) {
    std::ifstream in(path, std::ios::binary);
    const Bytes bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    packer.segment(sequence, bytes);
  }
  return packer.finish() && !segments.empty();
}

}  // namespace stonelog::fuzz
