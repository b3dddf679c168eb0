#!/usr/bin/env node
// The project's own figures, each beside the raw probe in the same run. See docs/performance.md.
//
//   node bench/run.mjs [--quick] [--full] [--only name,…] [--dir DIR] [--json FILE]
//                      [--markdown FILE] [--slices N] [--slice-ms N] [--patience SECONDS] [--list]
//
// --quick: 8 slices instead of 30 and smaller logs; --full: logs of 10 GiB. --patience: how long
// in total to wait for other processes to be quiet, by default 60. The exit code is 1 if something
// broke, never for a slow figure.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from '../scripts/build.mjs'
import { appendWorkloads } from './lib/append-workloads.mjs'
import { bulkWorkloads } from './lib/bulk-workloads.mjs'
import { facts, headerLines, refuseMemoryFileSystem, UsageError } from './lib/facts.mjs'
import { Probe } from './lib/probe.mjs'
import { figureLines, markdownTable } from './lib/report.mjs'
import { Session } from './lib/session.mjs'
import { quantile } from './lib/statistics.mjs'
import { wholeWorkloads } from './lib/whole-workloads.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const workloads = { ...appendWorkloads, ...bulkWorkloads, ...wholeWorkloads }
const MIB = 1 << 20
const GIB = 1 << 30

function readArguments() {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      full: { type: 'boolean', default: false },
      only: { type: 'string' },
      dir: { type: 'string', default: join(root, 'build/bench') },
      json: { type: 'string' },
      markdown: { type: 'string' },
      slices: { type: 'string' },
      'slice-ms': { type: 'string', default: '100' },
      patience: { type: 'string', default: '60' },
      list: { type: 'boolean', default: false },
    },
  })
  const names = values.only?.split(',') ?? Object.keys(workloads)
  const unknown = names.find((name) => !(name in workloads))
  if (unknown !== undefined) {
    throw new UsageError(`no workload "${unknown}"; there are ${Object.keys(workloads).join(', ')}`)
  }
  const slices = Number(values.slices ?? (values.quick ? 8 : 30))
  const sliceMs = Number(values['slice-ms'])
  const patienceMs = Number(values.patience) * 1000
  if (!(slices >= 1 && sliceMs >= 1 && patienceMs >= 0)) {
    throw new UsageError('--slices, --slice-ms and --patience are numbers')
  }
  const settings = {
    slices,
    sliceMs,
    patienceMs,
    logBytes: (values.quick ? 256 : 512) * MIB,
    memoryLogBytes: values.full ? 10 * GIB : values.quick ? 256 * MIB : GIB,
    largeBytes: values.full ? 10 * GIB : values.quick ? GIB : 2 * GIB,
  }
  return { ...values, names, settings }
}

/** How steady the machine was: nothing of stonelog's runs while the probe commits. */
function steadinessLines({ commitP50s, company }) {
  if (commitP50s.length === 0) return []
  const ascending = [...commitP50s].sort((a, b) => a - b)
  const [low, high] = [quantile(ascending, 0.05), quantile(ascending, 0.95)]
  const range =
    `p50 of ${ascending.length} slices of raw commits: ${low} to ${high} us (5% to 95%); ` +
    `${company.discarded} pairs discarded because other processes were busy`
  return high > 2 * low ? [range, 'That is unsteady: repeat when the machine is quiet.'] : [range]
}

async function measure(session, names) {
  const broken = []
  for (const name of names) {
    try {
      await session.company.quiet()
      await workloads[name](session)
    } catch (error) {
      broken.push(name)
      console.log(`BROKEN ${name}: ${error.stack}`)
    }
  }
  return broken
}

/** What a run came to, besides the figures that were printed as they came. */
function report(session, header, broken, { json, markdown }) {
  const { figures, io } = session
  const steadiness = steadinessLines(session)
  for (const text of steadiness) console.log(text)
  if (json) {
    const results = { ...header, io, steadiness, figures, broken }
    writeFileSync(json, `${JSON.stringify(results, null, 2)}\n`)
  }
  if (markdown) {
    const quoted = [...headerLines(header), ...steadiness].map((text) => `> ${text}  `)
    writeFileSync(markdown, `${quoted.join('\n')}\n\n${markdownTable(figures)}\n`)
  }
}

async function main() {
  const { names, settings, dir, json, markdown, list } = readArguments()
  if (list) {
    console.log(Object.keys(workloads).join('\n'))
    return
  }
  const directory = resolve(dir)
  mkdirSync(directory, { recursive: true })
  refuseMemoryFileSystem(directory)
  const [line] = await build(['probe'], { log: () => {} })
  if (line.startsWith('SKIPPED')) throw new UsageError(`no figures without the raw probe: ${line}`)
  const work = join(directory, `bench-${process.pid}`)
  mkdirSync(work)
  const probe = new Probe(join(root, 'build/release/raw-probe'), work)
  try {
    const header = facts(await probe.info(), settings)
    for (const text of headerLines(header)) console.log(text)
    const session = new Session(probe, work, settings)
    session.onFigure = (figure) => console.log(figureLines(figure).join('\n'))
    const broken = await measure(session, names)
    report(session, header, broken, { json, markdown })
    if (broken.length > 0) {
      console.log(`BROKEN: ${broken.join(', ')}`)
      process.exitCode = 1
    }
  } finally {
    await probe.stop()
    rmSync(work, { recursive: true, force: true })
  }
}

main().catch((error) => {
  console.error(error instanceof UsageError ? error.message : error)
  process.exitCode = 1
})
