#include "log/quarantine.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace stonelog::log {

namespace {

constexpr size_t kCopyBytes = 1 << 20;
constexpr int kMostCopies = 100;

std::string number(uint64_t value) { return std::to_string(value); }

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out + "\"";
}

class Cleaner {
 public:
  Cleaner(io::FileSystem& fs, const LifeOptions& options, uint64_t epoch, Examination* examination)
      : fs_(fs),
        options_(options),
        epoch_(epoch),
        examination_(examination),
        quarantine_(options.directory + "/" + kQuarantineName) {}

  bool cuts() const { return examination_->tail_end != 0 || !examination_->dead.empty(); }
  // Whether anything is lost that no earlier life reported.
  bool loses() const {
    const std::vector<LostRange>& lost = examination_->report.lost;
    return std::any_of(lost.begin(), lost.end(),
                       [](const LostRange& range) { return range.reason != kKnownHole; });
  }

  Status before_life() {
    if (!cuts() && !loses()) return {};
    bool created = false;
    Status status = fs_.make_directory(quarantine_, &created);
    if (status
            .ok()) {  // also where it exists: an open that was killed may not have synced its name
      status = fs_.sync_directory(options_.directory);
      if (!status.ok()) return status;  // nobody knows which names would survive a power cut
    }
    if (status.ok()) {
      keep_tail();
      name_files();
      write_report();
      status = fs_.sync_directory(quarantine_);
    }
    if (status.ok()) return {};
    examination_->tail_copy.clear();
    event("quarantine: what was cut stays in place: " + describe(status));
    return {};
  }

  void drop_tail() {
    const std::string copy = std::exchange(examination_->tail_copy, {});
    (void)fs_.unlink(options_.directory + "/" + copy);
    for (LostRange& lost : examination_->report.lost) {
      if (lost.quarantine == copy) lost.quarantine.clear();
    }
    event("the cut tail stays in place: there is no space for a copy");
    write_report();
  }

  Status after_life() {
    const bool cut = cuts();
    if (cut) {
      if (keep_files()) write_report();
      cap();
      Status status = fs_.sync_directory(quarantine_);
      if (!status.ok())
        event("quarantine: what was cut may still be in place: " + describe(status));
    }
    for (const std::string& name : examination_->leftover) {
      Status status = fs_.unlink(options_.directory + "/" + name);
      if (!status.ok())
        event("leftover file " + name + " could not be removed: " + describe(status));
    }
    give_back_rest();
    if (examination_->leftover.empty() && !cut) return {};
    return fs_.sync_directory(options_.directory);
  }

 private:
  void event(std::string text) { examination_->report.events.push_back(std::move(text)); }
  static std::string describe(const Status& status) {
    return status.syscall != nullptr
               ? std::string(status.syscall) + " failed with " + std::strerror(status.error)
               : status.detail;
  }

  std::vector<LostRange*> lost_in(uint64_t sequence) {
    std::vector<LostRange*> out;
    for (LostRange& lost : examination_->report.lost) {
      // What was cut behind the end was cut from there on, wherever the damage lies.
      const bool behind = lost.from > examination_->report.last_lsn;
      const bool is_news = lost.quarantine.empty() && lost.reason != kKnownHole;
      if (is_news && (lost.segment >= sequence || behind)) out.push_back(&lost);
    }
    return out;
  }

  void keep_tail() {
    if (examination_->tail_end == 0 || examination_->segments.empty()) return;
    const SegmentEntry& last = examination_->segments.back();
    Status status;
    std::string name;
    // A copy of this name may be of an open that a crash ended, or the only one of an earlier cut:
    // it is used or left alone, never replaced.
    for (int i = 1; i <= kMostCopies; i++) {
      name = tail_name(i);
      std::unique_ptr<io::File> there;
      bool same = false;
      if (!exists(name, &there)) {
        status = copy(last, options_.directory + "/" + name);
        break;
      }
      status = compare(last, *there, &same);
      if (same || !status.ok()) break;
      status = Status::of(Code::io, "there are too many copies of it");
    }
    if (!status.ok()) {
      event("the cut tail of " + segment_name(last.header.sequence) +
            " stays in place: " + describe(status));
      return;
    }
    examination_->tail_copy = name;
    for (LostRange* lost : lost_in(last.header.sequence)) lost->quarantine = name;
  }

  // Names are relative to the log's directory.
  std::string tail_name(int copy) const {
    const SegmentEntry& last = examination_->segments.back();
    return file_name(segment_name(last.header.sequence) + "." + number(last.end), copy);
  }
  std::string file_name(const std::string& name, int copy) const {
    const std::string suffix = copy == 1 ? "" : "." + number(static_cast<uint64_t>(copy));
    return std::string(kQuarantineName) + "/" + name + ".epoch" + number(epoch_) + suffix + ".cut";
  }
  bool exists(const std::string& name, std::unique_ptr<io::File>* file) {
    return fs_
        .open(options_.directory + "/" + name, io::Access::read, options_.probe.direct, 0, file)
        .ok();
  }
  std::string free_file_name(const std::string& name) {
    std::unique_ptr<io::File> there;
    int copy = 1;
    while (copy < kMostCopies && exists(file_name(name, copy), &there)) copy++;
    return file_name(name, copy);
  }

  uint64_t tail_file_end(const SegmentEntry& last) const {
    const uint32_t block = last.header.block_bytes;
    return (examination_->tail_end + block - 1) / block * block;
  }

  size_t copy_bytes(const SegmentEntry& last) const {
    return static_cast<size_t>(std::min<uint64_t>(kCopyBytes, tail_file_end(last) - last.end));
  }

  // Whether the copy holds the tail as it is now.
  Status compare(const SegmentEntry& last, io::File& there, bool* same) {
    std::unique_ptr<io::File> source;
    const std::string from = options_.directory + "/" + segment_name(last.header.sequence);
    Status status = fs_.open(from, io::Access::read, options_.probe.direct, 0, &source);
    const uint64_t end = tail_file_end(last);
    AlignedBuffer mine(copy_bytes(last));
    AlignedBuffer kept(copy_bytes(last));
    *same = true;
    for (uint64_t at = last.end; status.ok() && *same && at < end; at += kCopyBytes) {
      size_t got = 0;
      size_t got_kept = 0;
      const size_t wanted = static_cast<size_t>(std::min<uint64_t>(kCopyBytes, end - at));
      status = source->read(at, mine.data(), wanted, &got);
      if (status.ok()) status = there.read(at - last.end, kept.data(), wanted, &got_kept);
      *same = status.ok() && got == got_kept && std::memcmp(mine.data(), kept.data(), got) == 0;
    }
    if (status.ok() && *same) status = there.sync();
    return status;
  }

  Status copy(const SegmentEntry& last, const std::string& to) {
    std::unique_ptr<io::File> source;
    std::unique_ptr<io::File> target;
    const std::string from = options_.directory + "/" + segment_name(last.header.sequence);
    Status status = fs_.open(from, io::Access::read, options_.probe.direct, 0, &source);
    if (status.ok())
      status = fs_.open(to, io::Access::create, options_.probe.direct, options_.file_mode, &target);
    if (!status.ok()) return status;
    const uint64_t end = tail_file_end(last);
    AlignedBuffer buffer(copy_bytes(last));
    for (uint64_t at = last.end; status.ok() && at < end;) {
      size_t got = 0;
      const size_t wanted = static_cast<size_t>(std::min<uint64_t>(kCopyBytes, end - at));
      status = source->read(at, buffer.data(), wanted, &got);
      if (!status.ok() || got == 0) break;
      if (got <
          wanted) {  // the file was cut short, not at a block: the copy is filled up with zeros
        std::fill(buffer.data() + got, buffer.data() + wanted, uint8_t{0});
      }
      const io::Part part{buffer.data(), wanted};
      status = target->write(at - last.end, &part, 1, io::WriteMode::plain);
      at += wanted;
    }
    if (status.ok()) status = target->sync();
    if (!status.ok()) (void)fs_.unlink(to);
    return status;
  }

  void name_files() {
    for (const std::string& name : examination_->dead) {
      uint64_t sequence = 0;
      parse_segment_name(name, &sequence);
      const std::string kept = free_file_name(name);
      moves_.push_back({name, kept});
      for (LostRange* lost : lost_in(sequence)) lost->quarantine = kept;
    }
  }

  // Whether a file could not be moved.
  bool keep_files() {
    bool failed = false;
    if (moves_.empty()) name_files();  // of the cleaner that works after the life began
    for (const auto& [name, kept] : moves_) {
      Status status = fs_.rename(options_.directory + "/" + name, options_.directory + "/" + kept);
      if (status.ok()) continue;
      failed = true;
      event("the cut file " + name + " could not be moved: " + describe(status));
      for (LostRange& lost : examination_->report.lost) {
        if (lost.quarantine == kept) lost.quarantine.clear();
      }
    }
    return failed;
  }

  void write_report() {
    const std::string text = loss_report_json(examination_->report, epoch_);
    const std::string path = quarantine_ + "/loss-" + number(epoch_) + ".json";
    std::unique_ptr<io::File> file;
    (void)fs_.unlink(path);  // of an open that a crash ended
    Status status = fs_.open(path, io::Access::create, false, options_.file_mode, &file);
    const io::Part part{reinterpret_cast<const uint8_t*>(text.data()), text.size()};
    if (status.ok()) status = file->write(0, &part, 1, io::WriteMode::plain);
    if (status.ok()) status = file->sync();
    if (!status.ok()) event("the loss report could not be written: " + describe(status));
  }

  // Names sort by segment and so by age; reports are small and stay.
  void cap() {
    std::vector<std::string> names;
    if (!fs_.list(quarantine_, &names).ok()) return;
    std::vector<std::pair<std::string, uint64_t>> files;
    uint64_t total = 0;
    for (const std::string& name : names) {
      if (name.size() < 4 || name.compare(name.size() - 4, 4, ".cut") != 0) continue;
      std::unique_ptr<io::File> file;
      uint64_t size = 0;
      if (!fs_.open(quarantine_ + "/" + name, io::Access::read, false, 0, &file).ok()) continue;
      if (!file->size(&size).ok()) continue;
      files.push_back({name, size});
      total += size;
    }
    for (size_t i = 0; i + 1 < files.size() && total > options_.quarantine_bytes; i++) {
      if (!fs_.unlink(quarantine_ + "/" + files[i].first).ok()) continue;
      total -= files[i].second;
      event("quarantine is full: " + files[i].first + " was removed to keep what was cut last");
    }
  }

  // The new life states this segment's end, so the blocks behind it are of no more use. Where an
  // earlier life stated it, that life kept them aside or could not, and only it knew.
  void give_back_rest() {
    if (examination_->segments.empty()) return;
    const SegmentEntry& last = examination_->segments.back();
    if (last.cut || last.salvaged ||
        (examination_->tail_end != 0 && examination_->tail_copy.empty()))
      return;
    if (last.end >= last.header.file_bytes) return;
    std::unique_ptr<io::File> file;
    const std::string path = options_.directory + "/" + segment_name(last.header.sequence);
    Status status = fs_.open(path, io::Access::read_write, options_.probe.direct, 0, &file);
    if (status.ok()) status = file->punch(last.end, last.header.file_bytes);
    if (!status.ok()) event("unused space could not be given back: " + describe(status));
  }

  io::FileSystem& fs_;
  const LifeOptions& options_;
  const uint64_t epoch_;
  Examination* examination_;
  const std::string quarantine_;
  std::vector<std::pair<std::string, std::string>>
      moves_;  // files cut as a whole, and what they are to be called
};

}  // namespace

std::string loss_report_json(const RecoveryReport& report, uint64_t epoch) {
  std::string out = "{\"epoch\": " + number(epoch) + ", \"verdict\": " +
                    (report.verdict == Verdict::corrupt ? "\"corrupt\"" : "\"torn-tail\"") +
                    ", \"lost\": [";
  for (size_t i = 0; i < report.lost.size(); i++) {
    const LostRange& lost = report.lost[i];
    out += (i == 0 ? "\n  " : ",\n  ") + std::string("{\"from\": ") + number(lost.from) +
           ", \"to\": " + number(lost.to) + ", \"segment\": " + number(lost.segment) +
           ", \"offset\": " + number(lost.offset) + ", \"reason\": " + quoted(lost.reason) +
           ", \"quarantine\": " + (lost.quarantine.empty() ? "null" : quoted(lost.quarantine)) +
           "}";
  }
  return out + "\n]}\n";
}

Status keep_aside(io::FileSystem& fs, const LifeOptions& options, uint64_t epoch,
                  Examination* examination) {
  return Cleaner(fs, options, epoch, examination).before_life();
}

void drop_aside(io::FileSystem& fs, const LifeOptions& options, uint64_t epoch,
                Examination* examination) {
  Cleaner(fs, options, epoch, examination).drop_tail();
}

Status clean_up(io::FileSystem& fs, const LifeOptions& options, uint64_t epoch,
                Examination* examination) {
  return Cleaner(fs, options, epoch, examination).after_life();
}

}  // namespace stonelog::log
