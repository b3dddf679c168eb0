// `stonelog/prometheus`: statistics for prom-client. The registry is taken by shape, so that
// stonelog depends on no version of it.
import { WalError } from './errors.js'
import { METRICS, type Metric, sumSeconds, TIMINGS, type Timing } from './metrics.js'
import type { Latency } from './stats.js'
import type { Wal } from './wal.js'
import { WatchedLogs } from './watched-logs.js'

/** What is needed of prom-client's `Registry`. */
export interface PrometheusRegistry {
  /** Its own type asks for prom-client's classes, of which only `name` and `get` are used. */
  registerMetric(metric: never): void
  /** The metric of that name, or undefined. */
  getSingleMetric(name: string): unknown
}

/** A value as prom-client prints it. */
interface Value {
  metricName: string
  labels: Record<string, string | number>
  value: number
}

/** Upper bounds of buckets, seconds: 16 us to 8.6 s, where native's own buckets end as well. */
const BOUNDS = Array.from({ length: 20 }, (_, index) => 2 ** (14 + index) / 1e9)

/** A metric as prom-client takes it. */
interface RegisteredMetric {
  name: string
  help: string
  type: string
  get(): Promise<object>
}

/** The logs of each registry, and one of the metrics that were made for them. */
const registered = new WeakMap<
  PrometheusRegistry,
  { logs: WatchedLogs; metric: RegisteredMetric }
>()

function toValues({ samples }: Metric, metricName: string, watched: WatchedLogs): Value[] {
  return [...watched.current()].flatMap(({ wal, labels, stats }) =>
    samples(stats, wal).map((sample) => ({
      metricName,
      labels: { ...labels, ...sample.labels },
      value: sample.value,
    })),
  )
}

/** Values that are at most `seconds`. */
function countUpTo({ buckets }: Latency, seconds: number): number {
  return buckets.findLast(({ leMicros }) => leMicros <= seconds * 1e6)?.count ?? 0
}

function toHistogram({ latency }: Timing, name: string, watched: WatchedLogs): Value[] {
  return [...watched.current()].flatMap(({ labels, stats }) => {
    const of = latency(stats)
    const all = of.buckets.at(-1)?.count ?? 0
    return [
      ...BOUNDS.map((le) => ({
        metricName: `${name}_bucket`,
        labels: { ...labels, le },
        value: countUpTo(of, le),
      })),
      { metricName: `${name}_bucket`, labels: { ...labels, le: '+Inf' }, value: all },
      { metricName: `${name}_sum`, labels, value: sumSeconds(of) },
      { metricName: `${name}_count`, labels, value: all },
    ]
  })
}

/** Makes every metric; each is computed when the registry is asked. */
function makeMetrics(watched: WatchedLogs): RegisteredMetric[] {
  const make = (name: string, help: string, type: string, values: () => Value[]) => {
    const get = async () => ({ name, help, type, values: values(), aggregator: 'sum' })
    return { name, help, type, aggregator: 'sum', get, reset() {} }
  }
  const counted = METRICS.map((metric) => {
    const name = `stonelog_${metric.name}${metric.kind === 'total' ? '_total' : ''}`
    const type = metric.kind === 'total' ? 'counter' : 'gauge'
    return make(name, metric.help, type, () => toValues(metric, name, watched))
  })
  const timed = TIMINGS.map((timing) => {
    const name = `stonelog_${timing.name}_seconds`
    return make(name, timing.help, 'histogram', () => toHistogram(timing, name, watched))
  })
  return [...counted, ...timed]
}

/** The logs of a registry. Whoever clears it drops them: they begin anew then. */
function logsOf(registry: PrometheusRegistry): WatchedLogs {
  const known = registered.get(registry)
  if (known !== undefined && registry.getSingleMetric(known.metric.name) === known.metric) {
    return known.logs
  }
  const logs = new WatchedLogs()
  const metrics = makeMetrics(logs)
  for (const { name } of metrics) {
    if (registry.getSingleMetric(name) === undefined) continue
    const why = `it has a metric ${name} already, which is not of this copy of stonelog`
    const message = `watching a log failed: the registry cannot be used, ${why}`
    throw new WalError('WAL_BAD_ARGUMENT', message)
  }
  for (const metric of metrics) registry.registerMetric(metric as never)
  registered.set(registry, { logs, metric: metrics[0]! })
  return logs
}

/**
 * Adds a log to a registry of prom-client: `stonelog_records_total`, `stonelog_write_seconds` and
 * the other statistics, computed when the registry is asked. Several logs are told apart by their
 * labels, whose names must be the same for all. A log that was closed is dropped by itself; its
 * labels are free again. The same log under the same labels is reported once, however often it is
 * added, until every call is undone.
 * @param registry prom-client's `register` or a `Registry`
 * @param labels for example `{ log: 'orders' }`. Default: none
 * @returns call it to drop the log from the registry
 * @throws {WalError} WAL_BAD_ARGUMENT if another open log has these labels in this registry
 */
export function watchWal(
  registry: PrometheusRegistry,
  wal: Wal,
  labels: Record<string, string> = {},
): () => void {
  const logs = logsOf(registry)
  const entry = logs.add(wal, labels)
  return () => logs.drop(entry)
}
