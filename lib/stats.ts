// `wal.stats()`: counters and latency histograms as plain data, ready for JSON or a metrics
// library.
import type { NativeStats } from './native.js'

/**
 * Latencies in microseconds. Percentiles are upper bounds of their bucket: at most 25% too high.
 */
export interface Latency {
  /** Values taken. */
  count: number
  /** Arithmetic mean, exact. */
  meanMicros: number
  /** Half of the values are at most this. */
  p50Micros: number
  /** 99% of the values are at most this. */
  p99Micros: number
  /** 99.9% of the values are at most this. */
  p999Micros: number
  /** The largest value, exact. */
  maxMicros: number
  /** Cumulative buckets that hold anything: how many values were at most `leMicros`. */
  buckets: Array<{
    /** Upper bound of the bucket. */
    leMicros: number
    /** Values at most `leMicros`. */
    count: number
  }>
}

/**
 * Counters since the log was opened by this process; all handles and threads of the process
 * together. A handle that only reads counts nothing: of it `io`, the path that a writer would have
 * here but for `direct`, which says how it reads, and `segments.live` are told.
 */
export interface WalStats {
  /** Records given an LSN. */
  records: number
  /** Payload bytes of those records. */
  payloadBytes: number
  /** Commits handed to the device. */
  groups: number
  /** Bytes of those commits; padding, control groups and seals included. */
  groupBytes: number
  /** Commits that hold no records: start groups, watermarks, heads, closes. */
  controlGroups: number
  /** Explicit syncs; synchronous writes are counted in `groups`. */
  syncs: number
  /** Segments begun after the first one. */
  rotations: number
  /** Calls that were refused and took no LSN. */
  refused: {
    /** With `WAL_BACKPRESSURE`. */
    backpressure: number
    /** With `WAL_NO_SPACE`. */
    noSpace: number
  }
  /** Commits submitted while another one was in flight. */
  secondSlot: number
  /** Copied bytes not yet durable, now. */
  pendingBytes: number
  /** Segment files, now. */
  segments: {
    /** Of the log. */
    live: number
    /** Ready to be used next. */
    prepared: number
    /** Released and waiting to be used again. */
    recycled: number
  }
  /** Bytes of zeros written to prepare segments. */
  zeroedBytes: number
  /** Times the committer was woken. */
  wakes: number
  /** Small commits that the event loop's thread began by itself, without waiting for them. */
  begun: number
  /** Which path to the device is used, and why. */
  io: {
    /** Whether writes pass the page cache by. */
    direct: boolean
    /** Whether synchronous writes are trusted; else each commit is followed by an explicit sync. */
    dsync: boolean
    /** False: the file system cannot reserve space, so a full disk can poison the log. */
    reserves: boolean
    /** Name of the file system: `ext4`, `xfs`, …, or its magic number. */
    fileSystem: string
    /** Why this path was chosen, in a sentence. */
    reason: string
    /** The CRC32C variant in use. */
    crc32c: string
  }
  /** Latencies of the stages of a commit. */
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
    begun: native.begun,
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
