// How late the event loop is, doing nothing, appending or replaying.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { closedLoop } from './closed-loop.mjs'
import { Replay } from './replay.mjs'

/** Percentiles of a timer of 1 ms, in ms: the timer's own millisecond is part of them. */
async function watch(work) {
  const histogram = monitorEventLoopDelay({ resolution: 1 })
  histogram.enable()
  await work()
  histogram.disable()
  return {
    p50: histogram.percentile(50) / 1e6,
    p99: histogram.percentile(99) / 1e6,
    max: histogram.max / 1e6,
    count: histogram.count,
  }
}

/**
 * @param {'idle' | 'append' | 'batches' | 'records'} load 64 appends of 100 bytes in flight, or a
 *   replay as fast as it goes
 */
export async function loopDelay(wal, { load, ms }) {
  if (load === 'idle') return watch(() => new Promise((resolve) => setTimeout(resolve, ms)))
  if (load === 'append') return watch(() => closedLoop(wal, { inFlight: 64, size: 100, ms }))
  const replay = new Replay(wal, load)
  const result = await watch(() => replay.run({ ms }))
  await replay.stop()
  return result
}
