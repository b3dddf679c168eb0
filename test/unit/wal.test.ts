// The wrapper over a native part without a disk: what is settled, when, and with what.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { constants } from 'node:os'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { WalError } from '../../lib/errors.js'
import { NativeBinding } from '../../lib/native-binding.js'
import { Wal } from '../../lib/wal.js'
import { FakeNative, makeBatch, nativeError } from '../fixtures/fake-native.js'

let native: FakeNative
let binding: NativeBinding
let wal: Wal

vi.mock('../../lib/native-binding.js', async (original) => ({
  ...(await original<object>()),
  nativeBinding: () => binding,
}))

beforeEach(async () => {
  native = new FakeNative()
  binding = new NativeBinding(native.surface())
  wal = await Wal.open('anywhere')
})

/** The outcome of a promise that has one. */
const settled = async (promise: Promise<unknown>) => (await Promise.allSettled([promise]))[0]!
const failure = async (promise: Promise<unknown>) =>
  ((await settled(promise)) as PromiseRejectedResult).reason as WalError

describe('append', () => {
  it('is published once per burst, when the microtask queue has drained', async () => {
    for (let index = 0; index < 10; index++) wal.append('a')
    await Promise.resolve()
    wal.append('b')
    expect(native.kicks).toBe(0)
    await new Promise((resolve) => setImmediate(resolve))
    expect(native.kicks).toBe(1)
  })

  it('is published at once when 64 KiB wait', () => {
    for (let index = 0; index < 65; index++) wal.append('x'.repeat(1024))
    expect(native.gathers).toEqual([false])
    void wal.append('x'.repeat(100 * 1024)) // before its promise is made, nobody waits
    expect(native.gathers).toEqual([false, false])
  })

  it('waits for more when 64 KiB wait and nobody for them, until the burst ends', async () => {
    for (let index = 0; index < 65; index++) wal.write('x'.repeat(1024))
    expect(native.gathers).toEqual([true])
    await new Promise((resolve) => setImmediate(resolve))
    expect(native.gathers).toEqual([true, false])
    void wal.append('a')
    for (let index = 0; index < 65; index++) wal.write('x'.repeat(1024))
    expect(native.gathers).toEqual([true, false, false])
  })

  it('asks once for a new lease when the one it had was ended', async () => {
    native.lease = 2
    wal.write('a') // there is no lease before something was published
    await new Promise((resolve) => setImmediate(resolve))
    expect(wal.write('b')).toBe(2)
    native.endLease()
    native.lease = 3
    const { kicks } = native
    expect(wal.write('c')).toBe(3)
    expect(native.kicks).toBe(kicks + 1)
    expect(native.records).toEqual(['a'])
    native.endLease()
    native.lease = 0
    wal.write('d')
    wal.write('e')
    expect(native.kicks).toBe(kicks + 2)
    expect(native.records).toEqual(['a', 'd', 'e'])
  })

  it('resolves in LSN order up to what is durable', async () => {
    const order: number[] = []
    for (let index = 0; index < 200; index++) wal.append('a').then((lsn) => order.push(lsn))
    native.commit(150)
    await Promise.resolve()
    expect(order).toEqual(Array.from({ length: 150 }, (_, index) => index + 1))
    native.commit(200)
    await Promise.resolve()
    expect(order).toHaveLength(200)
  })

  it('keeps the process alive until durable, also without a promise', () => {
    expect(native.alive).toBe(false)
    wal.write('a')
    wal.append('b')
    native.commit(1)
    expect(native.alive).toBe(true)
    native.commit(2)
    expect(native.alive).toBe(false)
  })

  it('of durability none owes nothing, of interval until it is synced', async () => {
    expect(await wal.append('a', { durability: 'none' })).toBe(1)
    expect(native.alive).toBe(false)
    expect(await wal.append('a', { durability: 'interval' })).toBe(2)
    expect(native.alive).toBe(true)
    native.commit(2)
    expect(native.alive).toBe(false)
  })

  it('writes strings as UTF-8, short and long', () => {
    const long = 'ä€😀'.repeat(10_000)
    wal.write('ä€😀')
    wal.write(long)
    wal.appendBatch(['ä', 'b']).catch(() => {})
    expect(native.records).toEqual(['ä€😀', long, 'ä', 'b'])
  })

  it('rejects, never throws, with the type named', async () => {
    const error = await failure(wal.append(new Float64Array(1) as never))
    expect(error).toMatchObject({ code: 'WAL_BAD_ARGUMENT', outcome: 'not-written' })
    expect(error.message).toMatch(/not a Float64Array/)
    expect(await failure(wal.append('a', { durabilty: 'each' } as never))).toMatchObject({
      code: 'WAL_BAD_OPTION',
    })
  })

  it('refused by native is not written and says why', async () => {
    native.refusal = -5
    expect(await failure(wal.append('a'))).toMatchObject({
      code: 'WAL_BACKPRESSURE',
      outcome: 'not-written',
    })
    native.refusal = -4
    native.last = nativeError({ code: 4, errno: constants.errno.ENOSPC, syscall: 'fallocate' })
    expect(await failure(wal.append('a'))).toMatchObject({
      code: 'WAL_NO_SPACE',
      outcome: 'not-written',
      syscall: 'fallocate',
    })
    native.refusal = -10
    expect(() => wal.write('abc')).toThrow(/3 bytes are more than maxRecordBytes 100/)
  })

  it('of a batch resolves with both ends, and refuses an empty one', async () => {
    const batch = wal.appendBatch(['a', 'b', 'c'])
    native.commit(3)
    expect(await batch).toEqual({ first: 1, last: 3 })
    expect(await failure(wal.appendBatch([]))).toMatchObject({ code: 'WAL_BAD_ARGUMENT' })
  })
})

describe('a failure of the device', () => {
  const cause = nativeError({ errno: constants.errno.EIO, syscall: 'pwritev2', path: 'a/1.wal' })

  it('splits what is pending into durable, indeterminate and not written', async () => {
    const pending = [1, 2, 3, 4].map(() => settled(wal.append('a')))
    native.poison(cause, 1, 3)
    const [first, ...rest] = await Promise.all(pending)
    expect(first).toMatchObject({ status: 'fulfilled', value: 1 })
    expect(rest.map((result) => (result as PromiseRejectedResult).reason)).toMatchObject([
      { code: 'WAL_IO', outcome: 'indeterminate', lsn: 2, epoch: 7, syscall: 'pwritev2' },
      { code: 'WAL_IO', outcome: 'not-written', lsn: 3, epoch: 7, path: 'a/1.wal' },
      { code: 'WAL_IO', outcome: 'not-written', lsn: 4, epoch: 7 },
    ])
    expect(native.alive).toBe(false)
  })

  it('stops later calls with WAL_POISONED and the cause, close included', async () => {
    wal.write('a')
    native.poison(cause, 0, 1)
    for (const call of [wal.append('b'), wal.flush(), wal.ready(), wal.close()]) {
      expect(await failure(call)).toMatchObject({
        code: 'WAL_POISONED',
        cause: { code: 'WAL_IO', syscall: 'pwritev2' },
      })
    }
    expect(await failure(wal.append('c'))).toMatchObject({ code: 'WAL_CLOSED' })
  })

  it('is published for tools', () => {
    const seen: unknown[] = []
    const listen = (message: unknown) => void seen.push(message)
    subscribe('stonelog:poisoned', listen)
    native.poison(cause, 0, 1)
    unsubscribe('stonelog:poisoned', listen)
    expect(seen).toMatchObject([{ directory: wal.directory, error: { code: 'WAL_IO' } }])
  })
})

describe('close', () => {
  it('is idempotent, settles what is pending and keeps the numbers', async () => {
    const pending = wal.append('a')
    expect(wal.close()).toBe(wal.close())
    await wal.close()
    expect(await pending).toBe(1)
    expect([wal.firstLsn, wal.lastLsn, wal.durableLsn, wal.epoch]).toEqual([1, 1, 1, 7])
    expect(native.alive).toBe(false)
    expect(() => wal.write('b')).toThrow(expect.objectContaining({ code: 'WAL_CLOSED' }))
  })
})

describe('an aborted open', () => {
  it('is an AbortError and gives the late handle back', async () => {
    const controller = new AbortController()
    const close = vi.spyOn(binding.native, 'close')
    const opening = Wal.open('elsewhere', { signal: controller.signal })
    controller.abort()
    expect(await failure(opening)).toMatchObject({ code: 'WAL_ABORTED', name: 'AbortError' })
    await expect.poll(() => close).toHaveBeenCalledOnce()
  })
})

describe('reading', () => {
  /** Reads until the end or an error; LSNs, then the error's code. */
  async function read(): Promise<Array<number | string>> {
    const seen: Array<number | string> = []
    try {
      for await (const { lsn } of wal.read()) seen.push(lsn)
    } catch (error) {
      seen.push((error as WalError).code)
    }
    return seen
  }

  it('hands out everything before the damage', async () => {
    native.slabs = [
      { result: makeBatch(1, ['a', 'b']) },
      { result: makeBatch(3, ['c']) },
      { error: nativeError({ code: 1, segment: 2, offset: 8192 }) },
    ]
    expect(await read()).toEqual([1, 2, 3, 'WAL_CORRUPT'])
    expect(native.closedReaders).toBe(1)
  })

  it('copies small records out of the slab, and keeps large ones where they are', async () => {
    const large = 'l'.repeat(100_000)
    native.slabs = [{ result: makeBatch(1, ['', 'small', large, 'after']) }]
    const records = []
    for await (const record of wal.read()) records.push(record)
    expect(records.map(({ data }) => data.toString())).toEqual(['', 'small', large, 'after'])
    expect(records.map(({ data }) => data.buffer.byteLength <= 8192)).toEqual([
      true,
      true,
      false,
      true,
    ])
    expect(records[1]).toMatchObject({ lsn: 2, epoch: 7, timestamp: 1000 })
  })

  it('that is left early releases the native reader', async () => {
    native.slabs = [{ result: makeBatch(1, ['a', 'b']) }, { result: makeBatch(3, ['c']) }]
    for await (const _ of wal.read()) break
    for await (const batch of wal.readBatches()) if (batch.length > 0) break
    expect(native.closedReaders).toBe(2)
  })

  it('answers concurrent calls in order', async () => {
    native.slabs = [{ result: makeBatch(1, ['a', 'b']) }, { result: makeBatch(3, ['c']) }]
    const reader = wal.read()
    const results = await Promise.all([1, 2, 3, 4, 5].map(() => reader.next()))
    expect(results.map(({ value, done }) => (done ? 'end' : value.lsn))).toEqual([
      1,
      2,
      3,
      'end',
      'end',
    ])
  })

  it('lets the event loop turn between slabs', async () => {
    native.slabs = Array.from({ length: 50 }, (_, i) => ({ result: makeBatch(i + 1, ['a']) }))
    let turns = 0
    const turn = () => {
      turns++
      timer = setImmediate(turn)
    }
    let timer = setImmediate(turn)
    for await (const _ of wal.readBatches()) expect(turns).toBeGreaterThan(0)
    clearImmediate(timer)
    expect(turns).toBeGreaterThanOrEqual(50)
  })

  it('of a batch gives columns, accessors and records alike', async () => {
    const runs = Float64Array.of(0, 10, 1, 100, 2, 20, 2, 200)
    native.slabs = [{ result: { ...makeBatch(10, ['a', 'b', 'c', 'd']), runs } }]
    for await (const batch of wal.readBatches()) {
      expect([...batch].map(({ lsn, epoch }) => [lsn, epoch])).toEqual([
        [10, 1],
        [11, 1],
        [20, 2],
        [21, 2],
      ])
      expect([0, 1, 2, 3].map((index) => batch.lsnAt(index))).toEqual([10, 11, 20, 21])
      expect([batch.dataAt(3).toString(), batch.timestampAt(3)]).toEqual(['d', 200])
      expect(() => batch.lsnAt(4)).toThrow(RangeError)
    }
  })
})
