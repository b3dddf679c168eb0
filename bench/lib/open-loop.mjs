// An open loop: appends are due at fixed times, whatever became of those before. A late start
// counts as latency, so a stall is seen by every append that was due while it lasted.
import { written } from './closed-loop.mjs'
import { metronome } from './metronome.mjs'
import { Latencies } from './statistics.mjs'

const RELEASE_MS = 20

function isRefusal(error) {
  return error.code === 'WAL_BACKPRESSURE'
}

/**
 * `perSecond` appends of `size` for `ms`; beside them `bulkBytesPerSecond` in records of 64 KiB by
 * `write`. Between two appends the event loop sleeps, until the metronome wakes it; how late it
 * then was is part of every latency, and `wakeUps` counts it alone. `watch` is told of every append
 * (`onAppend(due, done)`) and wake-up (`onWake(due, woke)`), in ms of `performance.now()`. Refused:
 * the load is more than the disk takes just now; what is refused is dropped, and counted.
 */
export async function openLoop(wal, { perSecond, size, ms, bulkBytesPerSecond = 0 }, watch = {}) {
  const data = Buffer.alloc(size, 0x5a)
  const bulkData = Buffer.alloc(64 << 10, 0x5a)
  const latencies = new Latencies()
  const wakeUps = new Latencies()
  const stats = wal.stats()
  const interval = 1000 / perSecond
  const bulkInterval =
    bulkBytesPerSecond > 0 ? (1000 * bulkData.length) / bulkBytesPerSecond : Infinity
  const refused = { appends: 0, bulk: 0 }
  let pending = 0
  let whenSettled
  let failure

  // What settles is counted, not kept: promises that are held, and one more for every append, make
  // the collector stop the loop for longer than what is measured.
  function settled(error) {
    pending--
    if (error !== undefined && !isRefusal(error)) failure ??= error
    if (pending === 0) whenSettled?.()
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

  let bulkDue
  let releaseDue = 0
  const { lateMs } = await metronome({ perSecond, ms }, (due, count) => {
    const now = performance.now()
    if (failure !== undefined) throw failure
    wakeUps.add((now - due) * 1000)
    watch.onWake?.(due, now)
    bulkDue ??= due
    for (; bulkDue <= now; bulkDue += bulkInterval) write()
    for (let i = 0; i < count; i++) append(due + i * interval)
    if (now >= releaseDue) {
      releaseDue = now + RELEASE_MS
      release()
    }
  })
  await new Promise((resolve) => {
    whenSettled = resolve
    if (pending === 0) resolve()
  })
  if (failure !== undefined) throw failure
  return {
    ...latencies.summary(),
    refused,
    written: written(stats, wal.stats()),
    latencies: latencies.pairs(),
    wakeUps: wakeUps.pairs(),
    metronomeLateMs: lateMs,
  }
}
