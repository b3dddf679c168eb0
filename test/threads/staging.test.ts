// Small records are staged under a lease of LSNs, which another thread may end at any moment.
import { once } from 'node:events'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { expect, it } from 'vitest'
import { expectCode, makeDirectory, open, packageRoot } from '../fixtures/log.js'

const script = (name: string) => join(packageRoot, 'test/fixtures', name)

it('what is written while threads come and go keeps its LSN and its content', async () => {
  const directory = makeDirectory()
  const wal = await open(directory, { segmentBytes: 64 * 1024 * 1024 })
  const written = new Map<number, string>()
  for (let round = 0; round < 15; round++) {
    const workerData = { directory, name: `round ${round}`, count: 100 }
    const worker = new Worker(script('appending-worker.mjs'), { workerData })
    let ended = false
    worker.once('exit', () => {
      ended = true
    })
    while (!ended) {
      for (let i = 0; i < 500; i++) {
        const text = `main ${written.size}`
        written.set(wal.write(text), text)
      }
      await wal.flush()
      await turn()
    }
  }
  await wal.close()
  const again = await open(directory, { segmentBytes: 64 * 1024 * 1024 })
  const texts = new Map<number, string>()
  for await (const { lsn, data } of again.read()) texts.set(lsn, data.toString())
  expect(texts.size).toBe(written.size + 15 * 100)
  expect([...written].filter(([lsn, text]) => texts.get(lsn) !== text)).toEqual([])
}, 120_000)

it('a thread that stands still after writing keeps no other one from opening the log', async () => {
  const directory = makeDirectory()
  const wal = await open(directory)
  await wal.append('the first, which brings a lease')
  const shared = new Int32Array(new SharedArrayBuffer(12))
  const worker = new Worker(script('opening-worker.mjs'), { workerData: { directory, shared } })
  const exit = once(worker, 'exit') // which may be while this thread waits for the flush
  Atomics.wait(shared, 1, 0, 10_000)
  expect(wal.write('staged')).toBe(2)
  Atomics.store(shared, 0, 1)
  Atomics.notify(shared, 0)
  expect(Atomics.wait(shared, 0, 1, 20_000)).not.toBe('timed-out')
  expect(Atomics.load(shared, 2)).toBe(3)
  expect(wal.write('after it')).toBe(4)
  expect(await wal.flush()).toBe(4)
  await exit
  const texts: string[] = []
  for await (const { data } of wal.read()) texts.push(data.toString())
  expect(texts).toEqual([
    'the first, which brings a lease',
    'staged',
    'of the other thread',
    'after it',
  ])
})

it('staged or not, every size and every string is read back as it was given', async () => {
  const wal = await open(makeDirectory(), { segmentBytes: 64 * 1024 * 1024 })
  await wal.append('the first')
  const given: Buffer[] = []
  for (let size = 0; size < 6000; size += 7) {
    const bytes = Buffer.alloc(size, size % 251)
    expect(wal.write(bytes)).toBe(given.push(bytes) + 1)
    bytes.subarray(0).fill(0) // what was given was copied
    given[given.length - 1] = Buffer.alloc(size, size % 251)
    if (size % 1001 === 0) await turn()
  }
  for (const text of [
    '',
    'ä',
    '€'.repeat(1365),
    '€'.repeat(1366),
    '\u{1f600}',
    '\ud800',
    'a\udc00b',
  ]) {
    expect(wal.write(text)).toBe(given.push(Buffer.from(text)) + 1)
  }
  expect(wal.lastLsn).toBe(given.length + 1)
  expect(wal.stats().records).toBe(given.length + 1)
  await wal.flush()
  let index = -1
  for await (const { data } of wal.read()) {
    if (index >= 0) expect(data.equals(given[index]!)).toBe(true)
    index++
  }
  expect(index).toBe(given.length)
})

it('what a subclass says of its length changes no record, and what poses as bytes is refused', async () => {
  const wal = await open(makeDirectory())
  await wal.append('the first, which brings a lease')
  expect(wal.write('secret '.repeat(20))).toBe(2)
  await wal.flush()
  for (const byteLength of [2, 100, 1e9]) {
    const bytes = Object.defineProperty(new Uint8Array([1, 2, 3]), 'byteLength', {
      value: byteLength,
    })
    const lsn = await wal.append(bytes).catch(() => 0)
    if (lsn === 0) continue
    for await (const { data } of wal.read({ from: lsn })) {
      expect('010203').toContain(data.toString('hex'))
    }
  }
  let inside = 0
  const posing = (first: PropertyDescriptor) =>
    Object.create(Uint8Array.prototype, {
      byteLength: { value: 5 },
      length: { value: 5 },
      0: first,
    }) as Uint8Array
  const intruding = () => {
    inside = wal.write('inside')
    return 88
  }
  for (const poser of [posing({ value: 88 }), posing({ get: intruding })]) {
    await expectCode(wal.append(poser), 'WAL_BAD_ARGUMENT')
  }
  await expect(wal.append(new Proxy(new Uint8Array(3), {}))).rejects.toThrow()
  expect(inside).toBe(0)
  await wal.append('after')
  for await (const { data } of wal.read({ from: 2, to: 2 }))
    expect(`${data}`).toMatch(/^(secret )+$/)
})

it('a thread terminated between writing and publishing leaves the log whole', async () => {
  const directory = makeDirectory()
  const code = `
    const { workerData, parentPort } = require('node:worker_threads')
    import('stonelog').then(async ({ Wal }) => {
      const wal = await Wal.open(workerData, { minFreeBytes: 0 })
      await wal.append('first')
      parentPort.postMessage('open')
      for (;;) for (let i = 0; i < 1000; i++) try { wal.write('w' + i) } catch { await wal.ready() }
    })`
  for (let round = 0; round < 10; round++) {
    const worker = new Worker(code, { eval: true, workerData: directory })
    await once(worker, 'message')
    await turn()
    await worker.terminate()
  }
  const wal = await open(directory, { segmentBytes: 64 * 1024 * 1024 })
  expect(wal.recovery).toMatchObject({ verdict: 'clean', closed: true })
  let last = 0
  for await (const { lsn } of wal.read()) expect(lsn).toBe(++last)
  expect(last).toBe(wal.lastLsn)
}, 60_000)
