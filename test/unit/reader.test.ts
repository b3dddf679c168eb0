// What a replay holds on to: slabs by the thousand pass through it.
import { expect, it } from 'vitest'
import type { NativeBatch } from '../../lib/native.js'
import type { NativeBinding, Settle } from '../../lib/native-binding.js'
import { BatchReader, type ReadableLog, RecordReader } from '../../lib/reader.js'

const RECORDS = 50
const BYTES = 10

/** A batch whose records hold their index, BYTES times. */
function batchAt(firstLsn: number): NativeBatch {
  const data = new ArrayBuffer(RECORDS * BYTES)
  const bytes = new Uint8Array(data)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(i / BYTES)
  return {
    data,
    offsets: Uint32Array.from({ length: RECORDS }, (_, i) => i * BYTES),
    lengths: new Uint32Array(RECORDS).fill(BYTES),
    firstLsn,
    runs: Float64Array.of(0, firstLsn, 1, 0),
    skipped: new Float64Array(),
  }
}

/** A log of so many batches that writes down what it is given back. */
function logOf(batches: NativeBatch[]) {
  const released = new Set<ArrayBuffer>()
  let next = 0
  const native = {
    firstLsn: () => 1,
    readOpen: () => 1,
    readNext: () => {},
    readRelease: (bytes: ArrayBuffer) => released.add(bytes),
    readClose: () => {},
  }
  const binding = {
    native,
    request: (_start: (id: number) => void, settle: Settle) =>
      setImmediate(() => settle(null, batches[next++] ?? null)),
  }
  const log: ReadableLog = {
    binding: binding as unknown as NativeBinding,
    handle: 1,
    directory: '/log',
    checkOpen: () => {},
    onSkipped: () => {},
  }
  return { log, released }
}

const buffersOf = ({ data, offsets, lengths, runs }: NativeBatch) =>
  [data, offsets.buffer, lengths.buffer, runs.buffer] as ArrayBuffer[]

it('ensures that read() gives back every column of a slab that it has copied out', async () => {
  const batches = [batchAt(1), batchAt(1 + RECORDS), batchAt(1 + 2 * RECORDS)]
  const { log, released } = logOf(batches)
  let count = 0
  for await (const { lsn, data } of new RecordReader(log, { from: 1, to: Infinity })) {
    expect(lsn).toBe(++count)
    expect(data).toEqual(Buffer.alloc(BYTES, (lsn - 1) % RECORDS))
  }
  expect(count).toBe(3 * RECORDS)
  for (const bytes of batches.flatMap(buffersOf)) expect(released).toContain(bytes)
})

it('ensures that a batch that is handed out stays whole', async () => {
  const batches = [batchAt(1), batchAt(1 + RECORDS)]
  const { log, released } = logOf(batches)
  for await (const batch of new BatchReader(log, { from: 1, to: Infinity })) {
    expect(batch.length).toBe(RECORDS)
  }
  expect(released.size).toBe(0)
})
