import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { appendAll, expectCode, lsnsFrom, makeDirectory, open, readTexts } from '../fixtures/log.js'
import { ended, start } from '../fixtures/process.js'

describe('an append', () => {
  it('resolves with LSNs from 1, each durable by then', async () => {
    const wal = await open()
    expect([wal.firstLsn, wal.lastLsn, wal.durableLsn]).toEqual([1, 0, 0])
    for (const lsn of [1, 2, 3]) {
      expect(await wal.append(`record ${lsn}`)).toBe(lsn)
      expect(wal.durableLsn).toBeGreaterThanOrEqual(lsn)
    }
  })

  it('of many at once resolves in LSN order', async () => {
    const wal = await open()
    const order: number[] = []
    const appends = lsnsFrom(1, 1000).map(() => wal.append('x').then((lsn) => order.push(lsn)))
    await Promise.all(appends)
    expect(order).toEqual(lsnsFrom(1, 1000))
  })

  it('takes empty records, bytes and any text', async () => {
    const wal = await open()
    const buffer = Uint8Array.of(1, 2, 3, 4).subarray(1, 3)
    await Promise.all([wal.append(''), wal.append(new Uint8Array()), wal.append('ä€😀')])
    await wal.append(buffer)
    expect(await readTexts(wal)).toEqual(['', '', 'ä€😀', '\x02\x03'])
  })

  it('has copied its input before it returns', async () => {
    const wal = await open()
    const buffer = Buffer.from('before')
    const append = wal.append(buffer)
    buffer.write('after!')
    await append
    expect(await readTexts(wal)).toEqual(['before'])
  })

  it.each(['group', 'each', 'interval', 'none'] as const)(
    'at durability %s is readable once flushed',
    async (durability) => {
      const wal = await open(makeDirectory(), { durability, intervalMs: 10 })
      expect(await wal.append('a')).toBe(1)
      expect(await wal.append('b', { durability: 'group' })).toBe(2)
      expect(await wal.flush()).toBe(2)
      expect(await readTexts(wal)).toEqual(['a', 'b'])
    },
  )

  it('at durability interval is synced without a flush', async () => {
    const wal = await open(makeDirectory(), { durability: 'interval', intervalMs: 10 })
    await wal.append('a')
    await expect.poll(() => wal.durableLsn).toBe(1)
  })

  it('larger than maxRecordBytes is refused and writes nothing', async () => {
    const wal = await open(makeDirectory(), { maxRecordBytes: 1000 })
    const error = await expectCode(wal.append(new Uint8Array(1001)), 'WAL_RECORD_TOO_LARGE')
    expect(error.outcome).toBe('not-written')
    expect(await wal.append(new Uint8Array(1000))).toBe(1)
  })

  it('of the largest size that can be asked for fits', async () => {
    const wal = await open()
    const largest = new Uint8Array(64 * 1024).fill(7)
    await appendAll(wal, [largest, largest, largest])
    for await (const { data } of wal.read()) expect(data.equals(largest)).toBe(true)
  })

  it('above queueBytes is refused at once and takes no LSN', async () => {
    const wal = await open(makeDirectory(), { queueBytes: 64 * 1024 })
    const record = new Uint8Array(16 * 1024)
    let refused: unknown
    while (refused === undefined) {
      try {
        wal.write(record)
      } catch (error) {
        refused = error
      }
    }
    expect(refused).toMatchObject({ code: 'WAL_BACKPRESSURE', outcome: 'not-written' })
    const lastLsn = wal.lastLsn
    await wal.ready()
    expect(await wal.append('goes on')).toBe(lastLsn + 1)
  })
})

describe('write and flush', () => {
  it('make a burst durable together', async () => {
    const wal = await open()
    expect(lsnsFrom(1, 100).map((lsn) => wal.write(`${lsn}`))).toEqual(lsnsFrom(1, 100))
    expect(await wal.flush(50)).toBeGreaterThanOrEqual(50)
    expect(await wal.flush()).toBe(100)
  })

  it('of nothing resolve at once', async () => {
    const wal = await open()
    expect(await wal.flush()).toBe(0)
    expect(await wal.flush(0)).toBe(0)
  })

  it.each([[1], [-1], [0.5], ['1']])('up to %j in an empty log is a bad argument', async (upTo) => {
    const wal = await open()
    await expectCode(wal.flush(upTo as number), 'WAL_BAD_ARGUMENT')
  })
})

describe('appendSync', () => {
  it('is durable when it returns, with everything queued before', async () => {
    const wal = await open()
    wal.write('queued')
    const lsn = wal.appendSync('now')
    expect([lsn, wal.durableLsn]).toEqual([2, 2])
    await turn()
    expect(await readTexts(wal)).toEqual(['queued', 'now'])
  })

  it('throws for what it cannot take', async () => {
    const wal = await open()
    await expectCode(() => wal.appendSync(5 as never), 'WAL_BAD_ARGUMENT')
    await expectCode(() => wal.appendSync(new Uint8Array(2 ** 20)), 'WAL_RECORD_TOO_LARGE')
  })
})

describe('a process', () => {
  it.each([
    ['idle', 'idle\n', []],
    ['append', 'durable 1\n', ['pending']],
    ['write', '', ['pending']],
  ] as const)(
    'with a log that is %s ends on its own, owing nothing',
    async (what, stdout, texts) => {
      const directory = makeDirectory()
      expect(await ended(start('exiting.mjs', [directory, what]))).toMatchObject({
        code: 0,
        stdout,
      })
      expect(await readTexts(await open(directory))).toEqual(texts)
    },
  )

  it('that exits with an append pending leaves a log that opens', async () => {
    const directory = makeDirectory()
    expect(await ended(start('exiting.mjs', [directory, 'exit']))).toMatchObject({ code: 0 })
    const wal = await open(directory)
    expect(wal.recovery.verdict).not.toBe('corrupt')
  })
})
