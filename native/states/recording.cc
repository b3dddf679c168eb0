#include "states/recording.h"

#include <cstdio>
#include <cstring>

namespace stonelog::states {

namespace {

const char* const kKindNames[] = {"write", "dsync write", "punch",          "reserve",
                                  "sync",  "names",       "sync directory", "mark"};
const char* const kMarkNames[] = {"none",    "admitted",   "batch",     "acknowledged",
                                  "shown",   "head asked", "head done", "opened",
                                  "closing", "closed",     "killed"};

// A recording as a file: for replaying what was found.
class Archive {
 public:
  Archive(const std::string& path, bool writes)
      : writes_(writes), file_(std::fopen(path.c_str(), writes ? "wb" : "rb")) {}
  ~Archive() {
    if (file_ != nullptr) std::fclose(file_);
  }
  Archive(const Archive&) = delete;
  Archive& operator=(const Archive&) = delete;

  bool good() const { return good_ && file_ != nullptr; }
  void bytes(void* data, size_t size) {
    if (!good() || size == 0) return;
    good_ =
        (writes_ ? std::fwrite(data, 1, size, file_) : std::fread(data, 1, size, file_)) == size;
  }
  template <typename Number>
  void number(Number* value) {
    bytes(value, sizeof *value);
  }
  void text(std::string* value) {
    uint64_t size = value->size();
    number(&size);
    if (!writes_ && good()) value->resize(size);
    bytes(value->data(), good() ? size : 0);
  }
  template <typename Item, typename Each>
  void list(std::vector<Item>* items, Each each) {
    uint64_t count = items->size();
    number(&count);
    if (!writes_ && good()) items->resize(count);
    for (Item& item : *items) each(&item);
  }
  bool writes() const { return writes_; }

 private:
  bool writes_;
  bool good_ = true;
  std::FILE* file_;
};

void pass(Archive* archive, Operation* op) {
  archive->number(&op->kind);
  archive->number(&op->mark);
  archive->number(&op->failed);
  for (uint64_t* field :
       {&op->node, &op->offset, &op->size, &op->kept_from, &op->kept_to, &op->first, &op->last}) {
    archive->number(field);
  }
  std::vector<uint8_t> data;
  if (op->data) data = *op->data;
  archive->list(&data, [&](uint8_t* byte) { archive->bytes(byte, 1); });
  if (!archive->writes() && !data.empty())
    op->data = std::make_shared<const std::vector<uint8_t>>(std::move(data));
  archive->list(&op->edits, [&](NameEdit* edit) {
    archive->text(&edit->path);
    archive->number(&edit->node);
  });
  archive->text(&op->path);
}

void pass(Archive* archive, Image* image) {
  std::vector<std::pair<uint64_t, Node>> nodes(image->nodes.begin(), image->nodes.end());
  std::vector<std::pair<std::string, uint64_t>> names(image->names.begin(), image->names.end());
  archive->number(&image->next_node);
  archive->list(&nodes, [&](std::pair<uint64_t, Node>* entry) {
    archive->number(&entry->first);
    archive->number(&entry->second.directory);
    archive->number(&entry->second.size);
    uint64_t pages = entry->second.content.page_count();
    archive->number(&pages);
    for (uint64_t i = 0; i < pages && archive->good(); i++) {
      const uint8_t* page = entry->second.content.page(i);
      bool there = page != nullptr;
      archive->number(&there);
      std::vector<uint8_t> bytes(sim::kPageBytes);
      if (archive->writes() && there) std::memcpy(bytes.data(), page, bytes.size());
      if (there) archive->bytes(bytes.data(), bytes.size());
      if (!archive->writes() && there)
        entry->second.content.write(i * sim::kPageBytes, bytes.data(), bytes.size());
    }
  });
  archive->list(&names, [&](std::pair<std::string, uint64_t>* entry) {
    archive->text(&entry->first);
    archive->number(&entry->second);
  });
  image->nodes = {nodes.begin(), nodes.end()};
  image->names = {names.begin(), names.end()};
}

bool pass(const std::string& path, bool writes, Recording* recording) {
  Archive archive(path, writes);
  pass(&archive, &recording->start);
  archive.number(&recording->probe.direct);
  archive.number(&recording->probe.dsync_trusted);
  archive.number(&recording->probe.reserves);
  archive.list(&recording->operations, [&](Operation* op) { pass(&archive, op); });
  archive.list(&recording->events, [&](Event* event) {
    archive.number(&event->operation);
    archive.number(&event->end);
  });
  return archive.good();
}

}  // namespace

bool Recording::save(const std::string& path) const {
  Recording copy = *this;
  return pass(path, true, &copy);
}

bool Recording::load(const std::string& path) { return pass(path, false, this); }

std::string Recording::describe(size_t index) const {
  const Operation& op = operations[index];
  std::string out = "#" + std::to_string(index) + " ";
  if (op.kind == Kind::mark) {
    out += kMarkNames[static_cast<size_t>(op.mark)];
    if (op.mark == Mark::admitted) return out + " LSN " + std::to_string(op.first);
    return out + " " + std::to_string(op.first) + " " + std::to_string(op.last);
  }
  out += kKindNames[static_cast<size_t>(op.kind)];
  if (op.failed) out += " (died)";
  if (op.kind == Kind::names) {
    for (const NameEdit& edit : op.edits)
      out += " " + edit.path + (edit.node == 0 ? " gone" : "=" + std::to_string(edit.node));
    return out;
  }
  out += " " + op.path;
  if (op.kind == Kind::reserve) return out + " to " + std::to_string(op.size);
  if (op.kind == Kind::sync || op.kind == Kind::sync_directory) return out;
  return out + " [" + std::to_string(op.offset) + ", " + std::to_string(op.offset + op.size) + ")" +
         (op.data ? "" : " zeros");
}

std::string Recording::describe_before(size_t point, size_t most) const {
  std::string out;
  for (size_t i = point > most ? point - most : 0; i < point; i++) {
    const Operation& op = operations[events[i].operation];
    const bool instant =
        op.kind == Kind::mark || op.kind == Kind::names || op.kind == Kind::reserve;
    out += "    " + std::to_string(i) +
           (instant         ? "      "
            : events[i].end ? " end  "
                            : " begin ") +
           describe(events[i].operation) + "\n";
  }
  return out;
}

uint64_t hash_of(const uint8_t* data, size_t size) {
  uint64_t hash = size * 0x9e3779b97f4a7c15;
  while (size > 0) {
    uint64_t word = 0;
    const size_t piece = size < 8 ? size : 8;
    std::memcpy(&word, data, piece);
    hash = (hash ^ word) * 0xff51afd7ed558ccd;
    hash ^= hash >> 32;
    data += piece;
    size -= piece;
  }
  return hash;
}

}  // namespace stonelog::states
