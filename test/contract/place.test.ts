// What others do to the files of an open log: noticed at the next segment, truncation or close, and
// then nothing is acknowledged any more.
import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Wal, WalError } from 'stonelog'
import { expect, it } from 'vitest'
import {
  appendAll,
  bigRecords,
  errorOf,
  expectCode,
  lsnsFrom,
  makeDirectory,
  makeLog,
  open,
  readLsns,
  readTexts,
  segmentFiles,
  snapshot,
} from '../fixtures/log.js'

/** Appends until the log stops; the error that told. */
async function appendUntilStopped(wal: Wal): Promise<WalError> {
  for (let i = 0; i < 2000; i++) {
    try {
      await wal.append('x'.repeat(16 * 1024))
    } catch (error) {
      const { code } = error as WalError
      if (code !== 'WAL_BACKPRESSURE') return error as WalError
      await wal.ready().catch(() => {})
    }
  }
  return expect.fail('the log took everything')
}

/** Opens a log and waits until no more files are made. */
async function openSettled(): Promise<Wal> {
  const wal = await open(join(makeDirectory(), 'wal'))
  await wal.append('before')
  await expect.poll(() => wal.stats().segments.prepared).toBe(8)
  return wal
}

/** The segment that is written now: of those in use the first; the others are only prepared. */
const active = (wal: Wal) => segmentFiles(wal.directory)[0]!

const INTERFERENCES: Array<[what: string, act: (wal: Wal) => void, said: RegExp]> = [
  ['the active segment is deleted', (wal) => unlinkSync(active(wal)), /segment in use was moved/],
  [
    'the active segment is replaced by a copy',
    (wal) => {
      copyFileSync(active(wal), `${active(wal)}.copy`)
      renameSync(`${active(wal)}.copy`, active(wal))
    },
    /segment in use was moved, replaced/,
  ],
  [
    'the active segment is cut off',
    (wal) => truncateSync(active(wal), 16_384),
    /size of a segment/,
  ],
  [
    'the directory is moved',
    (wal) => renameSync(wal.directory, `${wal.directory}-moved`),
    /directory was moved/,
  ],
  [
    'the directory is replaced',
    (wal) => {
      renameSync(wal.directory, `${wal.directory}-moved`)
      cpSync(`${wal.directory}-moved`, wal.directory, { recursive: true })
    },
    /directory was moved, replaced/,
  ],
  ['the directory is deleted', (wal) => rmSync(wal.directory, { recursive: true }), /deleted/],
  ['the lock is deleted', (wal) => unlinkSync(join(wal.directory, 'LOCK')), /lock's file/],
]

it.each(INTERFERENCES)('%s: the log stops at the next segment', async (_, act, said) => {
  const wal = await openSettled()
  act(wal)
  const error = await appendUntilStopped(wal)
  expect(['WAL_IO', 'WAL_POISONED']).toContain(error.code)
  const cause = error.code === 'WAL_IO' ? error : (error.cause as WalError)
  expect(cause).toMatchObject({ code: 'WAL_IO', path: expect.stringContaining(wal.directory) })
  expect(cause.message).toMatch(said)
  const durable = wal.durableLsn
  await expectCode(wal.append('after'), 'WAL_POISONED')
  // What was handed over may be there after all.
  const fate = wal.lastLsn > durable ? 'indeterminate' : undefined
  expect((await expectCode(wal.flush(), 'WAL_POISONED')).outcome).toBe(fate)
  expect((await expectCode(wal.close(), 'WAL_POISONED')).outcome).toBe(fate)
  expect(wal.durableLsn).toBe(durable)
})

it.each(INTERFERENCES)('%s: truncating and closing say so', async (_, act, said) => {
  const one = await openSettled()
  act(one)
  expect((await expectCode(one.truncateBefore(1), 'WAL_POISONED')).message).toMatch(said)
  const other = await openSettled()
  act(other)
  const error = await errorOf(other.close())
  expect(error.message).toMatch(said)
  expect(existsSync(join(other.directory, 'quarantine'))).toBe(false)
})

it('a moved directory has everything that was acknowledged before it was noticed', async () => {
  const wal = await openSettled()
  const moved = `${wal.directory}-moved`
  renameSync(wal.directory, moved)
  await appendUntilStopped(wal)
  await wal.close().catch(() => {})
  expect(existsSync(wal.directory)).toBe(false)
  const again = await open(moved)
  expect((await readLsns(again)).slice(0, wal.durableLsn)).toEqual(lsnsFrom(1, wal.durableLsn))
})

it('a deleted sealed segment is an error where it is read and at the next open, never a gap', async () => {
  const wal = await open()
  await appendAll(wal, bigRecords(30))
  const gone = segmentFiles(wal.directory)[1]!
  unlinkSync(gone)
  const error = await errorOf(readTexts(wal))
  expect(error).toMatchObject({ code: 'WAL_CORRUPT', path: gone, segment: 2 })
  await wal.close()
  expect((await expectCode(open(wal.directory), 'WAL_CORRUPT')).message).toMatch(/missing/)
})

it('files that nobody may read any more do not stop a log that is open, and are an error at the next open', async ({
  skip,
}) => {
  const wal = await open()
  await wal.append('before')
  for (const path of segmentFiles(wal.directory)) chmodSync(path, 0)
  expect(await wal.append('after')).toBe(2)
  await wal.close()
  const ids = ['--reuid=65534', '--regid=65534', '--clear-groups']
  const script = `
    const { Wal } = await import('stonelog')
    try { await Wal.open(${JSON.stringify(wal.directory)}, { readOnly: true }) }
    catch (error) { console.log(error.code, error.syscall, error.errno) }`
  if (process.getuid?.() !== 0) return skip('needs root, to become somebody else')
  const node = ['--input-type=module', '-e', script]
  const said = execFileSync('setpriv', [...ids, process.execPath, ...node], { encoding: 'utf8' })
  expect(said).toMatch(/^WAL_IO opendir -13/)
})

it('a directory that nobody may look into stops no log: appending waits for it, and goes on', async ({
  skip,
}) => {
  if (process.getuid?.() !== 0) return skip('needs root, to become somebody else')
  const directory = makeDirectory()
  mkdirSync(directory, { recursive: true })
  chownSync(directory, 65534, 65534)
  const script = `
    const { chmodSync } = await import('node:fs')
    const { Wal } = await import('stonelog')
    const directory = ${JSON.stringify(directory)}
    const wal = await Wal.open(directory, { segmentBytes: 131072, minFreeBytes: 0 })
    const codes = new Set()
    // A directory sync that fails while a segment is being made is final: none is, then.
    while (wal.stats().segments.prepared < 8) await new Promise((resolve) => setTimeout(resolve, 5))
    chmodSync(directory, 0)
    while (!codes.has('WAL_IO') && !codes.has('WAL_POISONED'))
      await wal.append('x'.repeat(16384)).catch(({ code, errno }) => codes.add(code).add(errno))
    chmodSync(directory, 0o700)
    for (let lsn = 0; lsn === 0; )
      lsn = await wal.append('after').catch(({ code }) => (code === 'WAL_POISONED' ? -1 : 0))
    await wal.close()
    console.log(codes.has('WAL_IO'), codes.has(-13))`
  const ids = ['--reuid=65534', '--regid=65534', '--clear-groups']
  const node = ['--input-type=module', '-e', script]
  const said = execFileSync('setpriv', [...ids, process.execPath, ...node], {
    encoding: 'utf8',
    timeout: 60_000,
  })
  expect(said).toBe('true true\n')
})

/**
 * A copy of a directory's files as `cp -r` takes it. A segment that is being prepared may get its
 * name meanwhile: it is missing under the one it had, and nothing else may be.
 */
function copyOf(directory: string): string {
  const copy = join(makeDirectory(), 'copy')
  const { stderr } = spawnSync('cp', ['-r', directory, copy], { encoding: 'utf8' })
  for (const line of stderr.trim().split('\n')) expect(line).toMatch(/^$|prepare-.*\.tmp/)
  return copy
}

it('a copy taken while nobody appends opens with everything acknowledged before', async () => {
  const wal = await open()
  await appendAll(wal, bigRecords(20))
  await sleep(100)
  const again = await open(copyOf(wal.directory))
  expect(again.recovery).toMatchObject({ verdict: 'clean', lastLsn: 20 })
  expect(await readLsns(again)).toEqual(lsnsFrom(1, 20))
  expect(again.epoch).toBeGreaterThan(wal.epoch)
})

it('a copy taken while others append opens to a prefix, or is refused and opens point-in-time', async () => {
  const wal = await open()
  let stop = false
  const lanes = Array.from({ length: 8 }, async () => {
    while (!stop)
      await wal.append(`record after ${wal.lastLsn}`.padEnd(900)).catch(() => wal.ready())
  })
  let opened = 0
  for (let round = 0; round < 6; round++) {
    await sleep(30)
    const before = wal.durableLsn
    const copy = copyOf(wal.directory)
    const error = await open(copy).then(
      () => undefined,
      (reason: WalError) => reason,
    )
    if (error !== undefined) expect(error.code).toBe('WAL_CORRUPT')
    opened += error === undefined ? 1 : 0
    const again = await open(copy, error === undefined ? {} : { recovery: 'point-in-time' })
    const lsns = await readLsns(again)
    expect(lsns).toEqual(lsnsFrom(1, lsns.length))
    if (error === undefined) expect(lsns.length).toBeGreaterThanOrEqual(before)
    await again.close()
  }
  stop = true
  await Promise.all(lanes)
  expect(opened).toBeGreaterThanOrEqual(0)
}, 60_000)

it('a copy torn backwards in time is refused: its watermark proves what it lacks', async () => {
  const wal = await open()
  await appendAll(wal, ['one', 'two'])
  const file = active(wal)
  const early = readFileSync(file)
  await appendAll(wal, ['three', 'four', 'five'])
  await sleep(100)
  const late = readFileSync(file)
  const copy = makeDirectory()
  // The reader was slow: the file's beginning is of one time, the rest of a later one.
  const at = late.indexOf('five') & ~4095
  const torn = Buffer.concat([early.subarray(0, at), late.subarray(at)])
  mkdirSync(copy, { recursive: true })
  writeFileSync(join(copy, '00000000000000000001.wal'), torn)
  const before = readdirSync(copy)
  expect((await expectCode(open(copy), 'WAL_CORRUPT')).segment).toBe(1)
  expect(readdirSync(copy)).toEqual(before)
  const again = await open(copy, { recovery: 'point-in-time' })
  expect(await readTexts(again)).toEqual(['one', 'two'])
})

it.each([0, 100, 4096, 196_608])(
  "an empty or zeroed file under a segment's name is refused and not touched (%d bytes)",
  async (size) => {
    const directory = await makeLog(bigRecords(3))
    const path = join(directory, '00000000000000000099.wal')
    writeFileSync(path, new Uint8Array(size))
    const before = snapshot(directory)
    await expectCode(open(directory), 'WAL_CORRUPT')
    expect(snapshot(directory)).toEqual(before)
    const wal = await open(directory, { recovery: 'point-in-time' })
    expect(await readLsns(wal)).toEqual(lsnsFrom(1, 3))
  },
)
