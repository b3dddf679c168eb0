// The statistics in the libraries that services collect metrics with.
import { type Meter, metrics } from '@opentelemetry/api'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { Gauge, Registry } from 'prom-client'
import { watchWal as watchByMeter } from 'stonelog/opentelemetry'
import { watchWal } from 'stonelog/prometheus'
import { describe, expect, it, onTestFinished } from 'vitest'
import { expectCode, open } from '../fixtures/log.js'

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

  it('has a log once, however often it is watched', async () => {
    const wal = await open()
    const registry = new Registry()
    const stops = [
      watchWal(registry, wal, { log: 'orders', zone: 'a' }),
      watchWal(registry, wal, { zone: 'a', log: 'orders' }),
      watchWal(registry, wal, { log: 'orders', zone: 'b' }),
    ]
    await wal.append('a')
    const series = async () => {
      const scrape = await registry.metrics()
      const lines = scrape.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
      expect(new Set(lines.map((line) => line.split(' ')[0])).size).toBe(lines.length)
      return [...scrape.matchAll(/^stonelog_records_total\{(.+)\} 1$/gm)].map(([, found]) => found)
    }
    expect(await series()).toEqual(['log="orders",zone="a"', 'log="orders",zone="b"'])
    stops[0]!()
    expect((await series()).sort()).toEqual(['log="orders",zone="b"', 'zone="a",log="orders"'])
    stops[1]!()
    expect(await series()).toEqual(['log="orders",zone="b"'])
  })

  it('refuses a second log under the labels of one that is open', async () => {
    const [first, second] = [await open(), await open()]
    for (const labels of [undefined, { log: 'orders' }]) {
      const registry = new Registry()
      watchWal(registry, first, labels)
      const error = await expectCode(() => watchWal(registry, second, labels), 'WAL_BAD_ARGUMENT')
      expect(error.message).toContain(first.directory)
      expect(error.message).toMatch(/labels of its own/)
    }
    const registry = new Registry()
    watchWal(registry, first)
    await first.close()
    watchWal(registry, second)
    await second.append('a')
    expect(valueIn(await registry.metrics(), 'stonelog_records_total')).toBe(1)
  })

  it('begins anew in a cleared registry, and names what is in the way in another', async () => {
    const [first, second] = [await open(), await open()]
    const registry = new Registry()
    watchWal(registry, first)
    registry.clear()
    watchWal(registry, second)
    await second.append('a')
    expect(valueIn(await registry.metrics(), 'stonelog_records_total')).toBe(1)

    const taken = new Registry()
    new Gauge({ name: 'stonelog_last_lsn', help: 'mine', registers: [taken] })
    const error = await expectCode(() => watchWal(taken, first), 'WAL_BAD_ARGUMENT')
    expect(error.message).toMatch(/stonelog_last_lsn/)
    expect(taken.getMetricsAsArray()).toHaveLength(1)
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
  const makeMeter = () => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
    const provider = new MeterProvider({ readers: [reader] })
    onTestFinished(() => provider.shutdown())
    const collect = async () => {
      exporter.reset()
      await provider.forceFlush()
      const collected = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics)
      return new Map(
        collected
          .flatMap((scope) => scope.metrics)
          .map(({ descriptor, dataPoints }) => [descriptor.name, dataPoints]),
      )
    }
    return { meter: provider.getMeter('test'), collect }
  }

  it('has the counters of a log until it is closed', async () => {
    const { meter, collect } = makeMeter()
    const wal = await open()
    const stop = watchByMeter(meter, wal, { log: 'orders' })
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
  })

  it('that nobody makes, without an SDK, refuses no log', async () => {
    const [orders, clicks] = [await open(), await open()]
    watchByMeter(metrics.getMeter('orders'), orders)
    watchByMeter(metrics.getMeter('clicks'), clicks)
  })

  it('has a log once until each watch is undone, and no other under its attributes', async () => {
    const { meter } = makeMeter()
    const observed = new Map<object, number[]>()
    let collect = () => {}
    // The reports themselves: the library makes one value of two.
    const counting = Object.assign(Object.create(meter), {
      addBatchObservableCallback: (report: (observer: object) => void) => {
        const before = collect
        collect = () => {
          before()
          report({
            observe: (instrument: object, value: number) =>
              observed.set(instrument, [...(observed.get(instrument) ?? []), value]),
          })
        }
      },
      removeBatchObservableCallback: () => {},
    }) as Meter
    const [wal, other] = [await open(), await open()]
    const stops = [watchByMeter(counting, wal), watchByMeter(counting, wal)]
    const error = await expectCode(() => watchByMeter(counting, other), 'WAL_BAD_ARGUMENT')
    expect(error.message).toContain(wal.directory)
    const reports = () => {
      observed.clear()
      collect()
      return observed.size
    }
    const all = reports()
    expect(all).toBeGreaterThan(0)
    stops[0]!()
    expect(reports()).toBe(all)
    stops[1]!()
    expect(reports()).toBe(0)
    watchByMeter(counting, other)
    expect(reports()).toBe(all)
  })
})
