// What is measured, phase by phase. Each gives rows: one contender in one cell, summarized over the
// rounds; ratios are to the raw probe's slice of the same round.
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { median, pool, summarize } from '../lib/statistics.mjs'

export const SIZES = [100, 1 << 10, 4 << 10, 64 << 10]
export const IN_FLIGHT = [1, 8, 64, 128, 1024]
const BATCH_RECORDS = 1000
const QUEUE_BYTES = 64 << 20
const QUEUE_RECORDS = 300_000
const REPLAY_BYTES = 128 << 20
const OPEN_PARTS = [0.1, 0.5, 0.8]
const OVERRUN_PART = 0.2
const WARM_UP_MS = 600
const OPEN_RATES = [2_000, 20_000, 100_000]

/** Rounds of one cell, by contender: pairs of the probe's slice and the contender's. */
async function cell(contest, rounds, slice, first = 0) {
  const byName = new Map()
  // One round to warm up.
  for (let index = -1; index < rounds; index++) {
    const { probe, results } = await contest.round(index + 1 + first, slice)
    if (index < 0) continue
    for (const [name, result] of results) {
      byName.set(name, [...(byName.get(name) ?? []), { probe, result }])
    }
  }
  return byName
}

/** The figures that all loads have in common. */
function row(phase, name, rounds, facts) {
  const rate = ({ result }) => result.count / result.seconds
  const rawRate = ({ probe }) => probe.count / probe.seconds
  const of = (value) => summarize(rounds.map(value))
  const out = {
    phase,
    contender: name,
    ...facts,
    perSecond: of(rate),
    ratio: of((one) => rate(one) / rawRate(one)),
    cpuMicrosPerRecord: of(({ result }) => result.cpuMicros / result.count),
    rawPerSecond: of(rawRate),
    rawP50: median(rounds.map(({ probe }) => probe.p50)),
  }
  if (rounds[0].result.latencies === undefined) return out
  return { ...out, latency: pool(rounds.map(({ result }) => result.latencies)) }
}

const rowsOf = (phase, byName, facts) =>
  [...byName].map(([name, rounds]) => row(phase, name, rounds, facts))

/** Closed loops; resident memory at its highest over all of them. */
export async function closed(contest, { rounds, sliceMs, sizes, inFlight }) {
  return contest.withContenders(async () => {
    const rows = []
    let first = 0
    for (const size of sizes) {
      for (const count of inFlight) {
        const options = { inFlight: count, size, ms: sliceMs }
        const byName = await cell(contest, rounds, () => ['closedLoop', options], first++)
        rows.push(...rowsOf('closed', byName, { size, inFlight: count }))
      }
      const peaks = await contest.call('peakBytes')
      for (const [name, { value, residentBefore }] of peaks) {
        rows.push({ phase: 'memory', contender: name, size, peak: value, residentBefore })
      }
      await contest.call('resetPeak')
    }
    return rows
  })
}

/** One sync for every 1000 records. */
export async function batches(contest, { rounds, sliceMs, sizes }) {
  return contest.withContenders(async () => {
    const rows = []
    for (const [first, size] of sizes.entries()) {
      const options = { records: BATCH_RECORDS, size, ms: sliceMs }
      const byName = await cell(contest, rounds, () => ['batches', options], first)
      rows.push(...rowsOf('batches', byName, { size, records: BATCH_RECORDS }))
    }
    return rows
  })
}

/** Queued, one sync at the end. */
export async function queued(contest, { rounds, sizes, scale }) {
  return contest.withContenders(async () => {
    const rows = []
    for (const [first, size] of sizes.entries()) {
      const most = Math.min(QUEUE_RECORDS, QUEUE_BYTES / size)
      const records = Math.max(1000, Math.floor(most * scale))
      const byName = await cell(contest, rounds, () => ['queued', { records, size }], first)
      rows.push(...rowsOf('queued', byName, { size, records }))
    }
    return rows
  })
}

/** The delay of the event loop above that of the same process doing nothing. */
export async function delay(contest, { rounds, sliceMs }) {
  const few = Math.max(3, Math.ceil(rounds / 3))
  const options = (inFlight) => ({ inFlight, size: 100, ms: 3 * sliceMs })
  return contest.withContenders(async () => {
    const rows = []
    for (let index = 0; index < few; index++) {
      const idle = await contest.round(index, () => ['loopDelay', options(0)])
      const busy = await contest.round(index, () => ['loopDelay', options(64)])
      for (const [name, { p99, max }] of busy.results) {
        const still = idle.results.get(name)
        if (still !== undefined) rows.push({ name, above: p99 - still.p99, max })
      }
    }
    return [...new Set(rows.map(({ name }) => name))].map((name) => {
      const own = rows.filter((one) => one.name === name)
      return {
        phase: 'delay',
        contender: name,
        p99AboveIdleMs: summarize(own.map(({ above }) => above)),
        maxMs: Math.max(...own.map(({ max }) => max)),
      }
    })
  })
}

/** An open loop of 100-byte records at one rate for each contender. */
async function openCell(contest, { rounds, openMs }, facts, rateOf, first) {
  const byName = await cell(
    contest,
    rounds,
    (name) => {
      const perSecond = rateOf(name)
      if (!(perSecond > 0)) return undefined
      return ['openLoop', { perSecond, size: 100, ms: openMs }]
    },
    first,
  )
  return [...byName].map(([name, all]) => {
    const lost = all.reduce((sum, { result }) => sum + result.dropped + result.refused, 0)
    const overrunMs = median(all.map(({ result }) => result.overrunMs))
    return {
      phase: 'open',
      contender: name,
      ...facts,
      perSecond: rateOf(name),
      latency: pool(all.map(({ result }) => result.latencies)),
      rawP999: pool(all.map(({ probe }) => probe.latencies)).p999,
      lost,
      // What is still under way long after the last one was due was more than it can take.
      overloaded: lost > 0 || overrunMs > OVERRUN_PART * openMs,
    }
  })
}

/** Fixed arrival rates: parts of each one's own closed-loop maximum, and the same for all. */
export async function open(contest, settings, { closedRows }) {
  const few = { ...settings, rounds: Math.max(2, Math.ceil(settings.rounds / 4)) }
  return contest.withContenders(async () => {
    const maximum = new Map()
    for (const { contender, size, perSecond } of closedRows) {
      if (size !== 100) continue
      maximum.set(contender, Math.max(maximum.get(contender) ?? 0, perSecond.median))
    }
    // These processes are new: a rate that comes before their code is compiled would leave whoever
    // is first behind for the rest of a slice.
    const options = { inFlight: 1024, size: 100, ms: WARM_UP_MS }
    for (const [name, all] of await cell(contest, 1, () => ['closedLoop', options])) {
      if (!maximum.has(name)) maximum.set(name, all[0].result.count / all[0].result.seconds)
    }
    const rows = []
    let first = 0
    for (const part of OPEN_PARTS) {
      const rateOf = (name) => Math.round(part * (maximum.get(name) ?? 0))
      rows.push(...(await openCell(contest, few, { part }, rateOf, first++)))
    }
    for (const perSecond of OPEN_RATES) {
      rows.push(...(await openCell(contest, few, {}, () => perSecond, first++)))
    }
    return rows
  })
}

/** Replays of what a former process wrote, in a new one, the page cache emptied before. */
export async function replay(contest, { rounds, scale }) {
  const parent = mkdtempSync(join(contest.directory, 'replay-'))
  const few = Math.max(2, Math.ceil(rounds / 4))
  const rows = []
  try {
    for (const size of [100, 4 << 10]) {
      const records = Math.floor((REPLAY_BYTES * scale) / size)
      const runs = new Map(contest.standing.map((name) => [name, []]))
      const places = new Map()
      for (const name of runs.keys()) {
        places.set(name, await contest.filled(name, parent, { records, size }))
      }
      for (let index = 0; index < few; index++) {
        const order = [...runs.keys()]
        const rotated = [
          ...order.slice(index % order.length),
          ...order.slice(0, index % order.length),
        ]
        for (const name of rotated) {
          try {
            const result = await contest.cold(name, places.get(name), (subject) =>
              subject.call('replay'),
            )
            if (result.count !== records) throw new Error(`${result.count} of ${records} records`)
            runs.get(name).push({ probe: await contest.probe.commit(20), result })
          } catch (error) {
            contest.note(name, error)
            runs.delete(name)
          }
        }
      }
      for (const [name, all] of runs) {
        const residentPages = Math.max(...all.map(({ result }) => result.residentPages))
        rows.push(row('replay', name, all, { size, records, residentPages }))
      }
      for (const place of places.values()) rmSync(place, { recursive: true, force: true })
    }
  } finally {
    rmSync(parent, { recursive: true, force: true })
  }
  return rows
}
