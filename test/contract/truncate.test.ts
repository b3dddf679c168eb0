import { describe, expect, it } from 'vitest'
import {
  bigRecords,
  expectCode,
  lsnsFrom,
  makeLog,
  open,
  readLsns,
  segmentFiles,
} from '../fixtures/log.js'

describe('truncateBefore', () => {
  it('releases whole segments below the LSN and nothing else', async () => {
    const wal = await open(await makeLog(bigRecords(50)))
    const oldest = segmentFiles(wal.directory)[0]!
    const firstLsn = await wal.truncateBefore(30)
    expect(firstLsn).toBeGreaterThan(1)
    expect(firstLsn).toBeLessThanOrEqual(30)
    expect(wal.firstLsn).toBe(firstLsn)
    expect(segmentFiles(wal.directory)).not.toContain(oldest)
    expect(await readLsns(wal)).toEqual(lsnsFrom(firstLsn, 50))
  })

  it('is remembered', async () => {
    const wal = await open(await makeLog(bigRecords(50)))
    const firstLsn = await wal.truncateBefore(30)
    await wal.close()
    const again = await open(wal.directory)
    expect(again.recovery).toMatchObject({ verdict: 'clean', firstLsn, lastLsn: 50 })
    await expectCode(again.read({ from: firstLsn - 1 }).next(), 'WAL_NOT_FOUND')
  })

  it('of everything keeps counting', async () => {
    const wal = await open(await makeLog(bigRecords(20)))
    await wal.truncateBefore(21)
    expect(await wal.append('next')).toBe(21)
    await wal.close()
    const again = await open(wal.directory)
    expect([again.lastLsn, await again.append('after')]).toEqual([21, 22])
  })

  it('of nothing is fine', async () => {
    const wal = await open()
    expect(await wal.truncateBefore(1)).toBe(1)
  })

  it.each([[0], [-1], [2], [1.5], ['1'], [undefined]])(
    '%j in an empty log is a bad argument',
    async (lsn) => {
      const wal = await open()
      await expectCode(wal.truncateBefore(lsn as number), 'WAL_BAD_ARGUMENT')
    },
  )
})
