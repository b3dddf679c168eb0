#!/usr/bin/env node
// The native build: needs Node and a C++20 compiler, nothing else. Reads native/sources.json,
// compiles what changed (dependency files, a hash of the flags) with one process per core, links.
//
//   node scripts/build.mjs [addon] [test] [sim] [states] [probe] [micro] [replay] [fuzz]
//                          [--variant release|asan|tsan] [--define NAME]…
//
// addon -> build/Release/stonelog.node, test -> build/<variant>/native-tests, sim ->
// build/<variant>/sim, states -> build/<variant>/states and every-byte, probe ->
// build/<variant>/raw-probe and metronome (Linux only), micro -> build/<variant>/micro, replay ->
// build/<variant>/fuzz-replay, fuzz -> build/fuzz/fuzz (libFuzzer with ASan and UBSan: clang only).
// A sanitized addon lies in build/<variant>/build/Release, which the package loads with
// STONELOG_PREBUILD=build/<variant>. With --define the variant's directory is
// build/<variant>-<NAME>, so a mutant never shares an object.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const SIM_MAIN = 'native/sim/main.cc'

// The core is built without RTTI, which the check of vtables needs.
const ADDRESS = ['-fno-sanitize-recover=all', '-fno-sanitize=vptr', '-fno-omit-frame-pointer']
// Optimizing what is instrumented takes the compiler twice as long as -O1.
const SANITIZERS = {
  release: [],
  asan: ['-O1', '-fsanitize=address,undefined', ...ADDRESS],
  tsan: ['-O1', '-fsanitize=thread', '-fno-omit-frame-pointer'],
}
const FUZZED = ['-fsanitize=fuzzer-no-link,address,undefined', ...ADDRESS]

// Position-independent everywhere: the addon and the test programs share the objects of the core.
const COMMON = ['-std=c++20', '-O2', '-g1', '-Wall', '-Wextra', '-fPIC', '-pthread', '-Inative']
const PLAIN = ['-fvisibility=hidden', '-fno-exceptions', '-fno-rtti']
const ADDON_DEFINES = [
  '-DNAPI_VERSION=9',
  '-DNAPI_DISABLE_CPP_EXCEPTIONS',
  '-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
]

/** An error whose message is all the user needs. */
class BuildError extends Error {}

/** @typedef {{ command: string, flags: string[], version: string }} Compiler */

/**
 * The first of $CXX, c++, g++, clang++ that runs, with the text of its --version.
 * @returns {Compiler}
 */
function findCompiler() {
  const wanted = process.env.CXX ? [process.env.CXX] : ['c++', 'g++', 'clang++']
  for (const name of wanted) {
    const [command, ...flags] = name.split(/\s+/)
    const probe = spawnSync(command, [...flags, '--version'], { encoding: 'utf8' })
    if (probe.status === 0) return { command, flags, version: probe.stdout }
  }
  throw new BuildError(
    `stonelog's native part needs a C++20 compiler, but none of ${wanted.join(', ')} runs; ` +
      'install one (Debian: apt-get install g++) or name it in CXX.',
  )
}

/** Whether `#include <header>` compiles. */
function hasHeader(compiler, header) {
  const args = [...compiler.flags, '-std=c++20', '-E', '-x', 'c++', '-', '-o', '/dev/null']
  return spawnSync(compiler.command, args, { input: `#include <${header}>\n` }).status === 0
}

/** Source groups, as they stand in native/sources.json. */
function readSources() {
  return JSON.parse(readFileSync(join(root, 'native/sources.json'), 'utf8'))
}

/** Runs one compiler process; the promise settles to its exit code and everything it said. */
function run(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    const said = []
    child.stdout.on('data', (chunk) => said.push(chunk))
    child.stderr.on('data', (chunk) => said.push(chunk))
    child.on('error', (error) => resolve({ status: 1, text: `${command}: ${error.message}\n` }))
    child.on('close', (status) => resolve({ status, text: Buffer.concat(said).toString() }))
  })
}

/** Modification time in ms, or -Infinity if the file is missing. */
function mtimeMs(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? -Infinity
}

/** The prerequisites a compiler wrote with -MMD: `object: a b \` lines, spaces escaped. */
function readDependencies(path) {
  const text = readFileSync(path, 'utf8').replace(/\\\r?\n/g, ' ')
  const list = text.slice(text.indexOf(':') + 1).trim()
  return list.split(/(?<!\\)\s+/).map((name) => name.replace(/\\ /g, ' '))
}

/**
 * Whether the object must be compiled again: other flags, or older than a file it was made from.
 */
function isStale(object, hash) {
  const built = mtimeMs(object)
  if (built === -Infinity || !existsSync(`${object}.d`) || !existsSync(`${object}.flags`))
    return true
  if (readFileSync(`${object}.flags`, 'utf8') !== hash) return true
  return readDependencies(`${object}.d`).some((name) => {
    const changed = mtimeMs(resolve(root, name))
    return changed === -Infinity || changed > built
  })
}

/** One object of a target: where it goes and how it is compiled. */
function objectOf(settings, source, extra) {
  const object = join(root, settings.directory, 'obj', source.replace(/\.(cc|cpp)$/, '.o'))
  const flags = [...settings.compiler.flags, ...COMMON, ...settings.flags, ...extra]
  const hash = createHash('sha256')
    .update(JSON.stringify([settings.compiler.command, settings.compiler.version, flags]))
    .digest('hex')
  return { source, object, flags, hash }
}

/** Compiles what is stale among the objects, one process per core. */
async function compile(settings, objects) {
  const stale = objects.filter(({ object, hash }) => isStale(object, hash))
  let failed = 0
  const worker = async () => {
    for (let job = stale.shift(); job && !failed; job = stale.shift()) {
      mkdirSync(dirname(job.object), { recursive: true })
      const output = `${job.object}.tmp`
      const args = [...job.flags, '-MMD', '-MF', `${job.object}.d`, '-c', job.source, '-o', output]
      const result = await run(settings.compiler.command, args)
      process.stderr.write(result.text)
      if (result.status !== 0) failed++
      else {
        // Renamed last: an interrupted build never leaves half an object that looks new.
        writeFileSync(`${job.object}.flags`, job.hash)
        renameSync(output, job.object)
        settings.compiled++
      }
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, worker))
  if (failed) throw new BuildError('compilation failed, see above')
}

/** Links if an object is newer than the output, or the list of objects or the flags changed. */
async function link(settings, objects, output, extra) {
  const path = join(root, output)
  const args = [
    ...settings.compiler.flags,
    '-pthread',
    ...settings.flags.filter((flag) => flag.startsWith('-fsanitize')),
    ...objects.map(({ object }) => relative(root, object)),
    ...extra,
    ...settings.linkFlags,
  ]
  const hash = createHash('sha256').update(JSON.stringify(args)).digest('hex')
  const stamp = join(root, settings.directory, 'obj', `${output.replaceAll('/', '.')}.link`)
  const built = mtimeMs(path)
  const same = existsSync(stamp) && readFileSync(stamp, 'utf8') === hash
  if (same && objects.every(({ object }) => mtimeMs(object) <= built)) return
  mkdirSync(dirname(path), { recursive: true })
  const result = await run(settings.compiler.command, [...args, '-o', `${output}.tmp`])
  process.stderr.write(result.text)
  if (result.status !== 0) throw new BuildError(`linking ${output} failed, see above`)
  // A running process keeps the old file; overwriting in place would change code under it.
  renameSync(`${path}.tmp`, path)
  writeFileSync(stamp, hash)
}

/** Compiles and links one target; the line to print. */
async function make(settings, output, parts, linkFlags) {
  const objects = parts.flatMap(([sources, extra]) =>
    sources.map((source) => objectOf(settings, source, extra)),
  )
  settings.compiled = 0
  await compile(settings, objects)
  await link(settings, objects, output, linkFlags)
  return `${output}: ${settings.compiled} of ${objects.length} sources compiled`
}

/** The directory of node_api.h: the pinned headers, or those installed with this Node. */
function findNodeHeaders() {
  try {
    return createRequire(import.meta.url)('node-api-headers').include_dir
  } catch {
    const own = resolve(dirname(process.execPath), '../include/node')
    if (existsSync(join(own, 'node_api.h'))) return own
    throw new BuildError(
      `node_api.h was not found: this Node came without headers (${own}); ` +
        '`npm install node-api-headers` brings them.',
    )
  }
}

function makeAddon(settings, sources) {
  const headers = findNodeHeaders()
  const addonFlags = [...PLAIN, ...ADDON_DEFINES, '-isystem', relative(root, headers)]
  const linkFlags =
    process.platform === 'darwin'
      ? ['-bundle', '-undefined', 'dynamic_lookup']
      : // Never unloaded: the core's threads outlive the worker that loaded it.
        [
          '-shared',
          '-Wl,-z,relro,-z,now,-z,nodelete',
          '-Wl,--version-script=native/binding/exports.map',
        ]
  // node-gyp-build looks into build/Release; mutants and sanitized addons stay out of its way.
  const folders = { 'build/release': 'build/Release' }
  for (const variant of ['asan', 'tsan']) {
    folders[`build/${variant}`] = `build/${variant}/build/Release`
  }
  const folder = folders[settings.directory] ?? settings.directory
  const parts = [
    [sources.core, PLAIN],
    [sources.addon, addonFlags],
  ]
  return make(settings, `${folder}/stonelog.node`, parts, linkFlags)
}

function makeTests(settings, sources) {
  const output = `${settings.directory}/native-tests`
  if (sources.test.length === 0) return `SKIPPED ${output}: native/sources.json lists no tests`
  if (!hasHeader(settings.compiler, 'doctest/doctest.h')) {
    return `SKIPPED ${output}: <doctest/doctest.h> was not found (Debian: doctest-dev)`
  }
  const library = [...sources.core, ...sources.testing, ...sources.sim]
  const parts = [
    [library.filter((source) => source !== SIM_MAIN), PLAIN],
    [sources.test, []],
  ]
  return make(settings, output, parts, [])
}

function makeSim(settings, sources) {
  const output = `${settings.directory}/sim`
  if (!existsSync(join(root, SIM_MAIN))) return `SKIPPED ${output}: ${SIM_MAIN} is not there`
  const all = new Set([...sources.core, ...sources.testing, ...sources.sim, SIM_MAIN])
  return make(settings, output, [[[...all], PLAIN]], [])
}

// The simulated disk is what recorded runs are replayed on.
const SIM_DISK = ['cache', 'disk', 'guard', 'sim_file_system'].map(
  (name) => `native/sim/${name}.cc`,
)

async function makeStates(settings, sources) {
  const all = [...sources.core, ...SIM_DISK, ...sources.states]
  const made = []
  for (const [program, room] of [
    ['states', 'states'],
    ['every-byte', 'every_byte'],
  ]) {
    const parts = [[[...all, `native/${room}/main.cc`], PLAIN]]
    made.push(await make(settings, `${settings.directory}/${program}`, parts, []))
  }
  return made.join('\n')
}

function makeMicro(settings, sources) {
  const output = `${settings.directory}/micro`
  if (!hasHeader(settings.compiler, 'benchmark/benchmark.h')) {
    return `SKIPPED ${output}: <benchmark/benchmark.h> was not found (Debian: libbenchmark-dev)`
  }
  const parts = [
    [sources.core, PLAIN],
    [sources.micro, []],
  ]
  return make(settings, output, parts, ['-lbenchmark'])
}

/** What benchmarks are measured with: the raw probe, and what tells open loops what is due. */
async function makeProbe(settings, sources) {
  const output = `${settings.directory}/raw-probe`
  if (process.platform !== 'linux') return `SKIPPED ${output}: it is written for Linux`
  const probe = await make(settings, output, [[sources.probe, []]], [])
  const parts = [[sources.metronome, []]]
  return `${probe}\n${await make(settings, `${settings.directory}/metronome`, parts, [])}`
}

function makeReplay(settings, sources) {
  const parts = [
    [[...sources.core, ...sources.fuzz], PLAIN],
    [sources.replay, []],
  ]
  return make(settings, `${settings.directory}/fuzz-replay`, parts, [])
}

/** A clang whose libFuzzer links: the first of $CLANGXX, clang++, clang++-14 to -19. */
function findClang() {
  const numbered = Array.from({ length: 6 }, (_, index) => `clang++-${14 + index}`)
  const names = process.env.CLANGXX ? [process.env.CLANGXX] : ['clang++', ...numbered]
  const source = 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }'
  for (const command of names) {
    const args = ['-fsanitize=fuzzer,address,undefined', '-x', 'c++', '-', '-o', '/dev/null']
    if (spawnSync(command, args, { input: source }).status !== 0) continue
    return { command, flags: [], version: spawnSync(command, ['--version']).stdout.toString() }
  }
  return undefined
}

function makeFuzz(settings, sources) {
  const output = 'build/fuzz/fuzz'
  const compiler = findClang()
  if (!compiler) {
    return `SKIPPED ${output}: no clang++ with libFuzzer (Debian: clang-14, libclang-rt-14-dev)`
  }
  const defines = settings.defines
  const directory = ['build/fuzz', ...defines].join('-')
  const flags = [...FUZZED, ...defines.map((name) => `-D${name}`)]
  const all = [...sources.core, ...sources.fuzz, ...sources.fuzzer]
  const own = { compiler, directory, flags, linkFlags: [], compiled: 0 }
  return make(own, `${directory}/fuzz`, [[all, PLAIN]], ['-fsanitize=fuzzer,address,undefined'])
}

const MAKERS = {
  addon: makeAddon,
  test: makeTests,
  sim: makeSim,
  states: makeStates,
  probe: makeProbe,
  micro: makeMicro,
  replay: makeReplay,
  fuzz: makeFuzz,
}

/**
 * Builds targets.
 * @param {string[]} targets of `addon`, `test`, `sim`, `states`, `probe`,
 *   `micro`, `replay`, `fuzz`
 * @param {{ variant?: string, defines?: string[], log?: (line: string) => void, toolchain?:
 *   { name: string, compiler: Compiler, linkFlags: string[] } }} [options] variant
 *   `release` (default), `asan` or `tsan`; defines: macros of a mutant; toolchain: another compiler
 *   and its link flags, whose results go to build/<its name>
 * @returns {Promise<string[]>} one line per target; a target that cannot be built here starts with
 *   SKIPPED
 */
export async function build(
  targets,
  { variant = 'release', defines = [], log = console.log, toolchain } = {},
) {
  if (!(variant in SANITIZERS)) throw new BuildError(`unknown variant ${variant}`)
  const unknown = targets.find((target) => !(target in MAKERS))
  if (unknown) throw new BuildError(`unknown target ${unknown}: ${Object.keys(MAKERS).join(', ')}`)
  const settings = {
    compiler: toolchain?.compiler ?? findCompiler(),
    directory: `build/${[toolchain?.name ?? variant, ...defines].join('-')}`,
    linkFlags: toolchain?.linkFlags ?? [],
    defines,
    flags: [...SANITIZERS[variant], ...defines.map((name) => `-D${name}`)],
    compiled: 0,
  }
  const lines = []
  for (const target of targets) {
    const line = await MAKERS[target](settings, readSources())
    log(line)
    lines.push(line)
  }
  return lines
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      variant: { type: 'string', default: 'release' },
      define: { type: 'string', multiple: true, default: [] },
    },
  })
  const targets = positionals.length > 0 ? positionals : ['addon']
  await build(targets, { variant: values.variant, defines: values.define })
}

if (process.argv[1] && import.meta.filename === process.argv[1]) {
  main().catch((error) => {
    console.error(error instanceof BuildError ? error.message : error)
    process.exitCode = 1
  })
}
