// The file system is shut down under a writer: un-synced data is gone, and every later call fails.
// What was acknowledged before is there after mounting again; the writer's log stops as it must.
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Wal, type WalError } from 'stonelog'
import { beforeEach, expect, it } from 'vitest'
import {
  errorOf,
  lsnsFrom,
  open,
  quiet,
  readTexts,
  untilMetFirst,
  warmUp,
} from '../fixtures/log.js'
import { mountAgain, mountNew, shutDown } from '../fixtures/mount.js'
import { ended, start } from '../fixtures/process.js'

const MIB = 1 << 20
const SIZE = { ext4: 64 * MIB, xfs: 320 * MIB } as const

beforeEach(warmUp)

it.for(['ext4', 'xfs'] as const)(
  '%s: a power cut loses nothing acknowledged',
  { timeout: 120_000 },
  async (kind, { skip }) => {
    const made = mountNew(kind, SIZE[kind])
    if ('reason' in made) return skip(made.reason)
    const directory = join(made.directory, 'wal')
    const expected = new Map<number, string>()
    for (let round = 0; round < 6; round++) {
      const writer = start('writer.mjs', [directory, String(1 + 15 * (round % 2))])
      let stdout = ''
      writer.stdout?.setEncoding('utf8').on('data', (text: string) => {
        stdout += text
      })
      const end = ended(writer)
      await expect.poll(() => stdout).not.toBe('')
      await sleep(20 + 30 * round)
      // Only what was heard before the cut must survive it.
      const heard = stdout.split('\n').slice(0, -1)
      const cut = shutDown(made.directory)
      writer.kill('SIGKILL')
      await end
      if (!cut) return skip('no xfs_io to shut the file system down')
      for (const line of heard)
        expected.set(Number(line.split(' ', 1)[0]), line.slice(line.indexOf(' ') + 1))
      mountAgain(made)
      const wal = await open(directory)
      expect(wal.recovery.verdict).not.toBe('corrupt')
      const seen = new Map<number, string>()
      for await (const { lsn, data } of wal.read()) seen.set(lsn, data.toString())
      for (const [lsn, text] of expected)
        expect(seen.get(lsn), `LSN ${lsn}, round ${round}`).toBe(text)
      await wal.close()
    }
    expect(expected.size).toBeGreaterThan(0)
  },
)

it('a device that fails stops the log: pending appends say what became of them, and nothing follows', async ({
  skip,
}) => {
  const options = { segmentBytes: MIB, minFreeBytes: 0 }
  const { made, directory, wal, errors } = await untilMetFirst(async () => {
    const made = mountNew('ext4', 64 * MIB)
    if ('reason' in made) return skip(made.reason)
    const directory = join(made.directory, 'wal')
    const wal = await Wal.open(directory, options)
    for (let i = 1; i <= 50; i++) await wal.append(`record ${i}`)
    await quiet(wal)
    if (!shutDown(made.directory)) return skip('no xfs_io to shut the file system down')
    const pending = await Promise.all(
      Array.from({ length: 20 }, () => wal.append('lost?').catch((error: WalError) => error)),
    )
    return { made, directory, wal, errors: pending as WalError[] }
  })
  // All were given their LSN. The first went to the device; from some on none did.
  expect(errors.map(({ code, lsn, epoch }) => [code, lsn, epoch])).toEqual(
    lsnsFrom(51, 70).map((lsn) => ['WAL_IO', lsn, wal.epoch]),
  )
  const outcomes = errors.map(({ outcome }) => outcome)
  expect(outcomes[0]).toBe('indeterminate')
  expect(outcomes.join()).toMatch(/^(indeterminate,?)+(not-written,?)*$/)
  expect(wal.durableLsn).toBe(50)
  expect(await errorOf(wal.append('after'))).toMatchObject({
    code: 'WAL_POISONED',
    outcome: 'not-written',
  })
  expect(await errorOf(() => wal.appendSync('after'))).toMatchObject({ code: 'WAL_POISONED' })
  expect(await errorOf(wal.flush())).toMatchObject({ code: 'WAL_POISONED' })
  expect(await errorOf(wal.close())).toMatchObject({ code: 'WAL_POISONED' })
  mountAgain(made)
  const again = await open(directory, options)
  expect(again.recovery.verdict).not.toBe('corrupt')
  const kept = await readTexts(again)
  expect(kept.slice(0, 50)).toEqual(lsnsFrom(1, 50).map((lsn) => `record ${lsn}`))
  // What was never handed over is not there.
  expect(kept.length).toBeLessThanOrEqual(50 + outcomes.lastIndexOf('indeterminate') + 1)
  expect(again.epoch).toBeGreaterThan(wal.epoch)
  await again.close()
}, 120_000)

it('an appendSync that the device fails names the LSN it was given', async ({ skip }) => {
  const options = { segmentBytes: MIB, minFreeBytes: 0 }
  const { wal, errors } = await untilMetFirst(async () => {
    const made = mountNew('ext4', 64 * MIB)
    if ('reason' in made) return skip(made.reason)
    const wal = await Wal.open(join(made.directory, 'wal'), options)
    wal.appendSync('first')
    await quiet(wal)
    if (!shutDown(made.directory)) return skip('no xfs_io to shut the file system down')
    return { wal, errors: [await errorOf(() => wal.appendSync('second'))] }
  })
  expect(errors[0]).toMatchObject({
    code: 'WAL_IO',
    outcome: 'indeterminate',
    lsn: 2,
    epoch: wal.epoch,
  })
  expect(wal.durableLsn).toBe(1)
  await errorOf(wal.close())
}, 120_000)
