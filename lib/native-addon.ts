// Finds the compiled native part and loads it: a build of one's own in build/Release, else what was
// shipped for this machine in prebuilds/.
import { existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { messageOf, WalError } from './errors.js'
import type { Native } from './native.js'

/** The package's directory: the parent of dist/ (and of lib/, in tests of the sources). */
const packageDirectory = dirname(dirname(fileURLToPath(import.meta.url)))

type Resolve = { resolve: (directory: string) => string }

/** The C library of this process, for messages: `, glibc 2.36`. Empty where there is no choice. */
function describeLibc(): string {
  if (process.platform !== 'linux') return ''
  try {
    const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } }
    const version = report.header?.glibcVersionRuntime
    return version === undefined ? ', not glibc' : `, glibc ${version}`
  } catch {
    return ', C library unknown' // not every runtime makes reports
  }
}

/** Whether musl's dynamic linker is here: on each musl system, on a glibc one only beside it. */
function hasMusl(): boolean {
  return readdirSync('/lib').some((name) => name.startsWith('ld-musl-'))
}

/**
 * The files to try, best first. node-gyp-build takes every Linux but Alpine for glibc. The binary
 * for musl cannot be loaded with glibc, while musl's linker would take the one for glibc: so where
 * musl may be what runs, its own goes before. A build of one's own goes before everything.
 */
function candidates(require: NodeJS.Require, failures: string[]): string[] {
  const files: string[] = []
  try {
    files.push((require('node-gyp-build') as Resolve).resolve(packageDirectory))
  } catch (error) {
    failures.push((error as Error).message.split('\n', 1)[0]!)
  }
  const { platform, arch } = process
  const prebuilds = join(packageDirectory, 'prebuilds', `${platform}-${arch}`)
  const musl = join(prebuilds, 'stonelog.musl.node')
  const ownBuild = files.length > 0 && dirname(files[0]!) !== prebuilds
  if (platform !== 'linux' || ownBuild || !existsSync(musl) || !hasMusl()) return files
  return [musl, ...files.filter((file) => file !== musl)]
}

/** A failure to load one file, in one line. */
function describeFailure(file: string, error: Error): string {
  const name = relative(packageDirectory, file)
  // The dynamic linker begins with the file's name; the message has that already.
  return `${name}: ${error.message.split('\n', 1)[0]!.replace(`${file}: `, '')}`
}

/**
 * The native surface of this environment. The error names the platform, each file that was tried,
 * and the command that builds one.
 * @throws {WalError} WAL_NO_NATIVE
 */
export function loadAddon(): Native {
  const require = createRequire(import.meta.url)
  const failures: string[] = []
  let cause: unknown
  for (const file of candidates(require, failures)) {
    try {
      return require(file) as Native
    } catch (error) {
      cause ??= error
      failures.push(describeFailure(file, error as Error))
    }
  }
  const { platform, arch, versions } = process
  const why =
    `no binary for ${platform}-${arch}${describeLibc()} (Node ${versions.node}, Node-API ` +
    `${versions.napi}) in build/Release or prebuilds/${platform}-${arch} could be loaded ` +
    `(${failures.join('; ')})`
  const message = messageOf(
    'WAL_NO_NATIVE',
    'loading the native part',
    why,
    ` at ${packageDirectory}`,
  )
  const command = `node "${join(packageDirectory, 'scripts', 'build.mjs')}"`
  throw new WalError('WAL_NO_NATIVE', `${message} ${command}`, { path: packageDirectory, cause })
}
