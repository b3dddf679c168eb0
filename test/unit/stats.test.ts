import { describe, expect, it } from 'vitest'
import { bucketUpperNanos, toLatency } from '../../lib/stats.js'

/** The bucket of a latency, as native/driver/histogram.h lays it down. */
function bucketOf(nanos: number): number {
  if (nanos < 4) return nanos
  const exponent = Math.floor(Math.log2(nanos))
  return 4 * exponent + (Math.floor(nanos / 2 ** (exponent - 2)) & 3)
}

function histogramOf(values: number[]): Float64Array {
  const histogram = new Float64Array(3 + 256)
  for (const value of values) histogram[3 + bucketOf(value)]!++
  histogram[0] = values.length
  histogram[1] = values.reduce((sum, value) => sum + value, 0)
  histogram[2] = Math.max(0, ...values)
  return histogram
}

describe('latency histograms', () => {
  it('have buckets without overlap', () => {
    for (let nanos = 0; nanos < 5000; nanos++) {
      const bucket = bucketOf(nanos)
      expect(nanos).toBeLessThanOrEqual(bucketUpperNanos(bucket))
      // Buckets 4 to 7 stay empty: 4 is the first value of bucket 8.
      if (nanos > 4) expect(nanos).toBeGreaterThan(bucketUpperNanos(bucket - 1))
    }
  })

  it('give percentiles at most a quarter too high', () => {
    const nanos = Array.from({ length: 1000 }, (_, index) => (index + 1) * 1000)
    const latency = toLatency(histogramOf(nanos))
    expect(latency).toMatchObject({ count: 1000, meanMicros: 500.5, maxMicros: 1000 })
    expect(latency.p50Micros).toBeGreaterThanOrEqual(500)
    expect(latency.p50Micros).toBeLessThanOrEqual(625)
    expect(latency.p99Micros).toBe(1000)
    expect(latency.buckets.at(-1)).toEqual({ leMicros: 1000, count: 1000 })
  })

  it('of nothing are zero', () => {
    expect(toLatency(histogramOf([]))).toEqual({
      count: 0,
      meanMicros: 0,
      p50Micros: 0,
      p99Micros: 0,
      p999Micros: 0,
      maxMicros: 0,
      buckets: [],
    })
  })
})
