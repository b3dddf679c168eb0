// `stonelog/prometheus`: statistics for prom-client. The registry is taken by shape, so that
// stonelog depends on no version of it.
import { METRICS, type Metric, statsOf, sumSeconds, TIMINGS, type Timing } from './metrics.js'
import type { Latency, WalStats } from './stats.js'
import type { Wal } from './wal.js'

/** What is needed of prom-client's `Registry`. */
export interface PrometheusRegistry {
  /** Its own type asks for prom-client's classes, of which only `name` and `get` are used. */
  registerMetric(metric: never): void
}

/** A value as prom-client prints it. */
interface Value {
  metricName: string
  labels: Record<string, string | number>
  value: number
}

interface Watched {
  wal: Wal
  labels: Record<string, string>
}

/** Upper bounds of buckets, seconds: 16 us to 8.6 s, where native's own buckets end as well. */
const BOUNDS = Array.from({ length: 20 }, (_, index) => 2 ** (14 + index) / 1e9)

const watchedBy = new WeakMap<PrometheusRegistry, Set<Watched>>()

/** The logs of a registry that are still open, with their statistics. */
function* current(watched: Set<Watched>): Generator<Watched & { stats: WalStats }> {
  for (const entry of watched) {
    const stats = statsOf(entry.wal)
    if (stats === undefined) watched.delete(entry)
    else yield { ...entry, stats }
  }
}

function toValues({ samples }: Metric, metricName: string, watched: Set<Watched>): Value[] {
  return [...current(watched)].flatMap(({ wal, labels, stats }) =>
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

function toHistogram({ latency }: Timing, name: string, watched: Set<Watched>): Value[] {
  return [...current(watched)].flatMap(({ labels, stats }) => {
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

/** Registers every metric once; each is computed when the registry is asked. */
function register(registry: PrometheusRegistry, watched: Set<Watched>): void {
  const add = (name: string, help: string, type: string, values: () => Value[]) => {
    const get = async () => ({ name, help, type, values: values(), aggregator: 'sum' })
    const metric = { name, help, type, aggregator: 'sum', get, reset() {} }
    registry.registerMetric(metric as never)
  }
  for (const metric of METRICS) {
    const name = `stonelog_${metric.name}${metric.kind === 'total' ? '_total' : ''}`
    const type = metric.kind === 'total' ? 'counter' : 'gauge'
    add(name, metric.help, type, () => toValues(metric, name, watched))
  }
  for (const timing of TIMINGS) {
    const name = `stonelog_${timing.name}_seconds`
    add(name, timing.help, 'histogram', () => toHistogram(timing, name, watched))
  }
}

/**
 * Adds a log to a registry of prom-client: `stonelog_records_total`, `stonelog_write_seconds` and
 * the other statistics, computed when the registry is asked. Several logs are told apart by their
 * labels, whose names must be the same for all. A log that was closed is dropped by itself.
 * @param registry prom-client's `register` or a `Registry`
 * @param labels for example `{ log: 'orders' }`. Default: none
 * @returns call it to drop the log from the registry
 */
export function watchWal(
  registry: PrometheusRegistry,
  wal: Wal,
  labels: Record<string, string> = {},
): () => void {
  let watched = watchedBy.get(registry)
  if (watched === undefined) {
    watched = new Set()
    register(registry, watched)
    watchedBy.set(registry, watched)
  }
  const entry = { wal, labels }
  watched.add(entry)
  return () => void watched.delete(entry)
}
