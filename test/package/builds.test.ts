// The other two ways to build, for those who have a toolchain of their own: node-gyp (which
// prebuildify drives) by binding.gyp, and CMake (alone or by cmake-js) by CMakeLists.txt. Both
// compile what native/sources.json lists. `npm test` asks them for their plans, `npm run
// test:package` builds with them.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, readFileSync, symlinkSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { packageRoot } from '../fixtures/log.js'
import {
  application,
  canDownload,
  emptyFolder,
  expectCrashAndRecovery,
  fetchTools,
  type Host,
  succeed,
  toolScript,
} from '../fixtures/package.js'

const all = process.env.STONELOG_PACKAGE === 'all'
const BUILD = { timeout: 900_000 }
const sources: Record<string, string[]> = JSON.parse(
  readFileSync(join(packageRoot, 'native/sources.json'), 'utf8'),
)
const addonSources = [...sources.core!, ...sources.addon!].sort()
const nodeHeaders = resolve(dirname(process.execPath), '../include/node/node_api.h')

const runs = (command: string) => spawnSync(command, ['--version']).status === 0

/** A copy of what is needed to build, so that no build meets another's results. */
function copyOfSources(...files: string[]): string {
  const folder = emptyFolder()
  for (const name of ['native', 'lib', 'dist', 'package.json', ...files]) {
    cpSync(join(packageRoot, name), join(folder, name), { recursive: true })
  }
  symlinkSync(join(packageRoot, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

const tool = async (name: string, version: string): Promise<Host> => ({
  command: process.execPath,
  args: [toolScript(await fetchTools([`${name}@${version}`]), name)],
  env: process.env,
})
const cmake: Host = { command: 'cmake', env: process.env }

/** The sources that CMake compiles for the addon, by its own account. */
function plannedByCMake(folder: string): string[] {
  const plan = readFileSync(join(folder, 'build/compile_commands.json'), 'utf8')
  const files: Array<{ file: string }> = JSON.parse(plan)
  return files.map(({ file }) => relative(folder, file))
}

/** Ensures that the copy's build/Release works, in place of the installed package's binary. */
async function expectWorkingAddon(folder: string): Promise<void> {
  const user = application()
  // Linked, not copied: a library next to its own build directory is what a developer has.
  cpSync(folder, join(user, 'node_modules/stonelog'), {
    recursive: true,
    filter: (name) => !name.includes('/node_modules') && !name.includes('/obj'),
  })
  const dependency = 'node_modules/node-gyp-build'
  cpSync(join(packageRoot, dependency), join(user, dependency), { recursive: true })
  await expectCrashAndRecovery({ command: process.execPath }, 'esm.mjs', user)
}

describe('binding.gyp', () => {
  beforeEach(({ skip }) => {
    skip(!runs('python3') || !runs('make'), 'needs python3 and make')
    skip(!existsSync(nodeHeaders), 'this Node came without headers')
    skip(!canDownload(), 'packages cannot be fetched here')
  })
  const nodedir = `--nodedir=${resolve(dirname(nodeHeaders), '../..')}`

  it('plans to compile what sources.json lists', async () => {
    const folder = copyOfSources('binding.gyp')
    await succeed(await tool('node-gyp', '12.4.0'), ['configure', nodedir], folder)
    const makefile = readFileSync(join(folder, 'build/stonelog.target.mk'), 'utf8')
    const objects = [...makefile.matchAll(/\/(native\/[\w/]+)\.o\b/g)].map(
      ([, name]) => `${name}.cc`,
    )
    expect([...new Set(objects)].sort()).toEqual(addonSources)
  })

  if (all) {
    it('builds by node-gyp', BUILD, async () => {
      const folder = copyOfSources('binding.gyp')
      await succeed(await tool('node-gyp', '12.4.0'), ['rebuild', '-j', '2', nodedir], folder)
      await expectWorkingAddon(folder)
    })

    it('builds by prebuildify, under the name that npm run prebuild gives', BUILD, async () => {
      const folder = copyOfSources('binding.gyp')
      const tools = await fetchTools(['prebuildify@6.0.1', 'node-gyp@12.4.0'])
      const script = toolScript(tools, 'prebuildify')
      const gyp = toolScript(tools, 'node-gyp')
      const env = {
        ...process.env,
        npm_config_nodedir: resolve(dirname(nodeHeaders), '../..'),
        PREBUILD_NODE_GYP: gyp,
        PATH: `${join(tools, 'node_modules/.bin')}:${process.env.PATH}`,
      }
      const target = ['--napi', '--strip', '--tag-libc', '-t', process.versions.node]
      await succeed({ command: process.execPath, args: [script], env }, target, folder)
      const machine = `${process.platform}-${process.arch}`
      expect(existsSync(join(folder, 'prebuilds', machine, 'stonelog.glibc.node'))).toBe(true)
    })
  }
})

describe('CMakeLists.txt', () => {
  beforeEach(({ skip }) => {
    skip(!runs('cmake') || !runs('make'), 'needs cmake and make')
  })

  it('plans to compile what sources.json lists', async () => {
    const folder = copyOfSources('CMakeLists.txt')
    const options = ['-DCMAKE_EXPORT_COMPILE_COMMANDS=ON', '-G', 'Unix Makefiles']
    await succeed(cmake, ['-S', '.', '-B', 'build', ...options], folder)
    const groups = ['core', 'addon', 'testing', 'sim', 'test']
    const planned = plannedByCMake(folder)
    expect(planned).toEqual(expect.arrayContaining(addonSources))
    const known = groups.flatMap((group) => sources[group] ?? [])
    const others = planned.filter((name) => !known.includes(name))
    expect(others.filter((name) => !/^native\/(sim\/main|fuzz\/\w+)\.cc$/.test(name))).toEqual([])
  })

  if (all) {
    it('builds the addon of the published package by cmake-js', BUILD, async ({ skip }) => {
      skip(!canDownload(), 'packages cannot be fetched here')
      const folder = copyOfSources('CMakeLists.txt')
      await succeed(await tool('cmake-js', '8.0.0'), ['compile', '--parallel', '2'], folder)
      await expectWorkingAddon(folder)
    })

    it('builds and runs native tests under a sanitizer', BUILD, async ({ skip }) => {
      const folder = copyOfSources('CMakeLists.txt')
      const options = ['-DSTONELOG_SANITIZE=address,undefined', '-DCMAKE_BUILD_TYPE=RelWithDebInfo']
      const configured = await succeed(cmake, ['-S', '.', '-B', 'build', ...options], folder)
      const build = ['--build', 'build', '--parallel', '2', '--target']
      const help = await succeed(cmake, [...build, 'help'], folder)
      skip(!/native-tests/.test(help), `needs doctest: ${configured.split('\n').at(-2)}`)
      await succeed(cmake, [...build, 'native-tests'], folder)
      const tests = { command: join(folder, 'build/native-tests'), env: process.env }
      const output = await succeed(tests, ['--test-case=*CRC*,*record*'], folder)
      expect(output).toMatch(/[1-9]\d* passed \| 0 failed/)
    })
  }
})
