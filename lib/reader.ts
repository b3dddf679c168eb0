// Reading as async iterables. Native hands over slabs of verified records; after the first, one is
// always fetched ahead, and none is handed on before the event loop has turned, so that a replay
// never starves it.
import * as threads from 'node:worker_threads'
import { codeOf, fromCode, fromNative, messageOf, WalError } from './errors.js'
import type { NativeBatch, NativeError } from './native.js'
import type { NativeBinding } from './native-binding.js'
import { RecordBatch, type WalRecord } from './record-batch.js'

/** What a reader needs of its log. */
export interface ReadableLog {
  readonly binding: NativeBinding
  readonly handle: number
  readonly directory: string
  /** Throws if the log is closed. */
  checkOpen(action: string): void
  /** Tells about holes that were skipped. */
  onSkipped(from: number, to: number): void
}

/** Inclusive range; `from` undefined is `firstLsn`. */
export interface LsnRange {
  from: number | undefined
  to: number
}

type Fetched = { error: WalError | null; batch: RecordBatch | null }
const END: Fetched = { error: null, batch: null }

let marksMemory = true

/** Transferring this memory would take it away from other records; not every runtime knows that. */
function keepTogether(memory: ArrayBuffer): void {
  if (!marksMemory) return
  try {
    threads.markAsUntransferable(memory)
  } catch {
    marksMemory = false
  }
}

/** Closes native readers whose iterators nobody holds any more, for those that were left open. */
const abandoned = new FinalizationRegistry<() => void>((close) => close())

/**
 * Slabs of one reader, one fetched ahead of whoever wants more than the first. Errors are given out
 * after every slab before them.
 */
class SlabSource {
  readonly #log: ReadableLog
  readonly #range: LsnRange
  #reader = 0
  #ahead: Promise<Fetched> | undefined
  #ended = false
  /** The LSN after those that were fetched. */
  #nextLsn = 0

  constructor(log: ReadableLog, range: LsnRange) {
    this.#log = log
    this.#range = range
  }

  /**
   * The next slab, or null at the end. @throws {WalError} WAL_NOT_FOUND, WAL_CORRUPT, WAL_CLOSED, …
   */
  async next(): Promise<RecordBatch | null> {
    if (this.#ended) return null
    try {
      for (;;) {
        const first = this.#reader === 0
        this.#ahead ??= first ? this.#start() : this.#fetch()
        const { error, batch } = await this.#ahead
        if (error !== null && !this.#ended) throw error
        if (batch === null || this.#ended) {
          this.close()
          return null
        }
        for (const { from, to } of batch.skipped) this.#log.onSkipped(from, to)
        // A slab may hold nothing but the news of a hole.
        const isEmpty = batch.length === 0
        // Who looks up one record does not ask for the end behind it.
        if (!isEmpty && batch.lastLsn >= this.#range.to) this.close()
        // Many a reader wants no more than the first slab.
        else this.#ahead = first ? undefined : this.#fetch()
        if (!isEmpty) return batch
      }
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** Nothing refers to these bytes any more: they need not wait for the collector. */
  release(bytes: ArrayBuffer): void {
    this.#log.binding.native.readRelease(bytes)
  }

  close(): void {
    this.#ended = true
    this.#ahead = undefined
    if (this.#reader === 0) return
    abandoned.unregister(this)
    this.#log.binding.native.readClose(this.#reader)
    this.#reader = 0
  }

  /** Opens the native reader: at the first `next`, so that an unused iterable holds nothing. */
  #start(): Promise<Fetched> {
    const { binding, handle, directory } = this.#log
    this.#log.checkOpen('reading')
    const firstLsn = binding.native.firstLsn(handle)
    const { from, to } = this.#range
    this.#nextLsn = from ?? firstLsn
    if (from !== undefined && from < firstLsn) throw notFound(from, firstLsn, directory)
    if ((from ?? firstLsn) > to) return Promise.resolve(END)
    // Of another process's log the start may have moved on meanwhile: native knows when it looks.
    const reader = binding.native.readOpen(handle, from ?? 0, to)
    if (reader < 0)
      throw fromCode(reader, `reading from LSN ${from}`, { path: directory, lsn: from })
    this.#reader = reader
    // Must not hold what it waits for. An id is not given again for long (native/binding).
    abandoned.register(this, () => binding.native.readClose(reader), this)
    return this.#fetch()
  }

  /** Never rejects: what is fetched ahead may never be asked for. */
  #fetch(): Promise<Fetched> {
    return new Promise((resolve) => {
      const settle = (error: NativeError | null, result: unknown) => {
        const fetched = this.#toFetched(error, result as NativeBatch | null)
        // The turn of the event loop: without it, slabs that arrive as fast as they are consumed
        // would be worked off inside one callback.
        setImmediate(resolve, fetched)
      }
      this.#log.binding.request((id) => this.#log.binding.native.readNext(this.#reader, id), settle)
    })
  }

  #toFetched(error: NativeError | null, result: NativeBatch | null): Fetched {
    const { directory } = this.#log
    if (error === null) {
      const batch = result && new RecordBatch(result)
      if (batch !== null && batch.length > 0) this.#nextLsn = batch.lastLsn + 1
      return { error: null, batch }
    }
    const code = codeOf(error.code)
    const isAboutRecords = code === 'WAL_NOT_FOUND' || code === 'WAL_CORRUPT'
    const lsn = isAboutRecords ? this.#nextLsn : undefined
    const overtaken = code === 'WAL_NOT_FOUND' ? { advice: READ_ON, path: directory } : {}
    return { error: fromNative(error, 'reading', { directory, lsn, ...overtaken }), batch: null }
  }
}

const READ_ON = 'what it held was given up; read on from firstLsn'

function notFound(from: number, firstLsn: number, directory: string): WalError {
  const why =
    from < 1
      ? `there is no LSN ${from}, the first one is 1`
      : `LSN ${from} is below firstLsn ${firstLsn}, its segments have been released`
  const message = messageOf('WAL_NOT_FOUND', 'reading', why, ` at ${directory}`, READ_ON)
  return new WalError('WAL_NOT_FOUND', message, { path: directory, lsn: from })
}

/** The common part of both iterators: one use, calls of `next` answered in order. */
abstract class SlabIterator<T> implements AsyncIterableIterator<T> {
  readonly #source: SlabSource
  /** The end of the chain of `next` calls that need a slab; undefined while nobody waits. */
  protected waiting: Promise<unknown> | undefined

  constructor(log: ReadableLog, range: LsnRange) {
    this.#source = new SlabSource(log, range)
  }

  abstract next(): Promise<IteratorResult<T>>

  /** Ends the iteration and releases the native reader; `for await` calls it on break and throw. */
  return(): Promise<IteratorResult<T>> {
    this.#source.close()
    this.drop()
    return Promise.resolve({ value: undefined, done: true })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** Gives up what is at hand. */
  protected drop(): void {}

  protected release(bytes: ArrayBuffer): void {
    this.#source.release(bytes)
  }

  /** Runs `step` with the next slab, after every earlier call that waits for one. */
  protected enqueue(
    step: (next: () => Promise<RecordBatch | null>) => Promise<IteratorResult<T>>,
  ): Promise<IteratorResult<T>> {
    const run = () => step(() => this.#source.next())
    const result = this.waiting === undefined ? run() : this.waiting.then(run, run)
    const tail: Promise<unknown> = result
    this.waiting = tail
    const done = () => {
      if (this.waiting === tail) this.waiting = undefined
    }
    tail.then(done, done)
    return result
  }
}

/** `wal.readBatches()`: a slab at a time. */
export class BatchReader extends SlabIterator<RecordBatch> {
  next(): Promise<IteratorResult<RecordBatch>> {
    return this.enqueue(async (nextSlab) => {
      const value = await nextSlab()
      return value === null ? { value: undefined, done: true } : { value, done: false }
    })
  }
}

/**
 * Small records are copied together, this many bytes at a time: as much as Node's own buffer pool.
 */
const CHUNK_BYTES = 8192

/** Records handed out before the event loop gets a turn: some 0.3 ms. */
const RECORDS_PER_TURN = 1024

/**
 * `wal.read()`: a record at a time. A record is copied out of its slab unless it makes up half of
 * what is in it, so that keeping one never keeps more than four times its size (or 8 KiB): the slab
 * is at least half full (native/binding/calls_read.cc).
 */
export class RecordReader extends SlabIterator<WalRecord> {
  #batch: RecordBatch | null = null
  /** Whether somebody was given a view of the batch's own bytes. */
  #lent = false
  #index = 0
  #chunk: ArrayBuffer | undefined
  #chunkStart = 0
  #chunkEnd = 0
  #budget = RECORDS_PER_TURN
  // The run of records the next one belongs to; ends at #runEnd.
  #runEnd = 0
  #lsnOfZero = 0
  #epoch = 0
  #timestamp = 0

  next(): Promise<IteratorResult<WalRecord>> {
    if (this.#batch !== null && this.#budget > 0 && this.waiting === undefined) {
      return Promise.resolve({ value: this.#take(this.#batch), done: false })
    }
    return this.enqueue(async (nextSlab) => {
      if (this.#budget <= 0) {
        await new Promise<void>((resolve) => setImmediate(resolve))
        this.#budget = RECORDS_PER_TURN
      }
      if (this.#batch === null) {
        this.#batch = await nextSlab()
        this.#lent = false
        this.#index = 0
        this.#runEnd = 0
        this.#chunkEnd = 0
      }
      if (this.#batch === null) return { value: undefined, done: true }
      return { value: this.#take(this.#batch), done: false }
    })
  }

  /**
   * Columns outlive a scavenge or two, so that they would be the old generation's: dozens of MiB of
   * them until it is collected.
   */
  protected override drop(): void {
    if (this.#batch !== null) {
      for (const bytes of this.#batch.columns()) this.release(bytes)
      if (!this.#lent) this.release(this.#batch.buffer.buffer as ArrayBuffer)
    }
    this.#batch = null
    this.#chunk = undefined
  }

  #take(batch: RecordBatch): WalRecord {
    const index = this.#index++
    if (index >= this.#runEnd) this.#enterRun(batch, index)
    const data = this.#copyOut(batch, index)
    this.#budget--
    if (this.#index === batch.length) this.drop()
    return {
      lsn: this.#lsnOfZero + index,
      data,
      timestamp: this.#timestamp,
      epoch: this.#epoch,
    }
  }

  #enterRun(batch: RecordBatch, index: number): void {
    this.#lsnOfZero = batch.lsnAt(index) - index
    this.#epoch = batch.epochAt(index)
    this.#timestamp = batch.timestampAt(index)
    this.#runEnd = batch.runEndAt(index)
  }

  #copyOut(batch: RecordBatch, index: number): Buffer {
    const offset = batch.offsets[index]!
    const length = batch.lengths[index]!
    if (
      this.#chunk === undefined ||
      offset < this.#chunkStart ||
      offset + length > this.#chunkEnd
    ) {
      if (length * 2 >= batch.buffer.length) {
        if (!this.#lent && batch.length > 1) keepTogether(batch.buffer.buffer as ArrayBuffer)
        this.#lent = true
        return batch.buffer.subarray(offset, offset + length)
      }
      this.#copyChunk(batch, offset, length)
    }
    const start = offset - this.#chunkStart
    // Cheaper than subarray() of a Buffer, which asks for its memory each time.
    return Buffer.from(this.#chunk!, start, length)
  }

  /** Copies the record at `offset` and what follows it, up to a chunk; a larger record alone. */
  #copyChunk(batch: RecordBatch, offset: number, length: number): void {
    const end = Math.min(offset + Math.max(length, CHUNK_BYTES), batch.buffer.length)
    const exact = length > CHUNK_BYTES / 2 ? offset + length : end
    const chunk = Buffer.allocUnsafeSlow(exact - offset)
    batch.buffer.copy(chunk, 0, offset, exact)
    this.#chunk = chunk.buffer as ArrayBuffer
    // As Node's own pool: transferring one record would take the others' memory away.
    if (length < exact - offset) keepTogether(this.#chunk)
    this.#chunkStart = offset
    this.#chunkEnd = exact
  }
}
