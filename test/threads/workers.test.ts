// Worker threads that open one directory share one log.
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { expect, it } from 'vitest'
import { makeDirectory, open, packageRoot } from '../fixtures/log.js'

/**
 * Starts a thread that appends `count` records, or until it is terminated; resolves once it is
 * open.
 */
async function startWorker(directory: string, name: string, count: number): Promise<Worker> {
  const script = join(packageRoot, 'test/fixtures/appending-worker.mjs')
  const worker = new Worker(script, { workerData: { directory, name, count } })
  await once(worker, 'message')
  return worker
}

it('four threads of 100,000 records each make one dense and exact log', async () => {
  const directory = makeDirectory()
  const count = 100_000
  const names = ['a', 'b', 'c', 'd']
  const workers = await Promise.all(names.map((name) => startWorker(directory, name, count)))
  const lsns: number[][] = await Promise.all(
    workers.map(async (worker) => (await once(worker, 'message'))[0]),
  )
  await Promise.all(workers.map((worker) => worker.terminate()))

  const wal = await open(directory, { segmentBytes: 64 * 1024 * 1024 })
  expect([wal.firstLsn, wal.lastLsn]).toEqual([1, names.length * count])
  const texts = new Map<number, string>()
  for await (const batch of wal.readBatches()) {
    for (const { lsn, data } of batch) texts.set(lsn, data.toString())
  }
  expect(texts.size).toBe(names.length * count)
  names.forEach((name, thread) => {
    const wrong = lsns[thread]!.filter((lsn, index) => texts.get(lsn) !== `${name} ${index}`)
    expect(wrong).toEqual([])
  })
}, 180_000)

it('threads terminated in the middle of writing leave the others and the log whole', async () => {
  const directory = makeDirectory()
  const wal = await open(directory, { segmentBytes: 64 * 1024 * 1024 })
  for (let round = 0; round < 20; round++) {
    const worker = await startWorker(directory, `round ${round}`, 0)
    await sleep(round % 5)
    const mine = wal.append(`main ${round}`)
    await worker.terminate()
    expect(await mine).toBeGreaterThan(0)
  }
  await wal.close()
  const again = await open(directory, { segmentBytes: 64 * 1024 * 1024 })
  expect(again.recovery).toMatchObject({ verdict: 'clean', closed: true })
  let mains = 0
  let last = 0
  for await (const { lsn, data } of again.read()) {
    expect(lsn).toBe(++last)
    if (data.toString().startsWith('main')) mains++
  }
  expect(mains).toBe(20)
}, 120_000)

it('a thread that is terminated while opening leaves no lock behind', async () => {
  const directory = makeDirectory()
  const script = join(packageRoot, 'test/fixtures/appending-worker.mjs')
  for (let round = 0; round < 20; round++) {
    const worker = new Worker(script, { workerData: { directory, name: 'x', count: 0 } })
    await once(worker, 'online')
    await sleep(round * 2)
    await worker.terminate()
  }
  const wal = await open(directory, { segmentBytes: 64 * 1024 * 1024 })
  expect(wal.recovery.verdict).not.toBe('corrupt')
}, 120_000)
