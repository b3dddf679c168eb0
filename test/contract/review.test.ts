// Faults that a review found, each once seen to happen.
import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { Wal } from 'stonelog'
import { expect, it } from 'vitest'
import {
  appendAll,
  bigRecords,
  expectCode,
  lsnsFrom,
  makeDirectory,
  makeLog,
  open,
  packageRoot,
  readLsns,
  segmentFiles,
  setByte,
  snapshot,
} from '../fixtures/log.js'

it('a close with a read under way ends the read', async () => {
  const wal = await open()
  await appendAll(wal, bigRecords(20))
  const reads = Array.from({ length: 4 }, () => readLsns(wal).catch((error) => error.code))
  await wal.close()
  for (const read of await Promise.all(reads))
    expect([lsnsFrom(1, 20), 'WAL_CLOSED']).toContainEqual(read)
})

it('an append of one thread is not forgotten while another one commits by itself', async () => {
  const directory = makeDirectory()
  const wal = await open(directory, { segmentBytes: 64 * 1024 * 1024 })
  const script = join(packageRoot, 'test/fixtures/sync-worker.mjs')
  const worker = new Worker(script, { workerData: { directory } })
  await new Promise((resolve) => worker.once('message', resolve))
  for (let i = 0; i < 300; i++) await wal.append(`beside ${i}`)
  await worker.terminate()
  expect(wal.durableLsn).toBeGreaterThanOrEqual(300)
}, 30_000)

it('a segment of another log is refused and destroys nothing', async () => {
  const mine = await makeLog(bigRecords(20))
  const other = await open(await makeLog(bigRecords(100)))
  await other.truncateBefore(90)
  await other.close()
  const foreign = segmentFiles(other.directory).at(-1)!
  copyFileSync(foreign, join(mine, '00000000000000000099.wal'))
  const before = snapshot(mine)
  await expectCode(open(mine), 'WAL_CORRUPT')
  expect(snapshot(mine)).toEqual(before)
  expect(await Wal.verify(mine)).toMatchObject({ verdict: 'corrupt', lastLsn: 20 })
})

it('verify beside a busy writer finds a healthy log', async () => {
  const wal = await open()
  let stop = false
  const record = Buffer.alloc(2000, 'x')
  const lanes = Array.from({ length: 8 }, async () => {
    while (!stop) await wal.append(record).catch(() => wal.ready())
  })
  for (let i = 0; i < 8; i++) {
    expect(await Wal.verify(wal.directory)).toMatchObject({
      verdict: 'clean',
      live: true,
      lost: [],
    })
    await sleep(5)
  }
  stop = true
  await Promise.all(lanes)
}, 60_000)

it('foreign files of any name are left alone', async () => {
  const directory = await makeLog(['a'])
  const names = ['my-notes.tmp', 'prepare-me.tmp', 'recycle-bin.tmp', 'README']
  for (const name of names) writeFileSync(join(directory, name), 'mine')
  await (await open(directory)).close()
  for (const name of names) expect(existsSync(join(directory, name))).toBe(true)
})

it.each(['point-in-time', 'salvage'] as const)(
  'what %s accepted once, the default mode opens ever after',
  async (recovery) => {
    for (const which of [0, 1, -1]) {
      const directory = await makeLog(bigRecords(30))
      const path = segmentFiles(directory).at(which)!
      setByte(path, 40, readFileSync(path)[40]! ^ 0xff) // the header
      await expectCode(open(directory), 'WAL_CORRUPT')
      const accepted = await open(directory, { recovery })
      const next = await accepted.append('after')
      await accepted.close()
      const again = await open(directory)
      expect((await readLsns(again)).at(-1)).toBe(next)
      await again.close()
    }
  },
)

it('a stray copy of a segment costs salvage no record', async () => {
  const directory = await makeLog(bigRecords(30))
  copyFileSync(segmentFiles(directory)[0]!, join(directory, '00000000000000000099.wal'))
  await expectCode(open(directory), 'WAL_CORRUPT')
  const wal = await open(directory, { recovery: 'salvage' })
  expect(await readLsns(wal)).toEqual(lsnsFrom(1, 30))
  await wal.close()
  expect(await readLsns(await open(directory))).toEqual(lsnsFrom(1, 30))
  expect(readdirSync(join(directory, 'quarantine')).some((name) => name.endsWith('.cut'))).toBe(
    true,
  )
})
