#!/usr/bin/env node
// Makes the seeds of native/fuzz/corpus from real logs: writes them with the built package, ends
// them in the ways a log ends, and packs their files. Ids and times in them are new in each run, so
// run it only when the format changes; findings (`found-…`) stay as they are.
//
//   npm run build && node scripts/fuzz/corpus.mjs
import { spawnSync } from 'node:child_process'
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Wal } from '../../dist/index.js'
import { build } from '../build.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const corpus = join(root, 'native/fuzz/corpus')
const work = join(root, 'build/tmp/corpus')
const options = { segmentBytes: 128 * 1024, minFreeBytes: 0 }
const filler = (size) => Buffer.alloc(size, 0x61)

async function append(wal, data) {
  await wal.append(data).catch(async (error) => {
    if (error.code !== 'WAL_BACKPRESSURE') throw error
    await wal.ready()
    await wal.append(data)
  })
}

/** Flips a bit of the first byte of `text` where a segment holds it. */
function damage(directory, text) {
  for (const name of readdirSync(directory).filter((entry) => entry.endsWith('.wal'))) {
    const bytes = readFileSync(join(directory, name))
    const offset = bytes.indexOf(text)
    if (offset === -1) continue
    const file = openSync(join(directory, name), 'r+')
    writeSync(file, Uint8Array.of(bytes[offset] ^ 1), 0, 1, offset)
    closeSync(file)
    return
  }
}

const logs = {
  /** One record, closed. */
  async closed(wal) {
    await append(wal, 'hello')
    await wal.close()
  },
  /** As a power cut leaves it: copied while open. */
  async crashed(wal, directory) {
    await append(wal, 'one')
    await Promise.all([wal.append('two'), wal.append('three')])
    await wal.appendBatch(['batch one', 'batch two', 'batch three'])
    mkdirSync(`${directory}.copy`)
    for (const name of readdirSync(directory).filter((entry) => entry.endsWith('.wal')))
      copyFileSync(join(directory, name), join(`${directory}.copy`, name))
    await wal.close()
  },
  /** Several segments, seals among them, and a record of several sectors. */
  async rotated(wal) {
    for (let i = 0; i < 4; i++) await append(wal, filler(60_000))
    await append(wal, 'the last one')
    await wal.close()
  },
  /** A record with a chunk table. */
  async chunked(wal) {
    await append(wal, Buffer.alloc(70_000))
    await wal.close()
  },
  /** A head that moved on, and a file that is used again. */
  async truncated(wal) {
    for (let i = 0; i < 7; i++) {
      await append(wal, filler(60_000))
      await wal.truncateBefore(wal.lastLsn)
    }
    await append(wal, 'after truncation')
    await wal.close()
  },
  /** Several lives. */
  async lives(wal, directory) {
    await append(wal, 'first life')
    await wal.close()
    for (const text of ['second life', 'third life']) {
      const next = await Wal.open(directory, options)
      await append(next, text)
      await next.close()
    }
  },
  /** Holes and salvaged segments in the control state. */
  async salvaged(wal, directory) {
    for (const text of ['one', 'lost', 'three']) await append(wal, text)
    await wal.close()
    damage(directory, 'lost')
    const next = await Wal.open(directory, { ...options, recovery: 'salvage' })
    await append(next, 'four')
    await next.close()
  },
  /** Damage that is not mended. */
  async damaged(wal, directory) {
    for (const text of ['one', 'two', 'broken', 'four']) await append(wal, text)
    await wal.close()
    damage(directory, 'broken')
  },
}

await build(['replay'])
rmSync(work, { recursive: true, force: true })
for (const [name, make] of Object.entries(logs)) {
  const directory = join(work, name)
  mkdirSync(directory, { recursive: true })
  // A chunked record needs room.
  const segmentBytes = name === 'chunked' ? 192 * 1024 : options.segmentBytes
  await make(await Wal.open(directory, { ...options, segmentBytes }), directory)
  const source = name === 'crashed' ? `${directory}.copy` : directory
  const pack = spawnSync(join(root, 'build/release/fuzz-replay'), ['--pack', source, corpus, name])
  process.stderr.write(pack.stderr)
  if (pack.status !== 0) throw new Error(`packing ${name} failed`)
}
rmSync(work, { recursive: true, force: true })
