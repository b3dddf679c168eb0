#include "states/lone_writer.h"

#include <algorithm>

#include "log/segment_file.h"

namespace stonelog::states {

LoneWriter::LoneWriter(io::FileSystem& fs, std::string directory, const io::Probe& probe,
                       uint64_t segment_bytes)
    : fs_(fs), directory_(std::move(directory)), probe_(probe) {
  options_.segment_bytes = segment_bytes;
  options_.queue_bytes = segment_bytes;
  options_.max_record_bytes = segment_bytes / 2;
  options_.zeroes = false;
  options_.dsync = probe.dsync_trusted;
}

Status LoneWriter::open(const log::RecoveryPolicy& policy) {
  log::RecoveryPolicy writing = policy;
  writing.writing = true;
  Status status = log::examine(fs_, directory_, probe_, writing, &examination_);
  if (!status.ok()) return status;
  status = fs_.sync_directory(directory_);
  if (!status.ok()) return status;
  log::LifeOptions life;
  life.directory = directory_;
  life.probe = probe_;
  life.segment_bytes = options_.segment_bytes;
  log::LifeStart start;
  format::SegmentHeader header;
  status = log::begin_life(fs_, life, &examination_, &start, &header);
  if (!status.ok()) return status;
  log_id_ = header.log_id;
  for (const log::SegmentEntry& entry : examination_.segments) {
    sealed_.push_back({entry.header.sequence, entry.first_lsn, entry.last_lsn, entry.end,
                       entry.header.file_bytes});
    tags_[entry.header.sequence] = entry.header.tag();
  }
  tags_[header.sequence] = header.tag();
  ends_[header.sequence] = start.end;
  ring_.resize(log::ring_bytes(options_));
  seal_block_.resize(options_.block_bytes);
  engine_ =
      std::make_unique<log::Engine>(options_, ring_.data(), seal_block_.data(), start, now_ns_);
  chores();
  return {};
}

std::string LoneWriter::path(uint64_t sequence) const {
  return directory_ + "/" + log::segment_name(sequence);
}

io::File* LoneWriter::file(uint64_t sequence) {
  std::unique_ptr<io::File>& file = files_[sequence];
  if (!file) (void)fs_.open(path(sequence), io::Access::read_write, probe_.direct, 0600, &file);
  return file.get();
}

uint64_t LoneWriter::append(const std::string& payload) { return append_batch({payload}); }

uint64_t LoneWriter::append_batch(const std::vector<std::string>& payloads) {
  std::vector<log::RecordInput> records(payloads.size());
  for (size_t i = 0; i < payloads.size(); i++) {
    records[i].data = reinterpret_cast<const uint8_t*>(payloads[i].data());
    records[i].size = payloads[i].size();
    format::sum_payload(records[i].data, records[i].size, &records[i].sum);
  }
  const log::Admission admission =
      engine_->admit(records.data(), records.size(), log::Durability::group, now_ns_);
  if (admission.code != Code::ok) return 0;
  if (admission.copy_pending) {
    engine_->copy_payloads(admission, records.data(), records.size());
    engine_->copied(admission);
  }
  engine_->publish();
  return admission.first_lsn;
}

void LoneWriter::perform(const log::Op& op) {
  io::File* const target = file(op.segment);
  Status status;
  if (target == nullptr) {
    status = Status::of(Code::io, "the segment cannot be opened");
  } else if (op.kind == log::OpKind::sync) {
    status = target->sync();
  } else {
    log::Engine::stamp(op);
    io::Part parts[2];
    uint64_t size = 0;
    for (int i = 0; i < op.part_count; i++) {
      parts[i] = {op.parts[i], op.sizes[i]};
      size += op.sizes[i];
    }
    status = target->write(op.offset, parts, op.part_count, op.mode);
    if (status.ok() && op.kind == log::OpKind::seal && op.mode == io::WriteMode::plain)
      status = target->sync();
    ends_[op.segment] = std::max(ends_[op.segment], op.offset + size);
  }
  engine_->completed(op, status, now_ns_);
  for (const log::Engine::Sealed& sealed : engine_->take_sealed()) sealed_.push_back(sealed);
}

void LoneWriter::chores() {
  log::Chore chore;
  while (engine_->next_chore(now_ns_, &chore)) {
    if (chore.kind == log::ChoreKind::give_back && chore.from < chore.to)
      (void)file(chore.sequence)->punch(chore.from, chore.to);
    if (chore.kind != log::ChoreKind::prepare) continue;
    log::SegmentSpec spec;
    spec.directory = directory_;
    spec.sequence = chore.sequence;
    spec.log_id = log_id_;
    spec.file_bytes = format::segment_file_bytes(options_.segment_bytes, spec.block_bytes);
    spec.direct = probe_.direct;
    spec.first_piece_bytes = 0;
    if (!recyclable_.empty()) {
      spec.recycle_path = recyclable_.back().path;
      spec.recycle_tag = recyclable_.back().tag;
      spec.recycle_written_end = recyclable_.back().written_end;
      recyclable_.pop_back();
    }
    log::MadeSegment made;
    bool fatal = false;
    Status status = log::make_segment(fs_, spec, &made, &fatal);
    tags_[chore.sequence] = made.header.tag();
    if (status.ok())
      engine_->segment_ready(made.place);
    else if (fatal)
      engine_->poison(status);
    else
      engine_->segment_failed(status.code, now_ns_);
  }
}

void LoneWriter::run() {
  log::Op op;
  while (engine_->next_op(now_ns_, fs_.wall_micros(), &op)) perform(op);
  chores();
}

void LoneWriter::wait_idle() {
  run();
  now_ns_ += options_.idle_ns;
  engine_->tick(now_ns_);
  run();
}

void LoneWriter::rotate() {
  (void)engine_->rotate(now_ns_);
  run();
}

void LoneWriter::release_before(uint64_t lsn) {
  size_t count = 0;
  while (count < sealed_.size() && sealed_[count].last_lsn < lsn) count++;
  if (count == 0) return;
  uint64_t keep = engine_->live().front().sequence;
  uint64_t keep_lsn = engine_->live().front().first_lsn;
  if (count < sealed_.size()) {
    keep = sealed_[count].sequence;
    keep_lsn = sealed_[count].first_lsn;
  }
  uint64_t group = 0;
  if (engine_->set_head(keep_lsn, keep, now_ns_, &group) != Code::ok) return;
  engine_->demand_all();
  run();
  for (size_t i = 0; i < count; i++) {
    const std::string aside =
        directory_ + "/recycle-" + std::to_string(sealed_[i].sequence) + log::kTemporarySuffix;
    files_.erase(sealed_[i].sequence);
    ends_.erase(sealed_[i].sequence);
    if (fs_.rename(path(sealed_[i].sequence), aside).ok())
      recyclable_.push_back({aside, tags_[sealed_[i].sequence], sealed_[i].end});
  }
  sealed_.erase(sealed_.begin(), sealed_.begin() + static_cast<ptrdiff_t>(count));
  (void)fs_.sync_directory(directory_);
  chores();
}

bool LoneWriter::close() {
  engine_->begin_close(now_ns_);
  run();
  for (const log::SegmentPlace& place : engine_->take_prepared())
    (void)fs_.unlink(path(place.sequence));
  for (const Recyclable& file : recyclable_) (void)fs_.unlink(file.path);
  return engine_->closed();
}

}  // namespace stonelog::states
