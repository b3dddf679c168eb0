// Jobs in a log: one record adds a job, another one says that it is done. What is pending is what
// replay finds added and not done.
import { Wal } from 'stonelog'

/** Jobs done between two releases of old segments. */
const RELEASE_EVERY = 1000

export class JobQueue {
  #wal
  /** id to payload, oldest first. */
  #pending = new Map()
  #running = new Set()
  #doneSinceRelease = 0

  static async open(directory, options) {
    const queue = new JobQueue()
    queue.#wal = await Wal.open(directory, options)
    for await (const batch of queue.#wal.readBatches()) {
      for (const { lsn, data } of batch) queue.#apply(lsn, JSON.parse(data.toString()))
    }
    return queue
  }

  /** Jobs that are neither done nor running. */
  get waiting() {
    return this.#pending.size - this.#running.size
  }

  /** Whether any job was ever added. */
  get isNew() {
    return this.#wal.lastLsn === 0
  }

  /** Adds jobs, all or none; resolves with their ids once they are durable. */
  async add(payloads) {
    const records = payloads.map((payload) => ({ type: 'add', payload }))
    const { first } = await this.#append(records)
    return records.map((record, index) => {
      this.#apply(first + index, record)
      return first + index
    })
  }

  /** The oldest job that nobody has taken, or undefined. */
  take() {
    for (const [id, payload] of this.#pending) {
      if (this.#running.has(id)) continue
      this.#running.add(id)
      return { id, payload }
    }
    return undefined
  }

  /** Resolves once it is durable that the job is done: it is never handed out again. */
  async done(id) {
    const record = { type: 'done', id }
    const { first } = await this.#append([record])
    this.#apply(first, record)
    if (++this.#doneSinceRelease >= RELEASE_EVERY) await this.#release()
  }

  close() {
    return this.#wal.close()
  }

  /** Appends records as one; waits while the disk is behind. */
  async #append(records) {
    const data = records.map((record) => JSON.stringify(record))
    for (;;) {
      try {
        return await this.#wal.appendBatch(data)
      } catch (error) {
        if (error.code !== 'WAL_BACKPRESSURE') throw error
        await this.#wal.ready()
      }
    }
  }

  #apply(lsn, { type, payload, id }) {
    if (type === 'add') this.#pending.set(lsn, payload)
    else {
      // A job whose own record is released already is not there: that is fine.
      this.#pending.delete(id)
      this.#running.delete(id)
    }
  }

  /** What lies before the oldest open job is not needed to know what is open. */
  async #release() {
    this.#doneSinceRelease = 0
    const [oldest] = this.#pending.keys()
    await this.#wal.truncateBefore(oldest ?? this.#wal.durableLsn)
  }
}
