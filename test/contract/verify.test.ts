import { readFileSync } from 'node:fs'
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
  segmentFiles,
  setByte,
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
    expect(await Wal.verify(directory)).toMatchObject({
      verdict: 'torn-tail',
      evidence: { segment: 1, reason: expect.any(String) },
      records: 1,
    })
  })

  it('says where damage lies that cost no record', async () => {
    const directory = await makeLog(['a', 'b'])
    expect(await Wal.verify(directory)).toMatchObject({ verdict: 'clean', evidence: null })
    const file = segmentFiles(directory)[0]!
    setByte(file, 50, readFileSync(file)[50]! ^ 1) // in the header
    const evidence = { segment: 1, offset: 0, reason: expect.stringMatching(/header is damaged/) }
    const report = await Wal.verify(directory)
    expect(report).toMatchObject({ verdict: 'corrupt', records: 2, lost: [], evidence })
    const { stdout } = await stonelog(['verify', directory])
    expect(stdout).toMatch(/^evidence {3}segment 1, offset 0: the segment's header is damaged$/m)
  })

  it('says that a directory without a log holds none', async () => {
    const directory = makeDirectory()
    for (const command of ['verify', 'cat']) {
      const { code, stderr } = await stonelog([command, directory])
      expect({ code, stderr }).toEqual({
        code: 0,
        stderr: `stonelog: ${directory}: there is no log here, or one that was never begun\n`,
      })
    }
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
