// stonelog: a durable write-ahead log. What is acknowledged is set in stone.
export { type Outcome, WalError, type WalErrorCode, type WalErrorDetails } from './errors.js'
export type { NoteMessage, OpenMessage, PoisonedMessage } from './events.js'
export type {
  AppendOptions,
  DirectIo,
  DurabilityName,
  Logger,
  ReadRange,
  RecoveryMode,
  VerifyOptions,
  WalOptions,
} from './options.js'
export type { RecordBatch, WalRecord } from './record-batch.js'
export type { Evidence, LostRange, RecoveryReport, Verdict, VerifyReport } from './recovery.js'
export type { Latency, WalStats } from './stats.js'
export { type BatchLsns, Wal } from './wal.js'
