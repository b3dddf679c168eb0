// Opening and verifying: options in, native called, its evidence turned into a report or a refusal.
import { resolveDirectory } from './directory.js'
import { fromNative, messageOf, WalError } from './errors.js'
import { announceOpen } from './events.js'
import type { NativeError, NativeOpened, NativeReport } from './native.js'
import { type NativeBinding, nativeBinding } from './native-binding.js'
import {
  type ResolvedOptions,
  resolveOptions,
  resolveVerifyOptions,
  type VerifyOptions,
  type WalOptions,
} from './options.js'
import {
  RECOVERY_POLICIES,
  type RecoveryReport,
  toRefusal,
  toReport,
  toVerifyReport,
  type VerifyReport,
} from './recovery.js'

/** A log that native has opened. */
export interface OpenedLog {
  binding: NativeBinding
  handle: number
  directory: string
  options: ResolvedOptions
  /** As settled by the log, which may have been open already. */
  maxRecordBytes: number
  recovery: RecoveryReport
}

function aborted(action: string, directory: string, signal: AbortSignal): WalError {
  const message = messageOf('WAL_ABORTED', action, 'its signal was aborted', ` at ${directory}`)
  return new WalError('WAL_ABORTED', message, { path: directory, cause: signal.reason })
}

/**
 * A request that may be given up. Native always finishes: `onLate` takes a result that nobody waits
 * for any more. `onResult` runs inside the message, before any later message of the channel is
 * looked at.
 */
function abortableRequest<T, R>(
  binding: NativeBinding,
  signal: AbortSignal | undefined,
  abortError: (signal: AbortSignal) => WalError,
  start: (requestId: number) => void,
  settle: {
    onResult: (result: T) => R
    onError: (error: NativeError) => WalError
    onLate?: (result: T) => void
  },
): Promise<R> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(abortError(signal))
    let late = false
    const onAbort = () => {
      late = true
      reject(abortError(signal!))
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    binding.request(start, (error, result) => {
      signal?.removeEventListener('abort', onAbort)
      if (late) {
        if (error === null) settle.onLate?.(result as T)
      } else if (error !== null) reject(settle.onError(error))
      else resolve(settle.onResult(result as T))
    })
  })
}

function startOpen(binding: NativeBinding, id: number, dir: string, options: ResolvedOptions) {
  const policy = RECOVERY_POLICIES[options.recovery]
  binding.native.open(
    id,
    dir,
    options.readOnly,
    options.create,
    options.durability,
    options.intervalMs,
    options.maxDelayMs,
    options.maxGroupBytes,
    options.maxGroupRecords,
    options.pipelineDepth,
    options.segmentBytes,
    options.maxRecordBytes,
    options.queueBytes,
    options.directIo,
    policy.onTornTail,
    policy.onDamage,
    policy.scanAll,
    options.minFreeBytes,
    options.fileMode,
  )
}

/**
 * Opens a log. `wrap` makes what the caller gets and attaches the receiver of the handle's
 * messages; it runs before the next message is looked at, so that none is lost.
 * @throws {WalError} WAL_BAD_OPTION, WAL_BAD_ARGUMENT, WAL_NO_NATIVE, WAL_ABORTED, and what
 *   recovery refuses
 */
export async function openLog<T>(
  directory: string | URL,
  walOptions: WalOptions | undefined,
  wrap: (log: OpenedLog) => T,
): Promise<T> {
  const options = resolveOptions(walOptions)
  const path = resolveDirectory(directory)
  const { signal, readOnly, logger } = options
  if (signal?.aborted) throw aborted('opening the log', path, signal)
  const binding = nativeBinding()
  return abortableRequest<NativeOpened, T>(
    binding,
    signal,
    (by) => aborted('opening the log', path, by),
    (id) => startOpen(binding, id, path, options),
    {
      onResult({ handle, report, maxRecordBytes }) {
        const recovery = toReport(report)
        const log = { binding, handle, directory: path, options, maxRecordBytes, recovery }
        const wrapped = wrap(log)
        announceOpen(path, readOnly, recovery, report.events, logger)
        return wrapped
      },
      onError: (error) => toRefusal(error, options.recovery, path),
      // Nobody got the handle, so nobody else can give back the lock.
      onLate: ({ handle }) =>
        binding.request(
          (id) => binding.native.close(handle, id),
          () => {},
        ),
    },
  )
}

/**
 * Scans a whole log without a lock and without changing a byte.
 * @throws {WalError} WAL_BAD_OPTION, WAL_BAD_ARGUMENT, WAL_NOT_FOUND, WAL_NOT_A_LOG,
 *   WAL_UNSUPPORTED_VERSION, WAL_IO, WAL_ABORTED; damage is reported, not thrown
 */
export async function verifyLog(
  directory: string | URL,
  verifyOptions: VerifyOptions | undefined,
): Promise<VerifyReport> {
  const { directIo, signal } = resolveVerifyOptions(verifyOptions)
  const path = resolveDirectory(directory)
  if (signal?.aborted) throw aborted('verifying the log', path, signal)
  const binding = nativeBinding()
  return abortableRequest<NativeReport, VerifyReport>(
    binding,
    signal,
    (by) => aborted('verifying the log', path, by),
    (id) => binding.native.verify(id, path, directIo),
    {
      onResult: toVerifyReport,
      onError: (error) => fromNative(error, 'verifying the log', { directory: path }),
    },
  )
}
