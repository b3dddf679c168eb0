#!/usr/bin/env node
// Where the stalls of an open loop across rotations come from (T11): slow appends are laid over the
// system calls of stonelog's threads, late wake-ups of the event loop and garbage collections; raw
// commits run alone and beside each thing that rotation does. See docs/performance.md.
//
//   node bench/stalls.mjs [--ms N] [--segment-mib N] [--bulk-mb N] [--per-second N] [--slices N]
//                         [--slow-ms N] [--dir DIR] [--json FILE] [--no-trace]
//
// strace costs each traced call some 10 us, so percentiles are taken from slices without it.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from '../scripts/build.mjs'
import { facts, headerLines, refuseMemoryFileSystem, UsageError } from './lib/facts.mjs'
import { Probe } from './lib/probe.mjs'
import { micros, percentiles } from './lib/report.mjs'
import { pool } from './lib/statistics.mjs'
import { PROGRAM, Subject } from './lib/subject.mjs'
import { causeOf, explain, stallsOf } from './stalls/causes.mjs'
import { callsOf, TRACED, tellZeroing } from './stalls/trace.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const MIB = 1 << 20
const KINDS = ['overwrite', 'zero', 'zero-here', 'sync', 'create', 'name', 'unlink', 'punch']
const BULK_KINDS = new Set(['overwrite', 'zero', 'zero-here', 'sync'])
const PIECE_BYTES = 512 << 10
const ROTATING = 'stonelog, rotating'
const RAW = 'raw, alone'

function readArguments() {
  const number = (value) => ({ type: 'string', default: String(value) })
  const { values } = parseArgs({
    allowNegative: true,
    options: {
      ms: number(4000),
      'segment-mib': number(8),
      'bulk-mb': number(200),
      'per-second': number(2000),
      slices: number(12),
      dir: { type: 'string', default: join(root, 'build/bench') },
      json: { type: 'string', default: join(root, 'build/bench/stalls.json') },
      'slow-ms': { type: 'string' },
      trace: { type: 'boolean', default: true },
    },
  })
  const numbers = ['ms', 'segment-mib', 'bulk-mb', 'per-second', 'slices'].map((name) => [
    name,
    Number(values[name]),
  ])
  const bad = numbers.find(([, value]) => !(value >= 0))
  if (bad !== undefined) throw new UsageError(`--${bad[0]} is a number`)
  return { ...values, ...Object.fromEntries(numbers) }
}

/** An open log in a process of its own; `forkOptions` may put a tracer around it. */
async function withLog(directory, options, forkOptions, work) {
  const subject = new Subject(PROGRAM, forkOptions)
  try {
    await subject.call('open', { directory, options })
    const result = await work(subject)
    await subject.call('close')
    return result
  } finally {
    await subject.leave()
    rmSync(directory, { recursive: true, force: true })
  }
}

const loadOf = (given) => ({
  ms: given.ms,
  perSecond: given['per-second'],
  size: 100,
  bulkBytesPerSecond: given['bulk-mb'] * 1e6,
})

/**
 * Slices in turn: the open loop with rotations, the same into one large segment, the same without a
 * log, raw commits alone, and raw commits beside each thing that a rotation does.
 */
async function compare(probe, directory, given) {
  const ms = Math.ceil(given.ms / given.slices)
  const perSecond = Math.max(1, (given['bulk-mb'] * 1e6) / PIECE_BYTES)
  const rotations = Math.max(1, (given['bulk-mb'] * 1e6) / (given['segment-mib'] * MIB))
  const load = { ...loadOf(given), ms }
  const all = new Map()
  const add = (name, latencies) => all.set(name, [...(all.get(name) ?? []), latencies])
  let rotated = 0
  const options = { segmentBytes: given['segment-mib'] * MIB }
  const slice = async (rotating, whole) => {
    const result = await rotating.call('openLoop', load)
    rotated += result.written.rotations
    add(ROTATING, result.latencies)
    add('stonelog, one segment', (await whole.call('openLoop', load)).latencies)
    add('the open loop without a log', (await rotating.call('openLoopAlone', load)).latencies)
    add(RAW, (await probe.commit(ms)).latencies)
    for (const kind of KINDS) {
      const rate = BULK_KINDS.has(kind) ? perSecond : rotations
      const { latencies } = await probe.beside(kind, rate, ms)
      add(`raw, beside ${kind} ${rate.toFixed(0)} times a second`, latencies)
    }
  }
  await withLog(directory, options, {}, (rotating) =>
    withLog(`${directory}-whole`, { segmentBytes: 1 << 30, minFreeBytes: 0 }, {}, async (whole) => {
      // What is compiled and allocated at first belongs to nobody.
      for (const subject of [rotating, whole]) await subject.call('openLoop', load)
      await rotating.call('openLoopAlone', load)
      for (let i = 0; i < given.slices; i++) await slice(rotating, whole)
    }),
  )
  const summary = Object.fromEntries([...all].map(([name, each]) => [name, pool(each)]))
  return { summary, rotations: rotated }
}

/** One long slice under strace; its stalls, longest first, each with how it was spent. */
async function attribute(directory, given, slowMs) {
  const file = `${directory}.trace`
  const tracer = ['-f', '-qq', '-ttt', '-T', '-y', '-s', '0', '--seccomp-bpf']
  const execArgv = [...tracer, '-e', `trace=${TRACED.join(',')}`, '-o', file, process.execPath]
  const options = { segmentBytes: given['segment-mib'] * MIB }
  const result = await withLog(directory, options, { execPath: 'strace', execArgv }, (subject) =>
    subject.call('watchedLoop', { ...loadOf(given), slowMs }),
  )
  const calls = tellZeroing(callsOf(readFileSync(file, 'utf8'), directory))
  rmSync(file)
  const named = (list) => list.map(([from, to, kind]) => ({ from, to, kind }))
  const seen = { calls, wakeUps: named(result.late), collections: named(result.collections) }
  const stalls = stallsOf(result.slow)
    .map((stall) => explain(stall, seen))
    .sort((a, b) => b.ms - a.ms)
  return { stalls: stalls.map((stall) => ({ ...stall, cause: causeOf(stall) })), calls, result }
}

function callLines(calls) {
  const purposes = [...new Set(calls.map(({ purpose }) => purpose))]
  return purposes.map((purpose) => {
    const own = calls.filter((call) => call.purpose === purpose)
    const times = own.map(({ from, to }) => (to - from) * 1000).sort((a, b) => a - b)
    const at = (part) => micros(times[Math.min(times.length - 1, Math.floor(part * times.length))])
    return `  ${purpose}: ${own.length}, p50 ${at(0.5)}, p99 ${at(0.99)}, max ${micros(times.at(-1))}`
  })
}

function attributionLines({ stalls, calls, result }, slowMs) {
  const causes = [...new Set(stalls.map(({ cause }) => cause))].map((cause) => {
    const own = stalls.filter((stall) => stall.cause === cause)
    const longest = Math.max(...own.map(({ ms }) => ms))
    return { cause, count: own.length, longest }
  })
  causes.sort((a, b) => b.longest - a.longest)
  const beside = (stall) =>
    Object.entries(stall.beside)
      .map(([name, { ms }]) => `${name} ${ms.toFixed(1)}`)
      .join(', ')
  return [
    `under strace: ${result.count} appends, ${result.written.rotations} rotations, ` +
      `${stalls.length} stalls of ${slowMs.toFixed(1)} ms and more`,
    ...causes.map(
      ({ cause, count, longest }) => `  ${cause}: ${count}, longest ${longest.toFixed(1)} ms`,
    ),
    'the longest ones, in ms:',
    ...stalls.slice(0, 10).map((stall) => {
      const { ms, lateMs, gcMs, commitMs, slowestCommitMs, unexplainedMs, cause } = stall
      const parts = [
        `late wake-ups ${lateMs.toFixed(1)}`,
        `GC ${gcMs.toFixed(1)}`,
        `commits ${commitMs.toFixed(1)} (slowest ${slowestCommitMs.toFixed(1)})`,
        `in neither ${unexplainedMs.toFixed(1)}`,
      ]
      return `  ${ms.toFixed(1)}: ${parts.join(', ')}; beside: ${beside(stall)} -> ${cause}`
    }),
    'calls:',
    ...callLines(calls),
  ]
}

async function measure(probe, work, given) {
  const { summary, rotations } = await compare(probe, join(work, 'log'), given)
  const raw = summary[RAW]
  console.log(`${rotations} rotations; max against raw p99.9 alone:`)
  for (const [name, one] of Object.entries(summary)) {
    console.log(`  ${name}: ${percentiles(one)}; ${(one.max / raw.p999).toFixed(1)} x`)
  }
  if (!given.trace) return { summary, rotations }
  if (spawnSync('strace', ['--seccomp-bpf', '-f', '-o', '/dev/null', 'true']).status !== 0) {
    console.log('SKIPPED attribution: strace is not there, or may not trace')
    return { summary, rotations }
  }
  // On a restless machine nothing would be slow enough for three times the raw p99.9.
  const slowMicros = Math.min(3 * raw.p999, summary[ROTATING].p999)
  const slowMs = Number(given['slow-ms'] ?? slowMicros / 1000)
  const attribution = await attribute(join(work, 'traced'), given, slowMs)
  for (const line of attributionLines(attribution, slowMs)) console.log(line)
  return { summary, rotations, slowMs, stalls: attribution.stalls }
}

async function main() {
  const given = readArguments()
  const directory = resolve(given.dir)
  mkdirSync(directory, { recursive: true })
  refuseMemoryFileSystem(directory)
  const [line] = await build(['probe'], { log: () => {} })
  if (line.startsWith('SKIPPED')) throw new UsageError(`no figures without the raw probe: ${line}`)
  const work = join(directory, `stalls-${process.pid}`)
  mkdirSync(work)
  const probe = new Probe(join(root, 'build/release/raw-probe'), work)
  try {
    const settings = { slices: given.slices, sliceMs: given.ms / given.slices }
    const header = facts(await probe.info(), settings)
    for (const text of headerLines(header)) console.log(text)
    const results = await measure(probe, work, given)
    writeFileSync(given.json, `${JSON.stringify({ ...header, ...results }, null, 2)}\n`)
  } finally {
    await probe.stop()
    rmSync(work, { recursive: true, force: true })
  }
}

main().catch((error) => {
  console.error(error instanceof UsageError ? error.message : error)
  process.exitCode = 1
})
