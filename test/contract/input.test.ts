// What may be handed in, and memory that changes hands or size.
import { Wal } from 'stonelog'
import { expect, it } from 'vitest'
import { expectCode, makeDirectory, open, readTexts } from '../fixtures/log.js'

const bytes = (text: string, buffer: ArrayBufferLike) => {
  const view = new Uint8Array(buffer)
  view.set(Buffer.from(text))
  return view
}

it('memory that was transferred away is refused by every call, an empty record is not', async () => {
  const wal = await open()
  const gone = bytes('gone', new ArrayBuffer(4))
  structuredClone(gone.buffer, { transfer: [gone.buffer as ArrayBuffer] })
  for (const call of [
    wal.append(gone),
    wal.appendBatch(['a', gone]),
    () => wal.write(gone),
    () => wal.appendSync(gone),
  ]) {
    expect(await expectCode(call, 'WAL_BAD_ARGUMENT')).toMatchObject({
      outcome: 'not-written',
      message: expect.stringMatching(/transferred or shrunk/),
    })
  }
  expect(wal.lastLsn).toBe(0)
  expect(await wal.append(new Uint8Array(0))).toBe(1)
})

it('new Wal() says to use Wal.open', async () => {
  const Constructor = Wal as unknown as new (...args: unknown[]) => Wal
  class Derived extends Constructor {}
  const { recovery, directory } = await open()
  for (const make of [
    () => new Constructor(),
    () => new Constructor(directory),
    () => new Constructor({ recovery, directory, options: {} }),
    () => new Derived(),
  ]) {
    const error = await expectCode(() => void make(), 'WAL_BAD_ARGUMENT')
    expect(error.message).toMatch(/Wal\.open\(/)
  }
})

it('a view of a resizable buffer counts as it is at the call', async () => {
  const wal = await open()
  const Resizable = ArrayBuffer as unknown as new (
    size: number,
    options: object,
  ) => ArrayBuffer & { resize(size: number): void }
  const buffer = new Resizable(8, { maxByteLength: 16 })
  const tracking = bytes('12345678', buffer)
  const fixed = new Uint8Array(buffer, 4, 4)
  const append = wal.append(tracking)
  buffer.resize(4)
  await append
  await wal.append(tracking)
  await expectCode(wal.append(fixed), 'WAL_BAD_ARGUMENT')
  buffer.resize(8)
  await wal.append(fixed)
  expect(await readTexts(wal)).toEqual(['12345678', '1234', '\0\0\0\0'])
})

it('shared memory is logged as it was at the call', async () => {
  const wal = await open()
  const shared = bytes('before', new SharedArrayBuffer(6))
  const append = wal.append(shared)
  const batch = wal.appendBatch([shared, 'own'])
  shared.set(Buffer.from('after!'))
  await Promise.all([append, batch])
  wal.appendSync(shared)
  expect(await readTexts(wal)).toEqual(['before', 'before', 'own', 'after!'])
})

it('a batch of very many empty records is taken, or refused for what it needs', async () => {
  const small = await open()
  const many = new Array(30_000).fill('')
  const error = await expectCode(small.appendBatch(many), 'WAL_RECORD_TOO_LARGE')
  expect(error.message).toMatch(/30000 records of 0 bytes/)
  expect(small.lastLsn).toBe(0)
  const large = await open(makeDirectory(), { segmentBytes: 1 << 20 })
  expect(await large.appendBatch(many)).toEqual({ first: 1, last: 30_000 })
  let count = 0
  for await (const { data } of large.read()) count += data.length === 0 ? 1 : 0
  expect(count).toBe(30_000)
})

it('a subclass that says another length is taken whole, what only poses as one is refused', async () => {
  class Liar extends Uint8Array {
    override get byteLength() {
      return 3
    }
    override get length() {
      return -1
    }
  }
  const wal = await open()
  for (const size of [10, 2000, 20_000]) {
    const liar = Liar.from(Buffer.alloc(size, 'x'))
    const { lastLsn } = wal
    await wal.append(liar)
    wal.write(liar)
    wal.appendSync(liar)
    await wal.appendBatch([liar, liar])
    const sizes: number[] = []
    for await (const { data } of wal.read({ from: lastLsn + 1 })) sizes.push(data.length)
    expect(sizes).toEqual([size, size, size, size, size])
  }
  const { lastLsn } = wal
  for (const given of [
    Object.create(Uint8Array.prototype),
    new Proxy(new Uint8Array(4), {}),
    new Uint16Array(4),
  ]) {
    await expectCode(wal.append(given), 'WAL_BAD_ARGUMENT')
    await expectCode(wal.appendBatch([given]), 'WAL_BAD_ARGUMENT')
    await expectCode(() => wal.write(given), 'WAL_BAD_ARGUMENT')
    await expectCode(() => wal.appendSync(given), 'WAL_BAD_ARGUMENT')
  }
  expect(wal.lastLsn).toBe(lastLsn)
})
