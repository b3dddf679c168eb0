// LSNs of a batch at the far end of what a number can say.
import { expect, it } from 'vitest'
import { RecordBatch } from '../../lib/record-batch.js'

it('counts LSNs right up to the last safe integer', () => {
  const last = Number.MAX_SAFE_INTEGER
  const first = last - 3
  const count = 64 // the run in question begins late in the slab
  const batch = new RecordBatch({
    data: new ArrayBuffer(count),
    offsets: Uint32Array.from({ length: count }, (_, index) => index),
    lengths: new Uint32Array(count).fill(1),
    firstLsn: 1,
    runs: Float64Array.of(0, 1, 1, 0, count - 4, first, 2, 0),
    skipped: new Float64Array(0),
  })
  const expected = [first, first + 1, first + 2, last]
  expect(batch.lastLsn).toBe(last)
  expect([60, 61, 62, 63].map((index) => batch.lsnAt(index))).toEqual(expected)
  expect([...batch].slice(-4).map(({ lsn }) => lsn)).toEqual(expected)
})
