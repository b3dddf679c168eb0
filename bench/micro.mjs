#!/usr/bin/env node
// Microbenchmarks: CRC32C by size and variant, the append path, reading, wake-ups; and CRC32C from
// JavaScript beside the npm packages. Nothing here waits for a disk but `append_bursts` and `scan`.
//
//   node bench/micro.mjs [--quick] [--filter REGEX] [--dir DIR] [--json FILE]
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from '../scripts/build.mjs'
import { checksum } from './lib/crc.mjs'
import { refuseMemoryFileSystem, UsageError } from './lib/facts.mjs'
import { number } from './lib/report.mjs'
import { median } from './lib/statistics.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const SIZES = [16, 100, 500, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20]
const NAMES = ['stonelog', 'node-rs', 'fast-crc32c']

/** Runs the native program; its rows, or why there are none. */
async function native(directory, { quick, filter }) {
  const [line] = await build(['micro'], { log: () => {} })
  if (line.startsWith('SKIPPED')) {
    console.log(line)
    return []
  }
  const file = join(directory, 'micro-native.json')
  const args = [
    `--benchmark_min_time=${quick ? 0.02 : 0.3}`,
    `--benchmark_repetitions=${quick ? 1 : 5}`,
    '--benchmark_enable_random_interleaving=true',
    `--benchmark_out=${file}`,
    ...(filter === undefined ? [] : [`--benchmark_filter=${filter}`]),
  ]
  const program = join(root, 'build/release/micro')
  const env = { ...process.env, STONELOG_MICRO_DIR: directory }
  const { status } = spawnSync(program, args, { cwd: root, env, stdio: 'inherit' })
  if (status !== 0) throw new Error(`the native microbenchmarks ended with ${status}`)
  return JSON.parse(readFileSync(file, 'utf8')).benchmarks
}

/** What fast-crc32c runs on: its native part is an optional package with an install script. */
function fastCrc32cRunsOn() {
  try {
    createRequire(import.meta.url)('sse4_crc32')
    return 'native'
  } catch {
    return 'its JavaScript table'
  }
}

/** CRC32C from JavaScript; the cost of a call taken off, and beside it. */
function fromJavaScript({ quick }) {
  const rounds = quick ? 1 : 5
  const rows = []
  console.log(`CRC32C from JavaScript (fast-crc32c runs on ${fastCrc32cRunsOn()}):`)
  for (const size of SIZES) {
    const slices = NAMES.map(() => [])
    for (let round = 0; round < rounds; round++) {
      for (const [index, name] of NAMES.entries()) {
        slices[index].push(checksum({ name, size, ms: quick ? 10 : 40 }))
      }
    }
    const of = (index, value) => median(slices[index].map(value))
    const each = NAMES.map((name, index) => ({
      name,
      bytesPerSecond: of(index, ({ bytesPerSecond }) => bytesPerSecond),
      wholeNanos: of(index, ({ bytesPerSecond, overheadNanos }) => {
        return overheadNanos + (size / bytesPerSecond) * 1e9
      }),
    }))
    rows.push({ size, each })
    // Of a few bytes the call itself is nearly everything.
    const rate = (bytesPerSecond) => (size < 1024 ? '' : `${number(bytesPerSecond)}B/s, `)
    const parts = each.map(
      ({ name, bytesPerSecond, wholeNanos }) =>
        `${name} ${rate(bytesPerSecond)}${number(wholeNanos)} ns a call`,
    )
    console.log(`  ${size} B: ${parts.join('; ')}`)
  }
  return rows
}

async function main() {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      filter: { type: 'string' },
      dir: { type: 'string', default: join(root, 'build/bench') },
      json: { type: 'string', default: join(root, 'build/bench/micro.json') },
    },
  })
  const directory = resolve(values.dir)
  mkdirSync(directory, { recursive: true })
  refuseMemoryFileSystem(directory)
  const results = { native: await native(directory, values), javascript: fromJavaScript(values) }
  writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`)
  console.log(`written: ${values.json}`)
}

main().catch((error) => {
  console.error(error instanceof UsageError ? error.message : error)
  process.exitCode = 1
})
