#!/usr/bin/env node
// Builds and runs every test: native ones, bounded runs of the simulator and of crash states,
// vitest. The last line is exactly `N passed, N failed, N skipped`; the exit code is 1 if
// anything failed or nothing ran.
//
//   node scripts/test.mjs [--variant asan|tsan]    with a variant: the native parts only
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from './build.mjs'
import { prebuildAll, targets } from './prebuild.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')

// Sanitizers slow the simulator down some ten times.
const SIM_ARGS = {
  release: ['--seeds', '400'],
  asan: ['--seeds', '40'],
  tsan: ['--seeds', '40'],
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

/** Adds one part's counts and says what it came to. */
function count(part, passed, failed, skipped) {
  sum.passed += passed
  sum.failed += failed
  sum.skipped += skipped
  console.log(`${part}: ${passed} passed, ${failed} failed, ${skipped} skipped`)
}

function skip(name, reason) {
  console.log(`SKIPPED ${name}: ${reason}`)
  sum.skipped++
}

/**
 * Runs a program with its output shown as it comes; the promise settles to exit code and output.
 */
function run(command, args, env = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let text = ''
    child.stdout.setEncoding('utf8')
    child.stdout.on('data', (chunk) => {
      text += chunk
      process.stdout.write(chunk)
    })
    child.on('error', (error) => resolve({ status: 1, text: `${text}${error.message}` }))
    child.on('close', (status, signal) => resolve({ status: signal ? 1 : status, text }))
  })
}

/** Builds one native target; false if it was skipped (then named) or failed (then counted). */
async function made(target, variant) {
  const name = { sim: 'the simulator', states: 'crash states' }[target] ?? 'native tests'
  try {
    const [line] = await build([target], { variant })
    if (!line.startsWith('SKIPPED')) return true
    sum.skipped++
  } catch (error) {
    console.error(error.message)
    count(`${name} (build)`, 0, 1, 0)
  }
  return false
}

async function runNative(variant) {
  if (!(await made('test', variant))) return
  const { status, text } = await run(join(root, 'build', variant, 'native-tests'), [
    '--no-colors=1',
  ])
  const line = text.match(
    /test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed\s*(?:\|\s*(\d+) skipped)?/,
  )
  if (!line) return count('native tests', 0, 1, 0)
  const [passed, failed, skipped] = [line[2], line[3], line[4] ?? '0'].map(Number)
  // A sanitizer's report at exit fails the run although every case passed.
  count('native tests', passed, failed === 0 && status !== 0 ? 1 : failed, skipped)
}

async function runSim(variant) {
  if (!existsSync(join(root, 'native/sim/main.cc'))) {
    return skip('the simulator', 'native/sim/main.cc is not there')
  }
  await runCounting('simulator', 'sim', 'sim', variant, SIM_ARGS[variant])
}

/** Runs a program of ours whose last line is `N passed, N failed, N skipped`. */
async function runCounting(part, target, program, variant, args) {
  if (!(await made(target, variant))) return
  const { status, text } = await run(join(root, 'build', variant, program), args)
  const line = text.trimEnd().match(/(\d+) passed, (\d+) failed, (\d+) skipped$/)
  if (!line) return count(part, 0, 1, 0)
  const [passed, failed, skipped] = line.slice(1).map(Number)
  count(part, passed, failed === 0 && status !== 0 ? 1 : failed, skipped)
}

async function runVitest() {
  const resultFile = join(root, 'build/vitest-result.json')
  rmSync(resultFile, { force: true })
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const reporters = ['--reporter=default', '--reporter=./scripts/vitest-reporter.mjs']
  const { status } = await run(process.execPath, [vitest, 'run', ...reporters], {
    STONELOG_TEST_RESULT: resultFile,
  })
  if (!existsSync(resultFile)) return count('vitest', 0, 1, 0)
  const { passed, failed, skipped } = JSON.parse(readFileSync(resultFile, 'utf8'))
  for (const { name, note } of skipped) {
    console.log(`SKIPPED ${name}: ${note ?? 'no reason given'}`)
  }
  count('vitest', passed, failed === 0 && status !== 0 ? 1 : failed, skipped.length)
}

/** Builds what the package consists of; a failure is one failed test and ends the run. */
async function buildPackage() {
  try {
    await build(['addon'])
    // Their tests are skipped by name where a cross-compiler is missing.
    if (process.platform === 'linux' && process.arch === 'x64') await prebuildAll(targets)
  } catch (error) {
    console.error(error.message)
    count('build of the addon', 0, 1, 0)
    return false
  }
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const { status } = await run(process.execPath, [tsc, '-p', 'tsconfig.json'])
  if (status !== 0) count('build of lib', 0, 1, 0)
  return status === 0
}

async function main() {
  const { values } = parseArgs({ options: { variant: { type: 'string', default: 'release' } } })
  mkdirSync(join(root, 'build'), { recursive: true })
  const whole = values.variant === 'release'
  if (!whole || (await buildPackage())) {
    await runNative(values.variant)
    await runSim(values.variant)
    const { variant } = values
    await runCounting('crash states', 'states', 'states', variant, STATES_ARGS[variant])
    await runCounting('every byte', 'states', 'every-byte', variant, EVERY_BYTE_ARGS[variant])
    if (whole) await runVitest()
  }
  if (sum.failed > 0 || sum.passed === 0) process.exitCode = 1
  console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`)
}

await main()
