#!/usr/bin/env node
// stonelog beside other stores and hand-written logs, all of them in rounds with the raw probe. See
// docs/performance.md.
//
//   node bench/compare.mjs [--quick] [--rounds N] [--slice-ms N] [--only name,…] [--dir DIR]
//                          [--json FILE] [--markdown FILE] [--plots DIR] [--patience SECONDS]
//
// --only takes loads (closed, batches, queued, open, replay, delay), contenders and `syncs`. The
// npm packages are installed into bench/peers when they are missing. The exit code is 1 if
// something broke, never for a slow figure.
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from '../scripts/build.mjs'
import { contenders, missing } from './compare/contenders/index.mjs'
import { PEERS_DIRECTORY } from './compare/contenders/peers.mjs'
import { Contest } from './compare/contest.mjs'
import {
  batches,
  closed,
  delay,
  IN_FLIGHT,
  open,
  queued,
  replay,
  SIZES,
} from './compare/phases.mjs'
import { cannotCount, syncsOf } from './compare/sync-count.mjs'
import { markdown, plots } from './compare/tables.mjs'
import { facts, headerLines, refuseMemoryFileSystem, UsageError } from './lib/facts.mjs'
import { Probe } from './lib/probe.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const phases = { closed, batches, queued, open, replay, delay }
const LOADS = Object.keys(phases)

function readArguments() {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      'slice-ms': { type: 'string', default: '100' },
      only: { type: 'string' },
      dir: { type: 'string', default: join(root, 'build/bench') },
      json: { type: 'string', default: join(root, 'build/bench/compare.json') },
      markdown: { type: 'string', default: join(root, 'build/bench/compare.md') },
      plots: { type: 'string', default: join(root, 'build/bench/plots') },
      patience: { type: 'string' },
    },
  })
  const wanted = values.only?.split(',') ?? []
  const known = [...LOADS, 'syncs', ...Object.keys(contenders)]
  const unknown = wanted.find((name) => !known.includes(name))
  if (unknown !== undefined) {
    throw new UsageError(`there is no "${unknown}"; there are ${known.join(', ')}`)
  }
  const or = (some, all) => (some.length > 0 ? some : all)
  const settings = {
    rounds: Number(values.rounds ?? (values.quick ? 2 : 10)),
    sliceMs: Number(values['slice-ms']),
    patienceMs: Number(values.patience ?? (values.quick ? 5 : 60)) * 1000,
    openMs: values.quick ? 200 : 500,
    scale: values.quick ? 0.25 : 1,
    sizes: values.quick ? [100, 4 << 10] : SIZES,
    inFlight: values.quick ? [1, 64, 1024] : IN_FLIGHT,
  }
  if (!(settings.rounds >= 1 && settings.sliceMs >= 1 && settings.patienceMs >= 0)) {
    throw new UsageError('--rounds, --slice-ms and --patience are numbers')
  }
  return {
    ...values,
    settings,
    names: or(
      Object.keys(contenders).filter((name) => wanted.includes(name)),
      Object.keys(contenders),
    ),
    loads: or(
      [...LOADS, 'syncs'].filter((name) => wanted.includes(name)),
      [...LOADS, 'syncs'],
    ),
  }
}

/** Installs the npm packages where they are missing; what then is missing is skipped by name. */
function installPeers(names) {
  if (!names.some(missing)) return
  console.log('installing the packages of bench/peers')
  const npm = (...args) => spawnSync('npm', args, { cwd: PEERS_DIRECTORY, stdio: 'inherit' })
  // Where optional packages for other systems cannot be looked up, the lock file is called
  // incomplete; the manifest pins exactly, too.
  if (npm('ci').status !== 0) npm('install', '--no-package-lock')
  // Its native part comes from its install script, which .npmrc keeps from running.
  npm('rebuild', 'better-sqlite3', '--ignore-scripts=false')
}

/** Contenders that can run here. */
function present(names) {
  installPeers(names)
  return names.filter((name) => {
    const reason = missing(name)
    if (reason !== undefined) console.log(`SKIPPED ${name}: ${reason}`)
    return reason === undefined
  })
}

async function countSyncs(names, directory) {
  const reason = cannotCount()
  if (reason !== undefined) console.log(`SKIPPED counting of syncs: ${reason}`)
  const rows = []
  for (const name of names) {
    const { durable } = contenders[name]
    const counted = reason === undefined ? await syncsOf(name, directory) : { skipped: reason }
    rows.push({ phase: 'syncs', contender: name, durable, ...counted })
  }
  return rows
}

/** Runs the phases; rows by phase. */
async function measure(contest, loads, settings) {
  const by = {}
  const began = performance.now()
  const say = (phase) =>
    console.log(`${((performance.now() - began) / 1000).toFixed(0)} s: ${phase}`)
  if (loads.includes('syncs')) {
    say('syncs')
    by.syncs = await countSyncs(contest.standing, contest.directory)
  }
  for (const phase of LOADS.filter((name) => loads.includes(name))) {
    say(phase)
    await contest.company.quiet()
    const rows = await phases[phase](contest, settings, { closedRows: by.closed ?? [] })
    for (const row of rows) by[row.phase] = [...(by[row.phase] ?? []), row]
  }
  say('done')
  return by
}

function report(by, header, contest, { json, markdown: markdownFile, plots: plotDirectory }) {
  const lines = headerLines(header)
  const { discarded, disturbed } = contest.company
  lines.push(`${discarded} rounds discarded because other processes were busy, ${disturbed} kept`)
  for (const path of [json, markdownFile]) mkdirSync(dirname(resolve(path)), { recursive: true })
  const text = `${lines.map((line) => `> ${line}  `).join('\n')}\n\n${markdown(by)}`
  writeFileSync(markdownFile, text)
  const results = {
    ...header,
    discarded,
    disturbed,
    by,
    broken: Object.fromEntries(contest.broken),
  }
  writeFileSync(json, `${JSON.stringify(results, null, 2)}\n`)
  mkdirSync(plotDirectory, { recursive: true })
  for (const [name, svg] of Object.entries(plots(by))) writeFileSync(join(plotDirectory, name), svg)
  console.log(text)
  console.log(`written: ${json}, ${markdownFile}, ${plotDirectory}`)
}

async function main() {
  const given = readArguments()
  const { names, loads, settings } = given
  const directory = resolve(given.dir)
  mkdirSync(directory, { recursive: true })
  refuseMemoryFileSystem(directory)
  const [line] = await build(['probe'], { log: () => {} })
  if (line.startsWith('SKIPPED')) throw new UsageError(`no figures without the raw probe: ${line}`)
  const work = join(directory, `compare-${process.pid}`)
  mkdirSync(work)
  const probe = new Probe(join(root, 'build/release/raw-probe'), work)
  try {
    const header = facts(await probe.info(), { slices: settings.rounds, ...settings })
    for (const text of headerLines(header)) console.log(text)
    const contest = new Contest(probe, work, present(names), settings)
    const by = await measure(contest, loads, settings)
    report(by, header, contest, given)
    if (contest.broken.size > 0) process.exitCode = 1
  } finally {
    await probe.stop()
    rmSync(work, { recursive: true, force: true })
  }
}

main().catch((error) => {
  console.error(error instanceof UsageError ? error.message : error)
  process.exitCode = 1
})
