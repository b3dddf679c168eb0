#include "sim/sim_log.h"

#include <algorithm>

#include "log/group_reader.h"
#include "log/salvage.h"

namespace stonelog::sim {

namespace {

constexpr char kLogDirectory[] = "/log";

}  // namespace

SimLog::SimLog(uint64_t seed) : fs(seed) {
  options.segment_bytes = 128 << 10;
  options.queue_bytes = 256 << 10;
  options.max_record_bytes = 64 << 10;
  options.zeroes = false;
  ring_.resize(log::ring_bytes(options));
  seal_block_.resize(options.block_bytes);
  life_.directory = kLogDirectory;
  life_.segment_bytes = options.segment_bytes;
  life_.probe = fs.probe_result;
  bool created = false;
  (void)io::make_directories(fs, kLogDirectory, &created);
}

void SimLog::use_device(const io::Probe& probe) {
  fs.probe_result = life_.probe = probe;
  options.dsync = probe.dsync_trusted;
  options.zeroes = !probe.copy_on_write;
}

Status SimLog::examine(const log::RecoveryPolicy& policy) {
  engine.reset();
  examination_ = {};
  return log::examine(fs, kLogDirectory, fs.probe_result, policy, &examination_);
}

Status SimLog::open(const log::RecoveryPolicy& policy) {
  Status status = examine(policy);
  return status.ok() ? begin_life() : status;
}

Status SimLog::begin_life() {
  log::LifeStart start;
  format::SegmentHeader header;
  Status status = log::begin_life(fs, life_, &examination_, &start, &header);
  if (!status.ok()) return status;
  log_id_ = header.log_id;
  engine = std::make_unique<log::Engine>(options, ring_.data(), seal_block_.data(), start, now_ns);
  chores();
  return {};
}

uint64_t SimLog::append(const std::string& data, log::Durability durability) {
  log::RecordInput record{reinterpret_cast<const uint8_t*>(data.data()), data.size(), {}};
  format::sum_payload(record.data, record.size, &record.sum);
  const log::Admission admission = engine->admit(&record, 1, durability, now_ns);
  if (admission.code != Code::ok) return 0;
  if (admission.copy_pending) {
    engine->copy_payloads(admission, &record, 1);
    engine->copied(admission);
  }
  engine->publish();
  return admission.first_lsn;
}

uint64_t SimLog::append_batch(const std::vector<std::string>& data) {
  std::vector<log::RecordInput> records(data.size());
  for (size_t i = 0; i < data.size(); i++) {
    records[i].data = reinterpret_cast<const uint8_t*>(data[i].data());
    records[i].size = data[i].size();
    format::sum_payload(records[i].data, records[i].size, &records[i].sum);
  }
  const log::Admission admission =
      engine->admit(records.data(), records.size(), log::Durability::group, now_ns);
  if (admission.code != Code::ok) return 0;
  if (admission.copy_pending) {
    engine->copy_payloads(admission, records.data(), records.size());
    engine->copied(admission);
  }
  engine->publish();
  return admission.first_lsn;
}

bool SimLog::begin(log::Op* op) {
  if (!engine->next_op(now_ns, fs.wall_micros(), op)) return false;
  if (op->kind != log::OpKind::sync) log::Engine::stamp(*op);
  if (op->kind == log::OpKind::write && on_write) on_write(*op);
  return true;
}

void SimLog::perform(const log::Op& op) {
  Status status;
  if (op.kind == log::OpKind::sync) {
    status = fs.complete(fs.begin_sync(path(op.segment)));
  } else {
    io::Part parts[2];
    for (int i = 0; i < op.part_count; i++) parts[i] = {op.parts[i], op.sizes[i]};
    status =
        fs.complete(fs.begin_write(path(op.segment), op.offset, parts, op.part_count, op.mode));
  }
  engine->completed(op, status, now_ns);
  if (on_completion) on_completion();
}

void SimLog::land(const log::Op& op) {
  io::Part parts[2];
  for (int i = 0; i < op.part_count; i++) parts[i] = {op.parts[i], op.sizes[i]};
  (void)fs.complete(
      fs.begin_write(path(op.segment), op.offset, parts, op.part_count, io::WriteMode::dsync));
}

void SimLog::chores() {
  log::Chore chore;
  while (engine->next_chore(now_ns, &chore)) {
    if (chore.kind == log::ChoreKind::prepare)
      prepare(chore);
    else if (all_chores)
      minor_chore(chore);
  }
}

void SimLog::minor_chore(const log::Chore& chore) {
  if (chore.kind == log::ChoreKind::zero) {
    log::AlignedBuffer zeros(chore.to - chore.from);
    std::fill(zeros.data(), zeros.data() + zeros.size(), uint8_t{0});
    const io::Part part{zeros.data(), chore.to - chore.from};
    const auto mode = options.dsync ? io::WriteMode::dsync : io::WriteMode::plain;
    engine->zeroed(chore,
                   fs.complete(fs.begin_write(path(chore.sequence), chore.from, &part, 1, mode)));
    return;
  }
  std::unique_ptr<io::File> file;
  if (fs.open(path(chore.sequence), io::Access::read_write, life_.probe.direct, 0, &file).ok())
    (void)file->punch(chore.from, chore.to);
}

void SimLog::prepare(const log::Chore& chore) {
  log::SegmentSpec spec;
  spec.directory = kLogDirectory;
  spec.sequence = chore.sequence;
  spec.log_id = log_id_;
  spec.file_bytes = format::segment_file_bytes(options.segment_bytes, spec.block_bytes);
  spec.direct = life_.probe.direct;
  spec.zeroes = options.zeroes;
  spec.first_piece_bytes = 0;
  log::MadeSegment made;
  bool fatal = false;
  Status status = log::make_segment(fs, spec, &made, &fatal);
  if (status.ok())
    engine->segment_ready(made.place);
  else if (fatal)
    engine->poison(status);
  else
    engine->segment_failed(status.code, now_ns);
}

void SimLog::run() {
  log::Op op;
  while (begin(&op)) perform(op);
  chores();
}

void SimLog::wait_idle() {
  run();
  now_ns += options.idle_ns;
  engine->tick(now_ns);
  run();
}

void SimLog::rotate() {
  (void)engine->rotate(now_ns);
  run();
}

void SimLog::release() {
  const log::Engine::Live oldest = engine->live().front();
  const uint64_t before = engine->state().first_sequence;
  uint64_t group = 0;
  if (oldest.sequence <= before ||
      engine->set_head(oldest.first_lsn, oldest.sequence, now_ns, &group) != Code::ok) {
    return;
  }
  run();
  if (engine->durable_groups() <= group) return;
  for (uint64_t sequence = before; sequence < oldest.sequence; sequence++)
    (void)fs.unlink(path(sequence));
}

bool SimLog::close() {
  engine->begin_close(now_ns);
  run();
  for (const log::SegmentPlace& place : engine->take_prepared())
    (void)fs.unlink(path(place.sequence));
  return engine->closed();
}

void SimLog::power_cut() {
  engine.reset();
  fs.lose_cache();
}

std::string SimLog::path(uint64_t sequence) const {
  return std::string(kLogDirectory) + "/" + log::segment_name(sequence);
}

std::vector<std::string> SimLog::read_all() {
  std::vector<std::string> out;
  uint64_t last = examination_.report.first_lsn - 1;
  const auto take = [&](uint64_t lsn, const uint8_t* data, size_t size) {
    last = lsn;
    out.emplace_back(reinterpret_cast<const char*>(data), size);
  };
  for (const log::SegmentEntry& entry : examination_.segments) {
    std::unique_ptr<io::File> file;
    if (!fs.open(path(entry.header.sequence), io::Access::read, true, 0, &file).ok()) continue;
    log::GroupReader reader(*file, entry.header, 256 << 10);
    log::GroupView view;
    log::Expectation any;
    any.any = true;
    for (uint64_t at = format::kFirstGroupBlock * uint64_t{entry.header.block_bytes};
         at < entry.end;) {
      log::Defect defect = log::Defect::none;
      uint64_t bad = 0;
      if (!reader.read(at, entry.end, any, &view, &defect, &bad).ok()) break;
      if (defect == log::Defect::none) {
        for (size_t i = 0; i < view.records.size(); i++) {
          take(view.header.first_lsn + i, view.stream + view.records[i].payload_offset,
               view.records[i].payload_bytes);
        }
        at += view.header.file_bytes;
        continue;
      }
      if (!entry.salvaged) break;
      log::SalvagedRegion region;
      if (!log::salvage_region(&reader, at, entry.end, last, &region).ok()) break;
      for (const log::SalvagedRecord& record : region.records) {
        take(record.lsn, region.payloads.data() + record.payload_offset, record.payload_bytes);
      }
      at = region.resume;
    }
  }
  return out;
}

void SimLog::flip(uint64_t sequence, uint64_t offset, int bit) {
  uint8_t byte = 0;
  fs.disk().find(path(sequence))->visible.read(offset, &byte, 1);
  byte = static_cast<uint8_t>(byte ^ 1 << bit);
  fs.damage(path(sequence), offset, &byte, 1);
}

void SimLog::zero(uint64_t sequence, uint64_t from, uint64_t to) {
  const std::vector<uint8_t> zeros(to - from);
  fs.damage(path(sequence), from, zeros.data(), zeros.size());
}

}  // namespace stonelog::sim
