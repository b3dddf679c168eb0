// What every contender can do; the loads (loads.mjs) know nothing else of it.

/**
 * @typedef {object} Contender
 * @property {(data: Buffer) => Promise<unknown>} append settles when the record is durable
 * @property {(data: Buffer, count: number) => Promise<void>} batch `count` records, one sync
 * @property {(data: Buffer, count: number) => Promise<void>} queue `count` records with as few
 *   syncs as the contender can, the last one at the end
 * @property {() => Promise<{ records: number, sum: number }>} replay every record, in order
 * @property {() => Promise<void>} recycle gives up all records; their space is used again
 * @property {() => Promise<void>} close
 */

/** Group commit: what comes while a commit is on its way makes the next one. */
export class GroupCommit {
  #commit
  #waiting = []
  #busy = false

  /** @param {(batch: Buffer[]) => Promise<void>} commit makes a batch durable */
  constructor(commit) {
    this.#commit = commit
  }

  append(data) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ data, resolve, reject })
      if (this.#busy) return
      this.#busy = true
      setImmediate(() => this.#run())
    })
  }

  async #run() {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting
      this.#waiting = []
      try {
        await this.#commit(batch.map(({ data }) => data))
        for (const { resolve } of batch) resolve()
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    this.#busy = false
  }
}

/** Everything of one turn of the event loop in one blocking commit. */
export class TurnCommit {
  #commit
  #waiting = []

  /** @param {(batch: Buffer[]) => void} commit makes a batch durable before it returns */
  constructor(commit) {
    this.#commit = commit
  }

  append(data) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ data, resolve, reject })
      if (this.#waiting.length === 1) setImmediate(() => this.#run())
    })
  }

  #run() {
    const batch = this.#waiting
    this.#waiting = []
    try {
      this.#commit(batch.map(({ data }) => data))
      for (const { resolve } of batch) resolve()
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }
}
