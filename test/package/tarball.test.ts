// The packed package: what is in it, what linters of packages say, and that a folder without a
// compiler, which installed it, can append, crash and recover in every way of importing it.
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { packageRoot } from '../fixtures/log.js'
import {
  application,
  canDownload,
  emptyFolder,
  expectCrashAndRecovery,
  fetchTools,
  type Host,
  installWithNpm,
  type Packed,
  pack,
  publish,
  type Registry,
  run,
  succeed,
  toolScript,
} from '../fixtures/package.js'

const PREBUILDS = [
  'prebuilds/linux-arm64/stonelog.glibc.node',
  'prebuilds/linux-x64/stonelog.glibc.node',
  'prebuilds/linux-x64/stonelog.musl.node',
]
/** Whether everything is asked for, by `npm run test:package`, or what `npm test` has time for. */
const all = process.env.STONELOG_PACKAGE === 'all'
const node: Host = { command: process.execPath }

let registry: Registry & { packed: Packed }
beforeAll(async () => {
  registry = await publish()
})
afterAll(() => registry?.close())

describe('the tarball', () => {
  it('holds what a user needs and nothing else', () => {
    const sources = JSON.parse(readFileSync(join(packageRoot, 'native/sources.json'), 'utf8'))
    const compiled = readdirSync(join(packageRoot, 'lib'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .flatMap((name) => ['.js', '.d.ts'].map((end) => `dist/${name.replace(/\.ts$/, end)}`))
    const files = registry.packed.files.filter((name) => !name.startsWith('prebuilds/'))
    const native = files.filter((name) => name.startsWith('native/'))
    expect(files.filter((name) => !name.startsWith('native/'))).toEqual(
      [
        ...compiled,
        'CMakeLists.txt',
        'LICENSE',
        'README.md',
        'package.json',
        'scripts/build.mjs',
        'CHANGELOG.md',
      ].sort(),
    )
    expect(native).toEqual(expect.arrayContaining([...sources.core, ...sources.addon].sort()))
    expect(native.filter((name) => !/\.(cc|h|json|map)$/.test(name))).toEqual([])
    expect(native.filter((name) => /^native\/(test|sim|fuzz)\//.test(name))).toEqual([])
  })

  it('holds the binaries of each platform built here, in at most 1.5 MB', ({ skip }) => {
    expect(registry.packed.size).toBeLessThan(1_500_000)
    const missing = PREBUILDS.filter((name) => !existsSync(join(packageRoot, name)))
    skip(missing.length > 0, `not built here: ${missing.join(', ')}`)
    expect(registry.packed.files).toEqual(expect.arrayContaining(PREBUILDS))
  })

  it('has no script that runs at install time, and nothing that makes npm think of one', () => {
    const { scripts } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'))
    for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) {
      expect(scripts).not.toHaveProperty(name)
    }
    expect(registry.packed.files).not.toContain('binding.gyp')
  })

  it('is not packed without its binaries', async () => {
    const folder = emptyFolder()
    for (const name of ['scripts', 'native', 'package.json']) {
      cpSync(join(packageRoot, name), join(folder, name), { recursive: true })
    }
    const { code, stderr } = await run(node, ['scripts/prebuild.mjs', '--check'], folder)
    expect(code).toBe(1)
    for (const name of PREBUILDS) expect(stderr).toContain(`${name} is missing`)
    expect(stderr).toContain('npm run prebuild')
  })

  it.for([
    { tool: 'publint', version: '0.3.25', bin: 'publint', args: ['--strict'] },
    // One ES module for both import and require(): there is no CommonJS variant to judge.
    {
      tool: '@arethetypeswrong/cli',
      version: '0.18.5',
      bin: 'attw',
      args: ['--profile', 'esm-only'],
    },
  ])('has nothing that $tool finds wrong', async ({ tool, version, bin, args }, { skip }) => {
    skip(!canDownload(), 'packages cannot be fetched here')
    const tools = await fetchTools([`${tool}@${version}`])
    const folder = emptyFolder()
    const { tarball } = await pack(packageRoot, folder)
    const host = { command: process.execPath, args: [toolScript(tools, tool, bin)] }
    await succeed(host, [tarball, ...args], folder)
  })
})

describe('an application without a compiler', () => {
  let folder: string
  beforeEach(async ({ skip }) => {
    const machine = `${process.platform}-${process.arch}`
    const there = readdirSync(join(packageRoot, 'prebuilds', machine), { encoding: 'utf8' })
    skip(there.length === 0, `prebuilds/${machine} was not built`)
    folder = application()
    await installWithNpm(folder, registry)
  })

  it.each([
    ['import', 'esm.mjs'],
    ['require()', 'require.cjs'],
    ['a worker', 'worker.mjs'],
  ])('loses nothing in a crash, by %s', async (_, script) => {
    await expectCrashAndRecovery(node, script, folder)
  })

  const settings = [
    { module: 'nodenext', moduleResolution: 'nodenext', from: 'typed.cts' },
    { module: 'preserve', moduleResolution: 'bundler', from: 'typed.mts' },
  ]
  const moreSettings = [
    { module: 'node16', moduleResolution: 'node16', from: 'typed.mts' },
    { module: 'nodenext', moduleResolution: 'nodenext', from: 'typed.mts' },
    { module: 'esnext', moduleResolution: 'bundler', from: 'typed.mts' },
  ]
  it.each(all ? [...settings, ...moreSettings] : settings)(
    'compiles with $module and $moduleResolution from $from',
    async ({ from, ...options }) => {
      if (from.endsWith('.cts')) {
        // require() of an ES module, which this resolution knows to be possible.
        const source = readFileSync(join(folder, 'typed.mts'), 'utf8')
        const [start, end] = source.split('if (what ===')
        const wrapped = `${start}async function main() { if (what ===${end} }\nvoid main()\n`
        writeFileSync(join(folder, from), wrapped)
        rmSync(join(folder, 'typed.mts'))
      }
      const compilerOptions = {
        target: 'es2022',
        lib: ['es2023', 'esnext.disposable'],
        strict: true,
        skipLibCheck: false,
        types: ['node'],
        typeRoots: [join(packageRoot, 'node_modules/@types')],
        ...options,
      }
      const config = { compilerOptions, files: [from] }
      writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
      const tsc = { command: process.execPath, args: [join(packageRoot, 'node_modules/.bin/tsc')] }
      await succeed(tsc, ['-p', folder], folder)
      const script = from.replace('ts', 'js')
      const directory = join(folder, 'wal')
      const crashed = await run(node, [script, 'crash', directory], folder)
      expect(crashed.signal, crashed.stderr).toBe('SIGKILL')
      const found = JSON.parse(await succeed(node, [script, 'recover', directory], folder))
      expect(found).toMatchObject({ lastLsn: 42, code: 'WAL_CLOSED' })
      expect(found.texts.slice(38)).toEqual(['record 39', 'record 40', 'a', 'b'])
    },
  )

  it.for(['esm', 'cjs'])(
    'bundles by esbuild as %s with stonelog external',
    async (format, { skip }) => {
      skip(!canDownload(), 'packages cannot be fetched here')
      const tools = await fetchTools(['@esbuild/linux-x64@0.28.2'])
      const esbuild = { command: join(tools, 'node_modules/@esbuild/linux-x64/bin/esbuild') }
      const output = `bundle.${format === 'esm' ? 'mjs' : 'cjs'}`
      const entry = format === 'esm' ? 'esm.mjs' : 'require.cjs'
      const options = ['--bundle', '--platform=node', `--format=${format}`, '--external:stonelog']
      await succeed(esbuild, [entry, ...options, `--outfile=${output}`], folder)
      rmSync(join(folder, 'cycle.mjs'))
      await expectCrashAndRecovery(node, output, folder)
    },
  )

  it('has the command line', async () => {
    const stonelog = join(folder, 'node_modules/stonelog/dist/cli/main.js')
    writeFileSync(join(folder, 'in'), '')
    const { code, stderr } = await run(node, [stonelog, 'verify', join(folder, 'none')], folder)
    expect(code, stderr).toBe(3)
  })

  it('is told what was looked for and how to build it where no binary loads', async () => {
    const installed = join(folder, 'node_modules/stonelog')
    rmSync(join(installed, 'prebuilds'), { recursive: true })
    const { stderr } = await run(node, ['esm.mjs', 'recover', join(folder, 'wal')], folder)
    expect(stderr).toContain('WAL_NO_NATIVE')
    expect(stderr).toContain(`no binary for ${process.platform}-${process.arch}`)
    expect(stderr).toContain(`(Node ${process.versions.node}, Node-API ${process.versions.napi})`)
    expect(stderr).toContain(`prebuilds/${process.platform}-${process.arch}`)
    expect(stderr).toContain(`node "${join(installed, 'scripts', 'build.mjs')}"`)
  })

  if (all)
    it('builds from source by the command of that message', async ({ skip }) => {
      const installed = join(folder, 'node_modules/stonelog')
      rmSync(join(installed, 'prebuilds'), { recursive: true })
      const failed = await run(node, ['esm.mjs', 'recover', join(folder, 'wal')], folder)
      const command = failed.stderr.match(/builds it from source: node "(.*)"/)
      expect(command, failed.stderr).not.toBeNull()
      const build = { ...node, env: process.env }
      // Needs the headers of this Node, which come with most.
      const built = await run(build, [command![1]!], folder)
      skip(/node_api.h was not found/.test(built.stderr), 'this Node came without headers')
      skip(/needs a C\+\+20 compiler/.test(built.stderr), 'needs a C++20 compiler')
      expect(built.code, built.stderr).toBe(0)
      await expectCrashAndRecovery(node, 'esm.mjs', folder)
    }, 600_000)

  it('is told plainly that there is no compiler', async () => {
    const script = join(folder, 'node_modules/stonelog/scripts/build.mjs')
    const { code, stderr } = await run(node, [script], folder)
    expect(code).toBe(1)
    expect(stderr).toContain('needs a C++20 compiler')
  })
})
