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
  unwrite,
} from '../fixtures/log.js'
import { makeKilledLog, stonelog } from '../fixtures/process.js'

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
    const directory = await makeKilledLog(['first payload', 'second payload'])
    unwrite(directory, 'second payload')
    expect(await Wal.verify(directory)).toMatchObject({ verdict: 'torn-tail', records: 1 })
  })

  it('runs beside a writer, in its process and in another one', async () => {
    const wal = await open()
    await wal.append('a')
    await wal.flush()
    expect(await Wal.verify(wal.directory)).toMatchObject({ verdict: 'clean', live: true })
    const { stdout } = await stonelog(['verify', wal.directory, '--json'])
    expect(JSON.parse(stdout)).toMatchObject({ verdict: 'clean', live: true })
    expect(await wal.append('b')).toBe(2)
  })

  it('of a missing directory is WAL_NOT_FOUND', async () => {
    await expectCode(Wal.verify(join(makeDirectory(), 'missing')), 'WAL_NOT_FOUND')
  })

  it('names a misspelt option', async () => {
    const options = { directIO: 'off' } as object
    await expectCode(Wal.verify('anywhere', options), 'WAL_BAD_OPTION')
  })
})
