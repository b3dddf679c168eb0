// Instructions of the engine's hot path, counted by valgrind: the same on a busy machine and a
// quiet one. The band is wide; it is to catch a loop that became quadratic, not a compiler's taste.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { packageRoot } from '../fixtures/log.js'

const PROGRAM = join(packageRoot, 'build/release/native-tests')
const RECORDS_A_BURST = 64
// For a record of 100 bytes, its part of the group and its stamps included: some 710.
const MOST_A_RECORD = 1100
const LEAST_A_RECORD = 300

/** Instructions of a run of that many bursts of 64 records. */
function instructions(bursts: number): number {
  const { stderr, stdout } = spawnSync(
    'valgrind',
    ['--tool=callgrind', '--callgrind-out-file=/dev/null', PROGRAM, '-tc=cost: fixed run'],
    {
      encoding: 'utf8',
      env: { ...process.env, LD_PRELOAD: '', STONELOG_COST_BURSTS: String(bursts) },
    },
  )
  expect(stdout).toContain('SUCCESS!')
  return Number(/Collected : (\d+)/.exec(stderr)?.[1])
}

it('an append costs as many instructions as it did', ({ skip }) => {
  if (spawnSync('valgrind', ['--version']).status !== 0) return skip('valgrind is not installed')
  if (process.arch !== 'x64') return skip('the band is known for x64 only')
  if (!existsSync(PROGRAM)) return skip('build/release/native-tests was not built')
  const bursts = 200
  const each = (instructions(bursts) - instructions(0)) / (bursts * RECORDS_A_BURST)
  expect(each).toBeGreaterThan(LEAST_A_RECORD)
  expect(each).toBeLessThan(MOST_A_RECORD)
})
