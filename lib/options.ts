// Every option of Wal.open, with its default and its bounds, checked one by one. Native receives
// the result by position and checks nothing again.
import { badArgument, describeValue, WalError } from './errors.js'
import { Durability } from './native.js'

/** When an append is acknowledged; see {@link WalOptions.durability}. */
export type DurabilityName = 'group' | 'each' | 'interval' | 'none'
/** How opening treats a torn or damaged log; see {@link WalOptions.recovery}. */
export type RecoveryMode = 'tolerate-torn-tail' | 'strict' | 'point-in-time' | 'salvage'
/** Whether the page cache is passed by; see {@link WalOptions.directIo}. */
export type DirectIo = 'auto' | 'on' | 'off'

/** A logger by shape; pino and console fit. Called with one line of text. */
export interface Logger {
  /** Opened, and nothing to worry about. */
  info(message: string): void
  /** A torn tail was cut, known holes were skipped, or something else worth knowing. */
  warn(message: string): void
  /** Records were lost, or the log has stopped. */
  error(message: string): void
  /** Not called yet. */
  debug?(message: string): void
}

/** Options of `Wal.open`. Sizes are bytes, durations whole milliseconds. */
export interface WalOptions {
  /**
   * `group` (default): acknowledged when durable, appends of the same moment share one commit.
   * `each`: durable, one commit per call. `interval` (NOT durable): acknowledged when queued,
   * synced at least every `intervalMs`. `none` (NOT durable): acknowledged when queued, synced only
   * by rotation, flush and close.
   */
  durability?: DurabilityName | undefined
  /** Longest time between syncs with durability `interval`. Default 100, 1 to 3,600,000. */
  intervalMs?: number | undefined
  /** How long a group waits for company. Default 0 (not at all), at most 10,000. */
  maxDelayMs?: number | undefined
  /** Soft limit of a group. Default 1 MiB, 4 KiB to 64 MiB. */
  maxGroupBytes?: number | undefined
  /** Most records of a group. Default 65,536, 1 to 1,048,576. */
  maxGroupRecords?: number | undefined
  /** Groups in flight at a time. Default 2, 1 to 16. */
  pipelineDepth?: number | undefined
  /**
   * Size of a segment file. Default 64 MiB, 128 KiB to 1 GiB; rounded up to a multiple of 64 KiB.
   */
  segmentBytes?: number | undefined
  /**
   * Largest record, alone or in a batch. Default 16 MiB or what fits; at most min(queueBytes,
   * segmentBytes - 64 KiB), which is also the bound of a batch in total.
   */
  maxRecordBytes?: number | undefined
  /** Bound of all copied bytes that are not yet durable. Default 32 MiB, 4 KiB to 4 GiB. */
  queueBytes?: number | undefined
  /** Direct I/O: `auto` (default) where it works, `on` or fail, `off`. */
  directIo?: DirectIo | undefined
  /**
   * `tolerate-torn-tail` (default) accepts what a crash explains and refuses damage. `strict`
   * refuses both. `point-in-time` accepts up to the first damage and quarantines the rest.
   * `salvage` keeps every readable record on both sides of damage.
   */
  recovery?: RecoveryMode | undefined
  /**
   * Open beside a writer or a dead log without a lock and without changing a byte. Default false.
   */
  readOnly?: boolean | undefined
  /** Create a missing directory. Default true; false gives `WAL_NOT_FOUND`. */
  create?: boolean | undefined
  /** Space left to others: below it no segment is prepared. Default 2 x segmentBytes. */
  minFreeBytes?: number | undefined
  /** Permissions of new files, owner's read and write included. Default 0o600. */
  fileMode?: number | undefined
  /** Told about recovery and failures. Default: nobody. */
  logger?: Logger | undefined
  /** Gives up opening with `WAL_ABORTED`; without effect once open. */
  signal?: AbortSignal | undefined
}

/** Options with every default filled in, durations and sizes checked. */
export interface ResolvedOptions {
  durability: Durability
  intervalMs: number
  maxDelayMs: number
  maxGroupBytes: number
  maxGroupRecords: number
  pipelineDepth: number
  segmentBytes: number
  maxRecordBytes: number
  queueBytes: number
  directIo: number
  recovery: RecoveryMode
  readOnly: boolean
  create: boolean
  minFreeBytes: number
  fileMode: number
  logger: Logger | undefined
  signal: AbortSignal | undefined
}

const KiB = 1024
const MiB = 1024 * KiB
const GiB = 1024 * MiB

/**
 * What a segment needs beside its largest record: header, start group, framing, final group, seal.
 */
const SEGMENT_OVERHEAD_BYTES = 64 * KiB

const DURABILITIES: Record<DurabilityName, Durability> = {
  group: Durability.group,
  each: Durability.each,
  interval: Durability.interval,
  none: Durability.none,
}
const DIRECT_IO: Record<DirectIo, number> = { auto: 0, on: 1, off: 2 }
const RECOVERY_MODES: Record<RecoveryMode, RecoveryMode> = {
  'tolerate-torn-tail': 'tolerate-torn-tail',
  strict: 'strict',
  'point-in-time': 'point-in-time',
  salvage: 'salvage',
}

const OPTION_NAMES: ReadonlyArray<keyof WalOptions> = [
  'durability',
  'intervalMs',
  'maxDelayMs',
  'maxGroupBytes',
  'maxGroupRecords',
  'pipelineDepth',
  'segmentBytes',
  'maxRecordBytes',
  'queueBytes',
  'directIo',
  'recovery',
  'readOnly',
  'create',
  'minFreeBytes',
  'fileMode',
  'logger',
  'signal',
]

function badOption(message: string): WalError {
  return new WalError('WAL_BAD_OPTION', message)
}

/**
 * Edits (insert, delete, replace) between two short words; Wagner and Fischer 1974, one row kept.
 */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}

/** `; did you mean "segmentBytes"?` for the nearest known name, or nothing if none is near. */
function suggest(name: string, known: readonly string[]): string {
  let best: string | undefined
  let distance = Math.max(2, Math.floor(name.length / 2)) + 1
  for (const candidate of known) {
    const edits = editDistance(name.toLowerCase(), candidate.toLowerCase())
    if (edits < distance) {
      best = candidate
      distance = edits
    }
  }
  return best === undefined ? `; known are ${known.join(', ')}` : `; did you mean "${best}"?`
}

/** Refuses what is not an object of known names. @throws {WalError} WAL_BAD_OPTION */
function checkNames(options: unknown, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw badOption(`options must be an object, not ${describeValue(options)}`)
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw badOption(`unknown option "${name}"${suggest(name, known)}`)
  }
}

function integer(name: string, value: unknown, byDefault: number, least: number, most: number) {
  if (value === undefined) return byDefault
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    throw badOption(
      `option ${name} must be an integer from ${least} to ${most}, not ${describeValue(value)}`,
    )
  }
  return value
}

function boolean(name: string, value: unknown, byDefault: boolean): boolean {
  if (value === undefined) return byDefault
  if (typeof value !== 'boolean') {
    throw badOption(`option ${name} must be true or false, not ${describeValue(value)}`)
  }
  return value
}

function choice<T>(name: string, value: unknown, choices: Record<string, T>, byDefault: T): T {
  if (value === undefined) return byDefault
  if (typeof value === 'string' && Object.hasOwn(choices, value)) return choices[value]!
  const names = Object.keys(choices)
  const hint = typeof value === 'string' ? suggest(value, names) : `; known are ${names.join(', ')}`
  throw badOption(`option ${name} cannot be ${describeValue(value)}${hint}`)
}

function loggerOf(value: unknown): Logger | undefined {
  if (value === undefined) return undefined
  const logger = value as Partial<Record<keyof Logger, unknown>> | null
  for (const method of ['info', 'warn', 'error'] as const) {
    if (typeof logger?.[method] !== 'function') {
      throw badOption(`option logger needs a function "${method}", like pino or console`)
    }
  }
  if (logger?.debug !== undefined && typeof logger.debug !== 'function') {
    throw badOption(`option logger has a "debug" that is no function`)
  }
  return value as Logger
}

function signalOf(value: unknown): AbortSignal | undefined {
  if (value === undefined || value instanceof AbortSignal) return value
  throw badOption(`option signal must be an AbortSignal, not ${describeValue(value)}`)
}

/** The limits that depend on each other: segment, queue, record. */
function sizes(options: WalOptions) {
  const given = integer('segmentBytes', options.segmentBytes, 64 * MiB, 128 * KiB, GiB)
  const queueBytes = integer('queueBytes', options.queueBytes, 32 * MiB, 4 * KiB, 4 * GiB)
  const fits = Math.min(queueBytes, given - SEGMENT_OVERHEAD_BYTES)
  const byDefault = Math.min(16 * MiB, fits)
  const wanted = integer('maxRecordBytes', options.maxRecordBytes, byDefault, 1, 4 * GiB)
  if (wanted > fits) {
    throw badOption(
      `option maxRecordBytes is ${wanted}, but at most ${fits} fit: the smaller one of ` +
        `queueBytes (${queueBytes}) and segmentBytes (${given}) less ${SEGMENT_OVERHEAD_BYTES}`,
    )
  }
  // Whole blocks of any device stonelog supports; upwards, so that what fitted still fits.
  const segmentBytes = Math.ceil(given / (64 * KiB)) * 64 * KiB
  return { segmentBytes, queueBytes, maxRecordBytes: wanted }
}

function fileModeOf(value: unknown): number {
  const mode = integer('fileMode', value, 0o600, 0, 0o777)
  if ((mode & 0o600) !== 0o600) {
    throw badOption(
      `option fileMode 0o${mode.toString(8)} keeps the owner from reading or writing the log again`,
    )
  }
  return mode
}

/**
 * Validates and defaults the options of `Wal.open`.
 * @throws {WalError} WAL_BAD_OPTION naming the option and what it may be
 */
export function resolveOptions(options: WalOptions = {}): ResolvedOptions {
  checkNames(options, OPTION_NAMES)
  const { segmentBytes, queueBytes, maxRecordBytes } = sizes(options)
  const most = Number.MAX_SAFE_INTEGER
  return {
    durability: choice('durability', options.durability, DURABILITIES, Durability.group),
    intervalMs: integer('intervalMs', options.intervalMs, 100, 1, 3_600_000),
    maxDelayMs: integer('maxDelayMs', options.maxDelayMs, 0, 0, 10_000),
    maxGroupBytes: integer('maxGroupBytes', options.maxGroupBytes, MiB, 4 * KiB, 64 * MiB),
    maxGroupRecords: integer('maxGroupRecords', options.maxGroupRecords, 65_536, 1, 1_048_576),
    pipelineDepth: integer('pipelineDepth', options.pipelineDepth, 2, 1, 16),
    segmentBytes,
    maxRecordBytes,
    queueBytes,
    directIo: choice('directIo', options.directIo, DIRECT_IO, DIRECT_IO.auto),
    recovery: choice('recovery', options.recovery, RECOVERY_MODES, 'tolerate-torn-tail'),
    readOnly: boolean('readOnly', options.readOnly, false),
    create: boolean('create', options.create, true),
    minFreeBytes: integer('minFreeBytes', options.minFreeBytes, 2 * segmentBytes, 0, most),
    fileMode: fileModeOf(options.fileMode),
    logger: loggerOf(options.logger),
    signal: signalOf(options.signal),
  }
}

/** Options of `Wal.verify`. */
export interface VerifyOptions {
  /** As in {@link WalOptions.directIo}. */
  directIo?: DirectIo | undefined
  /** Gives up with `WAL_ABORTED`; the scan itself ends on its own. */
  signal?: AbortSignal | undefined
}

/** @throws {WalError} WAL_BAD_OPTION */
export function resolveVerifyOptions(options: VerifyOptions = {}) {
  checkNames(options, ['directIo', 'signal'])
  return {
    directIo: choice('directIo', options.directIo, DIRECT_IO, DIRECT_IO.auto),
    signal: signalOf(options.signal),
  }
}

/** Options of one append. */
export interface AppendOptions {
  /** Overrides {@link WalOptions.durability} for this call. */
  durability?: DurabilityName | undefined
}

/** @throws {WalError} WAL_BAD_OPTION */
export function resolveAppendOptions(options: AppendOptions, byDefault: Durability): Durability {
  checkNames(options, ['durability'])
  return choice('durability', options.durability, DURABILITIES, byDefault)
}

/** What `read` and `readBatches` cover; both ends belong to it. */
export interface ReadRange {
  /** First LSN. Default: `firstLsn`. */
  from?: number | undefined
  /** Last LSN. Default: what is durable when the reader gets there. */
  to?: number | undefined
}

/**
 * Checks a range; `from` stays undefined where it is to be `firstLsn`.
 * @throws {WalError} WAL_BAD_ARGUMENT
 */
export function resolveRange(range: ReadRange = {}): { from: number | undefined; to: number } {
  if (typeof range !== 'object' || range === null) {
    throw badArgument(`a range is an object { from?, to? }, not ${describeValue(range)}`)
  }
  for (const name of Object.keys(range)) {
    if (name !== 'from' && name !== 'to') {
      throw badArgument(`unknown "${name}" in a range${suggest(name, ['from', 'to'])}`)
    }
  }
  const { from, to } = range
  for (const [name, lsn] of Object.entries({ from, to })) {
    const unbounded = name === 'to' && lsn === Number.POSITIVE_INFINITY
    if (lsn !== undefined && !unbounded && !(Number.isSafeInteger(lsn) && lsn >= 0)) {
      throw badArgument(`"${name}" of a range must be an LSN, not ${describeValue(lsn)}`)
    }
  }
  return { from, to: Math.min(to ?? Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER) }
}
