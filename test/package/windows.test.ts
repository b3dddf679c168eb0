// The core compiles for Windows, which is all that can be said of it: nothing of this ever ran.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { packageRoot } from '../fixtures/log.js'
import { ended } from '../fixtures/process.js'

const COMPILER = 'x86_64-w64-mingw32-g++-posix'
const { core } = JSON.parse(readFileSync(join(packageRoot, 'native/sources.json'), 'utf8'))
// What differs on Windows, or uses what does; all of the core with `npm run test:package`.
const SOME = /\/(io\/|driver\/(threads|slab)|log\/group_reader)/
const sources: string[] =
  process.env.STONELOG_PACKAGE === 'all' ? core : core.filter((name: string) => SOME.test(name))

it('the core compiles for Windows without a warning', { timeout: 900_000 }, async ({ skip }) => {
  const compile = (...args: string[]) => ended(spawn(COMPILER, args, { cwd: packageRoot }))
  const version = await compile('--version').catch(() => null)
  skip(version?.code !== 0, `needs ${COMPILER} (Debian: g++-mingw-w64-x86-64-posix)`)
  const flags = ['-std=c++20', '-D_WIN32_WINNT=0x0A00', '-fno-exceptions', '-fno-rtti']
  const said: string[] = []
  for (const source of sources) {
    const checks = ['-fsyntax-only', '-Wall', '-Wextra', '-Werror', '-Inative']
    const { code, stderr } = await compile(...flags, ...checks, source)
    if (code !== 0) said.push(`${source}: ${stderr}`)
  }
  expect(sources.length).toBeGreaterThan(7)
  expect(said).toEqual([])
})
