// What the modes that get over damage leave, say and remember, over the public API.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { Wal } from 'stonelog'
import { describe, expect, it } from 'vitest'
import {
  appendAll,
  bigRecords,
  damage,
  expectCode,
  lsnsFrom,
  makeLog,
  open,
  readLsns,
  segmentFiles,
  setByte,
} from '../fixtures/log.js'

async function makeManySegments(): Promise<string> {
  const directory = await makeLog(bigRecords(40))
  expect(segmentFiles(directory).length).toBeGreaterThan(4)
  return directory
}

function lossReports(directory: string): unknown[] {
  const quarantine = join(directory, 'quarantine')
  const reports = readdirSync(quarantine).filter((name) => /^loss-\d+\.json$/.test(name))
  return reports.map((name) => JSON.parse(readFileSync(join(quarantine, name), 'utf8')))
}

describe('a missing segment', () => {
  it('at the beginning is a hole for salvage, from then on', async () => {
    const directory = await makeManySegments()
    rmSync(segmentFiles(directory)[0]!)
    const wal = await open(directory, { recovery: 'salvage' })
    const { lost } = wal.recovery
    expect(lost).toMatchObject([{ from: 1, reason: 'the segment is missing' }])
    const { to } = lost[0]!
    await wal.close()
    const again = await open(directory, { recovery: 'strict' })
    expect(again.recovery).toMatchObject({ verdict: 'clean', firstLsn: 1 })
    expect(again.recovery.lost).toMatchObject([{ from: 1, to, reason: 'known-hole' }])
    expect(await readLsns(again)).toEqual(lsnsFrom(to + 1, 40))
  })

  it('in the middle is the one that is named', async () => {
    const directory = await makeManySegments()
    const missing = segmentFiles(directory)[2]!
    rmSync(missing)
    const evidence = { segment: 3, offset: 0, reason: 'the segment is missing' }
    expect(await Wal.verify(directory)).toMatchObject({ verdict: 'corrupt', evidence })
    const error = await expectCode(open(directory), 'WAL_CORRUPT')
    expect(error).toMatchObject({ path: missing, segment: 3, offset: 0 })
  })

  it('leaves what point-in-time cuts behind it in the quarantine, and the report says where', async () => {
    const directory = await makeManySegments()
    rmSync(segmentFiles(directory)[2]!)
    const wal = await open(directory, { recovery: 'point-in-time' })
    const { lastLsn, lost, truncatedBytes } = wal.recovery
    expect(truncatedBytes).toBeGreaterThan(100_000)
    expect(lost).toMatchObject([{ from: lastLsn + 1, to: 40 }])
    expect(existsSync(join(directory, lost[0]!.quarantine!))).toBe(true)
    expect(lossReports(directory)).toMatchObject([{ lost }])
  })
})

describe('damage in a closed log', () => {
  it('does not make the close undone, and salvage cuts nothing', async () => {
    const directory = await makeManySegments()
    damage(directory, 'record 9 ')
    expect(await Wal.verify(directory)).toMatchObject({ verdict: 'corrupt', closed: true })
    const wal = await open(directory, { recovery: 'salvage' })
    expect(wal.recovery).toMatchObject({ verdict: 'corrupt', closed: true, truncatedBytes: 0 })
    expect(wal.recovery.lost).toMatchObject([{ from: 9, to: 9 }])
    expect(lossReports(directory)).toMatchObject([{ lost: [{ from: 9, to: 9 }] }])
    await wal.close()
    await (await open(directory)).close()
    expect(lossReports(directory)).toHaveLength(1)
  })

  it('that salvage got over and point-in-time cuts later stays cut', async () => {
    const directory = await makeManySegments()
    const [, second] = segmentFiles(directory)
    setByte(second!, 50, 1)
    await (await open(directory, { recovery: 'salvage' })).close()
    damage(directory, 'record 9 ')
    const wal = await open(directory, { recovery: 'point-in-time' })
    expect(wal.recovery).toMatchObject({ lastLsn: 8, lost: [{ from: 9, to: 40 }] })
    expect(await readLsns(wal)).toEqual(lsnsFrom(1, 8))
    expect(await wal.append('new')).toBe(9)
    await wal.close()
    for (let i = 0; i < 2; i++) {
      const again = await open(directory, { recovery: 'point-in-time' })
      expect(again.recovery).toMatchObject({ verdict: 'clean', lastLsn: 9, lost: [] })
      expect(await readLsns(again)).toEqual(lsnsFrom(1, 9))
      await again.close()
    }
  })

  it('that was released does not come back after a crash', async () => {
    const directory = await makeManySegments()
    damage(directory, 'record 2 ')
    const wal = await open(directory, { recovery: 'salvage' })
    await appendAll(wal, bigRecords(3))
    const first = await wal.truncateBefore(30)
    await wal.append('after')
    await wal.flush()
    // As another process finds it that is started after a crash.
    const reader = await open(directory, { readOnly: true, recovery: 'strict' })
    expect(reader.recovery).toMatchObject({ verdict: 'clean', firstLsn: first, lost: [] })
  })
})

it('a directory under a segment’s name is no log', async () => {
  const directory = await makeLog(['a'])
  mkdirSync(join(directory, '00000000000000000099.wal'))
  for (const recovery of ['strict', 'salvage', 'point-in-time'] as const) {
    const error = await expectCode(open(directory, { recovery }), 'WAL_NOT_A_LOG')
    expect(basename(error.path!)).toBe('00000000000000000099.wal')
  }
})

it('a reader that was overtaken says where it was, and what to do', async () => {
  const wal = await open()
  await appendAll(wal, bigRecords(120))
  const reading = wal.read()
  await reading.next()
  await wal.truncateBefore(119)
  const read = async () => {
    for (;;) if ((await reading.next()).done) return
  }
  const error = await expectCode(read(), 'WAL_NOT_FOUND')
  expect(error.message).toMatch(/read on from firstLsn/)
  expect(error.lsn).toBeGreaterThan(1)
  expect(error.lsn).toBeLessThan(wal.firstLsn)
  expect(error.path).toBe(wal.directory)
})
