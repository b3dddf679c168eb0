import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  bigRecords,
  damage,
  expectCode,
  lsnsFrom,
  makeDirectory,
  makeLog,
  open,
  readTexts,
  snapshot,
} from '../fixtures/log.js'
import { ended, makeTornLog, start } from '../fixtures/process.js'

const readOnly = { readOnly: true }

describe('a read-only handle', () => {
  it('refuses everything that writes', async () => {
    const wal = await open(await makeLog(['a']), readOnly)
    await expectCode(wal.append('b'), 'WAL_READ_ONLY')
    await expectCode(wal.appendBatch(['b']), 'WAL_READ_ONLY')
    await expectCode(() => wal.write('b'), 'WAL_READ_ONLY')
    await expectCode(() => wal.appendSync('b'), 'WAL_READ_ONLY')
    await expectCode(wal.truncateBefore(1), 'WAL_READ_ONLY')
  })

  it('reads a closed log and changes no byte of it', async () => {
    const directory = await makeLog(['a', 'b'])
    const before = snapshot(directory)
    const wal = await open(directory, readOnly)
    expect(await readTexts(wal)).toEqual(['a', 'b'])
    expect(wal.recovery).toMatchObject({ verdict: 'clean', closed: true, live: false, lastLsn: 2 })
    await wal.close()
    expect(snapshot(directory)).toEqual(before)
  })

  it('says which path to the device the log has, and how many segments', async () => {
    const wal = await open(await makeLog(bigRecords(20)))
    const { io, segments } = wal.stats()
    await wal.close()
    const reader = await open(wal.directory, readOnly)
    const seen = reader.stats()
    const { reason, ...path } = io
    expect(seen.io).toMatchObject(path)
    expect(seen.io.reason.replace(/:.*?;/, ':;')).toBe(reason.replace(/:.*?;/, ':;'))
    expect(seen.segments).toEqual({ live: segments.live, prepared: 0, recycled: 0 })
    expect(seen).toMatchObject({ records: 0, groups: 0, zeroedBytes: 0 })
  })

  it('finds nothing in a directory in which nobody has made a log yet', async () => {
    const directory = makeDirectory()
    mkdirSync(directory, { recursive: true })
    const wal = await open(directory, readOnly)
    expect(await readTexts(wal)).toEqual([])
    expect(await readTexts(wal, { from: 7 })).toEqual([])
  })

  it('takes back what a later life cut', async () => {
    const texts = lsnsFrom(1, 20).map((lsn) => `record ${lsn} `)
    const directory = await makeLog(texts)
    const reader = await open(directory, readOnly)
    expect(await readTexts(reader)).toEqual(texts)
    damage(directory, 'record 5 ')
    const writer = await open(directory, { recovery: 'point-in-time' })
    await writer.append('new')
    await expect.poll(() => readTexts(reader)).toEqual([...texts.slice(0, 4), 'new'])
    expect(reader).toMatchObject({ lastLsn: 5, durableLsn: 5, epoch: writer.epoch })
  })

  it('does not take a log whose files are gone for one that never was', async () => {
    const directory = await makeLog(['a', 'b'])
    const wal = await open(directory, readOnly)
    for (const name of readdirSync(directory)) rmSync(join(directory, name))
    await setTimeout(20)
    for (let tries = 0; tries < 2; tries++) {
      const error = await expectCode(readTexts(wal), 'WAL_NOT_FOUND')
      expect(error.message).toMatch(/files were deleted or moved/)
    }
  })

  it('reads a torn log up to its tail without cutting it', async () => {
    const directory = await makeTornLog(['first payload', 'second payload'], 'second payload')
    const before = snapshot(directory)
    const wal = await open(directory, readOnly)
    expect(await readTexts(wal)).toEqual(['first payload'])
    await wal.close()
    expect(snapshot(directory)).toEqual(before)
  })

  it('reads beside a writer of another process', async () => {
    const directory = makeDirectory()
    const writer = start('writer.mjs', [directory, '4'])
    const end = ended(writer)
    await new Promise((resolve) => writer.stdout?.once('data', resolve))
    // A reader lags by one publication.
    await expect
      .poll(async () => {
        const wal = await open(directory, readOnly)
        const { length } = await readTexts(wal)
        await wal.close()
        return length
      })
      .toBeGreaterThan(0)
    writer.kill('SIGKILL')
    await end
  })
})
