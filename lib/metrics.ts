// The statistics as rows of a table, for the integrations with metrics libraries: one row for each
// metric, whatever the library calls it.
import type { Latency, WalStats } from './stats.js'
import type { Wal } from './wal.js'

/** One measured value and the labels that tell it from others of its metric. */
export interface Sample {
  labels: Record<string, string>
  value: number
}

/** A metric: `total` only grows, `now` is a level. */
export interface Metric {
  /** Words joined by `_`, without prefix and without the library's endings. */
  name: string
  kind: 'total' | 'now'
  help: string
  unit: 'bytes' | '1'
  samples(stats: WalStats, wal: Wal): Sample[]
}

const one = (value: number): Sample[] => [{ labels: {}, value }]

/** One sample for each entry of an object, its key as the label `label`. */
const each = (label: string, values: Record<string, number>): Sample[] =>
  Object.entries(values).map(([key, value]) => ({ labels: { [label]: key }, value }))

function total(name: string, help: string, value: (stats: WalStats) => number): Metric {
  const unit = name.endsWith('bytes') ? 'bytes' : '1'
  return { name, kind: 'total', help, unit, samples: (stats) => one(value(stats)) }
}

function lsn(name: string, help: string, value: (wal: Wal) => number): Metric {
  return { name, kind: 'now', help, unit: '1', samples: (_stats, wal) => one(value(wal)) }
}

export const METRICS: readonly Metric[] = [
  total('records', 'Records given an LSN', (stats) => stats.records),
  total('payload_bytes', 'Payload bytes of those records', (stats) => stats.payloadBytes),
  total('groups', 'Commits handed to the device', (stats) => stats.groups),
  total('group_bytes', 'Bytes of those commits', (stats) => stats.groupBytes),
  total('control_groups', 'Commits without records', (stats) => stats.controlGroups),
  total('begun', 'Commits begun by the event loop itself', (stats) => stats.begun),
  total('second_slot', 'Commits that joined one in flight', (stats) => stats.secondSlot),
  total('wakes', 'Wake-ups of committers', (stats) => stats.wakes),
  total('syncs', 'Explicit syncs', (stats) => stats.syncs),
  total('rotations', 'Segments begun after the first one', (stats) => stats.rotations),
  total('zeroed_bytes', 'Zeros written to prepare segments', (stats) => stats.zeroedBytes),
  {
    name: 'refused',
    kind: 'total',
    help: 'Calls refused for want of room',
    unit: '1',
    samples: ({ refused }) =>
      each('reason', { backpressure: refused.backpressure, no_space: refused.noSpace }),
  },
  {
    name: 'pending_bytes',
    kind: 'now',
    help: 'Copied bytes that are not durable yet',
    unit: 'bytes',
    samples: ({ pendingBytes }) => one(pendingBytes),
  },
  {
    name: 'segments',
    kind: 'now',
    help: 'Segment files',
    unit: '1',
    samples: ({ segments }) => each('state', segments),
  },
  {
    name: 'io',
    kind: 'now',
    help: 'What the path to the device can do: 1 or 0',
    unit: '1',
    samples: ({ io: { direct, dsync, reserves } }) =>
      each('can', { direct: Number(direct), dsync: Number(dsync), reserves: Number(reserves) }),
  },
  lsn('first_lsn', 'First LSN that can be read', (wal) => wal.firstLsn),
  lsn('last_lsn', 'Last LSN given', (wal) => wal.lastLsn),
  lsn('durable_lsn', 'Last LSN that is durable', (wal) => wal.durableLsn),
]

/** A histogram: how long one stage of a commit takes. */
export interface Timing {
  name: string
  help: string
  latency(stats: WalStats): Latency
}

export const TIMINGS: readonly Timing[] = [
  {
    name: 'queue',
    help: 'First record of a commit admitted until handed to the device',
    latency: (stats) => stats.latency.queue,
  },
  { name: 'write', help: 'Writes of commits', latency: (stats) => stats.latency.write },
  { name: 'sync', help: 'Explicit syncs', latency: (stats) => stats.latency.sync },
]

/** All values together, seconds. */
export const sumSeconds = (latency: Latency): number =>
  (latency.meanMicros * latency.count) / 1_000_000

/** The statistics, or undefined once the log is closed. */
export function statsOf(wal: Wal): WalStats | undefined {
  try {
    return wal.stats()
  } catch (error) {
    if ((error as { code?: string }).code === 'WAL_CLOSED') return undefined
    throw error
  }
}
