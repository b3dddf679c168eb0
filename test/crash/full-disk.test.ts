// A full disk: refused without an LSN, nothing lost, resumed without reopening.
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Wal, type WalError } from 'stonelog'
import { expect, it } from 'vitest'
import { expectCode, lsnsFrom, open, readLsns } from '../fixtures/log.js'
import { mountNew, remountReadOnly } from '../fixtures/mount.js'

const MIB = 1 << 20
const OPTIONS = { segmentBytes: MIB, queueBytes: MIB, minFreeBytes: 0 }

/** Appends until the log says that there is no space; the LSNs it acknowledged. */
async function fill(wal: Wal): Promise<number[]> {
  const lsns: number[] = []
  const record = new Uint8Array(50_000).fill(7)
  for (;;) {
    try {
      lsns.push(await wal.append(record))
    } catch (error) {
      const { code, outcome } = error as WalError
      expect(outcome).toBe('not-written')
      if (code === 'WAL_NO_SPACE') return lsns
      expect(code).toBe('WAL_BACKPRESSURE')
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
}

it.for(['ext4', 'xfs'] as const)(
  'a full %s is filled, freed and resumed, without loss and without reopening',
  { timeout: 120_000 },
  async (kind, { skip }) => {
    const made = mountNew(kind, kind === 'xfs' ? 320 * MIB : 16 * MIB)
    if ('reason' in made) return skip(made.reason)
    const ballast = join(made.directory, 'ballast')
    if (kind === 'xfs') writeFileSync(ballast, new Uint8Array(200 * MIB))
    else writeFileSync(ballast, new Uint8Array(4 * MIB))
    const directory = join(made.directory, 'wal')
    const wal = await open(directory, OPTIONS)
    // Twice: what the file system gave up comes back with its journal's next commit, and then
    // appending has gone on by itself.
    const first = [...(await fill(wal)), ...(await fill(wal))]
    expect(wal.lastLsn).toBe(first.length)

    rmSync(ballast) // freed from outside
    await wal.ready()
    const second = await fill(wal)
    expect(second.length).toBeGreaterThan(0)

    const cut = await wal.truncateBefore(second[0]!) // freed by the log itself
    await wal.ready()
    const third = await fill(wal)
    expect(third.length).toBeGreaterThan(0)

    const last = first.length + second.length + third.length
    expect(await readLsns(wal)).toEqual(lsnsFrom(cut, last))
    await wal.close()
    const again = await open(directory, OPTIONS)
    expect(again.recovery).toMatchObject({ verdict: 'clean', closed: true, lastLsn: last })
    expect(await readLsns(again)).toEqual(lsnsFrom(cut, last))
  },
)

it('a log on a full disk can be read, and opening it for writing loses nothing', async ({
  skip,
}) => {
  const made = mountNew('ext4', 16 * MIB)
  if ('reason' in made) return skip(made.reason)
  const directory = join(made.directory, 'wal')
  const wal = await open(directory, OPTIONS)
  for (let i = 0; i < 10; i++) await wal.append(`record ${i}`)
  await wal.close()
  try {
    writeFileSync(join(made.directory, 'ballast'), new Uint8Array(32 * MIB))
  } catch {
    // The disk is full now.
  }
  await expectCode(Wal.open(directory, OPTIONS), 'WAL_NO_SPACE')
  const reader = await open(directory, { ...OPTIONS, readOnly: true })
  expect(await readLsns(reader)).toEqual(lsnsFrom(1, 10))
  await reader.close()
  rmSync(join(made.directory, 'ballast'))
  const again = await open(directory, OPTIONS)
  expect(await readLsns(again)).toEqual(lsnsFrom(1, 10))
})

it('on a read-only medium the log can be read, and writing is refused with its errno', async ({
  skip,
}) => {
  const made = mountNew('ext4', 16 * MIB)
  if ('reason' in made) return skip(made.reason)
  const directory = join(made.directory, 'wal')
  const wal = await open(directory, OPTIONS)
  await wal.append('a')
  await wal.close()
  remountReadOnly(made.directory)
  const error = await expectCode(Wal.open(directory, OPTIONS), 'WAL_IO')
  expect(error).toMatchObject({ syscall: expect.any(String), path: expect.any(String) })
  const reader = await open(directory, { ...OPTIONS, readOnly: true })
  expect(await readLsns(reader)).toEqual([1])
  expect(await Wal.verify(directory)).toMatchObject({ verdict: 'clean', records: 1 })
})

it.for(['tmpfs', 'btrfs'] as const)(
  '%s: the fall-back is chosen, told, and keeps every record',
  { timeout: 120_000 },
  async (kind, { skip }) => {
    const made = mountNew(kind, 256 * MIB)
    if ('reason' in made) return skip(made.reason)
    const directory = join(made.directory, 'wal')
    const wal = await open(directory, OPTIONS)
    const record = new Uint8Array(10_000)
    for (let i = 0; i < 300; i++) {
      await wal.append(record).catch(async () => {
        await wal.ready()
        await wal.append(record)
      })
    }
    expect(wal.stats().io).toMatchObject({ fileSystem: kind, reason: expect.any(String) })
    await wal.close()
    const again = await open(directory, OPTIONS)
    expect(again.recovery).toMatchObject({ verdict: 'clean', closed: true, lastLsn: 300 })
    expect(await readLsns(again)).toEqual(lsnsFrom(1, 300))
  },
)
