// Lives that end while nothing is going on.
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { makeDirectory, open } from '../fixtures/log.js'
import { ended, makeKilledLog, start } from '../fixtures/process.js'

/** Bytes allocated below a directory. */
function allocated(directory: string): number {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' })
  return names.reduce((sum, name) => sum + statSync(join(directory, name)).blocks * 512, 0)
}

it('killed while idle, a log opens clean and not closed', async () => {
  const wal = await open(await makeKilledLog(['a', 'b'], 100))
  expect(wal.recovery).toMatchObject({
    verdict: 'clean',
    closed: false,
    lastLsn: 2,
    truncatedBytes: 0,
  })
})

it('200 lives that are killed without an append do not grow the directory', async () => {
  const size = async (directory: string) => {
    // What a killed life was preparing differs; an open and a close clear that away.
    await (await open(directory)).close()
    return { bytes: allocated(directory), files: readdirSync(directory).sort() }
  }
  const fresh = await size(makeDirectory())
  const directory = makeDirectory()
  // Each life has its own time limit: a busy machine may take long for all of them.
  expect((await ended(start('lives.mjs', [directory, '200']))).stderr).toBe('')
  // The log's one segment, eight prepared ones, one that is being made, the lock.
  expect(readdirSync(directory).length).toBeLessThanOrEqual(11)
  expect(allocated(directory)).toBeLessThanOrEqual(fresh.bytes * 11)
  expect(await size(directory)).toEqual(fresh)
  const wal = await open(directory)
  expect(wal.recovery).toMatchObject({ verdict: 'clean', lastLsn: 0 })
}, 1_200_000)

it('a reader in another process is never ahead of the acknowledgements and catches up with an idle writer', async () => {
  const directory = makeDirectory()
  const wal = await open(directory)
  await wal.append('first')
  const follower = start('follower.mjs', [directory])
  const end = ended(follower)
  let seen = 0
  let ahead = 0
  follower.stdout?.on('data', (chunk: string) => {
    for (const line of chunk.trim().split('\n')) {
      seen = Number(line)
      if (seen > wal.durableLsn) ahead++
    }
  })
  await expect.poll(() => seen, { timeout: 60_000 }).toBeGreaterThan(0)
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < 50; i++) await wal.append(`record ${round} ${i}`)
    const { groups } = wal.stats()
    // Nothing is appended any more: what shows the last records is the watermark of an idle log,
    // one group. When it is due is the engine's affair, tested there with a clock that does not
    // depend on the machine.
    await expect.poll(() => seen, { timeout: 60_000, interval: 2 }).toBe(wal.lastLsn)
    expect(wal.stats().groups - groups).toBeLessThanOrEqual(1)
  }
  follower.kill('SIGKILL')
  await end
  expect(ahead).toBe(0)
}, 300_000)
