#!/usr/bin/env node
// How costs grow with the log: appends over 100 GiB of recycled space, and opening, verifying and
// reading a log of ten thousand segments. See docs/performance.md.
//
//   node bench/growth.mjs [--quick] [--only recycled,segments] [--gib N] [--segments N] [--dir DIR]
//                         [--json FILE] [--plots DIR]
//
// The disk needs room for some 1.5 GiB, whatever --gib says: released segments are used again.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from '../scripts/build.mjs'
import { linePlot } from './compare/plots.mjs'
import { facts, headerLines, refuseMemoryFileSystem, UsageError } from './lib/facts.mjs'
import { Probe } from './lib/probe.mjs'
import { micros, number } from './lib/report.mjs'
import { median } from './lib/statistics.mjs'
import { Subject } from './lib/subject.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const GIB = 2 ** 30
const STEPS = 20
const SLICES = 5
const SLICE_MS = 100
// Short, so that the appends themselves hardly make the log grow.
const SHORT_SLICE_MS = 10
const SMALLEST_SEGMENT = 128 << 10
const RUNS = ['recycled', 'segments']

function readArguments() {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      gib: { type: 'string' },
      segments: { type: 'string' },
      dir: { type: 'string', default: join(root, 'build/bench') },
      json: { type: 'string', default: join(root, 'build/bench/growth.json') },
      plots: { type: 'string', default: join(root, 'build/bench/plots') },
    },
  })
  const only = values.only?.split(',') ?? RUNS
  const unknown = only.find((name) => !RUNS.includes(name))
  if (unknown !== undefined) throw new UsageError(`no run "${unknown}": ${RUNS.join(', ')}`)
  const gib = Number(values.gib ?? (values.quick ? 2 : 100))
  const segments = Number(values.segments ?? (values.quick ? 300 : 10_000))
  if (!(gib > 0 && segments >= 10)) {
    throw new UsageError('--gib is a number, --segments one from 10 on')
  }
  return { ...values, only, gib, segments, steps: values.quick ? 4 : STEPS }
}

/** Slices of appends beside raw commits; medians. */
async function appendCost(probe, subject, inFlight, ms = SLICE_MS) {
  const slices = []
  for (let i = 0; i < SLICES; i++) {
    const raw = await probe.commit(ms)
    const own = await subject.call('closedLoop', { inFlight, size: 100, ms })
    slices.push({ raw, own })
  }
  const of = (value) => median(slices.map(value))
  return {
    perSecond: of(({ own }) => own.count / own.seconds),
    ratio: of(({ raw, own }) => own.count / own.seconds / (raw.count / raw.seconds)),
    cpuMicros: of(({ own }) => own.cpuMicros / own.count),
    p50: of(({ own }) => own.p50),
    p99: of(({ own }) => own.p99),
    rawP50: of(({ raw }) => raw.p50),
  }
}

/** Appends after every further part of so many GiB, which truncation releases as they come. */
async function recycled(probe, directory, { gib, steps }) {
  const subject = new Subject()
  const rows = []
  try {
    await subject.call('open', { directory, options: {} })
    await subject.call('recycle')
    for (let step = 0; step <= steps; step++) {
      let bulk
      if (step > 0) {
        const bytes = (gib * GIB) / steps
        bulk = await subject.call('passBytes', { size: 64 << 10, bytes })
      }
      const one = await appendCost(probe, subject, 1)
      const many = await appendCost(probe, subject, 64)
      await subject.call('truncate')
      const { segments } = await subject.call('stats')
      const resident = await subject.call('residentBytes')
      const written = (gib * step) / steps
      rows.push({ written, one, many, bytesPerSecond: bulk?.bytesPerSecond, segments, resident })
      console.log(
        `${written.toFixed(1)} GiB: 1 in flight ${one.ratio.toFixed(2)} x raw, p50 ${micros(one.p50)}; ` +
          `64: ${many.ratio.toFixed(1)} x, p99 ${micros(many.p99)}, CPU ${many.cpuMicros.toFixed(2)} us; ` +
          `bulk ${number(bulk?.bytesPerSecond ?? Number.NaN)}B/s; ${(resident / 2 ** 20).toFixed(0)} MiB resident`,
      )
    }
    await subject.call('close')
  } finally {
    await subject.stop()
    rmSync(directory, { recursive: true, force: true })
  }
  return rows
}

/** Powers of ten and three times them, up to `most`. */
function milestones(most) {
  const counts = []
  for (let power = 10; power < most; power *= 10) counts.push(power, 3 * power)
  return [...counts.filter((count) => count < most), most]
}

/** What a log of so many segments costs: a new process each for opening, verifying and reading. */
async function look(probe, directory, options) {
  const fresh = async (work) => {
    const subject = new Subject()
    try {
      return await work(subject)
    } finally {
      await subject.stop()
    }
  }
  const opens = []
  for (let i = 0; i < SLICES; i++) {
    opens.push(
      await fresh(async (subject) => {
        const before = await subject.call('residentBytes')
        const { ms } = await subject.call('open', { directory, options })
        const resident = (await subject.call('residentBytes')) - before
        const { segments: own } = await subject.call('stats')
        const closed = await subject.call('close')
        return { ms, closeMs: closed.ms, resident, count: own.live }
      }),
    )
  }
  const verify = await fresh((subject) => subject.call('verify', { directory }))
  const reads = await fresh(async (subject) => {
    await subject.call('open', { directory, options })
    const result = await subject.call('randomReads', { count: 200 })
    const append = await appendCost(probe, subject, 64, SHORT_SLICE_MS)
    await subject.call('close')
    return { ...result, append }
  })
  const of = (value) => median(opens.map(value))
  return {
    count: of(({ count }) => count),
    openMs: of(({ ms }) => ms),
    closeMs: of(({ closeMs }) => closeMs),
    resident: of(({ resident }) => resident),
    verifyMs: verify.ms,
    readP50: reads.p50,
    readP99: reads.p99,
    append: reads.append,
  }
}

/** A log whose segments are as small as they can be, grown step by step. */
async function segments(probe, directory, { segments: most }) {
  const options = { segmentBytes: SMALLEST_SEGMENT, minFreeBytes: 0 }
  const rows = []
  try {
    for (const count of milestones(most)) {
      const writer = new Subject()
      try {
        await writer.call('open', { directory, options })
        await writer.call('growTo', { segments: count })
        await writer.call('close')
      } finally {
        await writer.stop()
      }
      const row = await look(probe, directory, options)
      rows.push(row)
      console.log(
        `${row.count} segments: open ${row.openMs.toFixed(1)} ms, close ${row.closeMs.toFixed(1)} ms, ` +
          `verify ${row.verifyMs.toFixed(0)} ms, read from anywhere p50 ${micros(row.readP50)}, ` +
          `p99 ${micros(row.readP99)}; 64 appends in flight ${row.append.ratio.toFixed(1)} x raw; ` +
          `${(row.resident / 2 ** 20).toFixed(1)} MiB for the open log`,
      )
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
  return rows
}

function plots({ recycled: space, segments: counts }) {
  const files = {}
  if (space !== undefined) {
    files['growth-recycled.svg'] = linePlot({
      title: 'Appends over a long life in recycled space',
      xTitle: 'GiB written',
      yTitle: 'x raw commits/s',
      yLog: true,
      series: [
        { name: '1 in flight', points: space.map(({ written, one }) => [written, one.ratio]) },
        { name: '64 in flight', points: space.map(({ written, many }) => [written, many.ratio]) },
      ],
    })
  }
  if (counts !== undefined) {
    const series = (name, value) => ({ name, points: counts.map((row) => [row.count, value(row)]) })
    files['growth-segments.svg'] = linePlot({
      title: 'A log of many segments of 128 KiB',
      xTitle: 'segments',
      yTitle: 'ms',
      xLog: true,
      yLog: true,
      series: [
        series('open', ({ openMs }) => openMs),
        series('close', ({ closeMs }) => closeMs),
        series('verify', ({ verifyMs }) => verifyMs),
        series('read, p50', ({ readP50 }) => readP50 / 1000),
        series('append, p50', ({ append }) => append.p50 / 1000),
      ],
    })
  }
  return files
}

async function main() {
  const given = readArguments()
  const directory = resolve(given.dir)
  mkdirSync(directory, { recursive: true })
  refuseMemoryFileSystem(directory)
  const [line] = await build(['probe'], { log: () => {} })
  if (line.startsWith('SKIPPED')) throw new UsageError(`no figures without the raw probe: ${line}`)
  const work = join(directory, `growth-${process.pid}`)
  mkdirSync(work)
  const probe = new Probe(join(root, 'build/release/raw-probe'), work)
  try {
    const header = facts(await probe.info(), { slices: SLICES, sliceMs: SLICE_MS })
    for (const text of headerLines(header)) console.log(text)
    const results = {}
    for (const run of given.only) {
      const measure = run === 'recycled' ? recycled : segments
      results[run] = await measure(probe, join(work, run), given)
    }
    mkdirSync(given.plots, { recursive: true })
    for (const [name, svg] of Object.entries(plots(results))) {
      writeFileSync(join(given.plots, name), svg)
    }
    writeFileSync(given.json, `${JSON.stringify({ ...header, ...results }, null, 2)}\n`)
    console.log(`written: ${given.json}, ${given.plots}`)
  } finally {
    await probe.stop()
    rmSync(work, { recursive: true, force: true })
  }
}

main().catch((error) => {
  console.error(error instanceof UsageError ? error.message : error)
  process.exitCode = 1
})
