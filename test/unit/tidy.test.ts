// What keeps the house in order and can be judged by a machine: form, rooms, banned calls.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../fixtures/log.js'

const COLUMNS = 100
const FUNCTION_LINES = 70

const ROOMS = ['lib', 'native', 'test', 'bench', 'scripts', 'examples', '.ci', '.github']
const files = ROOMS.filter((room) => existsSync(join(packageRoot, room))).flatMap((room) =>
  readdirSync(join(packageRoot, room), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.includes('node_modules'))
    .map((entry) => join(entry.parentPath, entry.name).slice(packageRoot.length + 1)),
)
const read = (path: string) => readFileSync(join(packageRoot, path), 'utf8')
const named = (pattern: RegExp) => files.filter((path) => pattern.test(path))
const cpp = named(/\.(cc|h)$/)
const script = named(/\.(ts|mts|js|mjs)$/)

/** `path:line` of every line that `matches`. */
function linesWhere(paths: string[], matches: (line: string, path: string) => boolean): string[] {
  return paths.flatMap((path) =>
    read(path)
      .split('\n')
      .flatMap((line, index) =>
        matches(line, path) ? [`${path}:${index + 1}: ${line.trim()}`] : [],
      ),
  )
}

const length = (line: string) => [...line].length

/** Without comments and the contents of strings, so that words in them do not count. */
const code = (line: string) =>
  line
    .replace(/"(?:[^"\\]|\\.)*"/g, '""')
    .replace(/'(?:[^'\\]|\\.)*'/g, "''")
    .replace(/\/\/.*$/, '')
    .replace(/^\s*\/?\*.*$/, '')

describe('form', () => {
  it('C++ has at most 100 columns', () => {
    expect(linesWhere(cpp, (line) => length(line) > COLUMNS)).toEqual([])
  })

  it('scripts have at most 100 columns, strings that cannot be broken aside', () => {
    const long = (line: string) => length(line) > COLUMNS && !/['"`]/.test(code(line))
    expect(linesWhere(script, long)).toEqual([])
  })

  it('nothing ends in white space or holds tabs', () => {
    const paths = [...cpp, ...script, ...named(/\.(json|yml|sh|md)$/)]
    expect(linesWhere(paths, (line) => /[ \t]$|\t/.test(line) && !/\\t/.test(line))).toEqual([])
  })

  it('C++ functions have at most 70 lines', () => {
    const long: string[] = []
    for (const path of cpp) {
      const lines = read(path).split('\n')
      lines.forEach((line, end) => {
        // Free functions end in the first column, those written inside a class in the third.
        const [, indent] = line.match(/^( {2})?\}$/) ? [line, line.slice(0, -1)] : []
        if (indent === undefined) return
        const starts = new RegExp(`^${indent}[A-Za-z~]`)
        const start = lines.findLastIndex((other, at) => at < end && starts.test(other))
        if (/^\s*(namespace|extern|if|for|while|do|switch|else)\b/.test(lines[start]!)) return
        const body = end - lines.findIndex((other, at) => at >= start && other.endsWith('{')) - 1
        if (body > FUNCTION_LINES) long.push(`${path}:${start + 1}: ${body} lines`)
      })
    }
    expect(long).toEqual([])
  })
})

/** A call that is not to be made, where it is not, why, and what takes its place. */
interface Ban {
  call: RegExp
  instead: string
  /** A line that must be found. */
  fires: string
  paths: string[]
  except?: RegExp
}

// What is shipped; simulators, tests and probes may do what they like.
const nativeCode = cpp.filter((path) =>
  /^native\/(crc32c|io|format|log|driver|binding)\//.test(path),
)
const BANS: Ban[] = [
  {
    call: /std::(condition_variable|shared_ptr|make_shared)\b/,
    instead: 'Parker, or a counted object: their symbols raise the GLIBC floor',
    fires: '  std::condition_variable ready_;',
    paths: nativeCode,
  },
  {
    call: /\b(throw|catch|dynamic_cast|typeid)\b/,
    instead: 'Status: the core is built without exceptions and RTTI',
    fires: '  throw 1;',
    paths: nativeCode,
  },
  {
    call: /(?<![.>])\b(fsync|fdatasync|pwrite|pwritev2?|pread|ftruncate|fallocate|rename|unlink)\(/,
    instead: 'io::FileSystem, so that faults can be injected',
    fires: '  if (::fsync(fd) != 0) return;',
    paths: nativeCode,
    except: /^native\/io\//,
  },
  {
    call: /\bstd::(cout|cerr|regex|rand)\b|\b(strcpy|strcat|sprintf|atoi|gets|rand|srand)\(/,
    instead: 'a bounded call, or a text that the caller prints',
    fires: '  sprintf(text, format);',
    paths: nativeCode,
  },
  {
    call: /\b(usleep|nanosleep|sleep|sleep_for|sleep_until)\(/,
    instead: 'Parker, which can be woken',
    fires: '  usleep(100);',
    paths: nativeCode,
    // A lock or another process's files are asked again after some ms: nobody would wake.
    except: /^native\/(io\/posix_file_system|driver\/read_only_log)\.cc$/,
  },
  {
    call: /\bstd::(thread|mutex|atomic)\b|\bclock_gettime\(|steady_clock/,
    instead: 'an input of the engine: it has no thread, no lock and no clock',
    fires: '  std::mutex mutex_;',
    paths: cpp.filter((path) => /^native\/(log|format)\//.test(path)),
  },
  {
    call: /\b(TODO|FIXME|XXX|HACK)\b/,
    instead: 'doing it, or a known limit in the documents',
    fires: `// ${'TO'}DO: later`,
    paths: files,
    except: /tidy\.test\.ts$/,
  },
  {
    call: /\b(describe|it|test)\.(only|skip|todo)\b|\b(fit|xit|fdescribe|xdescribe)\(/,
    instead: 'context.skip(reason), which is counted and named',
    fires: `it.${'only'}(name, run)`,
    paths: script,
    except: /tidy\.test\.ts$/,
  },
  {
    call: /\bconsole\.|\bprocess\.(on|once|exit)\(/,
    instead: 'the logger, diagnostics_channel, an error: the process is the application’s',
    fires: '  console.log(text)',
    paths: script.filter((path) => path.startsWith('lib/')),
    except: /^lib\/cli\//,
  },
  {
    call: /\bnew Buffer\(|\bBuffer\.allocUnsafe\(/,
    instead: 'Buffer.from, or allocUnsafeSlow for what is kept: pooled memory is shared',
    fires: '  return Buffer.allocUnsafe(size)',
    paths: script.filter((path) => path.startsWith('lib/')),
    except: /^lib\/cli\//,
  },
]

it.each(BANS)('$call is not called; $instead', ({ call, fires, paths, except }) => {
  expect(keep(fires, call)).toMatch(call)
  const looked = paths.filter((path) => !except?.test(path))
  expect(looked.length).toBeGreaterThan(0)
  expect(linesWhere(looked, (line) => call.test(keep(line, call)))).toEqual([])
})

/** Comments count for words that stand in comments, else not. */
const keep = (line: string, call: RegExp) => (/TODO/.test(call.source) ? line : code(line))

describe('rooms', () => {
  const BELOW: Record<string, string[]> = {
    crc32c: [],
    io: [],
    format: ['crc32c'],
    log: ['crc32c', 'format', 'io'],
    driver: ['crc32c', 'format', 'io', 'log'],
    binding: ['crc32c', 'format', 'io', 'log', 'driver'],
    sim: ['crc32c', 'format', 'io', 'log'],
  }

  it.each(Object.entries(BELOW))('native/%s includes only what is below it', (room, below) => {
    const paths = cpp.filter((path) => path.startsWith(`native/${room}/`))
    expect(paths.length).toBeGreaterThan(0)
    const wrong = linesWhere(paths, (line) => {
      const [, other] = line.match(/^#include "([a-z0-9_]+)\//) ?? []
      return other !== undefined && other !== room && !below.includes(other)
    })
    expect(wrong).toEqual([])
  })

  it('only native/binding knows Node', () => {
    const paths = cpp.filter((path) => !path.startsWith('native/binding/'))
    expect(linesWhere(paths, (line) => /#include [<"](node_api|napi|uv|v8)/.test(line))).toEqual([])
  })

  it('every header is guarded', () => {
    const headers = cpp.filter((path) => path.endsWith('.h'))
    expect(headers.filter((path) => !read(path).includes('#pragma once'))).toEqual([])
  })
})

describe('builds', () => {
  const sources: Record<string, string[]> = JSON.parse(read('native/sources.json'))

  it('have every source in the one list, once', () => {
    const listed = Object.values(sources).flat()
    // Programs of one file are named by the builds themselves.
    const alone = (path: string) => /^native\/(fuzz\/|\w+\/main\.cc$)/.test(path)
    const there = cpp.filter((path) => path.endsWith('.cc') && !alone(path))
    expect(listed.filter((path) => !alone(path)).sort()).toEqual(there.sort())
  })

  it('take it from there', () => {
    const shipped = [...sources.core!, ...sources.addon!]
    for (const build of ['binding.gyp', 'CMakeLists.txt', 'scripts/build.mjs']) {
      const text = read(build)
      expect(text).toContain('sources.json')
      expect(shipped.filter((path) => text.includes(path))).toEqual([])
    }
  })

  it('have versions pinned exactly', () => {
    const { dependencies, devDependencies } = JSON.parse(read('package.json'))
    const loose = Object.entries({ ...dependencies, ...devDependencies }).filter(
      ([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(String(version)),
    )
    expect(loose).toEqual([])
  })
})

it('no export of lib/ or of the fixtures is dead', () => {
  const EXPORT =
    /^export (?:abstract |async )?(const enum|const|function\*?|class|interface|type) (\w+)/gm
  const texts = new Map(script.map((path) => [path, read(path)]))
  const dead: string[] = []
  for (const path of script.filter((path) => /^(lib|test\/fixtures)\//.test(path))) {
    for (const [, kind, name] of texts.get(path)!.matchAll(EXPORT)) {
      const uses = (text: string) => text.match(new RegExp(`\\b${name}\\b`, 'g'))?.length ?? 0
      // The shape of what an exported function takes or gives is exported with it.
      const isShape = kind === 'interface' || kind === 'type'
      const inItsFile = isShape && uses(texts.get(path)!) > 1
      const elsewhere = [...texts].some(([other, text]) => other !== path && uses(text) > 0)
      if (!inItsFile && !elsewhere) dead.push(`${path}: ${name}`)
    }
  }
  expect(dead).toEqual([])
})

it('clang-format agrees, where it is', (context) => {
  let output: string
  try {
    output = execFileSync('clang-format-14', ['--version'], { encoding: 'utf8' })
  } catch {
    return context.skip('clang-format-14 is not installed')
  }
  expect(output).toContain('version 14')
  const args = ['--dry-run', '-Werror', ...cpp]
  expect(() =>
    execFileSync('clang-format-14', args, { cwd: packageRoot, stdio: 'pipe' }),
  ).not.toThrow()
})
