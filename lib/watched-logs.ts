// The logs that a metrics library watches: two of them never report under the same labels, and none
// twice.
import { WalError } from './errors.js'
import { statsOf } from './metrics.js'
import type { WalStats } from './stats.js'
import type { Wal } from './wal.js'

/** One call of `watchWal`. */
export interface Watched {
  wal: Wal
  labels: Record<string, string>
  /** The labels as text, equal for equal ones. */
  key: string
}

/** The logs of one registry or meter. */
export class WatchedLogs {
  readonly #entries = new Set<Watched>()

  /**
   * Adds a log under its labels. The same one may be added by several who do not know each other:
   * it is watched until the last of them has dropped it.
   * @throws {WalError} WAL_BAD_ARGUMENT if another log that is open has these labels: of a series
   *   with two values libraries take either, or fail far from here
   */
  add(wal: Wal, labels: Record<string, string>): Watched {
    const key = JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)))
    for (const entry of this.#entries) {
      if (statsOf(entry.wal) === undefined) this.#entries.delete(entry)
      else if (entry.key === key && entry.wal !== wal) throw taken(entry, wal)
    }
    const entry = { wal, labels: { ...labels }, key }
    this.#entries.add(entry)
    return entry
  }

  /** Undoes one `add`. */
  drop(entry: Watched): void {
    this.#entries.delete(entry)
  }

  /**
   * What an entry has to report: nothing if its log was closed, or if an earlier entry reports the
   * same.
   */
  statsOf(entry: Watched): WalStats | undefined {
    for (const first of this.#entries) {
      if (first.wal !== entry.wal || first.key !== entry.key) continue
      if (first !== entry) return undefined
      const stats = statsOf(entry.wal)
      if (stats === undefined) this.#entries.delete(entry)
      return stats
    }
    return undefined
  }

  /** All that have something to report, with it. */
  *current(): Generator<Watched & { stats: WalStats }> {
    for (const entry of this.#entries) {
      const stats = this.statsOf(entry)
      if (stats !== undefined) yield { ...entry, stats }
    }
  }
}

function taken({ wal, labels }: Watched, other: Wal): WalError {
  const names = Object.keys(labels)
  const under = names.length === 0 ? 'without labels' : `under ${JSON.stringify(labels)}`
  return new WalError(
    'WAL_BAD_ARGUMENT',
    `watching the log at ${other.directory} failed: the one at ${wal.directory} is watched ` +
      `${under} already; give each log labels of its own, such as { log: 'orders' }`,
    { path: other.directory },
  )
}
