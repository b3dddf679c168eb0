// The shipped binaries: for the machines they claim, asking for nothing that older systems lack.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { packageRoot } from '../fixtures/log.js'

const text = (command: string, ...args: string[]) =>
  execFileSync(command, args, { encoding: 'utf8' })

/** Undefined symbols of a binary by kind, `name@VERSION` where they have one. */
function undefinedSymbols(path: string): Array<{ kind: string; name: string }> {
  const lines = text('nm', '-D', '--undefined-only', '--with-symbol-versions', path).trim()
  return lines.split('\n').map((line) => {
    const [kind, name] = line.trim().split(' ')
    return { kind: kind!, name: name! }
  })
}

/** What a binary cannot be loaded without. */
const wanted = (path: string): string[] =>
  undefinedSymbols(path)
    .filter(({ kind }) => kind === 'U')
    .map(({ name }) => name)

/** Names of the libraries a binary must find. */
function neededLibraries(path: string): string[] {
  return [...text('readelf', '-dW', path).matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(
    ([, name]) => name!,
  )
}

/** 2.28 is above 2.9. */
function isAbove(version: string, floor: string): boolean {
  const [a, b] = [version, floor].map((one) => one.split('.').map(Number)) as [number[], number[]]
  const at = a.findIndex((part, index) => part !== (b[index] ?? 0))
  return at !== -1 && a[at]! > (b[at] ?? 0)
}

const FLOOR: Record<string, string> = { GLIBC: '2.28', GLIBCXX: '3.4.22', CXXABI: '1.3.11' }

describe.each([
  { file: 'linux-x64/stonelog.glibc.node', machine: 'X86-64', libc: 'glibc' },
  { file: 'linux-arm64/stonelog.glibc.node', machine: 'AArch64', libc: 'glibc' },
  { file: 'linux-x64/stonelog.musl.node', machine: 'X86-64', libc: 'musl' },
])('prebuilds/$file', ({ file, machine, libc }) => {
  const path = join(packageRoot, 'prebuilds', file)
  beforeEach(({ skip }) => {
    skip(!existsSync(path), 'not built here; `npm run prebuild` says why')
    skip(spawnSync('readelf', ['--version']).status !== 0, 'needs readelf and nm')
  })

  it('is a stripped library for its machine that is never unloaded', () => {
    expect(text('readelf', '-h', path)).toMatch(new RegExp(`Machine:.*${machine}`))
    expect(text('readelf', '-SW', path)).not.toMatch(/\.(symtab|debug_)/)
    const dynamic = text('readelf', '-dW', path)
    expect(dynamic).toContain('NODELETE')
    expect(dynamic).toContain('NOW')
    expect(readFileSync(path).length).toBeLessThan(1024 * 1024)
  })

  it('shows nothing but its entry points', () => {
    const names = text('nm', '-D', '--defined-only', path).trim().split('\n')
    expect(names.map((line) => line.split(' ').at(-1)).sort()).toEqual([
      'napi_register_module_v1',
      'node_api_module_get_api_version_v1',
    ])
  })

  it('was made from the sources that are here', () => {
    const result = spawnSync(process.execPath, ['scripts/prebuild.mjs', '--check'], {
      cwd: packageRoot,
      encoding: 'utf8',
    })
    expect(result.stderr).not.toContain(file)
  })

  if (libc === 'glibc') {
    it('asks for no symbol above the floor', () => {
      const versions = wanted(path).flatMap((symbol) => {
        const [, name, version] = symbol.match(/@([A-Z]+)_([\d.]+)$/) ?? []
        return name === undefined ? [] : [{ symbol, name, version: version! }]
      })
      expect(versions.length).toBeGreaterThan(40)
      const above = versions.filter(({ name, version }) => isAbove(version, FLOOR[name] ?? '0'))
      expect(above.map(({ symbol }) => symbol)).toEqual([])
    })

    it('uses of libuv what a runtime has, and can do without', () => {
      const weak = undefinedSymbols(path).filter(({ kind }) => kind === 'w')
      expect(weak.map(({ name }) => name)).toContain('uv_async_send')
      expect(wanted(path).filter((name) => name.startsWith('uv_'))).toEqual([])
    })

    it('needs no library but those Node itself needs', () => {
      const known = ['stdc++.so.6', 'gcc_s.so.1', 'm.so.6', 'pthread.so.0', 'c.so.6']
      expect(neededLibraries(path).filter((name) => !known.includes(name.slice(3)))).toEqual([])
    })
  } else {
    it('needs musl alone, and nothing that musl lacks', ({ skip }) => {
      expect(neededLibraries(path)).toEqual(['libc.musl-x86_64.so.1'])
      const library = '/usr/lib/x86_64-linux-musl/libc.so'
      skip(!existsSync(library), 'musl is not here to be asked (Debian: musl-dev)')
      const lines = text('nm', '-D', '--defined-only', library).trim().split('\n')
      const there = new Set(lines.map((line) => line.split(' ').at(-1)!))
      const missing = wanted(path).filter((name) => !name.startsWith('napi_') && !there.has(name))
      expect(missing).toEqual([])
    })
  }
})
