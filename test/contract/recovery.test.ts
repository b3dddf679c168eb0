import { existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Wal } from 'stonelog'
import { describe, expect, it } from 'vitest'
import {
  bigRecords,
  cutFile,
  damage,
  expectCode,
  lsnsFrom,
  makeDirectory,
  makeLog,
  open,
  readLsns,
  readTexts,
  segmentFiles,
  snapshot,
  unwrite,
} from '../fixtures/log.js'
import { makeKilledLog, makeTornLog } from '../fixtures/process.js'

const WRITABLE_MODES = ['tolerate-torn-tail', 'strict', 'point-in-time', 'salvage'] as const
const texts = (count: number) => lsnsFrom(1, count).map((lsn) => `payload number ${lsn}.`)

describe('a killed writer', () => {
  it.each(WRITABLE_MODES)('loses nothing acknowledged in mode %s', async (recovery) => {
    const wal = await open(await makeKilledLog(texts(10)), { recovery })
    expect(wal.recovery).toMatchObject({ verdict: 'clean', closed: false, lastLsn: 10, lost: [] })
    expect(await readTexts(wal)).toEqual(texts(10))
    expect(await wal.append('next life')).toBe(11)
  })
})

describe('a torn tail', () => {
  const makeTorn = async () => {
    const directory = await makeTornLog(texts(10), 'payload number 10.')
    return directory
  }

  it('is accepted by default, cut and reported', async () => {
    const wal = await open(await makeTorn())
    expect(wal.recovery).toMatchObject({ verdict: 'torn-tail', lastLsn: 9 })
    expect(await readTexts(wal)).toEqual(texts(9))
  })

  it('gives its LSN again only in a higher epoch', async () => {
    const wal = await open(await makeTorn())
    expect(await wal.append('another content')).toBe(10)
    const epochs: number[] = []
    for await (const { epoch } of wal.read({ from: 9 })) epochs.push(epoch)
    expect(epochs[1]).toBeGreaterThan(epochs[0]!)
  })

  it('is refused by strict, which changes nothing', async () => {
    const directory = await makeTorn()
    const before = snapshot(directory)
    await expectCode(open(directory, { recovery: 'strict' }), 'WAL_TORN_TAIL')
    expect(snapshot(directory)).toEqual(before)
  })

  it('recovered twice is what it was recovered once', async () => {
    const wal = await open(await makeTorn())
    await wal.close()
    const again = await open(wal.directory)
    expect(again.recovery).toMatchObject({ verdict: 'clean', lastLsn: 9, truncatedBytes: 0 })
  })
})

describe('proven damage of an unsealed segment', () => {
  // Long enough idle for the durable watermark to be published.
  const makeDamaged = async () => {
    const directory = await makeKilledLog(texts(10), 300)
    damage(directory, 'payload number 5.')
    return directory
  }

  it.each(['tolerate-torn-tail', 'strict'] as const)(
    'is refused by %s, which changes nothing',
    async (recovery) => {
      const directory = await makeDamaged()
      const before = snapshot(directory)
      const error = await expectCode(open(directory, { recovery }), 'WAL_CORRUPT')
      expect(error).toMatchObject({ segment: expect.any(Number), offset: expect.any(Number) })
      expect(snapshot(directory)).toEqual(before)
    },
  )

  it('is accepted by point-in-time up to it, the rest quarantined', async () => {
    const wal = await open(await makeDamaged(), { recovery: 'point-in-time' })
    expect(await readTexts(wal)).toEqual(texts(4))
    expect(wal.recovery).toMatchObject({ verdict: 'corrupt', lastLsn: 4 })
    expect(wal.recovery.lost[0]).toMatchObject({ from: 5, to: 10 })
    expect(readdirSync(join(wal.directory, 'quarantine')).length).toBeGreaterThan(0)
  })

  it('is skipped by salvage, both sides kept, the hole known from then on', async () => {
    const wal = await open(await makeDamaged(), { recovery: 'salvage' })
    expect(await readLsns(wal)).toEqual([1, 2, 3, 4, 6, 7, 8, 9, 10])
    expect(wal.recovery.lost).toMatchObject([{ from: 5, to: 5 }])
    expect(await wal.append('next')).toBe(11)
    await wal.close()
    const again = await open(wal.directory, { recovery: 'salvage' })
    expect(again.recovery.lost).toMatchObject([{ from: 5, to: 5 }])
  })

  it('of the very last record is damage as well', async () => {
    const directory = await makeKilledLog(texts(10))
    damage(directory, 'payload number 10.')
    await expectCode(open(directory), 'WAL_CORRUPT')
  })

  it('that lost the end below the watermark is damage, not a torn tail', async () => {
    const directory = await makeKilledLog(texts(10), 300)
    unwrite(directory, 'payload number 10.')
    await expectCode(open(directory), 'WAL_CORRUPT')
  })
})

describe('a sealed segment', () => {
  it('that is missing is an error, never an end', async () => {
    const directory = await makeLog(bigRecords(30))
    const [, second] = segmentFiles(directory)
    renameSync(second!, join(makeDirectory(), 'moved.wal'))
    await expectCode(open(directory), 'WAL_CORRUPT')
  })

  it('that is short is an error, never an end', async () => {
    const directory = await makeLog(bigRecords(30))
    cutFile(segmentFiles(directory)[1]!, 4096 * 3)
    await expectCode(open(directory), 'WAL_CORRUPT')
  })
})

describe('foreign files', () => {
  it('under other names are left alone', async () => {
    const directory = await makeLog(['a'])
    writeFileSync(join(directory, 'notes.txt'), 'mine')
    expect(await readTexts(await open(directory))).toEqual(['a'])
    expect(existsSync(join(directory, 'notes.txt'))).toBe(true)
  })

  it("under a segment's name are not a log", async () => {
    const directory = await makeLog(['a'])
    const [first] = segmentFiles(directory)
    writeFileSync(first!, 'something else entirely '.repeat(10_000))
    await expectCode(Wal.open(directory), 'WAL_NOT_A_LOG')
  })
})

it('recovery tells the logger whether a log is new or was left open', async () => {
  const lines: string[] = []
  const write = (line: string) => void lines.push(line)
  const logger = { info: write, warn: write, error: write }
  const wal = await open(makeDirectory(), { logger })
  expect(wal.recovery.closed).toBe(false)
  await open(wal.directory, { logger, readOnly: true })
  await wal.close()
  await open(wal.directory, { logger, readOnly: true })
  await open(await makeKilledLog([]), { logger, readOnly: true })
  expect(lines.map((line) => line.match(/opened, clean, (.*): no records/)?.[1])).toEqual([
    'new',
    'open by a writer',
    'closed properly',
    'not closed properly',
  ])
})

it('recovery tells the logger and the channel what it did', async () => {
  const directory = await makeTornLog(texts(3), 'payload number 3.')
  const lines: string[] = []
  const write = (line: string) => void lines.push(line)
  await open(directory, { logger: { info: write, warn: write, error: write } })
  expect(lines.join('\n')).toMatch(/torn-tail, not closed properly: records 1 to 2/)
})
