// Awaited appends: T1 to T4, T13, and T15 as far as it concerns them.
import { over } from './pairing.mjs'
import { micros, number, percentiles } from './report.mjs'
import { median, pool } from './statistics.mjs'

const SIZE = 100

function probeLine(pairs) {
  const raw = pool(pairs.map(({ probe }) => probe.latencies))
  const rate = median(pairs.map(({ probe }) => probe.count / probe.seconds))
  const cpu = median(pairs.map(({ probe }) => probe.cpuMicros / probe.count))
  return `raw commit: ${number(rate)}/s, ${percentiles(raw)}, CPU ${micros(cpu)}`
}

function subjectLine(pairs) {
  const all = pool(pairs.map(({ subject }) => subject.latencies))
  const rate = median(pairs.map(({ subject }) => subject.count / subject.seconds))
  const { written, count } = pairs.at(-1).subject
  const perGroup = (count / written.groups).toFixed(1)
  return `stonelog: ${number(rate)}/s, ${percentiles(all)}, ${perGroup} records a group`
}

/** CPU per append (T13) and bytes on the disk per byte of payload (T15), of the same slices. */
function addCosts(session, name, pairs) {
  const cpu = over(pairs, ({ subject }) => subject.cpuMicros / subject.count)
  session.add({ id: 'T13', name: `CPU, ${name}`, unit: 'us an append', value: cpu, beside: [] })
  const value = over(pairs, ({ subject: { written } }) => written.groupBytes / written.payloadBytes)
  session.add({ id: 'T15', name: `bytes written, ${name}`, unit: 'x payload', value, beside: [] })
}

function addLatency(session, id, name, pairs, target) {
  const value = over(pairs, ({ probe, subject }) => subject.p50 / probe.p50)
  const beside = [subjectLine(pairs), probeLine(pairs)]
  session.add({ id, name: `${name}, p50`, unit: 'x raw commit p50', value, target, beside })
  addCosts(session, name, pairs)
}

function addRate(session, id, name, pairs, target) {
  const rate = ({ count, seconds }) => count / seconds
  const value = over(pairs, ({ probe, subject }) => rate(subject) / rate(probe))
  const beside = [subjectLine(pairs), probeLine(pairs)]
  session.add({ id, name, unit: 'x raw commits/s', value, target, beside })
  addCosts(session, name, pairs)
}

/** A closed loop in interleaved slices; `growing`: no segment is released and used again. */
function closedLoops(session, inFlight, growing) {
  return session.withLog({}, async (subject) => {
    if (!growing) await subject.call('recycle')
    return session.pairs(session.commit, async () => {
      const slice = { inFlight, size: SIZE, ms: session.settings.sliceMs }
      const result = await subject.call('closedLoop', slice)
      if (!growing) await subject.call('truncate')
      return result
    })
  })
}

async function oneInFlight(session, growing) {
  const name = `append, 1 in flight, 100 B${growing ? ', growing' : ''}`
  addLatency(session, 'T1', name, await closedLoops(session, 1, growing), ['<=', 1.15])
}

async function manyInFlight(session, inFlight, target, growing = false) {
  const name = `append, ${inFlight} in flight, 100 B${growing ? ', growing' : ''}`
  const id = inFlight >= 1024 ? 'T4' : 'T3'
  addRate(session, id, name, await closedLoops(session, inFlight, growing), target)
}

async function sync(session) {
  const pairs = await session.withLog({}, async (subject) => {
    await subject.call('recycle')
    return session.pairs(session.commit, async () => {
      const slice = { size: SIZE, ms: session.settings.sliceMs }
      const result = await subject.call('oneInFlightSync', slice)
      await subject.call('truncate')
      return result
    })
  })
  addLatency(session, 'T2', 'appendSync, 100 B', pairs, ['<=', 1.05])
}

/** What an open log costs while nothing happens: against a process of the same kind without one. */
async function idle(session) {
  const ms = 200
  await session.withSubject((other) =>
    session.withLog({}, async (subject) => {
      await subject.call('closedLoop', { inFlight: 64, size: SIZE, ms: 100 })
      const commits = []
      const pairs = await session.pairs(
        async () => {
          commits.push({ probe: await session.commit() })
          return other.call('idle', { ms })
        },
        () => subject.call('idle', { ms }),
        Math.min(12, session.settings.slices),
      )
      const perSecond = ({ cpuMicros }) => cpuMicros / (ms / 1000)
      const value = over(pairs, ({ probe, subject }) => perSecond(subject) - perSecond(probe))
      const without = median(pairs.map(({ probe }) => perSecond(probe)))
      session.add({
        id: 'T13',
        name: 'CPU of an idle log, above a process without one',
        unit: 'us a second',
        value,
        beside: [`without a log: ${number(without)} us a second`, probeLine(commits)],
      })
    }),
  )
}

const WORKER_COUNTS = [1, 2, 4, 8]
const WORKER_ROUNDS = 3
/** Every thread compiles its own code: what that takes belongs to nobody. */
const WORKER_WARM_UP_MS = 600
/** Threads that bring their own load, and threads that share one. */
const WORKER_LOADS = [
  { name: '64 in flight each', inFlightTotal: (count) => 64 * count, isTarget: true },
  { name: '256 in flight in all', inFlightTotal: () => 256, isTarget: false },
]

/** Slices of 1, 2, 4 and 8 threads in turn, by load; a crew lives for a third of its slices. */
async function workerSlices(session, subject, directory) {
  const slices = WORKER_LOADS.map(() => WORKER_COUNTS.map(() => []))
  const { sliceMs: ms } = session.settings
  const most = Math.ceil(session.settings.slices / WORKER_ROUNDS)
  for (let round = 0; round < WORKER_ROUNDS; round++) {
    for (const [index, count] of WORKER_COUNTS.entries()) {
      await subject.call('startCrew', { count, directory })
      for (const [which, { inFlightTotal }] of WORKER_LOADS.entries()) {
        const slice = { inFlightTotal: inFlightTotal(count), size: SIZE, ms }
        const work = () => subject.call('workCrew', slice)
        await subject.call('workCrew', { ...slice, ms: WORKER_WARM_UP_MS })
        slices[which][index].push(...(await session.pairs(session.commit, work, most)))
      }
      await subject.call('stopCrew')
    }
  }
  return slices
}

async function workers(session) {
  const slices = await session.withSubject((subject, directory) =>
    workerSlices(session, subject, directory),
  )
  const ratio = ({ probe, subject }) => subject.perSecond / (probe.count / probe.seconds)
  for (const [which, { name, isTarget }] of WORKER_LOADS.entries()) {
    const single = median(slices[which][0].map(ratio))
    for (const [index, count] of WORKER_COUNTS.entries()) {
      const pairs = slices[which][index]
      const rate = median(pairs.map(({ subject }) => subject.perSecond))
      const p99 = median(pairs.map(({ subject }) => subject.p99))
      session.add({
        id: isTarget ? 'T14' : '-',
        name: `append, worker threads: ${count}, ${name}`,
        unit: 'x raw commits/s',
        value: over(pairs, ratio),
        target: isTarget && count > 1 ? ['>=', single] : undefined,
        beside: [`stonelog: ${number(rate)}/s, p99 ${micros(p99)}`, probeLine(pairs)],
      })
    }
  }
}

export const appendWorkloads = {
  'append-1': (session) => oneInFlight(session, false),
  'append-1-growing': (session) => oneInFlight(session, true),
  'append-sync': sync,
  'append-8': (session) => manyInFlight(session, 8, ['>=', 7]),
  'append-64': (session) => manyInFlight(session, 64, ['>=', 42]),
  'append-64-growing': (session) => manyInFlight(session, 64, ['>=', 42], true),
  'append-128': (session) => manyInFlight(session, 128),
  'append-1024': (session) => manyInFlight(session, 1024, ['>=', 200]),
  idle,
  workers,
}
