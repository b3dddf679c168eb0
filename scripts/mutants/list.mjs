// The mutants: one per defence, the core without it. Each replaces a text that must stand exactly once in
// its file, so that a change of the core that moves the defence is noticed here.

const ENGINE = 'native/log/engine.cc'
const COMMIT = 'native/log/engine_commit.cc'
const RECOVERY = 'native/log/recovery.cc'
const CHAIN = 'native/log/recovery_chain.cc'

/** @type {Array<{ name: string, defence: string, file: string, find: string, replace: string }>} */
export const MUTANTS = [
  {
    name: 'no-flush',
    defence: 'what was written without a flush is not durable',
    file: COMMIT,
    find: 'if (op.mode == io::WriteMode::dsync) done.synced = true;',
    replace: 'done.synced = true;',
  },
  {
    name: 'no-directory-sync',
    defence: 'a new name is synced before anything in the file counts',
    file: 'native/log/segment_file.cc',
    find: 'status = fs.sync_directory(spec.directory);',
    replace: 'status = {};',
  },
  {
    name: 'no-sync-of-new-segment',
    defence: 'a life’s start group is durable before anything else of it',
    file: 'native/log/segment_file.cc',
    find: 'if (status.ok()) status = file->sync();',
    replace: '',
  },
  {
    name: 'acknowledge-early',
    defence: 'nothing is acknowledged before its write completed',
    file: COMMIT,
    find: '  next->state = GroupState::in_flight;\n',
    replace:
      '  next->state = GroupState::written;\n  next->synced = true;\n  written_prefix_ = index + 1;\n',
  },
  {
    name: 'acknowledge-out-of-order',
    defence: 'a completion acknowledges nothing while an earlier group is in flight',
    file: COMMIT,
    find: '    done.state = GroupState::written;\n',
    replace:
      '    done.state = GroupState::written;\n    for (uint64_t i = first_group_; i <= op.group; i++) {\n' +
      '      group(i).state = GroupState::written;\n      group(i).synced = true;\n    }\n',
  },
  {
    name: 'late-joiner',
    defence: 'a sync covers only what was written before it was issued',
    file: COMMIT,
    find: 'if (group(i).sync_ticket == op.group) group(i).synced = true;',
    replace: 'group(i).synced = true;',
  },
  {
    name: 'fua-ignored',
    defence: 'a DSYNC write makes only itself durable',
    file: COMMIT,
    find: 'if (op.mode == io::WriteMode::dsync) done.synced = true;',
    replace:
      'if (op.mode == io::WriteMode::dsync) {\n' +
      '      for (uint64_t i = first_group_; i <= op.group; i++) group(i).synced = true;\n    }',
  },
  {
    name: 'poison-ignored',
    defence: 'after a failure nothing is submitted and nothing acknowledged',
    file: COMMIT,
    find: '  poisoned_ = true;\n',
    replace: '',
  },
  {
    name: 'first-not-written-too-high',
    defence: 'not-written is said only of what was never handed over',
    file: COMMIT,
    find: 'first_not_written_ = next_submit_ < next_group_ ? group(next_submit_).first_lsn : last_lsn_ + 1;',
    replace: 'first_not_written_ = durable_lsn_ + 1;',
  },
  {
    name: 'watermark-frozen',
    defence: 'each group states what was durable when it was written',
    file: COMMIT,
    find: '  header.durable_lsn = durable_lsn_;\n  header.durable_end = segment->durable_end;\n',
    replace: '',
  },
  {
    name: 'no-idle-watermark',
    defence: 'an idle log publishes its watermark',
    file: COMMIT,
    find: 'if (quiet && watermark_lsn_ < durable_lsn_ && control_fits(0, 1)) put_watermark(now_ns);',
    replace: '',
  },
  {
    name: 'seal-before-successor',
    defence: 'a seal is written only when its segment and its successor are durable',
    file: COMMIT,
    find: 'if (oldest.last_group >= first_group_ || live_[1].start_group >= first_group_) return false;',
    replace: '',
  },
  {
    name: 'zeroing-overlaps',
    defence: 'no group is submitted into blocks that a zeroing write may still overwrite',
    file: COMMIT,
    find: 'return next.offset >= segment.zero_to || segment.zero_from >= next.offset + next.file_bytes;',
    replace: 'return true;',
  },
  {
    name: 'queue-unbounded',
    defence: 'a full queue is back-pressure',
    file: ENGINE,
    find: 'if (pending_bytes_ > 0 && pending_bytes_ + charge > options_.queue_bytes) {',
    replace: 'if (false) {',
  },
  {
    name: 'no-control-reserve',
    defence: 'a watermark and a close always find room',
    file: ENGINE,
    find: '  const bool fits = segment.end + file_bytes <= limit;\n',
    replace: '  const bool fits = segment.end + file_bytes <= segment.place.file_bytes;\n',
  },
  {
    name: 'crc-without-shape',
    defence: 'a record’s checksum covers its type, flags and length',
    file: 'native/format/record.cc',
    find: 'return crc32c::extend_u64(crc32c::extend_u64(payload_sum_crc, shape), lsn);',
    replace: 'return crc32c::extend_u64(crc32c::extend_u64(payload_sum_crc, shape & 0), lsn);',
  },
  {
    name: 'crc-without-lsn',
    defence: 'a record’s checksum covers its LSN',
    file: 'native/format/record.cc',
    find: 'return crc32c::extend_u64(crc32c::extend_u64(payload_sum_crc, shape), lsn);',
    replace: 'return crc32c::extend_u64(payload_sum_crc, shape + 0 * lsn);',
  },
  {
    name: 'stamp-without-place',
    defence: 'a sector’s checksum covers its place',
    file: 'native/format/stamp.cc',
    find: 'return crc32c::extend_u64(content_crc, index | (starts_group ? kGroupStartPlace : 0));',
    replace:
      'return crc32c::extend_u64(content_crc, 0 * index | (starts_group ? kGroupStartPlace : 0));',
  },
  {
    name: 'payload-poses-as-group',
    defence: 'the first sector of a group is told from any payload',
    file: 'native/format/stamp.cc',
    find: 'return crc32c::extend_u64(content_crc, index | (starts_group ? kGroupStartPlace : 0));',
    replace: 'return crc32c::extend_u64(content_crc, index | (starts_group ? 0 : 0));',
  },
  {
    name: 'stale-sector-accepted',
    defence: 'a sector of an older life of the file is not of this one',
    file: 'native/format/stamp.cc',
    find: 'if (stamped_tag != tag) return SectorState::older;',
    replace: '',
  },
  {
    name: 'damaged-sector-taken-for-unwritten',
    defence: 'a sector that is neither valid nor zero is damage',
    file: 'native/format/stamp.cc',
    find: 'if (!continues && placed(content, index, true) != crc) return SectorState::damaged;',
    replace:
      'if (!continues && placed(content, index, true) != crc) return SectorState::unwritten;',
  },
  {
    name: 'zero-record-valid',
    defence: 'type 0 is invalid, so zeros never parse',
    file: 'native/format/record.cc',
    find: 'if (record->type == 0 || (record->flags & kFlagsRefused) != 0) return RecordState::damaged;',
    replace: '',
  },
  {
    name: 'length-unbounded',
    defence: 'a length is bounded before it is believed',
    file: 'native/format/record.cc',
    find: 'if (available < header_bytes + payload_bytes) return RecordState::truncated;',
    replace: '',
  },
  {
    name: 'epoch-unchecked',
    defence: 'a group of another epoch does not continue the log',
    file: 'native/log/group_reader.cc',
    find: 'header.epoch == expected.epoch && header.first_lsn == expected.first_lsn',
    replace: 'header.first_lsn == expected.first_lsn',
  },
  {
    name: 'link-unchecked',
    defence: 'a group names the one before it by checksum',
    file: 'native/log/group_reader.cc',
    find: '(!expected.check_link || header.link == expected.link)',
    replace: 'true',
  },
  {
    name: 'torn-group-accepted',
    defence: 'a group counts only if each of its sectors is there',
    file: 'native/log/group_reader.cc',
    find: '  *defect = find_bad_sector(sectors, count, offset, bad_offset);\n',
    replace: '',
  },
  {
    name: 'read-error-taken-for-end',
    defence: 'an EIO while reading is an error, never the end of the log',
    file: 'native/log/group_reader.cc',
    find: '    if (!status.ok()) {\n      forget();\n      return status;\n    }\n',
    replace: '    if (!status.ok()) read = 0;\n',
  },
  {
    name: 'watermark-ignored',
    defence: 'what is missing below a watermark is proven damage',
    file: 'native/log/recovery_table.h',
    find: '{"below-watermark", kBelowWatermark, Verdict::corrupt, false,',
    replace: '{"below-watermark", 1u << 30, Verdict::corrupt, false,',
  },
  {
    name: 'segment-gap-accepted',
    defence: 'a missing segment is an error, never an end',
    file: 'native/log/recovery_table.h',
    find: '{"missing-segment", kMissingSegment, Verdict::corrupt, false,',
    replace: '{"missing-segment", 1u << 30, Verdict::corrupt, false,',
  },
  {
    name: 'resumes-on-the-old-tail',
    defence: 'a life states where its predecessor ends; bytes beyond are dead',
    file: CHAIN,
    find: 'if (next.life_start() && stated.sequence == segment.sequence) {',
    replace: 'if (false && next.life_start() && stated.sequence == segment.sequence) {',
  },
  {
    name: 'unsynced-tail-believed',
    defence: 'a tail is synced before its records are shown to anyone',
    file: RECOVERY,
    find: '  status = (*file)->sync();\n  if (status.ok()) status = (*file)->evict();\n',
    replace: '',
  },
  {
    name: 'epoch-used-again',
    defence: 'every life and every cut starts a higher epoch',
    file: 'native/log/life.cc',
    find: 'state->epoch.number = std::max(state->epoch.number, highest) + 1;',
    replace: 'state->epoch.number = std::max<uint64_t>(state->epoch.number, 1);',
  },
  {
    name: 'nothing-kept-aside',
    defence: 'what recovery cuts is kept before its bytes are given up',
    file: 'native/log/life.cc',
    find: '  Status status = keep_aside(fs, options, state.epoch.number, examination);\n',
    replace: '  Status status;\n  examination->tail_copy = "none";\n',
  },
  {
    name: 'batch-marker-ignored',
    defence: 'salvage keeps a batch whole or not at all',
    file: 'native/log/salvage.cc',
    find: 'if (part && !in_batch) continue;',
    replace: '',
  },
  {
    name: 'failed-sync-retried',
    defence: 'no sync is retried as if nothing had happened',
    file: 'native/driver/log.cc',
    find: '    status = file->sync();\n  } else {',
    replace: '    status = file->sync();\n    if (!status.ok()) status = file->sync();\n  } else {',
  },
  {
    name: 'short-write-ignored',
    defence: 'a short write is a failure',
    file: 'native/io/posix_file_system.cc',
    find: '  if (static_cast<size_t>(written) != total) {',
    replace: '  if (false && static_cast<size_t>(written) != total) {',
  },
  {
    name: 'released-before-the-head-is-durable',
    defence: 'the new head is durable before anything is released',
    file: 'native/driver/log_requests.cc',
    find: '  status = wait_until_durable(&lock, group);\n',
    replace: '',
  },
  {
    name: 'lost-wake-up',
    defence: 'a wake between looking and sleeping is not lost',
    file: 'native/driver/threads.cc',
    find: '  word_.fetch_add(1, std::memory_order_seq_cst);\n  if (waiters_',
    replace: '  if (waiters_',
  },
]
