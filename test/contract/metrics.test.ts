// The statistics in the libraries that services collect metrics with.
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { Registry } from 'prom-client'
import { watchWal as watchByMeter } from 'stonelog/opentelemetry'
import { watchWal } from 'stonelog/prometheus'
import { describe, expect, it } from 'vitest'
import { makeDirectory, open } from '../fixtures/log.js'

/** The value of one line of a scrape. */
const valueIn = (scrape: string, series: string) => {
  const line = scrape.split('\n').find((text) => text.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}

describe('a scrape of prom-client', () => {
  it('has the counters of each log, under its labels', async () => {
    const [orders, clicks] = [await open(), await open()]
    const registry = new Registry()
    watchWal(registry, orders, { log: 'orders' })
    watchWal(registry, clicks, { log: 'clicks' })
    await orders.appendBatch(['a', 'bc'])
    await clicks.append('def')

    const scrape = await registry.metrics()
    expect(scrape).toContain('# TYPE stonelog_records_total counter')
    expect(valueIn(scrape, 'stonelog_records_total{log="orders"}')).toBe(2)
    expect(valueIn(scrape, 'stonelog_records_total{log="clicks"}')).toBe(1)
    expect(valueIn(scrape, 'stonelog_payload_bytes_total{log="orders"}')).toBe(3)
    expect(valueIn(scrape, 'stonelog_durable_lsn{log="orders"}')).toBe(2)
    expect(valueIn(scrape, 'stonelog_segments{log="orders",state="live"}')).toBe(1)
    expect(valueIn(scrape, 'stonelog_refused_total{log="orders",reason="no_space"}')).toBe(0)
  })

  it('has histograms whose buckets grow up to the count', async () => {
    const wal = await open()
    const registry = new Registry()
    watchWal(registry, wal)
    for (let turn = 0; turn < 20; turn++) await wal.append('x')

    const scrape = await registry.metrics()
    const buckets = [...scrape.matchAll(/^stonelog_write_seconds_bucket\{le="(.+)"\} (\d+)$/gm)]
    const counts = buckets.map(([, , count]) => Number(count))
    expect(buckets).toHaveLength(21)
    expect(counts).toEqual([...counts].sort((a, b) => a - b))
    const { count, meanMicros } = wal.stats().latency.write
    expect(counts.at(-1)).toBe(valueIn(scrape, 'stonelog_write_seconds_count'))
    expect(counts.at(-1)).toBeGreaterThanOrEqual(20)
    expect(counts.at(-1)).toBeLessThanOrEqual(count)
    const sum = valueIn(scrape, 'stonelog_write_seconds_sum')!
    expect(sum).toBeGreaterThan(0)
    expect(sum).toBeLessThanOrEqual((meanMicros * count) / 1e6 + 1e-9)
  })

  it('drops a log that was closed or is not watched any more', async () => {
    const [closed, dropped, kept] = [await open(), await open(), await open()]
    const registry = new Registry()
    watchWal(registry, closed, { log: 'closed' })
    watchWal(registry, kept, { log: 'kept' })
    watchWal(registry, dropped, { log: 'dropped' })()
    await closed.close()
    const scrape = await registry.metrics()
    expect(scrape).toContain('stonelog_records_total{log="kept"} 0')
    expect(scrape).not.toMatch(/log="(closed|dropped)"/)
  })
})

describe('a collection of OpenTelemetry', () => {
  it('has the counters of a log until it is closed', async () => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
    const provider = new MeterProvider({ readers: [reader] })
    const collect = async () => {
      exporter.reset()
      await provider.forceFlush()
      const metrics = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics)
      return new Map(
        metrics
          .flatMap((scope) => scope.metrics)
          .map(({ descriptor, dataPoints }) => [descriptor.name, dataPoints]),
      )
    }
    const wal = await open(makeDirectory())
    const stop = watchByMeter(provider.getMeter('test'), wal, { log: 'orders' })
    await wal.append('abc')

    const values = await collect()
    expect(values.get('stonelog.records')).toMatchObject([
      { value: 1, attributes: { log: 'orders' } },
    ])
    expect(values.get('stonelog.payload_bytes')).toMatchObject([{ value: 3 }])
    expect(values.get('stonelog.segments')).toHaveLength(3)
    const [count] = values.get('stonelog.write.count')!
    expect(count!.value).toBeGreaterThan(0)
    const [time] = values.get('stonelog.write.time')!
    expect(time!.value).toBeGreaterThan(0)

    await wal.close()
    await collect()
    stop()
    await provider.shutdown()
  })
})
