// Accounts by replay of their events.
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { Wal } from 'stonelog'

export class Bank {
  #directory
  #wal
  #balances = new Map()
  /** Money promised to transfers that are not durable yet. */
  #reserved = new Map()
  /** The last event that the balances include. */
  #lsn = 0
  #snapshotting = Promise.resolve()

  /** `useSnapshot: false` replays everything; the result is the same. */
  static async open(directory, { useSnapshot = true } = {}) {
    const bank = new Bank()
    bank.#directory = directory
    await mkdir(directory, { recursive: true })
    bank.#wal = await Wal.open(join(directory, 'log'))
    if (useSnapshot) await bank.#loadSnapshot()
    for await (const batch of bank.#wal.readBatches({ from: bank.#lsn + 1 })) {
      for (const { lsn, data } of batch) bank.#apply(lsn, JSON.parse(data.toString()))
    }
    return bank
  }

  balance(account) {
    return this.#balances.get(account) ?? 0
  }

  get total() {
    return [...this.#balances.values()].reduce((sum, balance) => sum + balance, 0)
  }

  /** The last event that is in the balances. */
  get lsn() {
    return this.#lsn
  }

  /** The state as plain data, to compare. */
  toJSON() {
    return { lsn: this.#lsn, balances: Object.fromEntries([...this.#balances].sort()) }
  }

  deposit(account, amount) {
    return this.#record([{ type: 'deposited', account, amount }])
  }

  /**
   * Resolves once both halves are durable. Decided on what is available now: other transfers may be
   * under way, and what they will take is reserved.
   */
  async transfer(from, to, amount) {
    const reserved = this.#reserved.get(from) ?? 0
    if (this.balance(from) - reserved < amount) throw new Error(`${from} has too little`)
    this.#reserved.set(from, reserved + amount)
    try {
      await this.#record([
        { type: 'withdrawn', account: from, amount },
        { type: 'deposited', account: to, amount },
      ])
    } finally {
      this.#reserved.set(from, this.#reserved.get(from) - amount)
    }
  }

  /** Writes the state down, so that the next opening replays less. One at a time. */
  snapshot() {
    this.#snapshotting = this.#snapshotting.then(() => this.#writeSnapshot())
    return this.#snapshotting
  }

  close() {
    return this.#wal.close()
  }

  async #writeSnapshot() {
    const path = join(this.#directory, 'snapshot.json')
    const file = await open(`${path}.tmp`, 'w')
    try {
      await file.writeFile(JSON.stringify(this))
      await file.sync() // the content before the name: a snapshot is whole or not there
    } finally {
      await file.close()
    }
    await rename(`${path}.tmp`, path)
  }

  async #loadSnapshot() {
    try {
      const text = await readFile(join(this.#directory, 'snapshot.json'), 'utf8')
      const { lsn, balances } = JSON.parse(text)
      this.#lsn = lsn
      this.#balances = new Map(Object.entries(balances))
    } catch (error) {
      if (error.code !== 'ENOENT') throw error
    }
  }

  /** First the log, then memory. Promises resolve in LSN order, so memory follows the log. */
  async #record(events) {
    const { first } = await this.#append(events.map((event) => JSON.stringify(event)))
    for (const [index, event] of events.entries()) this.#apply(first + index, event)
  }

  /** Appends records as one; waits while the disk is behind. */
  async #append(records) {
    for (;;) {
      try {
        return await this.#wal.appendBatch(records)
      } catch (error) {
        if (error.code !== 'WAL_BACKPRESSURE') throw error
        await this.#wal.ready()
      }
    }
  }

  #apply(lsn, { type, account, amount }) {
    const sign = type === 'deposited' ? 1 : -1
    this.#balances.set(account, this.balance(account) + sign * amount)
    this.#lsn = lsn
  }
}
