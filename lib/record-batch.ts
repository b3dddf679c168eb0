// Many verified records that share one buffer: what native hands over at a time.
import type { NativeBatch } from './native.js'

/** One record. */
export interface WalRecord {
  /** Log sequence number, from 1. */
  lsn: number
  /** The payload, the caller's to keep; others may share its memory: copy it to transfer it. */
  data: Buffer
  /** When its group was written: ms since 1970, UTC, by that machine's clock. Not an order. */
  timestamp: number
  /** The life of the log that wrote it. */
  epoch: number
}

// A run is four numbers: index of its first record, that record's LSN, epoch, timestamp.
const RUN_SIZE = 4

/**
 * Consecutive records in LSN order, holes of a salvaged log aside. Iterating makes one object and
 * one view per record; the columns and accessors make nothing, or one view.
 */
export class RecordBatch implements Iterable<WalRecord> {
  /** The number of records, at least 1. */
  readonly length: number
  /** Payloads of all records; keeping a view of it keeps it whole. */
  readonly buffer: Buffer
  /** Start of each payload in `buffer`, bytes. */
  readonly offsets: Uint32Array
  /** Size of each payload, bytes. */
  readonly lengths: Uint32Array
  /** LSNs that are known to be lost, before or inside this batch. */
  readonly skipped: ReadonlyArray<{
    /** First lost LSN. */
    from: number
    /** Last lost LSN. */
    to: number
  }>
  /** What `buffer` is a view of. */
  readonly #bytes: ArrayBuffer
  readonly #runs: Float64Array

  /** @internal */
  constructor(batch: NativeBatch) {
    this.length = batch.lengths.length
    this.#bytes = batch.data
    this.buffer = Buffer.from(this.#bytes)
    this.offsets = batch.offsets
    this.lengths = batch.lengths
    this.#runs = batch.runs
    const skipped: Array<{ from: number; to: number }> = []
    for (let index = 0; index + 1 < batch.skipped.length; index += 2) {
      skipped.push({ from: batch.skipped[index]!, to: batch.skipped[index + 1]! })
    }
    this.skipped = skipped
  }

  /** LSN of the first record. */
  get firstLsn(): number {
    return this.lsnAt(0)
  }

  /** LSN of the last record. */
  get lastLsn(): number {
    return this.lsnAt(this.length - 1)
  }

  /**
   * The LSN of the record at `index`, 0 to length - 1.
   * @throws {RangeError} for any other index, as all accessors
   */
  lsnAt(index: number): number {
    const run = this.#runOf(index)
    // In this order: nothing on the way is above 2^53.
    return this.#runs[run + 1]! + (index - this.#runs[run]!)
  }

  /** The payload of the record at `index`, a view of `buffer`. @throws {RangeError} */
  dataAt(index: number): Buffer {
    this.#check(index)
    return Buffer.from(this.#bytes, this.offsets[index]!, this.lengths[index]!)
  }

  /** The epoch of the record at `index`. @throws {RangeError} */
  epochAt(index: number): number {
    return this.#runs[this.#runOf(index) + 2]!
  }

  /** When the record at `index` was written: ms since 1970, UTC. @throws {RangeError} */
  timestampAt(index: number): number {
    return this.#runs[this.#runOf(index) + 3]!
  }

  /**
   * Index after the last record that shares epoch and timestamp with the one at `index`. @internal
   */
  runEndAt(index: number): number {
    const next = this.#runOf(index) + RUN_SIZE
    return next < this.#runs.length ? this.#runs[next]! : this.length
  }

  /** The records in LSN order; their data are views of `buffer`. */
  *[Symbol.iterator](): Generator<WalRecord, void, undefined> {
    const { offsets, lengths, length } = this
    const bytes = this.#bytes
    const runs = this.#runs
    for (let run = 0; run < runs.length; run += RUN_SIZE) {
      const start = runs[run]!
      const end = run + RUN_SIZE < runs.length ? runs[run + RUN_SIZE]! : length
      const first = runs[run + 1]!
      const epoch = runs[run + 2]!
      const timestamp = runs[run + 3]!
      for (let index = start; index < end; index++) {
        // Cheaper than subarray() of `buffer`, which asks for its memory each time.
        const data = Buffer.from(bytes, offsets[index]!, lengths[index]!)
        yield { lsn: first + (index - start), data, timestamp, epoch }
      }
    }
  }

  /** The memory of everything but the payloads. @internal */
  columns(): ArrayBuffer[] {
    return [this.offsets, this.lengths, this.#runs].map(({ buffer }) => buffer as ArrayBuffer)
  }

  #check(index: number): void {
    if (!Number.isInteger(index) || index < 0 || index >= this.length) {
      throw new RangeError(`index ${index} is not one of 0 to ${this.length - 1}`)
    }
  }

  /**
   * Position in `runs` of the run that holds the record: the last one that starts at or before it.
   */
  #runOf(index: number): number {
    this.#check(index)
    let low = 0
    let high = this.#runs.length / RUN_SIZE - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.#runs[middle * RUN_SIZE]! <= index) low = middle
      else high = middle - 1
    }
    return low * RUN_SIZE
  }
}
