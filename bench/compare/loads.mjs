// The loads, the same for every contender. Times of a slice do not include giving space back.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { metronome } from '../lib/metronome.mjs'
import { Latencies } from '../lib/statistics.mjs'

// Of many lanes every eighth one takes the time: a clock call per append would be 3% of its cost.
const TIMED_EVERY = 8
// An open loop that is this far behind is not going to catch up.
const MOST_PENDING = 200_000

/** Runs `work`; its result with the process's user and system time meanwhile. */
async function withCpu(work) {
  const before = process.resourceUsage()
  const began = performance.now()
  const result = await work()
  const seconds = (performance.now() - began) / 1000
  const after = process.resourceUsage()
  const cpuMicros =
    after.userCPUTime - before.userCPUTime + (after.systemCPUTime - before.systemCPUTime)
  return { seconds, cpuMicros, ...result }
}

/** `inFlight` lanes, each `for (…) await append(data)`, for `ms`; the last appends included. */
async function lanes(contender, { inFlight, size, ms }) {
  const data = Buffer.alloc(size, 0x5a)
  const latencies = new Latencies()
  let running = true
  let count = 0
  async function lane() {
    for (; running; count++) await contender.append(data)
  }
  async function timedLane() {
    let before = performance.now()
    for (; running; count++) {
      await contender.append(data)
      const after = performance.now()
      latencies.add((after - before) * 1000)
      before = after
    }
  }
  const all = Array.from({ length: inFlight }, (_, i) =>
    inFlight <= TIMED_EVERY || i % TIMED_EVERY === 0 ? timedLane() : lane(),
  )
  await sleep(ms)
  running = false
  await Promise.all(all)
  return { count, latencies: latencies.pairs() }
}

export async function closedLoop(contender, options) {
  const result = await withCpu(() => lanes(contender, options))
  await contender.recycle()
  return result
}

/**
 * A closed loop of `ms` with the delay of the event loop watched; `inFlight` 0: nothing is done.
 */
export async function loopDelay(contender, { inFlight, size, ms }) {
  const histogram = monitorEventLoopDelay({ resolution: 1 })
  histogram.enable()
  if (inFlight === 0) await sleep(ms)
  else await lanes(contender, { inFlight, size, ms })
  histogram.disable()
  await contender.recycle()
  const [p50, p99] = [50, 99].map((part) => histogram.percentile(part) / 1e6)
  return { p50, p99, max: histogram.max / 1e6 }
}

/**
 * Appends due at fixed times, whatever became of those before; a latency counts from when it was
 * due. Between two appends the event loop is free, and sleeps if nothing else is to be done.
 */
export async function openLoop(contender, { perSecond, size, ms }) {
  const data = Buffer.alloc(size, 0x5a)
  const latencies = new Latencies()
  const interval = 1000 / perSecond
  let pending = 0
  let dropped = 0
  const failed = []
  function append(due) {
    if (pending >= MOST_PENDING) {
      dropped++
      return
    }
    pending++
    contender.append(data).then(
      () => {
        pending--
        latencies.add((performance.now() - due) * 1000)
      },
      (error) => {
        pending--
        failed.push(error.code ?? error.message)
      },
    )
  }
  const result = await withCpu(async () => {
    const { began } = await metronome({ perSecond, ms }, (due, count) => {
      for (let i = 0; i < count; i++) append(due + i * interval)
    })
    while (pending > 0) await sleep(1)
    return { overrunMs: performance.now() - (began + ms) }
  })
  await contender.recycle()
  const refused = failed.length
  if (failed.some((code) => code !== 'WAL_BACKPRESSURE')) throw new Error(failed[0])
  return { ...result, latencies: latencies.pairs(), dropped, refused }
}

/** Batches of `records`, one sync each, for `ms`. */
export async function batches(contender, { records, size, ms }) {
  const data = Buffer.alloc(size, 0x5a)
  const result = await withCpu(async () => {
    const until = performance.now() + ms
    let count = 0
    while (count === 0 || performance.now() < until) {
      await contender.batch(data, records)
      count += records
    }
    return { count }
  })
  await contender.recycle()
  return result
}

/** `records` queued, one sync at the end. */
export async function queued(contender, { records, size }) {
  const data = Buffer.alloc(size, 0x5a)
  const result = await withCpu(async () => {
    await contender.queue(data, records)
    return { count: records }
  })
  await contender.recycle()
  return result
}

/** Fills for a replay; nothing is given back. */
export async function fill(contender, { records, size }) {
  await contender.queue(Buffer.alloc(size, 0x5a), records)
}

/** One replay of everything. */
export function replay(contender) {
  return withCpu(async () => {
    const { records, sum } = await contender.replay()
    return { count: records, sum }
  })
}
