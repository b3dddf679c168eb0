// Environments that end with work in flight: a few of what `npm run soak:teardown` does a thousand
// times. A process of its own, so that a crash is that of one test.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { packageRoot } from '../fixtures/log.js'
import { ended } from '../fixtures/process.js'

const withoutLibuv = join(packageRoot, 'test/fixtures/without-libuv.cjs')
const NONE = ['--count=0', '--processes=0', '--collections=0', '--visitors=0']

const PARTS = [
  ['threads terminated', '--count', 22],
  ['processes that end themselves', '--processes', 11],
  ['references dropped', '--collections', 10],
  ['threads that share a log and are terminated', '--visitors', 20],
] as const

async function soak(part: string, count: number, env: NodeJS.ProcessEnv): Promise<void> {
  const script = join(packageRoot, 'scripts/soak-teardown.mjs')
  const child = spawn(process.execPath, [script, ...NONE, part, String(count)], {
    stdio: 'pipe',
    env,
  })
  const { code, stdout, stderr } = await ended(child)
  expect(stdout.trimEnd().split('\n').at(-1), stdout + stderr).toBe(
    `${count} passed, 0 failed, 0 skipped`,
  )
  expect(code).toBe(0)
}

it.each(PARTS)(
  '%s at every step of its life leave the log whole',
  (_name, part, count) => soak(part, count, process.env),
  180_000,
)

it.each(PARTS)(
  '%s leave the log whole also where libuv is not used',
  (_name, part, count) =>
    soak(part, count, {
      ...process.env,
      NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --require ${withoutLibuv}`,
    }),
  180_000,
)
