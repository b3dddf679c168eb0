// What the measured process itself can see of a stall: slow appends, late wake-ups of the event
// loop, garbage collections. Times are wall-clock ms, as strace's are.
import { constants, PerformanceObserver } from 'node:perf_hooks'
import { openLoop } from '../lib/open-loop.mjs'

// Some three times what a wake-up takes that nothing held back.
const LATE_MS = 0.3

const GC_KINDS = {
  [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
  [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weak callbacks',
}

/**
 * An open loop that keeps the appends slower than `slowMs` and everything that may explain them.
 * @returns {Promise<{ slow: Array<[due: number, done: number]>, late: Array<[due: number,
 *   woke: number]>, collections: Array<[from: number, to: number, kind: string]> }>} beside what
 *   `openLoop` returns
 */
export async function watchedLoop(wal, { slowMs, ...load }) {
  const slow = []
  const late = []
  const collections = []
  const origin = performance.timeOrigin
  const observer = new PerformanceObserver((list) => {
    for (const { startTime, duration, detail } of list.getEntries()) {
      const from = origin + startTime
      collections.push([from, from + duration, GC_KINDS[detail?.kind] ?? 'other'])
    }
  })
  observer.observe({ entryTypes: ['gc'] })
  const result = await openLoop(wal, load, {
    onAppend(due, done) {
      if (done - due >= slowMs) slow.push([origin + due, origin + done])
    },
    onWake(due, woke) {
      if (woke - due >= LATE_MS) late.push([origin + due, origin + woke])
    },
  })
  // Observers are told in a later turn.
  await new Promise((resolve) => setTimeout(resolve, 20))
  observer.disconnect()
  return { ...result, slow, late, collections }
}
