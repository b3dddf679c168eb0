// Records laid down from JavaScript itself. A call into native code costs more than copying a small
// record, so the log leases LSNs to a handle that is the only one on it: records are copied here,
// named by the leased LSNs, and admitted by one call for all of them. The layout and the protocol
// are those of native/driver/staging.h.

import { isUint8Array } from 'node:util/types'

const RECORDS = 1024
const BYTES = 64 * 1024
const STATE_WORDS = 4
/** Larger records lose more by the second copy than they gain. */
const MOST_RECORD_BYTES = 1024

/**
 * How many bytes a Uint8Array has, whatever a subclass says of it. What only poses as one is not
 * staged: looking at it would run its code in the middle of a record.
 */
export const byteLengthOf = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype),
  'byteLength',
)!.get as (this: Uint8Array) => number

// Words of the state.
const ENDED = 0
const COUNT = 1
const TAKEN = 2

/**
 * Invariant: a record is counted only when it is whole. The lease may be ended by another thread at
 * any time; a record that was counted before is admitted by whoever ends it.
 */
export class Staging {
  /** What native looks at. */
  readonly memory = new ArrayBuffer(4 * STATE_WORDS + 4 * RECORDS + BYTES)
  readonly #state = new Int32Array(this.memory, 0, STATE_WORDS)
  readonly #lengths = new Uint32Array(this.memory, 4 * STATE_WORDS, RECORDS)
  readonly #bytes = Buffer.from(this.memory, 4 * STATE_WORDS + 4 * RECORDS, BYTES)
  readonly #mostBytes: number
  readonly #awaitLog: () => void
  /** The LSN of the next record; 0: no lease. */
  #next = 0
  /** Whether native ended the current lease, for a flush or for another handle. */
  #ended = false
  #count = 0
  #end = 0

  /**
   * @param maxRecordBytes the log's: what is larger is refused elsewhere
   * @param awaitLog takes the log's lock for a moment: who is ending a lease has done so then
   */
  constructor(maxRecordBytes: number, awaitLog: () => void) {
    this.#awaitLog = awaitLog
    this.#mostBytes = Math.min(MOST_RECORD_BYTES, maxRecordBytes)
  }

  /** Begins a lease, empty. @param firstLsn of its first record; 0: none was granted */
  renew(firstLsn: number): void {
    this.#next = firstLsn
    this.#ended = false
    this.#count = 0
    this.#end = 0
  }

  /** The last LSN given by the current lease or before it; 0 if native must be asked. */
  get lastLsn(): number {
    if (this.#next === 0 || Atomics.load(this.#state, ENDED) !== 0) return 0
    return this.#next - 1
  }

  /** Whether a lease has come to its end: publishing renews it, if there still may be one. */
  get isOver(): boolean {
    if (this.#next === 0) return this.#ended
    return this.#count === RECORDS || this.#end + this.#mostBytes > BYTES
  }

  /** Copies the record; its LSN, or 0 if it cannot be staged. */
  put(data: Uint8Array | string): number {
    if (this.#next === 0 || this.#count === RECORDS) return 0
    const isString = typeof data === 'string'
    if (!isString && !isUint8Array(data)) return 0
    // A UTF-16 unit makes three bytes at most.
    const most = isString ? data.length * 3 : byteLengthOf.call(data)
    // Nothing is staged of what may be a detached array: it is looked at elsewhere.
    if (most === 0 || most > this.#mostBytes || this.#end + most > BYTES) return 0
    let length = most
    if (isString) length = this.#bytes.write(data, this.#end)
    else this.#bytes.set(data, this.#end)
    const count = this.#count
    this.#lengths[count] = length
    this.#state[COUNT] = count + 1
    // After counting, in this order; the barrier in between is native's.
    if (Atomics.load(this.#state, ENDED) !== 0) return this.#whenEnded(count)
    this.#count = count + 1
    this.#end += length
    return this.#next++
  }

  /** Whether the record was still taken: its LSN, or 0. */
  #whenEnded(index: number): number {
    const lsn = this.#next
    this.#next = 0
    this.#ended = true
    this.#awaitLog()
    return Atomics.load(this.#state, TAKEN) > index ? lsn : 0
  }
}
