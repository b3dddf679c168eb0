// The documents against the code: links, names, and the worked example, decoded by a reader that
// shares nothing with the native one.
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { crc32c } from '@node-rs/crc32'
import { describe, expect, it } from 'vitest'
import { listPages } from '../fixtures/markdown.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const pages = listPages()

/** Text outside of code: fences and code spans hold no links. */
const prose = (text: string) => text.replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, '')

/** The anchors that headings make, as GitHub does. */
const anchorsOf = (text: string) =>
  [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )

it.each(pages)('the relative links of %s lead somewhere', (page) => {
  const broken = []
  for (const [, target] of prose(read(page)).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(target!)) continue
    const [path, anchor] = target!.split('#')
    const file = path === '' ? join(root, page) : resolve(root, dirname(page), path!)
    // A directory is no page: the site cannot show it.
    const alive = existsSync(file) && statSync(file).isFile()
    if (!alive || (anchor && !anchorsOf(readFileSync(file, 'utf8')).includes(anchor))) {
      broken.push(target)
    }
  }
  expect(broken).toEqual([])
})

it.each(pages)('the tables of %s have rows of one width, and lie outside of paragraphs', (page) => {
  const widths = (table: string) =>
    new Set(table.split('\n').map((row) => row.replace(/`[^`]*`|\\\|/g, '').split('|').length))
  const tables = read(page).match(/^\|.*(\n\|.*)*/gm) ?? []
  expect(tables.filter((table) => widths(table).size > 1)).toEqual([])
  expect(read(page)).not.toMatch(/^[^|\n].*\| --- \|/m)
})

it.each(pages)('the lines of %s fit into 100 columns, tables aside', (page) => {
  const long = read(page).split('\n')
  expect(long.filter((line) => line.length > 100 && !/^ *\|/.test(line))).toEqual([])
})

it('every row of the recovery table is in durability.md', () => {
  const table = read('native/log/recovery_table.h')
  const rows = [...table.matchAll(/^ +\{"([a-z-]+)", /gm)].map(([, name]) => name)
  const size = Number(table.match(/array<RecoveryRow, (\d+)>/)?.[1])
  const text = read('docs/durability.md')
  expect(rows).toHaveLength(size)
  expect(rows.filter((name) => !text.includes(`| \`${name}\` |`))).toEqual([])
})

it('every error code says what to do', () => {
  const codes = new Set(read('lib/errors.ts').match(/WAL_[A-Z_]+/g))
  const text = read('docs/durability.md')
  expect(codes.size).toBeGreaterThan(15)
  expect([...codes].filter((code) => !text.includes(`| \`${code}\` |`))).toEqual([])
})

it('every field of the statistics is in operations.md', () => {
  const text = read('docs/operations.md')
  const shape = read('lib/stats.ts').match(/export interface WalStats \{([\s\S]*?)\n\}/)![1]!
  const names = [...shape.matchAll(/^ {2,4}(\w+): (?!\{$)/gm)].map(([, name]) => name!)
  expect(names.filter((name) => !new RegExp(`\\b${name}\\b`).test(text))).toEqual([])
})

/** Tests that the numbered rows of a page's tables name, and that are not there. */
function missingTests(page: string): string[] {
  const missing = []
  for (const row of read(page).match(/^\| \d+ \|.*$/gm) ?? []) {
    const column = row.split(' | ').at(-1)!
    for (const [, path, names] of column.matchAll(/`([\w/.-]+)` ("(?:[^|]*?)")(?=; | \||$)/g)) {
      const source = existsSync(join(root, path!)) ? read(path!) : ''
      for (const [, name] of names!.matchAll(/"([^"]+)"/g)) {
        const quoted = name!.replaceAll("'", "\\'")
        if (!source.includes(name!) && !source.includes(quoted)) missing.push(`${path} "${name}"`)
      }
    }
  }
  return missing
}

it('every test that stands for a promise is there under its name', () => {
  expect(missingTests('docs/durability.md')).toEqual([])
})

it('every class of faults has a row, and every test it names is there', () => {
  const text = read('docs/crash-evidence.md')
  const section = /^## The classes of faults$([\s\S]*?)(?=^## |$(?![\s\S]))/m.exec(text)![1]!
  const rows = section.match(/^\| \d+ \|.*$/gm)!
  expect(rows.map((row) => Number(row.split(' | ')[0]!.slice(2)))).toEqual(
    Array.from({ length: 62 }, (_, index) => index + 1),
  )
  expect(rows.filter((row) => !/`(test|native)\/[\w/.-]+` "/.test(row))).toEqual([])
  expect(missingTests('docs/crash-evidence.md')).toEqual([])
})

describe('the worked example of format.md', () => {
  const SECTOR = 512
  const sectors = new Map<number, Buffer>()
  for (const [, block] of read('docs/format.md').matchAll(/^```hex\n([\s\S]*?)^```/gm)) {
    for (const line of block!.trim().split('\n')) {
      const [, at, bytes] = line.match(/^([0-9a-f]{8}) {2}((?:[0-9a-f]{2} ?){16})/)!
      const offset = Number.parseInt(at!, 16)
      const index = Math.floor(offset / SECTOR)
      if (!sectors.has(index)) sectors.set(index, Buffer.alloc(SECTOR))
      Buffer.from(bytes!.replaceAll(' ', ''), 'hex').copy(sectors.get(index)!, offset % SECTOR)
    }
  }
  const u64 = (value: bigint) => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(value)
    return bytes
  }
  const crc = (...parts: Uint8Array[]) => crc32c(Buffer.concat(parts))
  const groups = [...sectors].filter(([, bytes]) => bytes.toString('latin1', 0, 4) === 'SGRP')

  it('shows seven sectors, each with the right stamp', () => {
    expect([...sectors.keys()]).toEqual([0, 1, 8, 16, 24, 32, 40])
    for (const [index, bytes] of sectors) {
      const place = BigInt(index) | (index % 8 === 0 ? 1n << 63n : 0n)
      expect(bytes.readUInt32LE(504)).toBe(sectors.get(0)!.readUInt32LE(56))
      expect(bytes.readUInt32LE(508)).toBe(crc(bytes.subarray(0, 508), u64(place)))
    }
  })

  it('has an intact header of this version', () => {
    const header = sectors.get(0)!
    expect(header.toString('latin1', 0, 8)).toBe('stonelog')
    expect([header.readUInt16LE(8), header.readUInt16LE(10)]).toEqual([0, 1])
    expect(header.readUInt32LE(12)).toBe(crc(header.subarray(0, 12)))
    expect(header.readBigUInt64LE(72)).toBe(200_704n)
  })

  it('links each group to the one before, the seal to the last', () => {
    const order = [16, 24, 32, 40, 8].map((index) => sectors.get(index)!)
    let link = 0
    for (const group of order) {
      expect(group.readUInt32LE(96)).toBe(crc(group.subarray(0, 96)))
      expect(group.readUInt32LE(88)).toBe(link)
      link = group.readUInt32LE(96)
    }
    expect(groups).toHaveLength(order.length)
  })

  it('holds records whose checksums are right, "hello" among them', () => {
    const payloads: string[] = []
    for (const [, group] of groups) {
      const end = 136 + group.readUInt32LE(12)
      const sums: Buffer[] = []
      for (let at = 136; at < end; ) {
        const [type, flags, length] = group.subarray(at + 4, at + 7) as unknown as [
          number,
          number,
          number,
        ]
        const payload = group.subarray(at + 7, at + 7 + length)
        const shape = BigInt(type) | (BigInt(flags) << 8n) | (BigInt(length) << 32n)
        const lsn = type === 1 ? group.readBigUInt64LE(24) : 0n
        expect(group.readUInt32LE(at)).toBe(crc(payload, u64(shape), u64(lsn)))
        if (type === 1) payloads.push(payload.toString())
        sums.push(group.subarray(at, at + 4))
        at += 7 + length
      }
      expect(group.readUInt32LE(92)).toBe(crc(...sums))
    }
    expect(payloads).toEqual(['hello'])
  })

  it('is of the version that the code writes', () => {
    const layout = read('native/format/layout.h')
    const written = ['kVersion', 'kSubVersion'].map((name) =>
      Number(layout.match(new RegExp(`${name} = (\\d+)`))?.[1]),
    )
    expect(written).toEqual([0, 1])
  })
})
