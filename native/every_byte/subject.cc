#include "every_byte/subject.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "log/group_reader.h"

namespace stonelog::every_byte {

using states::Image;
using states::LoneWriter;
using states::Mark;
using states::RecordingFileSystem;

namespace {

constexpr uint64_t kSegmentBytes = 16 << 10;

[[noreturn]] void give_up(const std::string& text) {
  std::fprintf(stderr, "the log to be damaged cannot be made: %s\n", text.c_str());
  std::abort();
}

struct Plan {
  std::string name;
  bool recycles = false;
  bool closes = false;
  bool idles = false;
  bool torn = false;
};

class Builder {
 public:
  Builder(const Plan& plan, uint64_t seed)
      : plan_(plan), random_(seed), fs_(states::empty_image(), probe(), seed, 0) {
    bool created = false;
    if (!io::make_directories(fs_, states::kLogDirectory, &created).ok()) give_up(plan.name);
  }

  void build(Subject* out) {
    first_life();
    out->older = fs_.image();
    second_life();
    out->image = fs_.image();
    if (plan_.torn) tear(&out->image);
    const states::Ledger ledger(fs_.recorded(), {});
    out->expected = ledger.at(fs_.recorded().events.size());
  }

 private:
  void open(LoneWriter* writer) {
    if (!writer->open().ok()) give_up(plan_.name + ": open");
    const log::RecoveryReport& report = writer->examination().report;
    fs_.mark(Mark::opened, report.first_lsn, report.last_lsn);
  }
  void append(LoneWriter* writer, uint64_t size, size_t batch = 1) {
    std::vector<std::string> payloads;
    for (size_t i = 0; i < batch; i++) {
      payloads.push_back("seed " + std::to_string(random_.next()) + " ");
      payloads.back().resize(std::max<size_t>(payloads.back().size(), size), 'x');
    }
    const uint64_t first = writer->append_batch(payloads);
    if (first == 0) give_up(plan_.name + ": append");
    for (size_t i = 0; i < batch; i++) {
      fs_.mark(Mark::admitted, first + i,
               states::hash_of(reinterpret_cast<const uint8_t*>(payloads[i].data()),
                               payloads[i].size()));
    }
    if (batch > 1) fs_.mark(Mark::batch, first, first + batch - 1);
    writer->run();
    fs_.mark(Mark::acknowledged, 0, writer->durable_lsn());
  }
  void release(LoneWriter* writer) {
    const uint64_t lsn = writer->durable_lsn() - 1;
    fs_.mark(Mark::head_asked, 0, lsn);
    writer->release_before(lsn);
  }

  // Left as a killed process leaves it.
  void first_life() {
    LoneWriter writer(fs_, states::kLogDirectory, probe(), kSegmentBytes);
    open(&writer);
    for (int round = 0; round < (plan_.recycles ? 3 : 1); round++) {
      append(&writer, 40);
      append(&writer, 600, 3);
      append(&writer, 3'000);
      writer.rotate();
      append(&writer, 900);
      append(&writer, 5'000);
      writer.rotate();
      if (plan_.recycles) release(&writer);
    }
    append(&writer, 700);
    append(&writer, 20, 2);
  }

  void second_life() {
    LoneWriter writer(fs_, states::kLogDirectory, probe(), kSegmentBytes);
    open(&writer);
    append(&writer, 1'500);
    append(&writer, 0);
    writer.rotate();
    append(&writer, 2'000, 2);
    append(&writer, 450);
    append(&writer, 4'500);
    if (plan_.idles) writer.wait_idle();
    if (!plan_.closes) return;
    const uint64_t last = writer.durable_lsn();
    fs_.mark(Mark::closing);
    if (!writer.close()) give_up(plan_.name + ": close");
    fs_.mark(Mark::closed, 0, last);
  }

  // The last group of the run was never acknowledged, and only its middle is there.
  void tear(Image* image) {
    LoneWriter writer(fs_, states::kLogDirectory, probe(), kSegmentBytes);
    open(&writer);
    append(&writer, 300);
    const Image whole = fs_.image();
    const std::string payload(7'000, 't');
    if (writer.append(payload) == 0) give_up(plan_.name + ": tear");
    writer.run();
    *image = whole;
    const Image after = fs_.image();
    for (auto& [name, id] : image->names) {
      states::Node& node = image->nodes.at(id);
      size_t changed = 0;
      for (uint64_t at = 0; at < node.size && !node.directory; at += kSector) {
        uint8_t before[kSector];
        uint8_t later[kSector];
        node.content.read(at, before, kSector);
        after.nodes.at(id).content.read(at, later, kSector);
        if (std::memcmp(before, later, kSector) == 0) continue;
        if (++changed > 5 && changed < 13) node.content.write(at, later, kSector);
      }
    }
  }

  const Plan plan_;
  sim::Random random_;
  RecordingFileSystem fs_;
};

void find_segment(RecordingFileSystem& fs, const log::SegmentEntry& entry, Subject* out) {
  Segment segment;
  segment.sequence = entry.header.sequence;
  segment.path =
      std::string(states::kLogDirectory) + "/" + log::segment_name(entry.header.sequence);
  segment.size = entry.header.file_bytes;
  segment.end = entry.end;
  segment.first_lsn = entry.first_lsn;
  segment.recycled = entry.header.recycled;
  std::unique_ptr<io::File> file;
  if (!fs.open(segment.path, io::Access::read, true, 0, &file).ok()) give_up(segment.path);
  log::GroupReader reader(*file, entry.header, 256 << 10);
  log::GroupView view;
  log::Expectation any;
  any.any = true;
  log::Defect defect = log::Defect::none;
  uint64_t bad = 0;
  segment.sealed = reader.read(kBlock, 2 * kBlock, any, &view, &defect, &bad).ok() &&
                   defect == log::Defect::none;
  for (uint64_t at = 2 * kBlock; at < entry.end; at += view.header.file_bytes) {
    if (!reader.read(at, entry.end, any, &view, &defect, &bad).ok() || defect != log::Defect::none)
      give_up(segment.path + " at " + std::to_string(at));
    const format::GroupHeader& header = view.header;
    out->groups.push_back({out->segments.size(), at, at + header.file_bytes, header.first_lsn,
                           header.first_lsn + header.count - 1, header.epoch, header.durable_lsn,
                           header.durable_end});
    if (header.kind != format::GroupKind::start) continue;
    for (Segment& before : out->segments) {
      if (before.sequence != view.control.predecessor.sequence) continue;
      if ((header.flags & format::kLifeStart) != 0) before.accepted = view.control.predecessor.end;
    }
  }
  if (!out->segments.empty()) segment.seal_before = out->segments.back().sealed;
  out->segments.push_back(segment);
}

void find_places(Subject* out) {
  RecordingFileSystem fs(out->image, probe(), 1, 0);
  log::RecoveryPolicy policy;
  policy.scan_all = true;
  log::Examination examination;
  const Status status = log::examine(fs, states::kLogDirectory, probe(), policy, &examination);
  if (!status.ok()) give_up(out->name + ": " + status.detail);
  for (const log::SegmentEntry& entry : examination.segments) find_segment(fs, entry, out);
}

}  // namespace

io::Probe probe() {
  io::Probe probe;
  probe.direct = probe.dsync_trusted = probe.reserves = true;
  probe.file_system = "recorded";
  return probe;
}

std::vector<Subject> make_subjects(uint64_t seed) {
  const Plan plans[] = {
      {"closed", false, true, false, false},
      {"left idle", false, false, true, false},
      {"killed after an acknowledgement", false, false, false, false},
      {"killed with a torn write", false, false, false, true},
      {"recycled, closed", true, true, false, false},
      {"recycled, killed", true, false, false, false},
  };
  std::vector<Subject> out;
  for (const Plan& plan : plans) {
    Subject subject;
    subject.name = plan.name;
    Builder(plan, seed).build(&subject);
    Subject other;
    Builder(plan, seed + 1'000'003).build(&other);
    subject.foreign = other.image;
    find_places(&subject);
    out.push_back(std::move(subject));
  }
  return out;
}

}  // namespace stonelog::every_byte
