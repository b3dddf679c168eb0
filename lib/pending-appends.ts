// The promises of one handle's appends. LSNs grow, so what a progress message makes durable is
// always the front of a queue: a ring of LSNs and settlers, no object and no closure per append
// beyond the promise's own. (A native deferred per record costs 89 ns, this 13.)
import type { WalError } from './errors.js'

type Resolve = (lsn: number) => void
type Reject = (error: unknown) => void

/** Tells whether the event loop must wait; `NativeBinding` is one. */
export interface KeepAlive {
  hold(): void
  release(): void
}

/**
 * Pending appends of a handle, and the LSN up to which something is still owed. Invariants: LSNs in
 * the ring ascend; the loop is held if and only if `owed` > the last durable LSN seen.
 */
export class PendingAppends {
  readonly #keepAlive: KeepAlive
  #lsns = new Float64Array(64)
  #resolves = new Array<Resolve | undefined>(64)
  #rejects = new Array<Reject | undefined>(64)
  #head = 0
  #count = 0
  #owedLsn = 0
  #held = false

  /**
   * One executor for all promises: it runs inside `new Promise`, so the slot is always the tail's.
   */
  readonly #capture = (resolve: Resolve, reject: Reject): void => {
    const slot = (this.#head + this.#count) & (this.#lsns.length - 1)
    this.#resolves[slot] = resolve
    this.#rejects[slot] = reject
  }

  constructor(keepAlive: KeepAlive) {
    this.#keepAlive = keepAlive
  }

  /** Promises not yet settled. */
  get count(): number {
    return this.#count
  }

  /** The promise of an append; resolves with its LSN once durable. */
  push(lsn: number): Promise<number> {
    if (this.#count === this.#lsns.length) this.#grow()
    const promise = new Promise<number>(this.#capture)
    this.#lsns[(this.#head + this.#count) & (this.#lsns.length - 1)] = lsn
    this.#count++
    return promise
  }

  /** Keeps the process alive until `lsn` is durable; with or without a promise for it. */
  owe(lsn: number): void {
    this.#owedLsn = lsn
    if (!this.#held) {
      this.#held = true
      this.#keepAlive.hold()
    }
  }

  /** Resolves every promise up to `durableLsn`, in LSN order. */
  advance(durableLsn: number): void {
    const lsns = this.#lsns
    const mask = lsns.length - 1
    while (this.#count > 0 && lsns[this.#head]! <= durableLsn) {
      const slot = this.#head
      const resolve = this.#resolves[slot]!
      this.#resolves[slot] = undefined
      this.#rejects[slot] = undefined
      this.#head = (slot + 1) & mask
      this.#count--
      resolve(lsns[slot]!)
    }
    if (durableLsn >= this.#owedLsn) this.#letGo()
  }

  /** Rejects every promise that is left; nothing is owed any more. */
  fail(errorOf: (lsn: number) => WalError): void {
    const mask = this.#lsns.length - 1
    while (this.#count > 0) {
      const slot = this.#head
      const reject = this.#rejects[slot]!
      this.#resolves[slot] = undefined
      this.#rejects[slot] = undefined
      this.#head = (slot + 1) & mask
      this.#count--
      reject(errorOf(this.#lsns[slot]!))
    }
    this.#letGo()
  }

  #letGo(): void {
    if (!this.#held) return
    this.#held = false
    this.#keepAlive.release()
  }

  /** Doubles the ring; queueBytes bounds how often. */
  #grow(): void {
    const old = this.#lsns
    const size = old.length
    const lsns = new Float64Array(size * 2)
    const resolves = new Array<Resolve | undefined>(size * 2)
    const rejects = new Array<Reject | undefined>(size * 2)
    for (let index = 0; index < size; index++) {
      const slot = (this.#head + index) & (size - 1)
      lsns[index] = old[slot]!
      resolves[index] = this.#resolves[slot]
      rejects[index] = this.#rejects[slot]
    }
    this.#lsns = lsns
    this.#resolves = resolves
    this.#rejects = rejects
    this.#head = 0
  }
}
