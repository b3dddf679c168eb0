// `stonelog/opentelemetry`: statistics for the metrics API of OpenTelemetry. The meter is taken by
// shape, so that stonelog depends on no version of it.
import { METRICS, type Sample, sumSeconds, TIMINGS } from './metrics.js'
import type { WalStats } from './stats.js'
import type { Wal } from './wal.js'
import { WatchedLogs } from './watched-logs.js'

/** Takes the values of a collection: `BatchObservableResult` of `@opentelemetry/api`. */
export interface OpenTelemetryObserver<Instrument> {
  /** Takes one value. */
  observe(instrument: Instrument, value: number, attributes?: Record<string, string>): void
}

/** What is needed of a `Meter` of `@opentelemetry/api`. */
export interface OpenTelemetryMeter<Instrument> {
  /** Makes an instrument for what only grows. */
  createObservableCounter(name: string, options: InstrumentOptions): Instrument
  /** Makes an instrument for a level. */
  createObservableGauge(name: string, options: InstrumentOptions): Instrument
  /** Has `callback` called at each collection. */
  addBatchObservableCallback(
    callback: (observer: OpenTelemetryObserver<Instrument>) => void,
    instruments: Instrument[],
  ): void
  /** Ends that. */
  removeBatchObservableCallback(
    callback: (observer: OpenTelemetryObserver<Instrument>) => void,
    instruments: Instrument[],
  ): void
}

/** What an instrument is made with. */
export interface InstrumentOptions {
  /** One sentence. */
  description: string
  /** By UCUM: `By`, `s` or `1`. */
  unit: string
}

interface Row<Instrument> {
  instrument: Instrument
  samples(stats: WalStats, wal: Wal): Sample[]
}

function makeRows<Instrument>(meter: OpenTelemetryMeter<Instrument>): Row<Instrument>[] {
  const rows: Row<Instrument>[] = METRICS.map(({ name, kind, help, unit, samples }) => {
    const options = { description: help, unit: unit === 'bytes' ? 'By' : '1' }
    const full = `stonelog.${name}`
    const instrument =
      kind === 'total'
        ? meter.createObservableCounter(full, options)
        : meter.createObservableGauge(full, options)
    return { instrument, samples }
  })
  // There is no observable histogram: the growth of one by that of the other is the mean.
  for (const { name, help, latency } of TIMINGS) {
    const count = { description: `${help}: how many`, unit: '1' }
    const time = { description: `${help}: time taken by all`, unit: 's' }
    rows.push({
      instrument: meter.createObservableCounter(`stonelog.${name}.count`, count),
      samples: (stats) => [{ labels: {}, value: latency(stats).count }],
    })
    rows.push({
      instrument: meter.createObservableCounter(`stonelog.${name}.time`, time),
      samples: (stats) => [{ labels: {}, value: sumSeconds(latency(stats)) }],
    })
  }
  return rows
}

const watchedBy = new WeakMap<object, WatchedLogs>()

/** The logs of a meter. */
function logsOf<Instrument>(meter: object, rows: Row<Instrument>[]): WatchedLogs {
  // Without an SDK the API has one meter for everybody, with one instrument for all counters:
  // nobody collects, and logs of different meters do not meet.
  if (rows[0]!.instrument === rows[1]!.instrument) return new WatchedLogs()
  const logs = watchedBy.get(meter) ?? new WatchedLogs()
  watchedBy.set(meter, logs)
  return logs
}

/**
 * Adds a log to a meter of OpenTelemetry: `stonelog.records`, `stonelog.write.time` and the other
 * statistics, taken at each collection. Several logs are told apart by their attributes. A log that
 * was closed reports nothing any more; its attributes are free again. The same log under the same
 * attributes is reported once, however often it is added, until every call is undone.
 * @param meter of `@opentelemetry/api`
 * @param attributes for example `{ log: 'orders' }`. Default: none
 * @returns call it to end the reports
 * @throws {WalError} WAL_BAD_ARGUMENT if another open log has these attributes in this meter
 */
export function watchWal<Instrument>(
  meter: OpenTelemetryMeter<Instrument>,
  wal: Wal,
  attributes: Record<string, string> = {},
): () => void {
  const rows = makeRows(meter)
  const logs = logsOf(meter, rows)
  const entry = logs.add(wal, attributes)
  const instruments = rows.map(({ instrument }) => instrument)
  const report = (observer: OpenTelemetryObserver<Instrument>) => {
    const stats = logs.statsOf(entry)
    if (stats === undefined) return
    for (const { instrument, samples } of rows) {
      for (const { labels, value } of samples(stats, wal)) {
        observer.observe(instrument, value, { ...entry.labels, ...labels })
      }
    }
  }
  meter.addBatchObservableCallback(report, instruments)
  return () => {
    logs.drop(entry)
    meter.removeBatchObservableCallback(report, instruments)
  }
}
