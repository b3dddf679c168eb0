// The one error class, the map of its codes, and the one place where native errors become
// WalErrors. Nobody parses messages: a code is stable, its message says what happened, where, and
// what to do.
import { constants } from 'node:os'
import { getSystemErrorMap } from 'node:util'
import type { NativeError } from './native.js'

/**
 * Native number of each code: `stonelog::Code` in native/io/status.h. Codes may be added, none is
 * ever renamed or renumbered.
 */
const CODE_BY_NUMBER = [
  undefined,
  'WAL_CORRUPT',
  'WAL_TORN_TAIL',
  'WAL_LOCKED',
  'WAL_NO_SPACE',
  'WAL_BACKPRESSURE',
  'WAL_POISONED',
  'WAL_IO',
  'WAL_CLOSED',
  'WAL_READ_ONLY',
  'WAL_RECORD_TOO_LARGE',
  'WAL_BAD_OPTION',
  'WAL_BAD_ARGUMENT',
  'WAL_NOT_FOUND',
  'WAL_UNSUPPORTED_VERSION',
  'WAL_NOT_A_LOG',
  'WAL_ABORTED',
] as const satisfies ReadonlyArray<WalErrorCode | undefined>

/**
 * Stable code of a {@link WalError}: what happened and what to do is in docs/durability.md, "Error
 * codes". `WAL_NO_NATIVE`: the native part could not be loaded.
 */
export type WalErrorCode =
  | 'WAL_CORRUPT'
  | 'WAL_TORN_TAIL'
  | 'WAL_LOCKED'
  | 'WAL_NO_SPACE'
  | 'WAL_BACKPRESSURE'
  | 'WAL_POISONED'
  | 'WAL_IO'
  | 'WAL_CLOSED'
  | 'WAL_READ_ONLY'
  | 'WAL_RECORD_TOO_LARGE'
  | 'WAL_BAD_OPTION'
  | 'WAL_BAD_ARGUMENT'
  | 'WAL_NOT_FOUND'
  | 'WAL_UNSUPPORTED_VERSION'
  | 'WAL_NOT_A_LOG'
  | 'WAL_ABORTED'
  | 'WAL_NO_NATIVE'

/**
 * What became of the records of a failed call. `not-written`: never handed to the device, will
 * never appear. `indeterminate`: handed over; may be there after reopening, even if its own write
 * succeeded.
 */
export type Outcome = 'not-written' | 'indeterminate'

/** Where and why, as far as it applies to the error. */
export interface WalErrorDetails {
  /** Negative, as in Node's own system errors: `util.getSystemErrorName(errno)` names it. */
  errno?: number | undefined
  /** The system call that failed. */
  syscall?: string | undefined
  /** The file or directory concerned. */
  path?: string | undefined
  /** Sequence number of the segment concerned. */
  segment?: number | undefined
  /** Bytes from the start of that segment's file. */
  offset?: number | undefined
  /** Epoch of the record concerned. */
  epoch?: number | undefined
  /** LSN of the record concerned (of a batch: its last one). */
  lsn?: number | undefined
  /** What became of the records of the failed call. */
  outcome?: Outcome | undefined
  /** Process that holds the lock, with `WAL_LOCKED`. */
  pid?: number | undefined
  /** The error behind this one. */
  cause?: unknown
}

/** Every failure of stonelog. Decide by `code`; `name` is `AbortError` for `WAL_ABORTED`. */
export class WalError extends Error {
  /** What happened; stable over versions. */
  readonly code: WalErrorCode
  /** Negative, as in Node's own system errors: `util.getSystemErrorName(errno)` names it. */
  declare readonly errno?: number
  /** The system call that failed. */
  declare readonly syscall?: string
  /** The file or directory concerned. */
  declare readonly path?: string
  /** Sequence number of the segment concerned. */
  declare readonly segment?: number
  /** Bytes from the start of that segment's file. */
  declare readonly offset?: number
  /** Epoch of the record concerned. */
  declare readonly epoch?: number
  /** LSN of the record concerned (of a batch: its last one). */
  declare readonly lsn?: number
  /** What became of the records of the failed call. */
  declare readonly outcome?: Outcome
  /** Process that holds the lock, with `WAL_LOCKED`. */
  declare readonly pid?: number

  /**
   * stonelog makes its errors itself; the constructor is public for the tests of its users.
   * @param details facts that apply; the others stay absent
   */
  constructor(code: WalErrorCode, message: string, details: WalErrorDetails = {}) {
    const { cause, ...facts } = details
    super(message, cause === undefined ? undefined : { cause })
    Object.defineProperty(this, 'name', {
      value: code === 'WAL_ABORTED' ? 'AbortError' : 'WalError',
      configurable: true,
    })
    this.code = code
    // Facts that do not apply are absent, so that printing an error shows only what is known.
    for (const [name, value] of Object.entries(facts)) {
      if (value !== undefined) Object.assign(this, { [name]: value })
    }
  }
}

/** What to do about each code; the end of its message. */
const ADVICE: Record<WalErrorCode, string> = {
  WAL_CORRUPT:
    'nothing was changed; look at it with `stonelog verify`, restore the segment from a copy, or ' +
    "open with recovery 'point-in-time' or 'salvage'",
  WAL_TORN_TAIL:
    'a crash explains it and nothing acknowledged is missing; open with recovery ' +
    "'tolerate-torn-tail' to accept it",
  WAL_LOCKED: 'close the log in the other process, or open it with readOnly: true',
  WAL_NO_SPACE:
    'free space on that file system, which lets appending resume by itself (see ready()), or open ' +
    'the log with a smaller segmentBytes or minFreeBytes',
  WAL_BACKPRESSURE: 'wait for ready(), or raise queueBytes',
  WAL_POISONED:
    'close the log, repair the cause, and open it again: recovery tells which records survived',
  WAL_IO: 'check the device and the permissions, then open the log again',
  WAL_CLOSED: 'open the log again to go on',
  WAL_READ_ONLY: 'open it without readOnly to write',
  WAL_RECORD_TOO_LARGE: 'split it, or raise maxRecordBytes, queueBytes and segmentBytes',
  WAL_BAD_OPTION: 'correct the option',
  WAL_BAD_ARGUMENT: 'correct the call',
  WAL_NOT_FOUND: 'check the path, or leave out `create: false`; a log is made by its writer',
  WAL_UNSUPPORTED_VERSION: 'open it with the version of stonelog that wrote it, or a newer one',
  WAL_NOT_A_LOG: 'move the foreign file away, or name another directory',
  WAL_ABORTED: 'nothing was opened',
  WAL_NO_NATIVE: 'with a C++20 compiler, this builds it from source:',
}

/** Shortages that free space on the file system does not end, and what they ask for instead. */
const SHORTAGES = new Map<number, { what: string; advice: string }>([
  [
    constants.errno.EFBIG,
    {
      what: 'the process may not write files of that size',
      advice:
        'raise its file-size limit (`ulimit -f`, LimitFSIZE= of systemd) above the size of a ' +
        'segment, or open the log with a smaller segmentBytes; free space does not help',
    },
  ],
  [
    constants.errno.EDQUOT,
    {
      what: "the quota of the log's user, group or project is used up",
      advice: 'free space within the quota, or raise it; appending resumes by itself, see ready()',
    },
  ],
])

/** What each code says happened where native gave no sentence of its own. */
const FALLBACK: Partial<Record<WalErrorCode, string>> = {
  WAL_NO_SPACE: 'no space is prepared for it',
  WAL_BACKPRESSURE: 'the queue is full, or the next segment is not ready yet',
  WAL_POISONED: 'an earlier write failed and the log has stopped',
  WAL_CLOSED: 'the log is closed',
  WAL_READ_ONLY: 'the log is open for reading only',
  WAL_RECORD_TOO_LARGE: 'the record is larger than maxRecordBytes',
  WAL_LOCKED: 'another process has the log open for writing',
}

/**
 * The name of a native code number; an unknown one is an I/O error rather than a crash of the
 * caller.
 */
export function codeOf(number: number): WalErrorCode {
  return CODE_BY_NUMBER[number] ?? 'WAL_IO'
}

/** Node names only what libuv knows: EDQUOT is not of it. */
const nameOf = (errno: number) =>
  Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? `errno ${errno}`

/** `no space left on device (ENOSPC in fallocate)`, or undefined without an errno. */
function describeErrno(errno: number, syscall: string | null, what?: string): string | undefined {
  if (errno === 0) return undefined
  const [name, text] = getSystemErrorMap().get(-errno) ?? [nameOf(errno), 'unknown error']
  return `${what ?? text} (${name}${syscall === null ? '' : ` in ${syscall}`})`
}

/** ` at data/wal/00000001.wal, segment 1, offset 4096`, as far as known. */
function describePlace(error: NativeError, directory: string | undefined): string {
  const place: string[] = []
  const path = error.path ?? directory
  if (path) place.push(path)
  if (error.segment > 0) place.push(`segment ${error.segment}`, `offset ${error.offset}`)
  return place.length === 0 ? '' : ` at ${place.join(', ')}`
}

/** Joins what failed, why, where and what to do into a message. */
export function messageOf(
  code: WalErrorCode,
  action: string,
  why: string,
  place = '',
  advice = ADVICE[code],
): string {
  return `${action} failed${place}: ${why}; ${advice}`
}

/**
 * The conversion of native errors.
 * @param error what native reported; its `errno` is positive
 * @param action what was being done, the start of the message: `opening the log`
 * @param context the log's directory for errors that name no path, advice that is better than what
 *   is said for the code, and facts that native does not know
 */
export function fromNative(
  error: NativeError,
  action: string,
  context: WalErrorDetails & { directory?: string; code?: WalErrorCode; advice?: string } = {},
): WalError {
  const { directory, code: chosen, advice, ...details } = context
  const code = chosen ?? codeOf(error.code)
  // A system that has no such errno has none of it in a native error either.
  const isShort = code === 'WAL_NO_SPACE' && error.errno !== 0
  const shortage = isShort ? SHORTAGES.get(error.errno) : undefined
  const system = describeErrno(error.errno, error.syscall, shortage?.what)
  const reasons = [error.message, system].filter(Boolean)
  if (error.pid > 0) reasons.push(`held by process ${error.pid}`)
  const why = reasons.join(', ') || FALLBACK[code] || 'no reason was given'
  const inSegment = error.segment > 0
  const place = describePlace(error, directory)
  return new WalError(code, messageOf(code, action, why, place, shortage?.advice ?? advice), {
    errno: error.errno === 0 ? undefined : -error.errno,
    syscall: error.syscall ?? undefined,
    path: error.path || undefined,
    segment: inSegment ? error.segment : undefined,
    offset: inSegment ? error.offset : undefined,
    pid: error.pid > 0 ? error.pid : undefined,
    ...details,
  })
}

/** A refusal of which only the code is known: a negative return value. */
export function fromCode(
  number: number,
  action: string,
  details: WalErrorDetails & { why?: string } = {},
): WalError {
  const { why, ...facts } = details
  const code = codeOf(Math.abs(number))
  return new WalError(
    code,
    messageOf(code, action, why ?? FALLBACK[code] ?? 'it was refused'),
    facts,
  )
}

/** `WAL_BAD_ARGUMENT` with a sentence of its own; nothing was written. */
export function badArgument(message: string): WalError {
  return new WalError('WAL_BAD_ARGUMENT', message, { outcome: 'not-written' })
}

/**
 * Names a value in a message about its type: `null`, `an array`, `a Float64Array`, `number 1.5`.
 */
export function describeValue(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'object') {
    const name = value.constructor?.name ?? 'Object'
    return `${/^[AEIOU]/.test(name) ? 'an' : 'a'} ${name}`
  }
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40))
  if (typeof value === 'function' || typeof value === 'symbol') return `a ${typeof value}`
  return `${typeof value} ${String(value)}`
}
