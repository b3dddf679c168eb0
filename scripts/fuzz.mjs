#!/usr/bin/env node
// Fuzzes the decoders with libFuzzer, ASan and UBSan: each target for a while, from the committed
// corpus and what earlier runs added to it in build/fuzz/corpus. A finding is left in
// build/fuzz/found and makes the exit code 1.
//
//   npm run fuzz -- [--seconds N] [--target NAME]…    20 seconds and every target if not given
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from './build.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const seeds = join(root, 'native/fuzz/corpus')
const work = join(root, 'build/fuzz')

// How many inputs of each target a test run tries: some two seconds' worth each.
const TEST_RUNS = {
  stamp: 100_000,
  'segment-header': 50_000,
  'group-header': 150_000,
  name: 150_000,
  record: 2_000,
  control: 20_000,
  segment: 700,
  directory: 300,
}

/** The targets: those that have a corpus. */
export function fuzzTargets() {
  return readdirSync(seeds).sort()
}

/** The last number that libFuzzer printed under a name, as text. */
function statistic(text, pattern) {
  return [...text.matchAll(pattern)].at(-1)?.[1] ?? '?'
}

/**
 * Fuzzes one target with the given limits.
 * @param {string} target
 * @param {string[]} limits libFuzzer's arguments that bound the run
 * @param {string} grown directory of inputs that this run adds to
 * @returns {{ ok: boolean, line: string, text: string }} what to print
 */
function fuzzOne(target, limits, grown) {
  const found = join(work, 'found')
  mkdirSync(grown, { recursive: true })
  mkdirSync(found, { recursive: true })
  const { status, stderr } = spawnSync(
    join(work, 'fuzz'),
    [
      `--target=${target}`,
      ...limits,
      '-max_len=49152',
      '-timeout=60', // seconds for one input; a machine under load is slow
      '-rss_limit_mb=1024',
      '-malloc_limit_mb=256',
      '-print_final_stats=1',
      `-artifact_prefix=${found}/${target}-`,
      grown,
      join(seeds, target),
    ],
    { encoding: 'utf8', maxBuffer: 1 << 30 },
  )
  const runs = statistic(stderr, /stat::number_of_executed_units:\s*(\d+)/g)
  const edges = statistic(stderr, /cov: (\d+)/g)
  const inputs = statistic(stderr, /corp: (\d+)/g)
  const line = `fuzz ${target}: ${runs} inputs, ${edges} edges, corpus of ${inputs}`
  return { ok: status === 0, line, text: stderr }
}

/** The same inputs in every run: bounded by their number, from the committed corpus alone. */
export function fuzzForTest(target) {
  const grown = join(work, 'tested', target)
  rmSync(grown, { recursive: true, force: true })
  return fuzzOne(target, ['-seed=1', `-runs=${TEST_RUNS[target] ?? 1000}`], grown)
}

async function main() {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '20' },
      target: { type: 'string', multiple: true },
    },
  })
  const [line] = await build(['fuzz'])
  if (line.startsWith('SKIPPED')) {
    process.exitCode = 1
    return
  }
  for (const target of values.target ?? fuzzTargets()) {
    const grown = join(work, 'corpus', target)
    const result = fuzzOne(target, [`-max_total_time=${values.seconds}`], grown)
    console.log(`${result.ok ? '' : 'FAILED '}${result.line}`)
    if (result.ok) continue
    console.log(result.text)
    console.log(`its input lies in ${relative(root, join(work, 'found'))}`)
    process.exitCode = 1
  }
}

if (process.argv[1] && import.meta.filename === process.argv[1]) await main()
