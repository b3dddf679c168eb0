import { join } from 'node:path'
import { Wal } from 'stonelog'
import { describe, expect, it } from 'vitest'
import {
  bigRecords,
  damage,
  expectCode,
  makeDirectory,
  makeLog,
  open,
  snapshot,
} from '../fixtures/log.js'
import { makeTornLog, stonelog } from '../fixtures/process.js'

describe('verify', () => {
  it('scans a closed log whole, and changes nothing', async () => {
    const directory = await makeLog(bigRecords(20))
    const before = snapshot(directory)
    const report = await Wal.verify(directory)
    expect(report).toMatchObject({
      verdict: 'clean',
      closed: true,
      live: false,
      firstLsn: 1,
      lastLsn: 20,
      records: 20,
      truncatedBytes: 0,
      lost: [],
    })
    expect(report.scanned.bytes).toBeGreaterThan(20 * 16 * 1024)
    expect(snapshot(directory)).toEqual(before)
  })

  it('finds damage in a sealed segment that opening does not look at', async () => {
    const directory = await makeLog(bigRecords(20))
    damage(directory, 'record 3 ')
    const report = await Wal.verify(directory)
    expect(report.verdict).toBe('corrupt')
    expect(report.lost[0]).toMatchObject({ from: 3, segment: expect.any(Number) })
  })

  it('names a torn tail', async () => {
    const directory = await makeTornLog(['first payload', 'second payload'], 'second payload')
    expect(await Wal.verify(directory)).toMatchObject({ verdict: 'torn-tail', records: 1 })
  })

  it('runs beside a writer, in its process and in another one', async () => {
    const wal = await open()
    let stop = false
    const writing = (async () => {
      while (!stop) await wal.append('x'.repeat(1000)).catch(() => wal.ready())
    })()
    await expect.poll(() => wal.durableLsn).toBeGreaterThan(300) // rotated twice
    const beside = [
      async () => Wal.verify(wal.directory),
      async () => JSON.parse((await stonelog(['verify', wal.directory, '--json'])).stdout),
    ]
    for (const verify of beside) {
      const before = wal.durableLsn
      const report = await verify()
      expect(report).toMatchObject({ verdict: 'clean', live: true, lost: [] })
      // All but what was not yet published when it began, and the writer went on meanwhile.
      expect(report.records).toBeGreaterThan(before - 300)
      // What is on the disk above the watermark is neither shown nor counted.
      expect(report.records).toBe(report.lastLsn - report.firstLsn + 1)
      expect(wal.durableLsn).toBeGreaterThan(before)
    }
    stop = true
    await writing
  })

  it('of a missing directory is WAL_NOT_FOUND', async () => {
    await expectCode(Wal.verify(join(makeDirectory(), 'missing')), 'WAL_NOT_FOUND')
  })

  it('names a misspelt option', async () => {
    const options = { directIO: 'off' } as object
    await expectCode(Wal.verify('anywhere', options), 'WAL_BAD_OPTION')
  })
})
