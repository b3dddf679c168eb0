// An open loop: appends are due at fixed times, whatever became of those before. A late start
// counts as latency, so a stall is seen by every append that was due while it lasted.
import { written } from './closed-loop.mjs'
import { Latencies } from './statistics.mjs'

const RELEASE_MS = 20

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
  let pending = 0
  let failure

  // What settles is counted, not kept: promises that are held, and one more for every turn, make
  // the collector stop the loop for longer than what is measured.
  function settled(error) {
    pending--
    if (error !== undefined && !isRefusal(error)) failure ??= error
  }
  function append(due) {
    pending++
    wal.append(data).then(
      () => {
        const done = performance.now()
        latencies.add((done - due) * 1000)
        watch.onAppend?.(due, done)
        settled()
      },
      (error) => {
        refused.appends++
        settled(error)
      },
    )
  }
  function write() {
    try {
      wal.write(bulkData)
    } catch (error) {
      if (!isRefusal(error)) throw error
      refused.bulk++
    }
  }
  function release() {
    pending++
    wal.truncateBefore(Math.max(1, wal.durableLsn)).then(() => settled(), settled)
  }

  await new Promise((resolve, reject) => {
    const began = performance.now()
    let due = began
    let bulkDue = began
    let releaseDue = began
    function turn() {
      const now = performance.now()
      watch.onTurn?.(now)
      try {
        if (failure !== undefined) throw failure
        if (now < began + ms) {
          for (; bulkDue <= now; bulkDue += bulkInterval) write()
          for (; due <= now; due += interval) append(due)
          if (now >= releaseDue) {
            releaseDue = now + RELEASE_MS
            release()
          }
        } else if (pending === 0) {
          resolve()
          return
        }
        setImmediate(turn)
      } catch (error) {
        reject(error)
      }
    }
    turn()
  })
  return {
    ...latencies.summary(),
    refused,
    written: written(stats, wal.stats()),
    latencies: latencies.pairs(),
  }
}
