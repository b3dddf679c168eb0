#!/usr/bin/env node
// Fills prebuilds/ with stripped binaries that need no compiler where they are installed, under
// the names that node-gyp-build looks for (those of prebuildify --napi --tag-libc).
//
//   node scripts/prebuild.mjs [TARGET…]      builds; without names, all that can be built here
//   node scripts/prebuild.mjs --check        fails unless each of TARGETS is there and up to date
//
// The targets for other machines need Debian's cross-compilers: g++-aarch64-linux-gnu; and for
// musl clang-14, lld-14, libc++-14-dev, libc++abi-14-dev, libunwind-14-dev, musl-dev. On other
// platforms than Linux x64 the one target is the machine's own; .github/workflows/prebuild.yml.
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from './build.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const MARK = 'stonelog-sources:'

/** The target's file below prebuilds/. */
const TARGETS = {
  'linux-x64-glibc': 'linux-x64/stonelog.glibc.node',
  'linux-arm64-glibc': 'linux-arm64/stonelog.glibc.node',
  'linux-x64-musl': 'linux-x64/stonelog.musl.node',
}

/** What a command says of its version; null if it does not run. */
function versionOf(command) {
  const { status, stdout } = spawnSync(command, ['--version'], { encoding: 'utf8' })
  return status === 0 ? stdout : null
}

/** Fails unless these are there. */
function need(...paths) {
  const missing = paths.filter((path) => !existsSync(path))
  if (missing.length > 0) throw new Error(`${missing.join(', ')} not found`)
}

function compiler(command, flags) {
  const version = versionOf(command)
  if (version === null) throw new Error(`${command} does not run`)
  return { command, flags, version }
}

/** g++ for another machine. */
function cross(name, triple) {
  return { name, compiler: compiler(`${triple}-g++`, []), linkFlags: [] }
}

/** clang and Debian's libc++, linked in, against the headers of Debian's musl. */
function musl(name) {
  const llvm = '/usr/lib/llvm-14'
  const headers = '/usr/include/x86_64-linux-musl'
  const archives = ['libc++.a', 'libc++abi.a', 'libunwind.a'].map((file) => `${llvm}/lib/${file}`)
  // Of libgcc only what asks the processor for its features.
  archives.push(execFileSync('gcc', ['-print-libgcc-file-name'], { encoding: 'utf8' }).trim())
  need(headers, `${llvm}/include/c++/v1`, ...archives)
  const own = join(root, 'build', name)
  mkdirSync(join(own, 'linux'), { recursive: true })
  // The kernel's headers apart from those of glibc beside them.
  const kernel = {
    linux: '/usr/include/linux',
    'asm-generic': '/usr/include/asm-generic',
    asm: '/usr/include/x86_64-linux-gnu/asm',
  }
  for (const [link, target] of Object.entries(kernel)) {
    rmSync(join(own, 'linux', link), { force: true })
    symlinkSync(target, join(own, 'linux', link))
  }
  const include = [`${llvm}/include/c++/v1`, headers, join(own, 'linux')]
  const clang = compiler('clang++-14', [
    '--target=x86_64-linux-musl',
    '-fuse-ld=lld-14',
    '-nostdlibinc',
    '-nostdinc++',
    ...include.flatMap((path) => ['-isystem', path]),
    '-D_LIBCPP_HAS_MUSL_LIBC',
    '-DSTONELOG_FORTIFIED_LIBCXX',
    '-Wno-unused-command-line-argument',
  ])
  // Needing musl's libc by its name makes the binary fail at once where there is another one.
  const libc = join(own, 'libc.so')
  const soname = '-Wl,-soname,libc.musl-x86_64.so.1'
  const empty = ['-x', 'c++', '/dev/null', '-shared', '-nostdlib', soname, '-o', libc]
  execFileSync(clang.command, [...clang.flags, ...empty])
  const strict = ['-nostdlib', '-Wl,--exclude-libs,ALL', '-Wl,--gc-sections', '-Wl,--no-as-needed']
  return { name, compiler: clang, linkFlags: [...archives, ...strict, libc] }
}

/** How a target is built and stripped here; throws with the reason if it cannot be. */
function toolsFor(target) {
  const { platform, arch } = process
  const here = `${platform}-${arch}` === 'linux-x64'
  if (!here && target !== ownTarget()) throw new Error(`not on ${platform}-${arch}`)
  if (here && target === 'linux-arm64-glibc') {
    const triple = 'aarch64-linux-gnu'
    return {
      toolchain: cross(`prebuild-${target}`, triple),
      strip: `${triple}-strip`,
      objcopy: `${triple}-objcopy`,
    }
  }
  const tools = { strip: 'strip', objcopy: 'objcopy' }
  if (here && target === 'linux-x64-musl') {
    return { toolchain: musl(`prebuild-${target}`), ...tools }
  }
  return tools
}

/** The name of this machine's own target. */
function ownTarget() {
  const { platform, arch } = process
  if (platform !== 'linux') return `${platform}-${arch}`
  const glibc = process.report.getReport().header.glibcVersionRuntime !== undefined
  return `${platform}-${arch}-${glibc ? 'glibc' : 'musl'}`
}

/** A target's file below prebuilds/; also of targets that are built elsewhere. */
function fileOf(target) {
  if (target in TARGETS) return TARGETS[target]
  const [platform, arch, libc] = target.split('-')
  return `${platform}-${arch}/stonelog${libc ? `.${libc}` : ''}.node`
}

/** Hash of everything the addon is made from: sources, headers, their list, the build itself. */
function hashOfSources() {
  const hash = createHash('sha256')
  const rooms = ['binding', 'crc32c', 'driver', 'format', 'io', 'log']
  const files = rooms.flatMap((room) =>
    readdirSync(join(root, 'native', room)).map((name) => `native/${room}/${name}`),
  )
  for (const file of [...files.sort(), 'native/sources.json', 'scripts/build.mjs']) {
    hash
      .update(`${file}\0`)
      .update(readFileSync(join(root, file)))
      .update('\0')
  }
  return hash.digest('hex')
}

/** Builds one target into prebuilds/, stripped, with the hash of its sources in a section. */
async function prebuild(target, sources) {
  const { toolchain, strip, objcopy } = toolsFor(target)
  await build(['addon'], { toolchain })
  const built = join(root, 'build', toolchain?.name ?? 'Release', 'stonelog.node')
  const path = join(root, 'prebuilds', fileOf(target))
  mkdirSync(dirname(path), { recursive: true })
  copyFileSync(built, `${path}.tmp`)
  if (process.platform === 'linux') {
    const mark = join(root, 'build/sources.mark')
    writeFileSync(mark, `${MARK}${sources}\n`)
    execFileSync(strip, ['--strip-all', `${path}.tmp`])
    execFileSync(objcopy, ['--add-section', `.stonelog=${mark}`, `${path}.tmp`])
  } else if (process.platform === 'darwin') {
    execFileSync('strip', ['-x', `${path}.tmp`])
  }
  renameSync(`${path}.tmp`, path)
  return `prebuilds/${fileOf(target)}: ${readFileSync(path).length} bytes`
}

/**
 * What is wrong with prebuilds/, a sentence each. Binaries without a mark are taken as they are.
 */
export function check() {
  const mark = `${MARK}${hashOfSources()}`
  return Object.values(TARGETS).flatMap((file) => {
    const path = join(root, 'prebuilds', file)
    if (!existsSync(path)) return [`prebuilds/${file} is missing`]
    const bytes = readFileSync(path)
    if (bytes.includes(MARK) && !bytes.includes(mark)) {
      return [`prebuilds/${file} is older than its sources`]
    }
    return []
  })
}

/**
 * Builds targets; those that are up to date are left alone.
 * @param {string[]} targets
 * @returns {Promise<Record<string, { file: string } | { reason: string }>>} by target, the file
 *   below prebuilds/ or why it cannot be built here; a compilation that fails is thrown
 */
export async function prebuildAll(targets, log = console.log) {
  const sources = hashOfSources()
  const results = {}
  for (const target of targets) {
    try {
      toolsFor(target)
    } catch (error) {
      results[target] = { reason: error.message }
      log(`SKIPPED ${target}: ${error.message}`)
      continue
    }
    const path = join(root, 'prebuilds', fileOf(target))
    const current = existsSync(path) && readFileSync(path).includes(`${MARK}${sources}`)
    log(current ? `prebuilds/${fileOf(target)}: up to date` : await prebuild(target, sources))
    results[target] = { file: fileOf(target) }
  }
  return results
}

export const targets = Object.keys(TARGETS)

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { check: { type: 'boolean', default: false } },
  })
  if (values.check) {
    const wrong = check()
    for (const line of wrong) console.error(line)
    if (wrong.length > 0) console.error('`npm run prebuild` builds them')
    process.exitCode = wrong.length > 0 ? 1 : 0
    return
  }
  const all = process.platform === 'linux' && process.arch === 'x64' ? targets : [ownTarget()]
  const wanted = positionals.length > 0 ? positionals : all
  const results = await prebuildAll(wanted)
  // What was asked for by name must be there afterwards.
  if (positionals.some((target) => 'reason' in results[target])) process.exitCode = 1
}

if (process.argv[1] && import.meta.filename === process.argv[1]) await main()
