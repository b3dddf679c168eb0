// What operators may watch: diagnostics channels for tools, the logger for people. Neither can
// disturb the log: subscribers run isolated by node:diagnostics_channel, a logger that throws is
// ignored.
import { channel } from 'node:diagnostics_channel'
import type { WalError } from './errors.js'
import type { Logger } from './options.js'
import { type RecoveryReport, stateOf } from './recovery.js'

const openChannel = channel('stonelog:open')
const poisonedChannel = channel('stonelog:poisoned')
const eventChannel = channel('stonelog:event')

/** What `stonelog:open` publishes: a log was opened. */
export interface OpenMessage {
  /** The log's directory, absolute. */
  directory: string
  /** Whether it was opened for reading only. */
  readOnly: boolean
  /** What opening found. */
  recovery: RecoveryReport
}

/** What `stonelog:poisoned` publishes: a log has stopped. */
export interface PoisonedMessage {
  /** The log's directory, absolute. */
  directory: string
  /** The failure that stopped it. */
  error: WalError
}

/** What `stonelog:event` publishes: something else that an operator should know. */
export interface NoteMessage {
  /** The log's directory, absolute. */
  directory: string
  /** One sentence. */
  message: string
}

type Level = 'info' | 'warn' | 'error'

function log(logger: Logger | undefined, level: Level, message: string): void {
  try {
    logger?.[level](message)
  } catch {
    // Durability must not depend on where log lines go.
  }
}

/** Publishes a {@link NoteMessage} on `stonelog:event`. */
export function announceEvent(
  directory: string,
  logger: Logger | undefined,
  message: string,
  level: Level = 'warn',
): void {
  eventChannel.publish({ directory, message } satisfies NoteMessage)
  log(logger, level, `stonelog: ${directory}: ${message}`)
}

function summary(report: RecoveryReport): string {
  const kept =
    report.lastLsn < report.firstLsn
      ? 'no records'
      : `records ${report.firstLsn} to ${report.lastLsn}`
  const cut = report.truncatedBytes > 0 ? `, ${report.truncatedBytes} bytes cut` : ''
  return `opened, ${report.verdict}, ${stateOf(report)}: ${kept}${cut}, epoch ${report.epoch}`
}

/** Publishes an {@link OpenMessage} on `stonelog:open`; tells the logger what recovery did. */
export function announceOpen(
  directory: string,
  readOnly: boolean,
  recovery: RecoveryReport,
  events: readonly string[],
  logger: Logger | undefined,
): void {
  openChannel.publish({ directory, readOnly, recovery } satisfies OpenMessage)
  const level = { clean: 'info', 'torn-tail': 'warn', corrupt: 'error' } as const
  log(logger, level[recovery.verdict], `stonelog: ${directory}: ${summary(recovery)}`)
  for (const { from, to, segment, offset, reason } of recovery.lost) {
    const where = `segment ${segment}, offset ${offset}`
    log(logger, 'error', `stonelog: ${directory}: lost LSN ${from} to ${to} (${where}): ${reason}`)
  }
  for (const event of events) announceEvent(directory, logger, event)
}

/** Publishes a {@link PoisonedMessage} on `stonelog:poisoned`. */
export function announcePoisoned(
  directory: string,
  error: WalError,
  logger: Logger | undefined,
): void {
  poisonedChannel.publish({ directory, error } satisfies PoisonedMessage)
  log(logger, 'error', `stonelog: ${directory}: the log has stopped: ${error.message}`)
}
