#include "states/crash_states.h"

#include <algorithm>

namespace stonelog::states {

namespace {

constexpr uint64_t kSector = 512;
constexpr uint64_t kShortWrite = 16;  // sectors: every run of it is tried

uint64_t sectors_of(uint64_t bytes) { return (bytes + kSector - 1) / kSector; }

bool keeps(const Fate& fate, const std::vector<bool>& runs, uint64_t sector) {
  switch (fate.kind) {
    case Fate::lost:
      return false;
    case Fate::run_kept:
      return sector >= fate.from && sector < fate.to;
    case Fate::run_lost:
      return sector < fate.from || sector >= fate.to;
    case Fate::runs:
      return runs[sector];
    default:
      return true;
  }
}

// Contiguous runs, not coins for each sector: those would almost never leave a later record whole.
std::vector<bool> runs_of(uint64_t seed, uint64_t count) {
  sim::Random random(seed);
  std::vector<bool> out(count);
  bool keep = random.chance(50);
  const uint64_t longest = random.chance(50) ? count : 8;
  for (uint64_t i = 0; i < count; keep = !keep) {
    for (uint64_t run = random.between(1, longest); run > 0 && i < count; run--, i++) out[i] = keep;
  }
  return out;
}

// Writes the sectors that `keep` names and that nothing newer holds.
template <typename Keep>
void apply(const PendingWrite& write, Keep keep, Content* content) {
  const uint64_t count = sectors_of(write.size);
  for (uint64_t i = 0; i < count;) {
    const auto wanted = [&](uint64_t sector) {
      return keep(sector) && (write.superseded.empty() || !write.superseded[sector]);
    };
    if (!wanted(i)) {
      i++;
      continue;
    }
    const uint64_t first = i;
    while (i < count && wanted(i)) i++;
    const uint64_t from = first * kSector;
    const uint64_t to = std::min(i * kSector, write.size);
    content->write(write.offset + from, write.data == nullptr ? nullptr : write.data + from,
                   to - from);
  }
}

void apply_edit(const NameEdit& edit, std::map<std::string, uint64_t>* names) {
  if (edit.node == 0)
    names->erase(edit.path);
  else
    (*names)[edit.path] = edit.node;
}

bool crosses(const PendingNames& names) {
  return names.edits.size() == 2 &&
         parent_of(names.edits[0].path) != parent_of(names.edits[1].path);
}

}  // namespace

DiskModel::DiskModel(const Recording& recording)
    : recording_(recording), durable_(recording.start), began_(recording.operations.size()) {}

void DiskModel::advance() {
  const Event& event = recording_.events[point_++];
  if (event.end)
    end(event.operation);
  else
    begin(event.operation);
}

void DiskModel::begin(uint32_t index) {
  const Operation& op = recording_.operations[index];
  began_[index] = point_;
  if (op.kind != Kind::write && op.kind != Kind::dsync_write) return;
  std::vector<PendingWrite>& writes = files_[op.node].writes;
  for (const PendingWrite& other : writes) {
    if (other.ended == 0 && op.offset < other.offset + other.size &&
        other.offset < op.offset + op.size && violation_.empty()) {
      violation_ = recording_.describe(index) + " begins while " +
                   recording_.describe(other.operation) + " is under way";
    }
  }
  writes.push_back({index, op.offset, op.size, op.data ? op.data->data() : nullptr, 0, {}});
}

void DiskModel::end(uint32_t index) {
  const Operation& op = recording_.operations[index];
  switch (op.kind) {
    case Kind::write:
    case Kind::dsync_write:
      return end_write(index, op);
    case Kind::punch:
      files_[op.node].writes.push_back({index, op.offset, op.size, nullptr, point_, {}});
      return;
    case Kind::reserve:
      files_[op.node].sizes.push_back({index, op.size, point_});
      return;
    case Kind::sync:
      if (!op.failed) sync_file(op, began_[index]);
      return;
    case Kind::names:
      for (const NameEdit& edit : op.edits) {
        if (edit.node != 0 && durable_.nodes.count(edit.node) == 0)
          durable_.nodes[edit.node].directory = op.first != 0;
      }
      names_.push_back({index, op.edits, point_});
      return;
    case Kind::sync_directory:
      if (!op.failed) sync_directory(op.path, began_[index]);
      return;
    case Kind::mark:
      return;
  }
}

void DiskModel::end_write(uint32_t index, const Operation& op) {
  std::vector<PendingWrite>& writes = files_[op.node].writes;
  const auto at = std::find_if(writes.begin(), writes.end(),
                               [&](const PendingWrite& write) { return write.operation == index; });
  PendingWrite write = std::move(*at);
  writes.erase(at);
  write.ended = point_;
  if (op.failed) {  // a part of it reached the cache, which outlived the process
    const uint64_t to = std::min(op.kept_to, op.size);
    if (op.kept_from >= to) return;
    write.offset += op.kept_from;
    write.size = to - op.kept_from;
    if (write.data != nullptr) write.data += op.kept_from;
  }
  const auto under_way = std::find_if(writes.begin(), writes.end(),
                                      [](const PendingWrite& other) { return other.ended == 0; });
  if (op.kind == Kind::write || op.failed) {
    writes.insert(under_way, std::move(write));
    return;
  }
  for (auto other = writes.begin(); other != under_way; ++other) {
    const uint64_t from = std::max(other->offset, write.offset);
    const uint64_t to = std::min(other->offset + other->size, write.offset + write.size);
    if (from >= to) continue;
    if (other->superseded.empty()) other->superseded.resize(sectors_of(other->size));
    for (uint64_t byte = from; byte < to; byte += kSector)
      other->superseded[(byte - other->offset) / kSector] = true;
  }
  Node& node = durable_.nodes[op.node];
  apply(
      write, [](uint64_t) { return true; }, &node.content);
  node.size = std::max(node.size, write.offset + write.size);
}

void DiskModel::sync_file(const Operation& op, size_t began) {
  File& file = files_[op.node];
  Node& node = durable_.nodes[op.node];
  std::erase_if(file.writes, [&](const PendingWrite& write) {
    if (write.ended == 0 || write.ended > began) return false;
    apply(
        write, [](uint64_t) { return true; }, &node.content);
    if (recording_.operations[write.operation].kind != Kind::punch)
      node.size = std::max(node.size, write.offset + write.size);
    return true;
  });
  std::erase_if(file.sizes, [&](const PendingSize& size) {
    if (size.ended > began) return false;
    node.size = size.size;
    return true;
  });
}

void DiskModel::sync_directory(const std::string& path, size_t began) {
  std::erase_if(names_, [&](PendingNames& names) {
    if (names.ended > began) return false;
    if (!crosses(names)) {
      if (parent_of(names.edits[0].path) != path) return false;
      for (const NameEdit& edit : names.edits) apply_edit(edit, &durable_.names);
      return true;
    }
    // The sync of the directory that lost the name settles both; that of the other one the new
    // name.
    apply_edit(names.edits[0], &durable_.names);
    if (parent_of(names.edits[0].path) == path) {
      names.edits.erase(names.edits.begin());
      return false;
    }
    apply_edit(names.edits[1], &durable_.names);
    return true;
  });
}

// A write of zeros over zeros changes nothing, whatever becomes of it.
bool DiskModel::matters(const PendingWrite& write) const {
  if (write.data != nullptr) return true;
  const Operation& op = recording_.operations[write.operation];
  const auto file = files_.find(op.node);
  for (const PendingWrite& other : file->second.writes) {
    if (other.data != nullptr && other.offset < write.offset + write.size &&
        write.offset < other.offset + other.size)
      return true;
  }
  const Content& content = durable_.nodes.at(op.node).content;
  const uint64_t end = (write.offset + write.size + sim::kPageBytes - 1) / sim::kPageBytes;
  for (uint64_t page = write.offset / sim::kPageBytes; page < end; page++) {
    const uint8_t* bytes = content.page(page);
    if (bytes != nullptr &&
        std::any_of(bytes, bytes + sim::kPageBytes, [](uint8_t byte) { return byte != 0; }))
      return true;
  }
  return false;
}

// The order of the parts: for each file its writes and its sizes, then the names.
std::vector<uint64_t> DiskModel::sectors() const {
  std::vector<uint64_t> out;
  for (const auto& [node, file] : files_) {
    for (const PendingWrite& write : file.writes) {
      if (matters(write)) out.push_back(std::max<uint64_t>(1, sectors_of(write.size)));
    }
    out.insert(out.end(), file.sizes.size(), 0);
  }
  out.insert(out.end(), names_.size(), 0);
  return out;
}

size_t DiskModel::pending() const { return sectors().size(); }

bool DiskModel::writes_pending() const {
  return std::any_of(files_.begin(), files_.end(),
                     [](const auto& entry) { return !entry.second.writes.empty(); });
}

void DiskModel::add_torn(const Bounds& bounds, sim::Random* random, std::vector<State>* out) const {
  const std::vector<uint64_t> sectors = this->sectors();
  std::vector<size_t> tearable;
  for (size_t i = 0; i < sectors.size(); i++) {
    if (sectors[i] > 1) tearable.push_back(i);
  }
  if (tearable.empty()) return;
  const auto others = [&](Fate::Kind kind) { return State(sectors.size(), Fate{kind, 0, 0}); };
  if (bounds.every_run) {
    for (const size_t i : tearable) {
      if (sectors[i] > kShortWrite) continue;
      for (uint64_t from = 0; from < sectors[i]; from++) {
        for (uint64_t to = from + 1; to <= sectors[i]; to++) {
          out->push_back(others(Fate::kept));
          out->back()[i] = {random->chance(50) ? Fate::run_kept : Fate::run_lost, from, to};
        }
      }
    }
  }
  for (size_t n = 0; n < bounds.torn; n++) {
    const size_t i = tearable[random->below(tearable.size())];
    const uint64_t from = random->below(sectors[i]);
    const uint64_t to = random->between(from + 1, sectors[i]);
    State state = others(random->chance(70) ? Fate::kept : Fate::lost);
    for (Fate& fate : state) {
      if (random->chance(20)) fate.kind = fate.kind == Fate::kept ? Fate::lost : Fate::kept;
    }
    switch (random->below(3)) {
      case 0:
        state[i] = {Fate::run_kept, from, to};
        break;
      case 1:
        state[i] = {Fate::run_lost, from, to};
        break;
      default:
        state[i] = {Fate::runs, random->next(), 0};
    }
    out->push_back(std::move(state));
  }
}

std::vector<State> DiskModel::states(const Bounds& bounds, uint64_t seed) const {
  sim::Random random(seed ^ (point_ * 0x9e3779b97f4a7c15));
  const size_t count = pending();
  std::vector<State> out;
  if (count <= bounds.whole) {
    for (uint64_t subset = 0; subset < uint64_t{1} << count; subset++) {
      State state(count);
      for (size_t i = 0; i < count; i++)
        state[i].kind = (subset >> i & 1) != 0 ? Fate::kept : Fate::lost;
      out.push_back(std::move(state));
    }
  } else {
    out.push_back(State(count, Fate{Fate::lost, 0, 0}));
    out.push_back(State(count, Fate{Fate::kept, 0, 0}));
    // All but one, and only one.
    out.push_back(out[0]);
    out.back()[random.below(count)].kind = Fate::kept;
    out.push_back(out[1]);
    out.back()[random.below(count)].kind = Fate::lost;
    for (size_t n = 0; n < bounds.sampled; n++) {
      State state(count);
      const uint64_t percent = random.between(10, 90);
      for (Fate& fate : state) fate.kind = random.chance(percent) ? Fate::kept : Fate::lost;
      out.push_back(std::move(state));
    }
  }
  add_torn(bounds, &random, &out);
  for (size_t i = 0; i < names_.size(); i++) {
    if (!crosses(names_[i])) continue;
    out.push_back(State(count, Fate{Fate::kept, 0, 0}));
    out.back()[count - names_.size() + i].kind = Fate::addition_only;
  }
  return out;
}

Image DiskModel::image(const State& state) const {
  Image out;
  out.next_node = recording_.start.next_node + recording_.operations.size() + 1;
  out.names = durable_.names;
  const size_t first_name = state.size() - names_.size();
  for (size_t i = 0; i < names_.size(); i++) {
    const Fate& fate = state[first_name + i];
    if (fate.kind == Fate::lost) continue;
    for (size_t e = 0; e < names_[i].edits.size(); e++) {
      if (fate.kind == Fate::addition_only && e > 0) continue;
      apply_edit(names_[i].edits[e], &out.names);
    }
  }
  for (const auto& [name, node] : out.names) out.nodes.insert({node, durable_.nodes.at(node)});
  size_t next = 0;
  for (const auto& [id, file] : files_) {
    const auto found = out.nodes.find(id);
    Node* node = found == out.nodes.end() ? nullptr : &found->second;
    for (const PendingWrite& write : file.writes) {
      if (!matters(write)) continue;
      const Fate& fate = state[next++];
      if (node == nullptr || fate.kind == Fate::lost) continue;
      std::vector<bool> runs;
      if (fate.kind == Fate::runs) runs = runs_of(fate.from, sectors_of(write.size));
      apply(
          write, [&](uint64_t sector) { return keeps(fate, runs, sector); }, &node->content);
      if (recording_.operations[write.operation].kind != Kind::punch)
        node->size = std::max(node->size, write.offset + write.size);
    }
    for (const PendingSize& size : file.sizes) {
      if (state[next++].kind == Fate::kept && node != nullptr) node->size = size.size;
    }
  }
  prune(&out);
  return out;
}

std::string DiskModel::describe(const State& state) const {
  static const char* const kFates[] = {
      "lost", "kept", "only sectors", "without sectors", "runs", "under both names"};
  std::string out;
  const auto add = [&](const Fate& fate, uint32_t operation) {
    out += std::string("    ") + kFates[fate.kind];
    if (fate.kind == Fate::run_kept || fate.kind == Fate::run_lost)
      out += " [" + std::to_string(fate.from) + ", " + std::to_string(fate.to) + ")";
    if (fate.kind == Fate::runs) {
      out += " ";
      for (const bool keep : runs_of(fate.from, sectors_of(recording_.operations[operation].size)))
        out += keep ? "k" : "-";
    }
    out += ": " + recording_.describe(operation) + "\n";
  };
  size_t next = 0;
  for (const auto& [id, file] : files_) {
    for (const PendingWrite& write : file.writes) {
      if (matters(write)) add(state[next++], write.operation);
    }
    for (const PendingSize& size : file.sizes) add(state[next++], size.operation);
  }
  for (const PendingNames& names : names_) add(state[next++], names.operation);
  return out;
}

}  // namespace stonelog::states
