// An open loop: appends are due at fixed times, whatever became of those before. A late start
// counts as latency, so a stall is seen by every append that was due while it lasted.
import { setImmediate } from 'node:timers/promises'
import { written } from './closed-loop.mjs'
import { Latencies } from './statistics.mjs'

function isRefusal(error) {
  return error.code === 'WAL_BACKPRESSURE'
}

/**
 * `perSecond` appends of `size` for `ms`; beside them `bulkBytesPerSecond` in records of 64 KiB by
 * `write`. The loop turns without waiting: a timer's millisecond would hide what is measured.
 * `watch` is told of every append (`onAppend(due, done)`) and every turn (`onTurn(began)`), in ms
 * of `performance.now()`. Refused: the load is more than the disk takes just now; what is refused
 * is dropped, and counted.
 */
export async function openLoop(wal, { perSecond, size, ms, bulkBytesPerSecond = 0 }, watch = {}) {
  const data = Buffer.alloc(size, 0x5a)
  const bulkData = Buffer.alloc(64 << 10, 0x5a)
  const latencies = new Latencies()
  const stats = wal.stats()
  const interval = 1000 / perSecond
  const bulkInterval =
    bulkBytesPerSecond > 0 ? (1000 * bulkData.length) / bulkBytesPerSecond : Infinity
  const refused = { appends: 0, bulk: 0 }
  const pending = []

  async function append(due) {
    try {
      await wal.append(data)
      const done = performance.now()
      latencies.add((done - due) * 1000)
      watch.onAppend?.(due, done)
    } catch (error) {
      if (!isRefusal(error)) throw error
      refused.appends++
    }
  }
  function write() {
    try {
      wal.write(bulkData)
    } catch (error) {
      if (!isRefusal(error)) throw error
      refused.bulk++
    }
  }

  const began = performance.now()
  let due = began
  let bulkDue = began
  let releaseDue = began
  for (let now = began; now < began + ms; now = performance.now()) {
    watch.onTurn?.(now)
    for (; bulkDue <= now; bulkDue += bulkInterval) write()
    for (; due <= now; due += interval) pending.push(append(due))
    if (now >= releaseDue) {
      releaseDue = now + 20
      pending.push(wal.truncateBefore(Math.max(1, wal.durableLsn)))
    }
    await setImmediate()
  }
  await Promise.all(pending)
  return {
    ...latencies.summary(),
    refused,
    written: written(stats, wal.stats()),
    latencies: latencies.pairs(),
  }
}
