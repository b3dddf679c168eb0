// The log as its users hold it. Everything here is about promises and refusals; bytes are native's.
import { isUint8Array } from 'node:util/types'
import {
  badArgument,
  codeOf,
  describeValue,
  fromNative,
  messageOf,
  type Outcome,
  WalError,
  type WalErrorCode,
  type WalErrorDetails,
} from './errors.js'
import { announceEvent, announcePoisoned } from './events.js'
import { Durability, type Native, type NativeError } from './native.js'
import type { NativeBinding } from './native-binding.js'
import { type OpenedLog, openLog, verifyLog } from './opening.js'
import {
  type AppendOptions,
  type ReadRange,
  resolveAppendOptions,
  resolveRange,
  type VerifyOptions,
  type WalOptions,
} from './options.js'
import { PendingAppends } from './pending-appends.js'
import { BatchReader, type ReadableLog, RecordReader } from './reader.js'
import type { RecordBatch, WalRecord } from './record-batch.js'
import type { RecoveryReport, VerifyReport } from './recovery.js'
import { refusalOf } from './refusals.js'
import { byteLengthOf, Staging } from './staging.js'
import { toStats, type WalStats } from './stats.js'

/** Waiting bytes at which the committer is woken within a burst. */
const KICK_BYTES = 64 * 1024

/**
 * Strings up to this many UTF-16 units are encoded into one reused buffer, three bytes each at
 * most.
 */
const SCRATCH_UNITS = 16 * 1024
let scratch: Buffer | undefined

/** LSNs of a batch; the records between have those between. */
export interface BatchLsns {
  /** LSN of its first record. */
  first: number
  /** LSN of its last record. */
  last: number
}

/** Known to {@link Wal.open} alone: what JavaScript makes with `new` would be no log. */
const OPENED = Symbol('opened')

const enum State {
  writable,
  readOnly,
  poisoned,
  closed,
}

/**
 * A durable write-ahead log. Made by {@link Wal.open}; several handles, also of several threads of
 * the process, may be open on one directory and share one log.
 */
export class Wal {
  /** What opening found. */
  readonly recovery: RecoveryReport
  /** The log's directory, absolute. */
  readonly directory: string

  readonly #binding: NativeBinding
  readonly #native: Native
  readonly #handle: number
  readonly #log: OpenedLog
  readonly #durability: Durability
  readonly #pending: PendingAppends
  #state: State
  /** Made with the first record: a log that is only read needs none. */
  #staging: Staging | undefined
  #unpublishedBytes = 0
  #kickScheduled = false
  #poison: WalError | undefined
  /** Why no segment can be prepared, since the last record that was taken. */
  #stalled: WalErrorCode | undefined
  #closing: Promise<void> | undefined
  /** Hands what waits to the committers: once per burst, when the microtask queue has drained. */
  readonly #publish = (): void => {
    this.#kickScheduled = false
    if (this.#unpublishedBytes === 0) return
    this.#kick(false)
  }
  /** The getters' values once the handle is being given back. */
  #final: { firstLsn: number; lastLsn: number; durableLsn: number; epoch: number } | undefined

  private constructor(log: OpenedLog, by: typeof OPENED) {
    if (by !== OPENED) {
      throw badArgument('new Wal() makes no log; open one with `await Wal.open(directory)`')
    }
    this.recovery = log.recovery
    this.directory = log.directory
    this.#log = log
    this.#binding = log.binding
    this.#native = log.binding.native
    this.#handle = log.handle
    this.#durability = log.options.durability
    this.#pending = new PendingAppends(log.binding)
    this.#state = log.options.readOnly ? State.readOnly : State.writable
    log.binding.attach(log.handle, {
      onProgress: (durableLsn) => this.#pending.advance(durableLsn),
      onPoisoned: (error, durableLsn, firstNotWrittenLsn) =>
        this.#onPoisoned(error, durableLsn, firstNotWrittenLsn),
    })
  }

  /**
   * Opens a log: creates the directory, takes the lock, recovers. The log is then ready to append.
   * @param directory a path or a `file:` URL
   * @throws {WalError} WAL_BAD_OPTION, WAL_BAD_ARGUMENT, WAL_LOCKED, WAL_CORRUPT, WAL_TORN_TAIL,
   *   WAL_NOT_FOUND, WAL_NOT_A_LOG, WAL_UNSUPPORTED_VERSION, WAL_NO_SPACE, WAL_IO, WAL_ABORTED,
   *   WAL_NO_NATIVE
   */
  static open(directory: string | URL, options?: WalOptions): Promise<Wal> {
    return openLog(directory, options, (log) => new Wal(log, OPENED))
  }

  /**
   * Scans a whole log and reports; read-only, without a lock, also beside a running writer.
   * @throws {WalError} WAL_NOT_FOUND, WAL_NOT_A_LOG, WAL_UNSUPPORTED_VERSION, WAL_IO,
   *   WAL_BAD_OPTION; damage is reported, not thrown
   */
  static verify(directory: string | URL, options?: VerifyOptions): Promise<VerifyReport> {
    return verifyLog(directory, options)
  }

  /** First LSN that can be read; of an empty log, the next one to be given. */
  get firstLsn(): number {
    return this.#final?.firstLsn ?? this.#native.firstLsn(this.#handle)
  }

  /** Last LSN given; 0 if none ever was. */
  get lastLsn(): number {
    if (this.#final !== undefined) return this.#final.lastLsn
    return this.#staging?.lastLsn || this.#native.lastLsn(this.#handle)
  }

  /** Last LSN that is durable, with everything before it. */
  get durableLsn(): number {
    return this.#final?.durableLsn ?? this.#native.durableLsn(this.#handle)
  }

  /** The epoch of this life of the log: (epoch, LSN) names one content for ever. */
  get epoch(): number {
    return this.#final?.epoch ?? this.#native.epoch(this.#handle)
  }

  /**
   * Appends a record. The data is copied before the call returns; a string is written as UTF-8.
   * @returns the record's LSN, once it is durable (durability `interval` and `none`, NOT durable:
   *   once it is queued). Never throws synchronously.
   * @throws {WalError} with `outcome` 'not-written': WAL_BACKPRESSURE, WAL_NO_SPACE,
   *   WAL_RECORD_TOO_LARGE, WAL_BAD_ARGUMENT, WAL_CLOSED, WAL_READ_ONLY, WAL_POISONED; WAL_IO with
   *   the outcome it had
   */
  append(data: Uint8Array | string, options?: AppendOptions): Promise<number> {
    try {
      const durability = this.#durabilityOf(options)
      const lsn = this.#admit(data, durability, true)
      if (durability >= Durability.interval) return Promise.resolve(lsn)
      return this.#pending.push(lsn)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * Appends records as one: after a crash all of them are there or none.
   * @returns their consecutive LSNs, first and last, once durable
   * @throws {WalError} as {@link Wal.append}; an empty array is WAL_BAD_ARGUMENT
   */
  async appendBatch(
    records: ReadonlyArray<Uint8Array | string>,
    options?: AppendOptions,
  ): Promise<BatchLsns> {
    const durability = this.#durabilityOf(options)
    const lsns = this.#admitBatch(records, durability)
    if (durability < Durability.interval) await this.#pending.push(lsns.last)
    return lsns
  }

  /**
   * Queues a record without a promise; {@link Wal.flush} tells when it is durable.
   * @returns the record's LSN, at once
   * @throws {WalError} as {@link Wal.append}, synchronously
   */
  write(data: Uint8Array | string, options?: AppendOptions): number {
    return this.#admit(data, this.#durabilityOf(options), false)
  }

  /**
   * Appends a record; the calling thread waits for the device. Everything queued before becomes
   * durable with it.
   * @returns the record's LSN, durable
   * @throws {WalError} as {@link Wal.append}, synchronously
   */
  appendSync(data: Uint8Array | string): number {
    if (this.#state !== State.writable) throw this.#stateError('appending')
    const [bytes, length] = encode(data)
    const lsn = this.#native.appendSync(this.#handle, bytes, length)
    if (lsn < 0) throw this.#refused(lsn, 'appending', length)
    return lsn
  }

  /**
   * Waits until everything given an LSN so far (or up to `upTo`) is durable, at any durability.
   * @returns durableLsn
   * @throws {WalError} WAL_BAD_ARGUMENT if `upTo` is above lastLsn, WAL_POISONED, WAL_CLOSED,
   *   WAL_READ_ONLY
   */
  async flush(upTo?: number): Promise<number> {
    if (this.#state !== State.writable) throw this.#stateError('flushing', upTo ?? this.lastLsn)
    if (upTo !== undefined) {
      const lastLsn = this.lastLsn
      if (!Number.isInteger(upTo) || upTo < 0 || upTo > lastLsn) {
        const given = describeValue(upTo)
        throw badArgument(`flush takes an LSN from 0 to lastLsn ${lastLsn}, not ${given}`)
      }
      if (upTo === 0) return this.durableLsn
    }
    const durableLsn = await this.#request<number>('flushing', (id) =>
      this.#native.flush(this.#handle, id, upTo ?? 0),
    )
    this.#pending.advance(durableLsn)
    return durableLsn
  }

  /**
   * Waits until the queue is below half of `queueBytes` and space is prepared: then go on after
   * WAL_BACKPRESSURE or WAL_NO_SPACE. Where there is no space it waits as long as the disk is full:
   * a service that would rather fail puts a time limit around it.
   * @throws {WalError} WAL_POISONED, WAL_CLOSED, WAL_READ_ONLY; WAL_IO if no segment can be made
   *   for another reason than want of space
   */
  async ready(): Promise<void> {
    if (this.#state !== State.writable) throw this.#stateError('waiting for the queue')
    this.#publish()
    await this.#request('waiting for the queue', (id) => this.#native.ready(this.#handle, id))
  }

  /**
   * Reads durable records in LSN order, verified. Ends at what is durable when it gets there.
   * Iterate it once; leaving the loop early releases the reader. Whoever appends in the loop gives
   * a `to`, or reads what was appended, too. A read that starts behind damage may hand out intact
   * records of the group that is damaged first.
   * @throws {WalError} WAL_BAD_ARGUMENT at once; while iterating WAL_NOT_FOUND (from below
   *   firstLsn, or released meanwhile), WAL_CORRUPT (after everything before the damage), WAL_IO,
   *   WAL_CLOSED
   */
  read(range?: ReadRange): AsyncIterableIterator<WalRecord> {
    return new RecordReader(this.#readable(), resolveRange(range))
  }

  /** Reads as {@link Wal.read}, many records at a time, for bulk replay. */
  readBatches(range?: ReadRange): AsyncIterableIterator<RecordBatch> {
    return new BatchReader(this.#readable(), resolveRange(range))
  }

  /**
   * Releases whole segments that hold nothing at or above `lsn`.
   * @param lsn from 1 to lastLsn + 1
   * @returns the new firstLsn, at most `lsn`
   * @throws {WalError} WAL_BAD_ARGUMENT, WAL_POISONED, WAL_CLOSED, WAL_READ_ONLY, WAL_IO
   */
  async truncateBefore(lsn: number): Promise<number> {
    if (this.#state !== State.writable) throw this.#stateError('truncating')
    const most = this.lastLsn + 1
    if (!Number.isInteger(lsn) || lsn < 1 || lsn > most) {
      const given = describeValue(lsn)
      throw badArgument(`truncateBefore takes an LSN from 1 to ${most}, not ${given}`)
    }
    this.#publish()
    return this.#request('truncating', (id) => this.#native.truncateBefore(this.#handle, id, lsn))
  }

  /** Counters and latencies as plain data. @throws {WalError} WAL_CLOSED */
  stats(): WalStats {
    if (this.#state === State.closed) throw this.#stateError('taking statistics')
    return toStats(this.#native.stats(this.#handle))
  }

  /**
   * Makes everything durable, settles every promise, releases the handle; the last handle of the
   * process seals the log and unlocks it. Idempotent: every call gets the same promise.
   * @throws {WalError} WAL_POISONED if queued records could not be made durable; the handle is gone
   *   then too
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** `await using wal = await Wal.open(…)` closes at the end of the block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Settles every promise; the log has stopped. */
  #onPoisoned(error: NativeError, durableLsn: number, firstNotWrittenLsn: number): void {
    if (this.#poison !== undefined) return
    const { epoch } = this
    // The failure itself is an I/O error (or ENOSPC where space cannot be reserved); WAL_POISONED
    // is what later calls get, with this as their cause.
    const code = codeOf(error.code) === 'WAL_POISONED' ? 'WAL_IO' : codeOf(error.code)
    const failure = (details: { lsn?: number; outcome?: Outcome }) =>
      fromNative(error, 'writing the log', { directory: this.directory, code, epoch, ...details })
    this.#poison = failure({})
    if (this.#state !== State.closed) this.#state = State.poisoned
    this.#pending.advance(durableLsn)
    this.#pending.fail((lsn) =>
      failure({ lsn, outcome: lsn < firstNotWrittenLsn ? 'indeterminate' : 'not-written' }),
    )
    announcePoisoned(this.directory, this.#poison, this.#log.options.logger)
  }

  #durabilityOf(options: AppendOptions | undefined): Durability {
    if (options === undefined) return this.#durability
    return resolveAppendOptions(options, this.#durability)
  }

  /**
   * Gives a record its LSN, or throws. The hot path: 100-byte records come by the million.
   * `awaited`: a promise is made of it.
   */
  #admit(data: Uint8Array | string, durability: Durability, awaited: boolean): number {
    if (this.#state !== State.writable) throw this.#stateError('appending')
    const staged = durability === this.#durability ? this.#stage(data, awaited) : 0
    if (staged > 0) return staged
    const [bytes, length] = encode(data)
    const lsn = this.#native.append(this.#handle, bytes, length, durability)
    if (lsn < 0) throw this.#refused(lsn, 'appending', length)
    this.#admitted(lsn, length, durability, awaited)
    return lsn
  }

  /** Stages a small record, if this handle may; its LSN, or 0. */
  #stage(data: Uint8Array | string, awaited: boolean): number {
    const staging = this.#staging ?? this.#makeStaging()
    let lsn = staging.put(data)
    if (lsn === 0) {
      if (!staging.isOver) return 0
      this.#kickMidway(awaited)
      lsn = staging.put(data)
      if (lsn === 0) return 0
    }
    if (this.#durability !== Durability.none) this.#pending.owe(lsn)
    this.#unpublishedBytes++
    this.#publishSoon()
    return lsn
  }

  #makeStaging(): Staging {
    this.#staging = new Staging(this.#log.maxRecordBytes, () => this.#native.epoch(this.#handle))
    this.#native.stage(this.#handle, this.#staging.memory, this.#durability)
    return this.#staging
  }

  /** All or nothing; not the hot path, so every string gets a buffer of its own. */
  #admitBatch(records: ReadonlyArray<Uint8Array | string>, durability: Durability): BatchLsns {
    if (this.#state !== State.writable) throw this.#stateError('appending')
    if (!Array.isArray(records) || records.length === 0) {
      const given = Array.isArray(records) ? 'an empty array' : describeValue(records)
      throw badArgument(`a batch is a non-empty array of Uint8Array or string, not ${given}`)
    }
    let length = 0
    const bytes = records.map((record) => {
      const [encoded, size] =
        typeof record === 'string' ? encode(Buffer.from(record)) : encode(record)
      length += size
      return encoded
    })
    const first = this.#native.appendBatch(this.#handle, bytes, durability)
    if (first < 0) throw this.#refused(first, 'appending', length, bytes.length)
    const lsns = { first, last: first + bytes.length - 1 }
    this.#admitted(lsns.last, length, durability, true)
    return lsns
  }

  /** Publication, once per burst or per 64 KiB; and what the process must stay alive for. */
  #admitted(lsn: number, length: number, durability: Durability, awaited: boolean): void {
    if (this.#stalled !== undefined) {
      this.#stalled = undefined
      announceEvent(this.directory, this.#log.options.logger, 'appending goes on', 'info')
    }
    // `none` is synced by flush and close only: nothing to wait for.
    if (durability !== Durability.none) this.#pending.owe(lsn)
    // Empty records count too: zero means that nothing waits.
    this.#unpublishedBytes += length + 1
    if (this.#unpublishedBytes > KICK_BYTES) this.#kickMidway(awaited)
    this.#publishSoon()
  }

  #publishSoon(): void {
    if (this.#kickScheduled) return
    this.#kickScheduled = true
    process.nextTick(this.#publish)
  }

  /** In the middle of a burst: what nobody waits for yet may wait for company. */
  #kickMidway(awaited: boolean): void {
    const more = !awaited && this.#pending.count === 0
    this.#kick(more)
    if (more) this.#unpublishedBytes = 1 // the end of the burst must see to it
  }

  /** Publishes what waits, staged or not; what is staged next has a new lease, if there is one. */
  #kick(more: boolean): void {
    this.#unpublishedBytes = 0
    const leasedLsn = this.#native.kick(this.#handle, more)
    this.#staging?.renew(leasedLsn)
  }

  /** The error of a call that native refused with a negative code. */
  #refused(result: number, action: string, bytes: number, records = 1): WalError {
    const { directory, epoch, lastLsn } = this
    const { maxRecordBytes } = this.#log
    const call = { action, bytes, records, directory, epoch, lastLsn, maxRecordBytes }
    const error = refusalOf(result, this.#native.lastError(this.#handle), call)
    const { code, outcome, message } = error
    if (outcome === 'not-written' && (code === 'WAL_NO_SPACE' || code === 'WAL_IO')) {
      if (this.#stalled !== code) announceEvent(directory, this.#log.options.logger, message)
      this.#stalled = code
    }
    return error
  }

  /**
   * What became of the records that are not durable once the log has stopped: some of them were
   * handed over, and which of these the next opening finds nobody knows.
   */
  #undecided(lsn: number): Pick<WalErrorDetails, 'outcome' | 'epoch' | 'lsn'> {
    const { durableLsn, epoch } = this
    return lsn > durableLsn ? { outcome: 'indeterminate', epoch, lsn } : {}
  }

  /**
   * The error of a call in a state that does not allow it.
   * @param waitsFor the LSN up to which a call waits for records that were given before
   */
  #stateError(action: string, waitsFor?: number): WalError {
    const outcome = 'not-written'
    const place = ` at ${this.directory}`
    switch (this.#state) {
      case State.readOnly: {
        const why = 'the log is open for reading only'
        const message = messageOf('WAL_READ_ONLY', action, why, place)
        return new WalError('WAL_READ_ONLY', message, { outcome, path: this.directory })
      }
      case State.poisoned: {
        const cause = this.#poison!
        const { errno, syscall, path, segment, offset, epoch } = cause
        const message = messageOf('WAL_POISONED', action, 'an earlier write failed', place)
        const details = { errno, syscall, path, segment, offset, epoch, cause } as const
        const fate = waitsFor === undefined ? ({ outcome } as const) : this.#undecided(waitsFor)
        return new WalError('WAL_POISONED', message, { ...details, ...fate })
      }
      default: {
        const message = messageOf('WAL_CLOSED', action, 'the log is closed', place)
        return new WalError('WAL_CLOSED', message, { outcome, path: this.directory })
      }
    }
  }

  /** A request on this handle; native's errors become WalErrors. */
  #request<T>(action: string, start: (requestId: number) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#binding.request(start, (error, result) => {
        if (error === null) return resolve(result as T)
        const stopped = codeOf(error.code) === 'WAL_POISONED'
        const cause = stopped ? this.#poison : undefined
        const waits = action === 'flushing' || action === 'closing'
        const fate = stopped && waits ? this.#undecided(this.lastLsn) : {}
        reject(fromNative(error, action, { directory: this.directory, cause, ...fate }))
      })
    })
  }

  async #close(): Promise<void> {
    this.#publish()
    const { firstLsn, lastLsn, durableLsn, epoch } = this
    const final = { firstLsn, lastLsn, durableLsn, epoch }
    const poisoned =
      this.#state === State.poisoned ? this.#stateError('closing', this.lastLsn) : undefined
    this.#state = State.closed
    // From here on the handle may go stale at any time, so the getters stop asking it.
    this.#final = final
    try {
      await this.#request('closing', (id) => this.#native.close(this.#handle, id))
      // Closing flushed: whatever this handle was given is durable, unless the log had stopped.
      if (this.#poison === undefined) final.durableLsn = lastLsn
      this.#pending.advance(final.durableLsn)
    } catch (error) {
      this.#failRest(error as WalError)
      throw error
    } finally {
      this.#binding.detach(this.#handle)
    }
    if (poisoned !== undefined) throw poisoned
  }

  /** Rejects what closing could not settle; normally `#onPoisoned` has done it before. */
  #failRest(cause: WalError): void {
    const { epoch, directory } = this
    this.#pending.fail((lsn) => {
      const message = messageOf(cause.code, 'writing the log', 'closing failed', ` at ${directory}`)
      return new WalError(cause.code, message, { outcome: 'indeterminate', epoch, lsn, cause })
    })
  }

  #readable(): ReadableLog {
    return {
      binding: this.#binding,
      handle: this.#handle,
      directory: this.directory,
      checkOpen: (action) => {
        if (this.#state === State.closed) throw this.#stateError(action)
      },
      onSkipped: (from, to) => {
        const message = `LSN ${from} to ${to} are lost and were skipped by a reader`
        announceEvent(this.directory, this.#log.options.logger, message)
      },
    }
  }
}

/** Bytes and their number; a short string's bytes are valid until the next call. */
function encode(data: Uint8Array | string): [bytes: Uint8Array, length: number] {
  if (typeof data === 'string') {
    if (data.length > SCRATCH_UNITS) {
      const bytes = Buffer.from(data)
      return [bytes, bytes.length]
    }
    scratch ??= Buffer.allocUnsafeSlow(SCRATCH_UNITS * 3)
    return [scratch, scratch.write(data)]
  }
  // What a subclass says of its length, or an object of its prototype, is nothing to go by.
  if (isUint8Array(data)) {
    const length = byteLengthOf.call(data)
    if (length === 0) checkMemory(data)
    return [data, length]
  }
  throw badArgument(`a record is a Uint8Array or a string, not ${describeValue(data)}`)
}

/** A view whose memory was transferred or shrunk away has no bytes either, but is no record. */
function checkMemory(data: Uint8Array): void {
  try {
    Uint8Array.prototype.at.call(data, 0) // throws where the memory is gone
  } catch {
    throw badArgument('the memory of the Uint8Array is gone: its buffer was transferred or shrunk')
  }
}
