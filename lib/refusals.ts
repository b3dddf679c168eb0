// The errors of appends that native refused.
import { codeOf, fromCode, fromNative, messageOf, WalError } from './errors.js'
import type { NativeError } from './native.js'

/** What was asked for, and of which log. */
export interface RefusedCall {
  action: string
  bytes: number
  records: number
  directory: string
  epoch: number
  lastLsn: number
  maxRecordBytes: number
}

/**
 * The error of a negative return value. `error` is native's `lastError`: with `firstNotWrittenLsn`
 * what stopped the log, else why no segment can be prepared.
 */
export function refusalOf(result: number, error: NativeError | null, call: RefusedCall): WalError {
  const code = codeOf(-result)
  const { action, directory, epoch } = call
  const context = { outcome: 'not-written', epoch } as const
  switch (code) {
    case 'WAL_RECORD_TOO_LARGE':
      return fromCode(result, action, { ...context, why: tooLarge(call) })
    case 'WAL_BAD_ARGUMENT': {
      const why = `the log can give no LSN behind ${call.lastLsn}`
      return fromCode(result, action, call.lastLsn > 2 ** 52 ? { ...context, why } : context)
    }
    case 'WAL_NO_SPACE':
      if (error === null) return fromCode(result, action, { ...context, path: directory })
      return fromNative(error, action, { ...context, directory, code })
    case 'WAL_IO':
      if (error !== null && error.firstNotWrittenLsn === undefined) return unprepared(error, call)
      return failed(result, error, call)
    case 'WAL_POISONED': {
      if (error === null) return fromCode(result, action, { ...context, path: directory })
      const cause = fromNative(error, action, { directory, code: 'WAL_IO' })
      return fromNative(error, action, { ...context, directory, code, cause })
    }
    default:
      return fromCode(result, action, context)
  }
}

function tooLarge({ bytes, records, maxRecordBytes }: RefusedCall): string {
  if (records === 1) return `${bytes} bytes are more than maxRecordBytes ${maxRecordBytes} allows`
  return (
    `${records} records of ${bytes} bytes in total are more than one batch can hold: each is at ` +
    `most maxRecordBytes ${maxRecordBytes}, and all of them, with some 8 bytes for each, fit into ` +
    'one segment and the queue'
  )
}

/** Nothing was admitted: the last segment is full, and making the next one fails. Tried again. */
function unprepared(error: NativeError, { action, directory, epoch }: RefusedCall): WalError {
  const code = 'WAL_IO'
  const cause = fromNative(error, 'preparing a segment', { directory, code })
  const { errno, syscall, path = directory } = cause
  const why = 'no segment can be prepared for it, which is tried again by itself'
  const message = `${messageOf(code, action, why, ` at ${path}`)} (${cause.message})`
  const details = { outcome: 'not-written', epoch, errno, syscall, path, cause } as const
  return new WalError(code, message, details)
}

/** An appendSync that failed after it was admitted; only a poisoned log tells what became of it. */
function failed(result: number, error: NativeError | null, call: RefusedCall): WalError {
  const { action, directory, epoch } = call
  const { lsn, firstNotWrittenLsn } = error ?? {}
  const written = lsn === undefined || lsn < (firstNotWrittenLsn ?? Infinity)
  const details = { epoch, lsn, outcome: written ? 'indeterminate' : 'not-written' } as const
  return error === null
    ? fromCode(result, action, details)
    : fromNative(error, action, { ...details, directory, code: 'WAL_IO' })
}
