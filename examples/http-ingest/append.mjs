// Back-pressure: wait for room, but not for ever.
import { setTimeout as sleep } from 'node:timers/promises'

/** The log had no room for as long as the caller wanted to wait. Nothing was written. */
export class Overloaded extends Error {
  outcome = 'not-written'
}

/** Appends a batch; while there is no room, waits up to `patienceMs` altogether. */
export async function appendPatiently(wal, records, patienceMs = 1000) {
  const deadline = performance.now() + patienceMs
  for (;;) {
    try {
      return await wal.appendBatch(records)
    } catch (error) {
      // Both mean: not now, and nothing of it was written.
      if (error.code !== 'WAL_BACKPRESSURE' && error.code !== 'WAL_NO_SPACE') throw error
      const leftMs = deadline - performance.now()
      if (leftMs <= 0) throw new Overloaded(error.message)
      const timer = new AbortController()
      await Promise.race([wal.ready(), sleep(leftMs, undefined, { signal: timer.signal })])
      timer.abort()
    }
  }
}
