// Devices with large sectors, devices that fail, and power cuts one after the other.
import { join } from 'node:path'
import { Wal } from 'stonelog'
import { beforeEach, expect, it } from 'vitest'
import {
  errorOf,
  expectCode,
  lsnsFrom,
  open,
  quiet,
  readTexts,
  untilMetFirst,
  warmUp,
} from '../fixtures/log.js'
import {
  mountNew,
  mountOnFailing,
  mountOnSectors,
  shutDown,
  turnReadOnly,
} from '../fixtures/mount.js'
import { ended, start } from '../fixtures/process.js'

const MIB = 1 << 20
const SIZE = { ext4: 64 * MIB, xfs: 512 * MIB } as const
const OPTIONS = { segmentBytes: MIB, minFreeBytes: 0 }

/** Starts a writer, cuts the power once it has acknowledged something; what it had told by then. */
async function writeAndCut(root: string, name: string, lanes: number): Promise<string[] | null> {
  const writer = start('writer.mjs', [join(root, 'wal'), String(lanes), name])
  let stdout = ''
  writer.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  const end = ended(writer)
  await expect.poll(() => stdout.split('\n').length).toBeGreaterThan(20)
  const heard = stdout.split('\n').slice(0, -1)
  const cut = shutDown(root)
  writer.kill('SIGKILL')
  await end
  return cut ? heard : null
}

beforeEach(warmUp)

it.for(['ext4', 'xfs'] as const)(
  '%s on sectors of 4096 bytes: direct, rotated, cut off, recovered',
  { timeout: 120_000 },
  async (kind, { skip }) => {
    const made = mountOnSectors(kind, SIZE[kind], 4096)
    if ('reason' in made) return skip(made.reason)
    const directory = join(made.directory, 'wal')
    const wal = await open(directory)
    expect(wal.stats().io).toMatchObject({ direct: true, fileSystem: kind })
    for (const size of [0, 1, 511, 512, 4000, 4096, 5000, 60_000])
      await wal.append('x'.repeat(size))
    wal.appendSync('sync')
    await wal.appendBatch(['a', 'b'.repeat(9000)])
    await wal.close()
    const heard = await writeAndCut(made.directory, 'cut', 8)
    if (heard === null) return skip('no xfs_io to shut the file system down')
    made.again()
    const again = await open(directory)
    expect(again.recovery.verdict).not.toBe('corrupt')
    const texts = await readTexts(again)
    expect(texts.slice(0, 11).map((text) => text.length)).toEqual([
      0, 1, 511, 512, 4000, 4096, 5000, 60_000, 4, 1, 9000,
    ])
    for (const line of heard)
      expect(texts[Number(line.split(' ', 1)[0]) - 1]).toBe(line.slice(line.indexOf(' ') + 1))
    expect(await again.truncateBefore(again.lastLsn)).toBeGreaterThan(0)
  },
)

it.for(['ext4', 'xfs'] as const)(
  '%s: five power cuts in a row, and no record of an earlier run comes back',
  { timeout: 180_000 },
  async (kind, { skip }) => {
    const made = mountOnSectors(kind, SIZE[kind], 512)
    if ('reason' in made) return skip(made.reason)
    const expected = new Map<number, string>()
    for (let run = 1; run <= 5; run++) {
      const heard = await writeAndCut(made.directory, `run ${run}`, 16)
      if (heard === null) return skip('no xfs_io to shut the file system down')
      for (const line of heard)
        expected.set(Number(line.split(' ', 1)[0]), line.slice(line.indexOf(' ') + 1))
      made.again()
      if (run % 2 === 0) continue // the next writer recovers by itself
      const wal = await Wal.open(join(made.directory, 'wal'), { readOnly: true })
      const runs: number[] = []
      for await (const { lsn, data } of wal.read()) {
        if (expected.has(lsn)) expect(data.toString(), `run ${run}`).toBe(expected.get(lsn))
        runs.push(Number(/run (\d+)/.exec(data.toString())![1]))
      }
      expect(runs).toEqual([...runs].sort((a, b) => a - b))
      expect(runs.length).toBeGreaterThanOrEqual(Math.max(...expected.keys()))
      await wal.close()
    }
  },
)

it('a device whose writes fail stops the log for good, and what it holds decides after that', async ({
  skip,
}) => {
  const { made, directory, wal, errors } = await untilMetFirst(async () => {
    const made = mountOnFailing('ext4', 64 * MIB)
    if ('reason' in made) return skip(made.reason)
    const directory = join(made.directory, 'wal')
    const wal = await open(directory, OPTIONS)
    for (let i = 1; i <= 20; i++) await wal.append(`record ${i}`)
    await quiet(wal)
    made.fail()
    return { made, directory, wal, errors: [await errorOf(wal.append('lost'))] }
  })
  expect(errors[0]).toMatchObject({ code: 'WAL_IO', outcome: 'indeterminate', lsn: 21, errno: -5 })
  made.heal()
  // The device works again; the log does not take up what it gave up.
  await expectCode(wal.append('after'), 'WAL_POISONED')
  await expectCode(wal.flush(), 'WAL_POISONED')
  expect(wal.durableLsn).toBe(20)
  await expectCode(wal.close(), 'WAL_POISONED')
  made.again()
  const again = await open(directory, OPTIONS)
  expect(again.recovery.verdict).not.toBe('corrupt')
  expect((await readTexts(again)).slice(0, 20)).toEqual(lsnsFrom(1, 20).map((n) => `record ${n}`))
  expect(await again.append('goes on')).toBe(again.recovery.lastLsn + 1)
}, 60_000)

it('a file system that turns read-only under an open log stops it, and can still be read', async ({
  skip,
}) => {
  const { directory, wal, errors } = await untilMetFirst(async () => {
    const made = mountNew('ext4', 64 * MIB, ',errors=remount-ro')
    if ('reason' in made) return skip(made.reason)
    const directory = join(made.directory, 'wal')
    const wal = await open(directory, OPTIONS)
    for (let i = 1; i <= 10; i++) await wal.append(`record ${i}`)
    await quiet(wal)
    if (!turnReadOnly(made.directory)) return skip('ext4 here has no switch for an error')
    return { directory, wal, errors: [await errorOf(wal.append('lost'))] }
  })
  expect(errors[0]).toMatchObject({ code: 'WAL_IO', lsn: 11, errno: -30 })
  await expectCode(wal.append('after'), 'WAL_POISONED')
  expect(wal.durableLsn).toBe(10)
  expect(await readTexts(wal)).toHaveLength(10)
  await expectCode(wal.close(), 'WAL_POISONED')
  expect((await expectCode(Wal.open(directory, OPTIONS), 'WAL_IO')).errno).toBe(-30)
  const reader = await open(directory, { ...OPTIONS, readOnly: true })
  expect(await readTexts(reader)).toHaveLength(10)
})
