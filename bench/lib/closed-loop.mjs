// A closed loop: n appends are always on their way; each one that is answered starts the next.
import { Latencies } from './statistics.mjs'

// Of many lanes every eighth one takes the time: a clock call per append would be 3% of its cost.
const TIMED_EVERY = 8

/** What the log wrote between two `stats()`. */
export function written(before, after) {
  return {
    groups: after.groups - before.groups,
    groupBytes: after.groupBytes - before.groupBytes,
    payloadBytes: after.payloadBytes - before.payloadBytes,
    zeroedBytes: after.zeroedBytes - before.zeroedBytes,
    wakes: after.wakes - before.wakes,
    secondSlot: after.secondSlot - before.secondSlot,
    rotations: after.rotations - before.rotations,
  }
}

/** `inFlight` lanes, each `for (…) await wal.append(data)`, for `ms`. */
export async function closedLoop(wal, { inFlight, size, ms }) {
  const data = Buffer.alloc(size, 0x5a)
  const latencies = new Latencies()
  let running = true
  let count = 0

  async function lane() {
    for (; running; count++) await wal.append(data)
  }
  async function timedLane() {
    let before = performance.now()
    for (; running; count++) {
      await wal.append(data)
      const after = performance.now()
      latencies.add((after - before) * 1000)
      before = after
    }
  }

  const stats = wal.stats()
  const cpuBefore = process.cpuUsage()
  const began = performance.now()
  const measured = new Promise((resolve) => {
    setTimeout(() => {
      running = false
      const { user, system } = process.cpuUsage(cpuBefore)
      const seconds = (performance.now() - began) / 1000
      resolve({ count, seconds, cpuMicros: user + system })
    }, ms)
  })
  const lanes = []
  for (let i = 0; i < inFlight; i++) {
    lanes.push(inFlight <= TIMED_EVERY || i % TIMED_EVERY === 0 ? timedLane() : lane())
  }
  await Promise.all(lanes)
  const result = await measured
  const wrote = written(stats, wal.stats())
  return { ...latencies.summary(), ...result, written: wrote, latencies: latencies.pairs() }
}

/** `appendSync`, one after the other, for `ms`. */
export function oneInFlightSync(wal, { size, ms }) {
  const data = Buffer.alloc(size, 0x5a)
  const latencies = new Latencies()
  const stats = wal.stats()
  const cpuBefore = process.cpuUsage()
  const began = performance.now()
  let before = began
  let count = 0
  for (; before < began + ms; count++) {
    wal.appendSync(data)
    const after = performance.now()
    latencies.add((after - before) * 1000)
    before = after
  }
  const { user, system } = process.cpuUsage(cpuBefore)
  return {
    ...latencies.summary(),
    count,
    seconds: (before - began) / 1000,
    cpuMicros: user + system,
    written: written(stats, wal.stats()),
    latencies: latencies.pairs(),
  }
}
