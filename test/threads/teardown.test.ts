// Environments that end with work in flight: a few of what `npm run soak:teardown` does a thousand
// times. A process of its own, so that a crash is that of one test.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { packageRoot } from '../fixtures/log.js'
import { ended } from '../fixtures/process.js'

const NONE = ['--count=0', '--processes=0', '--collections=0', '--visitors=0']

it.each([
  ['threads terminated', '--count', 22],
  ['processes that end themselves', '--processes', 11],
  ['references dropped', '--collections', 10],
  ['threads that share a log and are terminated', '--visitors', 20],
])(
  '%s at every step of its life leave the log whole',
  async (_name, part, passed) => {
    const script = join(packageRoot, 'scripts/soak-teardown.mjs')
    const child = spawn(process.execPath, [script, ...NONE, part, String(passed)], {
      stdio: 'pipe',
    })
    const { code, stdout, stderr } = await ended(child)
    expect(stdout.trimEnd().split('\n').at(-1), stdout + stderr).toBe(
      `${passed} passed, 0 failed, 0 skipped`,
    )
    expect(code).toBe(0)
  },
  180_000,
)
