// Logs as a careful user writes them with node:fs and nothing else. They do less than a log must:
// one file, no rotation, no recovery. A group is its body's length and CRC32, then the records,
// each behind its length.
import {
  closeSync,
  constants,
  fdatasync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  write,
  writeSync,
} from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import { GroupCommit, TurnCommit } from './contender.mjs'

const FILE_BYTES = 256 << 20
const PIECE_BYTES = 1 << 20
const GROUP_HEADER_BYTES = 8
const RECORD_HEADER_BYTES = 4

/** Records of one group in a buffer that is used again and again. */
class Group {
  #buffer = Buffer.alloc(PIECE_BYTES)
  #end = GROUP_HEADER_BYTES

  get isEmpty() {
    return this.#end === GROUP_HEADER_BYTES
  }

  get isLarge() {
    return this.#end >= PIECE_BYTES - (64 << 10) - GROUP_HEADER_BYTES - RECORD_HEADER_BYTES
  }

  add(data) {
    const end = this.#end + RECORD_HEADER_BYTES + data.length
    if (end > this.#buffer.length) {
      const larger = Buffer.alloc(2 * end)
      this.#buffer.copy(larger, 0, 0, this.#end)
      this.#buffer = larger
    }
    this.#buffer.writeUInt32LE(data.length, this.#end)
    data.copy(this.#buffer, this.#end + RECORD_HEADER_BYTES)
    this.#end = end
  }

  /** The bytes to be written; valid until the next `add`, which begins a new group. */
  take() {
    const body = this.#buffer.subarray(GROUP_HEADER_BYTES, this.#end)
    this.#buffer.writeUInt32LE(body.length, 0)
    this.#buffer.writeUInt32LE(crc32(body), 4)
    const bytes = this.#buffer.subarray(0, this.#end)
    this.#end = GROUP_HEADER_BYTES
    return bytes
  }
}

/** Calls `each` with every record's first byte up to the first group that is not intact. */
function readGroups(fd, each) {
  let buffer = Buffer.alloc(4 * PIECE_BYTES)
  let filled = 0
  let position = 0
  for (;;) {
    const got = readSync(fd, buffer, filled, buffer.length - filled, position)
    position += got
    filled += got
    let at = 0
    while (filled - at >= GROUP_HEADER_BYTES) {
      const length = buffer.readUInt32LE(at)
      const from = at + GROUP_HEADER_BYTES
      if (length === 0) return
      if (from + length > filled) break
      if (crc32(buffer.subarray(from, from + length)) !== buffer.readUInt32LE(at + 4)) return
      for (let i = from; i < from + length; ) {
        each(buffer[i + RECORD_HEADER_BYTES])
        i += RECORD_HEADER_BYTES + buffer.readUInt32LE(i)
      }
      at = from + length
    }
    if (got === 0) return
    buffer.copy(buffer, 0, at, filled)
    filled -= at
    if (filled === buffer.length) {
      const larger = Buffer.alloc(2 * filled)
      buffer.copy(larger)
      buffer = larger
    }
  }
}

/** A file of zeros that is written and synced as a whole; an existing one is kept. */
function prewritten(path) {
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT)
  const probe = Buffer.alloc(1)
  if (readSync(fd, probe, 0, 1, FILE_BYTES - 1) === 1) return fd
  const zeros = Buffer.alloc(PIECE_BYTES)
  for (let at = 0; at < FILE_BYTES; at += zeros.length) writeSync(fd, zeros, 0, zeros.length, at)
  fsyncSync(fd)
  return fd
}

/**
 * What the three have in common. `synced`: a descriptor whose writes are durable, or the plain one,
 * which `sync` then makes durable.
 */
function fileLog({ plain, synced, append, wraps }) {
  const group = new Group()
  let position = 0

  /** Where the next `size` bytes go; a pre-written file is used round and round. */
  function place(size) {
    if (wraps && position + size > FILE_BYTES) position = 0
    const at = position
    position += size
    return at
  }
  function writeGroup(fd) {
    const bytes = group.take()
    writeSync(fd, bytes, 0, bytes.length, place(bytes.length))
  }
  async function queue(data, count) {
    let last
    for (let i = 0; i < count; i++) {
      group.add(data)
      if (!group.isLarge) continue
      writeGroup(plain)
      last = setImmediate()
      await last
    }
    if (!group.isEmpty) writeGroup(plain)
    fdatasyncSync(plain)
  }
  return {
    append: append({ group, place }),
    async batch(data, count) {
      for (let i = 0; i < count; i++) group.add(data)
      writeGroup(synced)
      if (synced === plain) fdatasyncSync(plain)
    },
    queue,
    async replay() {
      let records = 0
      let sum = 0
      readGroups(plain, (first) => {
        records++
        sum += first
      })
      return { records, sum }
    },
    async recycle() {
      position = 0
      if (wraps) return
      ftruncateSync(plain, 0)
      fsyncSync(plain)
    },
    async close() {
      closeSync(plain)
      if (synced !== plain) closeSync(synced)
    },
  }
}

function fillGroup(group, batch) {
  for (const data of batch) group.add(data)
  return group.take()
}

const writeAll = (fd, bytes, at) =>
  new Promise((resolve, reject) => {
    write(fd, bytes, 0, bytes.length, at, (error) => (error ? reject(error) : resolve()))
  })

const syncData = (fd) =>
  new Promise((resolve, reject) => {
    fdatasync(fd, (error) => (error ? reject(error) : resolve()))
  })

/** A file that grows; group commit in libuv's thread pool: a write, then fdatasync. */
export async function openGrowing(directory) {
  const fd = openSync(`${directory}/log`, constants.O_RDWR | constants.O_CREAT)
  const append = ({ group, place }) => {
    const commits = new GroupCommit(async (batch) => {
      const bytes = fillGroup(group, batch)
      await writeAll(fd, bytes, place(bytes.length))
      await syncData(fd)
    })
    return (data) => commits.append(data)
  }
  return fileLog({ plain: fd, synced: fd, append, wraps: false })
}

/** A pre-written O_DSYNC file and one blocking write a turn of the event loop. */
export async function openBlocking(directory) {
  const path = `${directory}/log`
  const plain = prewritten(path)
  const synced = openSync(path, constants.O_RDWR | constants.O_DSYNC)
  const append = ({ group, place }) => {
    const commits = new TurnCommit((batch) => {
      const bytes = fillGroup(group, batch)
      writeSync(synced, bytes, 0, bytes.length, place(bytes.length))
    })
    return (data) => commits.append(data)
  }
  return fileLog({ plain, synced, append, wraps: true })
}

/** The same file, group commit in libuv's thread pool. */
export async function openAsync(directory) {
  const path = `${directory}/log`
  const plain = prewritten(path)
  const synced = openSync(path, constants.O_RDWR | constants.O_DSYNC)
  const append = ({ group, place }) => {
    const commits = new GroupCommit((batch) => {
      const bytes = fillGroup(group, batch)
      return writeAll(synced, bytes, place(bytes.length))
    })
    return (data) => commits.append(data)
  }
  return fileLog({ plain, synced, append, wraps: true })
}
