// What recovery may do, by mode, and what it found. Native gathers the evidence and names the
// verdict; which verdict is accepted is decided here, in one table.
import { codeOf, fromNative, type WalError } from './errors.js'
import { type NativeError, type NativeReport, OnDamage } from './native.js'
import type { RecoveryMode } from './options.js'

/**
 * One row per mode: what native may do about a torn tail and about damage, and how much it scans.
 */
interface Policy {
  onTornTail: OnDamage
  onDamage: OnDamage
  /** Sealed segments too; else their names, sizes and seals are enough. */
  scanAll: boolean
}

/**
 * The decision table of recovery. Why each row is safe: a torn tail holds nothing that was
 * acknowledged, so cutting it keeps every promise; damage may hold acknowledged records, so the
 * modes that go on past it are the caller's explicit choice, and native copies what it gives up to
 * quarantine/ first.
 */
export const RECOVERY_POLICIES: Readonly<Record<RecoveryMode, Readonly<Policy>>> = {
  'tolerate-torn-tail': {
    onTornTail: OnDamage.cut,
    onDamage: OnDamage.refuse,
    scanAll: false,
  },
  strict: { onTornTail: OnDamage.refuse, onDamage: OnDamage.refuse, scanAll: false },
  'point-in-time': { onTornTail: OnDamage.cut, onDamage: OnDamage.cut, scanAll: true },
  salvage: { onTornTail: OnDamage.cut, onDamage: OnDamage.skip, scanAll: true },
}

/**
 * `clean`: nothing to cut. `torn-tail`: an end that a crash explains. `corrupt`: damage that none
 * explains.
 */
export type Verdict = 'clean' | 'torn-tail' | 'corrupt'
const VERDICTS: readonly Verdict[] = ['clean', 'torn-tail', 'corrupt']

/** A range of LSNs that is not readable any more. */
export interface LostRange {
  /** First lost LSN. */
  from: number
  /** Last lost LSN. */
  to: number
  /** Sequence number of the segment that held it. */
  segment: number
  /** Bytes from the start of that segment's file. */
  offset: number
  /** One sentence: what the evidence is. */
  reason: string
  /** The copy of the bytes that were given up, or null if nothing was there to copy. */
  quarantine: string | null
}

/** What speaks against a log. It need not have cost a record: a header or a seal may be damaged. */
export interface Evidence {
  /** Sequence number of the segment. */
  segment: number
  /** Bytes from the start of that segment's file. */
  offset: number
  /** One sentence: what was found there. */
  reason: string
}

/** What opening or verifying found. */
export interface RecoveryReport {
  /** What the evidence proves about the end of the log. */
  verdict: Verdict
  /** Whether the log had been closed properly: not so while it is open, nor of a new one. */
  closed: boolean
  /** Whether a writer had the log open meanwhile. */
  live: boolean
  /** First LSN that is kept; 1 for an empty log. */
  firstLsn: number
  /** Last LSN that is kept; 0 for an empty log. */
  lastLsn: number
  /** Epoch of this life; of a log opened for reading, the last one found. */
  epoch: number
  /** What the verdict covers. */
  scanned: {
    /** Segment files that were read. */
    segments: number
    /** Bytes that were read of them. */
    bytes: number
  }
  /**
   * Bytes behind the accepted end that were cut, in whole files included; of a log that is only
   * looked at, that would be.
   */
  truncatedBytes: number
  /** Where the first evidence for a verdict that is not `clean` lies; else null. */
  evidence: Evidence | null
  /**
   * LSNs that are not kept: behind the end of what the mode accepts, whole records among them, or
   * the holes that `salvage` leaves, those of earlier recoveries included.
   */
  lost: LostRange[]
  /** How long it took, ms. */
  durationMs: number
}

/** What `Wal.verify` found: a report and the number of readable records. */
export interface VerifyReport extends RecoveryReport {
  /** Records that can be read in order, up to the first damage. */
  records: number
}

/**
 * In words, how the log was found. One that is open has not been closed yet, and one that nobody
 * has begun never had to be; of every other one that was not closed its last segment was scanned.
 */
export function stateOf({ verdict, closed, live, lastLsn, scanned }: RecoveryReport): string {
  if (live) return 'open by a writer'
  if (closed) return 'closed properly'
  const isNew = verdict === 'clean' && lastLsn === 0 && scanned.segments === 0
  if (isNew) return 'new'
  // Damage may have hit what said so.
  return verdict === 'corrupt' ? 'no close is left' : 'not closed properly'
}

/** Converts native's report. */
export function toReport(report: NativeReport): RecoveryReport {
  const verdict = VERDICTS[report.verdict]
  if (verdict === undefined) throw new RangeError(`native reported verdict ${report.verdict}`)
  return {
    verdict,
    closed: report.closed,
    live: report.live,
    firstLsn: report.firstLsn,
    lastLsn: report.lastLsn,
    epoch: report.epoch,
    scanned: { segments: report.scannedSegments, bytes: report.scannedBytes },
    truncatedBytes: report.truncatedBytes,
    evidence: report.evidence,
    lost: report.lost.map(({ from, to, segment, offset, reason, quarantine }) => ({
      from,
      to,
      segment,
      offset,
      reason,
      quarantine,
    })),
    durationMs: report.durationMs,
  }
}

/** Converts native's report of a verification. */
export function toVerifyReport(report: NativeReport): VerifyReport {
  return { ...toReport(report), records: report.records }
}

const ONLY_SALVAGE =
  'nothing was changed; look at it with `stonelog verify`, restore the segment from a copy, or ' +
  "open with recovery 'salvage', which keeps each record that can still be read"

/**
 * The error a refused opening becomes: `WAL_TORN_TAIL` (mode `strict` only), `WAL_CORRUPT`
 * (`strict` and `tolerate-torn-tail`), or what else kept native from opening, of which the mode
 * says nothing. A refusal changed nothing on the disk.
 */
export function toRefusal(error: NativeError, mode: RecoveryMode, directory: string): WalError {
  const code = codeOf(error.code)
  const isRuling = code === 'WAL_CORRUPT' || code === 'WAL_TORN_TAIL'
  const action = isRuling ? `opening the log with recovery '${mode}'` : 'opening the log'
  // Where 'point-in-time' refuses, nothing tells where the log began: there is no point to go to.
  const noPoint = code === 'WAL_CORRUPT' && mode === 'point-in-time'
  return fromNative(error, action, { directory, ...(noPoint ? { advice: ONLY_SALVAGE } : {}) })
}
