import { describe, expect, it } from 'vitest'
import { expectCode, makeDirectory, open, readTexts } from '../fixtures/log.js'
import { makeTornLog } from '../fixtures/process.js'

describe('a batch', () => {
  it('takes consecutive LSNs and one acknowledgement', async () => {
    const wal = await open()
    await wal.append('before')
    expect(await wal.appendBatch(['a', Buffer.from('b'), ''])).toEqual({ first: 2, last: 4 })
    expect(wal.durableLsn).toBe(4)
    expect(await readTexts(wal)).toEqual(['before', 'a', 'b', ''])
  })

  it('of one record is a batch', async () => {
    const wal = await open()
    expect(await wal.appendBatch(['a'])).toEqual({ first: 1, last: 1 })
  })

  it.each([[[]], ['text'], [null], [['a', 1]]])(
    '%j is a bad argument and takes no LSN',
    async (records) => {
      const wal = await open()
      await expectCode(wal.appendBatch(records as string[]), 'WAL_BAD_ARGUMENT')
      expect(wal.lastLsn).toBe(0)
    },
  )

  it('of a record above maxRecordBytes is refused whole', async () => {
    const wal = await open(makeDirectory(), { maxRecordBytes: 1000 })
    await expectCode(wal.appendBatch(['small', new Uint8Array(1001)]), 'WAL_RECORD_TOO_LARGE')
    expect([wal.lastLsn, await wal.append('next')]).toEqual([0, 1])
  })

  it('may be as large as the queue and a segment allow in total, and not larger', async () => {
    const wal = await open(makeDirectory(), { maxRecordBytes: 40_000, queueBytes: 1 << 20 })
    const half = new Uint8Array(32 * 1024)
    expect(await wal.appendBatch([half, half])).toEqual({ first: 1, last: 2 })
    await expectCode(wal.appendBatch([half, half, 'x']), 'WAL_RECORD_TOO_LARGE')
  })

  it('keeps its order among appends and writes', async () => {
    const wal = await open()
    const appended = wal.append('1')
    wal.write('2')
    const batch = wal.appendBatch(['3', '4'])
    expect([await appended, await batch, await wal.append('5')]).toEqual([
      1,
      { first: 3, last: 4 },
      5,
    ])
    expect(await readTexts(wal)).toEqual(['1', '2', '3', '4', '5'])
  })

  it('torn in its middle is gone whole', async () => {
    const records = [
      'kept',
      JSON.stringify({ batch: ['first of batch', 'x'.repeat(20_000), 'last of batch'] }),
    ]
    const directory = await makeTornLog(records, 'last of batch')
    const wal = await open(directory)
    expect(await readTexts(wal)).toEqual(['kept'])
    expect(wal.recovery).toMatchObject({ verdict: 'torn-tail', lastLsn: 1 })
  })
})
