#!/usr/bin/env node
// Builds and runs every test: native ones, bounded runs of the simulator, of crash states and of
// the fuzzer with its corpus, vitest, and a part of these again under sanitizers. Before the end,
// whatever failed is named and told once more, for whoever sees the end of the output only. The
// last line is exactly `N passed, N failed, N skipped`; the exit code is 1 if anything failed or
// nothing ran.
//
//   node scripts/test.mjs                   all of it; without sanitizers if STONELOG_SANITIZERS=0
//   node scripts/test.mjs --variant asan    everything under AddressSanitizer and UBSan
//   node scripts/test.mjs --variant tsan    native tests, simulator and test/threads under TSan
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from './build.mjs'
import { fuzzForTest, fuzzTargets } from './fuzz.mjs'
import { prebuildAll, targets } from './prebuild.mjs'
import { preload } from './sanitizer.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')

// Sanitizers slow the simulator down some ten times.
const SIM_ARGS = {
  release: ['--seeds', '400'],
  asan: ['--seeds', '40'],
  tsan: ['--seeds', '40'],
}

// Each call of a scripted life fails once; under sanitizers one in twenty.
const CALLS_ARGS = {
  release: ['--every-call'],
  asan: ['--every-call', '--stride', '20'],
  tsan: ['--every-call', '--stride', '20'],
}

// Crash states of recorded runs: the same, and a device's delays take their time.
const STATES_ARGS = {
  release: [],
  asan: ['--seeds', '1', '--states', '400'],
  tsan: ['--seeds', '1', '--states', '400'],
}

const EVERY_BYTE_ARGS = {
  release: ['--one-in', '200'],
  asan: ['--one-in', '2000'],
  tsan: ['--one-in', '2000'],
}

const sum = { passed: 0, failed: 0, skipped: 0 }
/** What failed, in words: a part's name and what it printed of the failure. */
const failures = []
let since = performance.now()

// A failure in many lines would push the others out of sight.
const LINES_OF_A_FAILURE = 40

/** The lines from the first that speaks of an error on, and the last ones. */
function excerpt(text) {
  const lines = text.trimEnd().split('\n')
  const half = LINES_OF_A_FAILURE / 2
  if (lines.length <= LINES_OF_A_FAILURE) return lines
  const first = lines.findIndex((line) => /\b(ERROR|FAILED|error)\b/.test(line))
  const from = Math.max(0, Math.min(first - 3, lines.length - LINES_OF_A_FAILURE))
  return [...lines.slice(from, from + half), '…', ...lines.slice(-half)]
}

/**
 * Adds one part's counts and says what it came to, and what it took with its build. `told` is what
 * the part said of each failure, or its output.
 */
function count(part, passed, failed, skipped, told = []) {
  if (failed > 0) {
    const lines = [told].flat().flatMap(excerpt)
    failures.push(`FAILED ${part}\n${lines.map((line) => `  ${line}`).join('\n')}`)
  }
  sum.passed += passed
  sum.failed += failed
  sum.skipped += skipped
  const seconds = Math.round((performance.now() - since) / 1000)
  since = performance.now()
  console.log(`${part}: ${passed} passed, ${failed} failed, ${skipped} skipped (${seconds} s)`)
}

function skip(name, reason) {
  console.log(`SKIPPED ${name}: ${reason}`)
  sum.skipped++
}

/**
 * Runs a program with its output shown as it comes; the promise settles to its exit code, what it
 * printed, and `told`: that and its standard error.
 */
function run(command, args, env = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let text = ''
    let told = ''
    const listen = (name, heard) => {
      child[name].setEncoding('utf8')
      child[name].on('data', (chunk) => {
        heard(chunk)
        told += chunk
        process[name].write(chunk)
      })
    }
    listen('stdout', (chunk) => {
      text += chunk
    })
    listen('stderr', () => {})
    child.on('error', (error) => resolve({ status: 1, text, told: `${told}${error.message}` }))
    child.on('close', (status, signal) => {
      if (signal) told += `ended by ${signal}`
      resolve({ status: signal ? 1 : status, text, told })
    })
  })
}

const NAMES = {
  test: 'native tests',
  sim: 'simulator',
  states: 'crash states',
  replay: 'the fuzzing corpus',
  fuzz: 'fuzzing',
  addon: 'the addon',
}

/** How a part of the run is called: `native tests` or `native tests (asan)`. */
function named(part, variant) {
  return variant === 'release' ? part : `${part} (${variant})`
}

/** Builds one native target; false if it was skipped (then named) or failed (then counted). */
async function made(target, variant) {
  try {
    const [line] = await build([target], { variant })
    if (!line.startsWith('SKIPPED')) return true
    sum.skipped++
  } catch (error) {
    console.error(error.message)
    count(`${named(NAMES[target], variant)} (build)`, 0, 1, 0, error.message)
  }
  return false
}

/** `filter`: doctest's arguments. */
async function runNative(variant, filter = []) {
  const part = named('native tests', variant)
  if (!(await made('test', variant))) return
  const { status, text, told } = await run(join(root, 'build', variant, 'native-tests'), [
    '--no-colors=1',
    ...filter,
  ])
  const line = text.match(
    /test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed\s*(?:\|\s*(\d+) skipped)?/,
  )
  if (!line) return count(part, 0, 1, 0, told)
  const [passed, failed] = [line[2], line[3]].map(Number)
  // What a filter leaves out is not skipped for want of anything.
  const skipped = filter.length === 0 ? Number(line[4] ?? '0') : 0
  // A sanitizer's report at exit fails the run although every case passed.
  count(part, passed, failed === 0 && status !== 0 ? 1 : failed, skipped, told)
}

/** Runs a native program whose last line is a sum. */
async function runCounting(target, program, variant, args, name = NAMES[target]) {
  const part = named(name, variant)
  if (!(await made(target, variant))) return
  const { status, text, told } = await run(join(root, 'build', variant, program), args)
  const line = text.trimEnd().match(/(\d+) passed, (\d+) failed, (\d+) skipped$/)
  if (!line) return count(part, 0, 1, 0, told)
  const [passed, failed, skipped] = line.slice(1).map(Number)
  count(part, passed, failed === 0 && status !== 0 ? 1 : failed, skipped, told)
}

async function runSim(variant) {
  await runCounting('sim', 'sim', variant, SIM_ARGS[variant])
  await runCounting('sim', 'sim', variant, CALLS_ARGS[variant], 'every call')
}

async function runStates(variant) {
  await runCounting('states', 'states', variant, STATES_ARGS[variant])
  await runCounting('states', 'every-byte', variant, EVERY_BYTE_ARGS[variant], 'every byte')
}

const runReplay = (variant) =>
  runCounting('replay', 'fuzz-replay', variant, [join(root, 'native/fuzz/corpus')])

/** A bounded run of the fuzzer, the same inputs each time. */
async function runFuzz() {
  if (!(await made('fuzz', 'release'))) return
  const told = []
  const names = fuzzTargets()
  for (const target of names) {
    const { ok, line, text } = fuzzForTest(target)
    console.log(`${ok ? '' : 'FAILED '}${line}`)
    if (ok) continue
    console.log(text)
    told.push(`${line}\n${text}`)
  }
  count('fuzzing', names.length - told.length, told.length, 0, told)
}

async function runVitest(variant = 'release', files = []) {
  const part = named('vitest', variant)
  const resultFile = join(root, 'build/vitest-result.json')
  rmSync(resultFile, { force: true })
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const reporters = ['--reporter=default', '--reporter=./scripts/vitest-reporter.mjs']
  let command = [process.execPath]
  let env = {}
  if (variant !== 'release') {
    const runtime = preload(variant)
    if (runtime.missing) return skip(part, runtime.missing)
    if (!(await made('addon', variant))) return
    command = [...runtime.wrapper, ...command]
    env = runtime.env
  }
  const { status, told } = await run(
    command[0],
    [...command.slice(1), vitest, 'run', ...reporters, ...files],
    { ...env, STONELOG_TEST_RESULT: resultFile },
  )
  if (!existsSync(resultFile)) return count(part, 0, 1, 0, told)
  const { passed, failures: failed, skipped } = JSON.parse(readFileSync(resultFile, 'utf8'))
  for (const { name, note } of skipped) {
    console.log(`SKIPPED ${name}: ${note ?? 'no reason given'}`)
  }
  if (failed.length === 0 && status !== 0) failed.push(told)
  count(part, passed, failed.length, skipped.length, failed)
}

/** Builds what the package consists of; a failure is one failed test and ends the run. */
async function buildPackage() {
  try {
    await build(['addon'])
    // Their tests are skipped by name where a cross-compiler is missing.
    if (process.platform === 'linux' && process.arch === 'x64') await prebuildAll(targets)
  } catch (error) {
    console.error(error.message)
    count('build of the addon', 0, 1, 0, error.message)
    return false
  }
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const { status, told } = await run(process.execPath, [tsc, '-p', 'tsconfig.json'])
  if (status !== 0) count('build of lib', 0, 1, 0, told)
  return status === 0
}

async function runAll() {
  if (!(await buildPackage())) return
  await runNative('release')
  await runSim('release')
  await runStates('release')
  await runReplay('release')
  await runFuzz()
  await runVitest()
}

/** A part of everything under sanitizers, bounded to some minutes. */
async function runSanitized() {
  if (process.env.STONELOG_SANITIZERS === '0') {
    return skip('tests under sanitizers', 'STONELOG_SANITIZERS is 0')
  }
  const unusable = ['asan', 'tsan'].map((variant) => [variant, preload(variant).missing])
  for (const [variant, missing] of unusable) {
    if (missing) skip(`tests under ${variant}`, missing)
    else if (variant === 'asan') await runAsan([], ['test/contract', 'test/threads'])
    else await runTsan(['--source-file=*driver_test*,*threads_test*'], false)
  }
}

/** `files`: vitest's filter. */
async function runAsan(filter, files) {
  await runNative('asan', filter)
  await runSim('asan')
  await runReplay('asan')
  await runVitest('asan', files)
}

async function runTsan(filter, whole) {
  await runNative('tsan', filter)
  if (!whole) return
  await runSim('tsan')
  await runVitest('tsan', ['test/threads'])
}

async function main() {
  const { values } = parseArgs({ options: { variant: { type: 'string', default: 'release' } } })
  mkdirSync(join(root, 'build'), { recursive: true })
  if (values.variant === 'release') {
    await runAll()
    await runSanitized()
  } else if (await buildPackage()) {
    await runStates(values.variant)
    if (values.variant === 'asan') await runAsan([], [])
    else await runTsan([], true)
  }
  for (const failure of failures) console.log(failure)
  if (sum.failed > 0 || sum.passed === 0) process.exitCode = 1
  console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`)
}

await main()
