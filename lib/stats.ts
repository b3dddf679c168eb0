// `wal.stats()`: counters and latency histograms as plain data, ready for JSON or a metrics
// library.
import type { NativeStats } from './native.js'

/**
 * Latencies in microseconds. Percentiles are upper bounds of their bucket: at most 25% too high.
 */
export interface Latency {
  count: number
  meanMicros: number
  p50Micros: number
  p99Micros: number
  p999Micros: number
  maxMicros: number
  /** Cumulative buckets that hold anything: how many values were at most `leMicros`. */
  buckets: Array<{ leMicros: number; count: number }>
}

/**
 * Counters since the log was opened by this process; all handles and threads of the process
 * together.
 */
export interface WalStats {
  /** Records given an LSN, and their payload bytes. */
  records: number
  payloadBytes: number
  /** Commits handed to the device and their bytes; padding, control groups and seals included. */
  groups: number
  groupBytes: number
  /** Commits that hold no records: watermarks, seals. */
  controlGroups: number
  /** Explicit syncs; synchronous writes are counted in `groups`. */
  syncs: number
  rotations: number
  /** Calls refused with `WAL_BACKPRESSURE` and with `WAL_NO_SPACE`. */
  refused: { backpressure: number; noSpace: number }
  /** Commits submitted while another one was in flight. */
  secondSlot: number
  /** Copied bytes not yet durable, now. */
  pendingBytes: number
  /** Segment files, now: of the log, prepared beside it, released and waiting to be used again. */
  segments: { live: number; prepared: number; recycled: number }
  /** Bytes of zeros written to prepare segments. */
  zeroedBytes: number
  /** Times the committer was woken. */
  wakes: number
  /** Which path to the device is used, and why. */
  io: {
    direct: boolean
    /** Whether synchronous writes are trusted; else each commit is followed by an explicit sync. */
    dsync: boolean
    /** False: the file system cannot reserve space, so a full disk can poison the log. */
    reserves: boolean
    fileSystem: string
    reason: string
    /** The CRC32C variant in use. */
    crc32c: string
  }
  latency: {
    /** First record of a commit admitted until handed to the device. */
    queue: Latency
    /** The device's write, flush included. */
    write: Latency
    /** An explicit sync. */
    sync: Latency
  }
}

/** The largest value of a bucket in ns; see `NativeStats` for the layout: four to an octave. */
export function bucketUpperNanos(index: number): number {
  if (index < 4) return index
  return (5 + (index & 3)) * 2 ** ((index >> 2) - 2) - 1
}

/** Converts one native histogram: [count, sum, max, buckets…], all in nanoseconds. */
export function toLatency(histogram: Float64Array): Latency {
  const [count = 0, sum = 0, max = 0] = histogram
  const buckets: Latency['buckets'] = []
  let below = 0
  for (let index = 3; index < histogram.length; index++) {
    const here = histogram[index]!
    if (here === 0) continue
    below += here
    buckets.push({ leMicros: Math.min(bucketUpperNanos(index - 3), max) / 1000, count: below })
  }
  const percentile = (part: number) =>
    buckets.find((bucket) => bucket.count >= below * part)?.leMicros ?? 0
  return {
    count,
    meanMicros: count === 0 ? 0 : sum / count / 1000,
    p50Micros: percentile(0.5),
    p99Micros: percentile(0.99),
    p999Micros: percentile(0.999),
    maxMicros: max / 1000,
    buckets,
  }
}

/** Converts native's counters. */
export function toStats(native: NativeStats): WalStats {
  return {
    records: native.records,
    payloadBytes: native.payloadBytes,
    groups: native.groups,
    groupBytes: native.groupBytes,
    controlGroups: native.controlGroups,
    syncs: native.syncs,
    rotations: native.rotations,
    refused: { backpressure: native.refusedQueue, noSpace: native.refusedSpace },
    secondSlot: native.secondSlot,
    pendingBytes: native.pendingBytes,
    segments: {
      live: native.segments,
      prepared: native.preparedSegments,
      recycled: native.recycledSegments,
    },
    zeroedBytes: native.zeroedBytes,
    wakes: native.wakes,
    io: {
      direct: native.direct,
      dsync: native.dsync,
      reserves: native.reserves,
      fileSystem: native.fileSystem,
      reason: native.ioReason,
      crc32c: native.crc32c,
    },
    latency: {
      queue: toLatency(native.queue),
      write: toLatency(native.write),
      sync: toLatency(native.sync),
    },
  }
}
