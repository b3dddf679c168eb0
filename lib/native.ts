// The whole native surface, typed in one place. Native is mechanism: it takes positional, already
// validated values and reports codes; names, defaults and messages live in the other files of lib/.

/** Mirrors `stonelog::Code` (native/io/status.h). */
export interface NativeError {
  code: number
  message: string
  errno: number
  syscall: string | null
  path: string | null
  segment: number
  offset: number
  pid: number
  /** From `lastError` of a poisoned log: the last LSN this handle was given. */
  lsn?: number
  /** From `lastError` of a poisoned log: from here on nothing was handed to the device. */
  firstNotWrittenLsn?: number
}

/** What recovery or verification found; the shape that becomes `RecoveryReport`. */
export interface NativeReport {
  verdict: number // 0 clean, 1 torn-tail, 2 corrupt
  closed: boolean
  live: boolean
  firstLsn: number
  lastLsn: number
  epoch: number
  scannedSegments: number
  scannedBytes: number
  truncatedBytes: number
  records: number
  durationMs: number
  row: string // name of the row of the recovery table that decided
  evidence: { segment: number; offset: number; reason: string } | null
  lost: Array<{
    from: number
    to: number
    segment: number
    offset: number
    reason: string
    quarantine: string | null
  }>
  /** What an operator should know: a capped quarantine, a reclaimed leftover file, … */
  events: string[]
}

/** Result of `open`. */
export interface NativeOpened {
  handle: number
  report: NativeReport
  /** The largest record or batch; a log that is open already has settled it. */
  maxRecordBytes: number
}

/** Kinds of messages on the environment's one completion channel. */
export const enum Message {
  /** A request ended: (requestId, NativeError | null, result). */
  done = 0,
  /** A handle moved on: (handle, durableLsn). Coalesced: at most one per handle is under way. */
  progress = 1,
  /**
   * A handle is poisoned: (handle, NativeError, durableLsn, firstNotWrittenLsn). Pending appends
   * above durableLsn and below firstNotWrittenLsn are indeterminate, the others were never handed
   * over.
   */
  poisoned = 2,
}

export type Dispatch = (kind: number, id: number, a: unknown, b: unknown, c: unknown) => void

export const enum Durability {
  group = 0,
  each = 1,
  interval = 2,
  none = 3,
}

/** What one recovery mode lets native do; TypeScript's decision, see recovery.ts. */
export const enum OnDamage {
  refuse = 0,
  cut = 1,
  skip = 2,
}

/**
 * A slab of verified records: `data` holds the payloads of all of them, `lengths.length` is their
 * count. About 48 KiB at first, then 256, unless one record or group is larger: it bounds both
 * memory and how long one batch is worked on.
 */
export interface NativeBatch {
  data: ArrayBuffer
  /** Start of each payload in `data`. */
  offsets: Uint32Array
  /** Size of each payload in bytes. */
  lengths: Uint32Array
  firstLsn: number
  /**
   * Runs of records that share a group's epoch and timestamp, four numbers each:
   * index of the run's first record, LSN of that record, epoch, timestamp (ms since 1970, UTC).
   * LSNs count up by one inside a run.
   */
  runs: Float64Array
  /**
   * Holes skipped before or inside this slab: from, to, in pairs; only in salvage or where known.
   */
  skipped: Float64Array
}

/** Plain data of one log; becomes `WalStats`. Mirrors `LogStats` (native/driver/log.h). */
export interface NativeStats {
  records: number
  /** Payload bytes. */
  payloadBytes: number
  groups: number
  /** Bytes of groups on the disk, padding, control groups and seals included. */
  groupBytes: number
  controlGroups: number
  /** Explicit syncs (DSYNC writes are in `groups`). */
  syncs: number
  rotations: number
  /** Calls refused with backpressure, and with no space. */
  refusedQueue: number
  refusedSpace: number
  /** Groups submitted while another one was in flight. */
  secondSlot: number
  /** Copied bytes not yet durable, now. */
  pendingBytes: number
  /** Segment files that belong to the log, and prepared ones that do not yet, now. */
  segments: number
  preparedSegments: number
  recycledSegments: number
  zeroedBytes: number
  /** Times the committer was woken. */
  wakes: number
  /** Commits begun by the appending thread itself. */
  begun: number
  direct: boolean
  dsync: boolean
  reserves: boolean
  fileSystem: string
  ioReason: string
  crc32c: string
  /**
   * Latencies in nanoseconds, each [count, sum, max, buckets…] with the buckets of
   * native/driver/histogram.h: v itself below 4; above, with e = floor(log2 v),
   * 4 * e + ((v >> (e - 2)) & 3), four to an octave.
   */
  queue: Float64Array
  write: Float64Array
  sync: Float64Array
}

/**
 * Calls that take an LSN-less path return a negative code: -(Code). Requests answer on the channel
 * with `Message.done` and their id. Handles and readers are small integers, checked on each call; a
 * stale one is -(Code.closed).
 *
 * Rules the wrapper relies on:
 * - Every request is answered exactly once, also on a stale or poisoned handle, and also if the
 *   handle or reader is closed while it is under way (then with Code.closed). `readNext` after
 *   damage answers with the slabs before it first; the error comes alone, as the next answer.
 * - `progress` comes whenever durableLsn moved past something that this handle was given, by
 *   whatever call: also by `write` and appendSync. Messages of one handle arrive in order; a
 *   `poisoned` is the last but for requests.
 * - A refusal returns at once: no_space, poisoned and io then find their details in `lastError`.
 * - `firstLsn`, `lastLsn`, `durableLsn` and `epoch` are negative codes on a stale handle.
 */
export interface Native {
  /**
   * Once per environment, before anything else. `dispatch` receives every message. `offersLibuv`:
   * the runtime's libuv can be used, if it has one.
   */
  setup(dispatch: Dispatch, offersLibuv: boolean): void
  /** Whether the completion channel keeps the event loop alive. */
  keepAlive(on: boolean): void
  crc32cVariant(): string
  /** CRC32C of bytes; for tests and the microbenchmark. */
  crc32c(bytes: Uint8Array): number

  /** Result: NativeOpened. */
  open(
    requestId: number,
    dir: string,
    readOnly: boolean,
    create: boolean,
    durability: number,
    intervalMs: number,
    maxDelayMs: number,
    maxGroupBytes: number,
    maxGroupRecords: number,
    pipelineDepth: number,
    segmentBytes: number,
    maxRecordBytes: number,
    queueBytes: number,
    directIo: number,
    onTornTail: number,
    onDamage: number,
    scanAll: boolean,
    minFreeBytes: number,
    fileMode: number,
  ): void
  /** Result: NativeReport. Read-only, takes no lock. */
  verify(requestId: number, dir: string, directIo: number): void

  /** Copies `length` bytes of `bytes`; the LSN, or a negative code. */
  append(handle: number, bytes: Uint8Array, length: number, durability: number): number
  /** All or nothing; the first LSN, or a negative code. */
  appendBatch(handle: number, records: Uint8Array[], durability: number): number
  /**
   * The calling thread commits; the LSN once durable, or a negative code. -(Code.io): admitted, but
   * its own commit failed, so the outcome is indeterminate; every other code: never admitted.
   */
  appendSync(handle: number, bytes: Uint8Array, length: number): number
  /** Where the handle stages records of its default durability from now on; see lib/staging.ts. */
  stage(handle: number, memory: ArrayBuffer, durability: number): void
  /**
   * Publishes what was appended and staged to the committers: once per burst. `more`: in the middle
   * of one for which nobody waits yet, so a little may wait for its end. The LSN of the next record
   * staged, or 0 if none may be.
   */
  kick(handle: number, more: boolean): number
  /** Result: durableLsn. `upTo` 0: everything given so far. */
  flush(handle: number, requestId: number, upTo: number): void
  /** Result: null, once the queue is below half and space is prepared. */
  ready(handle: number, requestId: number): void
  /** Result: the new firstLsn. */
  truncateBefore(handle: number, requestId: number, lsn: number): void
  /** Result: null. The last handle of the process seals and unlocks. */
  close(handle: number, requestId: number): void

  firstLsn(handle: number): number
  lastLsn(handle: number): number
  durableLsn(handle: number): number
  epoch(handle: number): number
  /** Counters of the log since it was opened, shared by all handles of the process. */
  stats(handle: number): NativeStats
  /** The error that poisoned the log or refused the last call of this handle; null if none. */
  lastError(handle: number): NativeError | null

  /**
   * A reader of durable records in [from, to], from 0 being the first there is; its id, or a
   * negative code (not_found below firstLsn).
   */
  readOpen(handle: number, from: number, to: number): number
  /** Result: NativeBatch, or null at the end. One request at a time per reader. */
  readNext(reader: number, requestId: number): void
  /** Frees a slab's bytes: the buffer is detached. */
  readRelease(data: ArrayBuffer): void
  readClose(reader: number): void
}
