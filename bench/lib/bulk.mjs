// Bulk loads: `write` as fast as the queue takes it, one `flush` at the end.
import { setImmediate } from 'node:timers/promises'
import { written } from './closed-loop.mjs'

const RELEASE_BYTES = 32 << 20
// A loop that never lets the event loop turn would never hear that anything was released.
const TURN_BYTES = 4 << 20
// Between two looks at the clock: some 0.1 ms of work.
const ROUND_BYTES = 256 << 10
const ROUND_RECORDS = 1024

/**
 * Queues records until `done()`, then makes them durable. With `release`, what is durable is
 * released behind the writer, so that its segments are used again.
 */
async function load(wal, size, release, done) {
  const data = Buffer.alloc(size, 0x5a)
  const round = Math.max(1, Math.min(ROUND_RECORDS, Math.floor(ROUND_BYTES / size)))
  let releasing
  let unreleased = 0
  let sinceTurn = 0
  let records = 0
  while (!done(records)) {
    let full = false
    for (let i = 0; i < round; i++) {
      try {
        wal.write(data)
      } catch (error) {
        if (error.code !== 'WAL_BACKPRESSURE') throw error
        full = true
        break
      }
      records++
    }
    if (full) await wal.ready()
    sinceTurn += round * size
    if (sinceTurn >= TURN_BYTES) {
      sinceTurn = 0
      await setImmediate()
    }
    unreleased += round * size
    if (release && releasing === undefined && unreleased >= RELEASE_BYTES) {
      unreleased = 0
      releasing = wal.truncateBefore(Math.max(1, wal.durableLsn)).finally(() => {
        releasing = undefined
      })
    }
  }
  await wal.flush()
  const ended = performance.now()
  await releasing
  return { records, ended }
}

/** A bulk load of `ms`, the final flush included. */
export async function bulk(wal, { size, ms, release }) {
  const stats = wal.stats()
  const cpuBefore = process.cpuUsage()
  const began = performance.now()
  const { records, ended } = await load(wal, size, release, () => performance.now() >= began + ms)
  const { user, system } = process.cpuUsage(cpuBefore)
  return {
    records,
    bytes: records * size,
    seconds: (ended - began) / 1000,
    cpuMicros: user + system,
    written: written(stats, wal.stats()),
  }
}

/** Bulk-writes `bytes` of records of `size`. */
export async function fill(wal, { size, bytes }) {
  await load(wal, size, false, (records) => records * size >= bytes)
}

/**
 * Brings the log to where every new segment is made of a released one: six segments are the four
 * that are kept for reuse, the prepared one and the current one.
 */
export async function recycle(wal) {
  const bytes = 6 * (64 << 20)
  await load(wal, 64 << 10, true, (records) => records * (64 << 10) >= bytes)
  return wal.stats().segments
}

/** Bulk-writes `bytes` and releases them as they come, so that they need no more space. */
export async function passBytes(wal, { size, bytes }) {
  const began = performance.now()
  const { ended } = await load(wal, size, true, (records) => records * size >= bytes)
  return { bytesPerSecond: bytes / ((ended - began) / 1000) }
}

/** Writes until the log has so many segments. */
export async function growTo(wal, { segments }) {
  const size = 16 << 10
  while (wal.stats().segments.live < segments) {
    await load(wal, size, false, (records) => records >= 64)
  }
}
