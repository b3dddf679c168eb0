// What the measured process itself can see of a stall: slow appends, late turns of the event loop,
// garbage collections. Times are wall-clock ms, as strace's are.
import { constants, PerformanceObserver } from 'node:perf_hooks'
import { openLoop } from '../lib/open-loop.mjs'

// A turn that took longer held back everything due meanwhile.
const LATE_TURN_MS = 0.5

const GC_KINDS = {
  [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
  [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weak callbacks',
}

/**
 * An open loop that keeps the appends slower than `slowMs` and everything that may explain them.
 * @returns {Promise<{ slow: Array<[due: number, done: number]>, turns: Array<[from: number,
 *   to: number]>, collections: Array<[from: number, to: number, kind: string]> }>} beside what
 *   `openLoop` returns
 */
export async function watchedLoop(wal, { slowMs, ...load }) {
  const slow = []
  const turns = []
  const collections = []
  const origin = performance.timeOrigin
  const observer = new PerformanceObserver((list) => {
    for (const { startTime, duration, detail } of list.getEntries()) {
      const from = origin + startTime
      collections.push([from, from + duration, GC_KINDS[detail?.kind] ?? 'other'])
    }
  })
  observer.observe({ entryTypes: ['gc'] })
  let last
  const result = await openLoop(wal, load, {
    onAppend(due, done) {
      if (done - due >= slowMs) slow.push([origin + due, origin + done])
    },
    onTurn(began) {
      if (last !== undefined && began - last >= LATE_TURN_MS)
        turns.push([origin + last, origin + began])
      last = began
    },
  })
  // Observers are told in a later turn.
  await new Promise((resolve) => setTimeout(resolve, 20))
  observer.disconnect()
  return { ...result, slow, turns, collections }
}
