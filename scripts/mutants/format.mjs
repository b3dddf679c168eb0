// Mutants of the disk format: what a checksum covers, and what passes for a sector or a record.

const RECORD = 'native/format/record.cc'
const GROUP = 'native/format/group.cc'
const STAMP = 'native/format/stamp.cc'
const READER = 'native/log/group_reader.cc'
const RECORD_TEST = 'format: every bit of a record, and its LSN, is under its checksum'

export const FORMAT_MUTANTS = [
  {
    name: 'crc-without-length',
    defence: 'a record’s checksum covers its type, flags and length',
    danger: 'a flipped bit makes another record of it',
    file: RECORD,
    find: 'return crc32c::extend_u64(crc32c::extend_u64(payload_sum_crc, shape), lsn);',
    replace: 'return crc32c::extend_u64(crc32c::extend_u64(payload_sum_crc, shape & 0), lsn);',
    by: RECORD_TEST,
  },
  {
    name: 'crc-without-lsn',
    defence: 'a record’s checksum covers its LSN',
    danger: 'a record appears under the LSN of another one',
    file: RECORD,
    find: 'return crc32c::extend_u64(crc32c::extend_u64(payload_sum_crc, shape), lsn);',
    replace: 'return crc32c::extend_u64(payload_sum_crc, shape + 0 * lsn);',
    by: RECORD_TEST,
  },
  {
    name: 'record-crc-unchecked',
    defence: 'a record is handed out only if its checksum holds',
    danger: 'altered data is handed out',
    file: RECORD,
    find: 'if (finish(sum, record->type, record->flags, payload_bytes, covered_lsn) != record->crc)',
    replace: 'if (covered_lsn > kMaxLsn)',
    by: RECORD_TEST,
  },
  {
    name: 'crc-without-epoch',
    defence: 'a group’s checksum covers its epoch',
    danger: 'a group of another history passes for one of this',
    file: 'native/format/group.cc',
    find: 'header->checksum = crc32c::extend(0, content, kGroupChecksum);',
    replace:
      'header->checksum = crc32c::extend(crc32c::extend(0, content, kGroupEpoch), content + kGroupEpoch + 8, kGroupChecksum - kGroupEpoch - 8);',
    and: {
      file: 'native/format/group.cc',
      find: 'if (header->checksum != crc32c::extend(0, content, kGroupChecksum)) return false;',
      replace:
        'if (header->checksum != crc32c::extend(crc32c::extend(0, content, kGroupEpoch), content + kGroupEpoch + 8, kGroupChecksum - kGroupEpoch - 8)) return false;',
    },
    by: 'format: every bit of a group header is under its checksum',
  },
  {
    name: 'epoch-unchecked',
    defence: 'a group of another epoch does not continue the log',
    danger: 'a record of a life that was cut comes back',
    file: READER,
    find: 'header.epoch == expected.epoch && header.first_lsn == expected.first_lsn',
    replace: 'header.first_lsn == expected.first_lsn',
    by: 'format: a group that does not follow is refused',
  },
  {
    name: 'link-unchecked',
    defence: 'a group names the one before it by checksum',
    danger: 'a group that followed another one continues the log',
    file: READER,
    find: '(!expected.check_link || header.link == expected.link)',
    replace: 'true',
    by: 'format: a group that does not follow is refused',
  },
  {
    name: 'stamp-without-place',
    defence: 'a sector’s checksum covers its place',
    danger: 'a misdirected write is read as what belongs there',
    file: STAMP,
    find: 'return crc32c::extend_u64(content_crc, index | (starts_group ? kGroupStartPlace : 0));',
    replace:
      'return crc32c::extend_u64(content_crc, 0 * index | (starts_group ? kGroupStartPlace : 0));',
    by: 'format: swapped blocks are noticed',
  },
  {
    name: 'payload-poses-as-group',
    defence: 'the first sector of a group is told from any payload',
    danger: 'a record whose payload looks like a group becomes one',
    file: STAMP,
    find: 'return crc32c::extend_u64(content_crc, index | (starts_group ? kGroupStartPlace : 0));',
    replace: 'return crc32c::extend_u64(content_crc, index | (starts_group ? 0 : 0));',
    by: 'format: sector states',
  },
  {
    name: 'stale-sector-accepted',
    defence: 'a sector of an older life of the file is not of this one',
    danger: 'records of a recycled segment come back',
    file: STAMP,
    find: 'if (stamped_tag != tag) return SectorState::older;',
    replace: '',
    by: 'format: sector states',
  },
  {
    name: 'damaged-sector-taken-for-unwritten',
    defence: 'a sector that is neither valid nor zero is damage',
    danger: 'acknowledged records are cut as if they had never been written',
    file: STAMP,
    find: 'if (!continues && placed(content, index, true) != crc) return SectorState::damaged;',
    replace:
      'if (!continues && placed(content, index, true) != crc) return SectorState::unwritten;',
    by: 'format: sector states',
  },
  {
    name: 'zero-header-valid',
    defence: 'type 0 is invalid, so zeros never parse',
    danger: 'unwritten space becomes empty records',
    file: RECORD,
    find: 'if (record->type == 0 || (record->flags & kFlagsRefused) != 0) return RecordState::damaged;',
    replace: '',
    by: 'format: type 0 is no record, with the right checksum either',
  },
  {
    name: 'length-unbounded',
    defence: 'a length is bounded before it is believed',
    danger: 'a torn length reads or allocates beyond all bounds',
    file: RECORD,
    find: 'if (available < header_bytes + payload_bytes) return RecordState::truncated;',
    replace: '',
    by: 'format: what is not a record is refused',
  },
  {
    name: 'torn-group-accepted',
    defence: 'a group counts only if each of its sectors is there',
    danger: 'half a group, and so half a batch, is recovered',
    file: GROUP,
    find: 'if (valid < burst) return done + valid;',
    replace: '',
    by: 'format: a torn group is incomplete, not damaged',
  },
  {
    name: 'records-behind-the-damage',
    defence: 'of a damaged group what lies before the first bad sector is handed out, no more',
    danger: 'records of another life of the file appear under the LSNs of lost ones',
    file: READER,
    find: 'const size_t intact = format::first_invalid(sectors, got / kSectorBytes, view->offset / kSectorBytes, header_.tag(), true);',
    replace: 'const size_t intact = got / kSectorBytes;',
    by: 'format: the records before a bad sector',
  },
]
