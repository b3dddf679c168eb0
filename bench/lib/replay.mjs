// A replay that can be paused between slices: the consumer's loop is the one a user would write,
// and stops at a gate.

import { Latencies } from './statistics.mjs'

export class Replay {
  #ended
  #stopped = false
  #records = 0
  #bytes = 0
  #sum = 0
  #paused = false
  #atGate
  #resume

  /** @param {'batches' | 'records'} how */
  constructor(wal, how) {
    this.#paused = true
    this.#ended = how === 'batches' ? this.#readBatches(wal) : this.#readRecords(wal)
    this.#ended.catch((error) => this.#atGate?.reject(error))
  }

  async #readBatches(wal) {
    await this.#gate()
    while (!this.#stopped) {
      for await (const batch of wal.readBatches()) {
        const { buffer, offsets, lengths, length } = batch
        let bytes = 0
        // Looks at every record, as any consumer would.
        for (let i = 0; i < length; i++) {
          bytes += lengths[i]
          this.#sum += buffer[offsets[i]]
        }
        this.#bytes += bytes
        this.#records += length
        if (this.#paused) await this.#gate()
        if (this.#stopped) break
      }
    }
  }

  async #readRecords(wal) {
    await this.#gate()
    while (!this.#stopped) {
      for await (const { data } of wal.read()) {
        this.#sum += data[0]
        this.#bytes += data.length
        this.#records++
        if (this.#paused) await this.#gate()
        if (this.#stopped) break
      }
    }
  }

  #gate() {
    this.#atGate?.resolve()
    return new Promise((resolve) => {
      this.#resume = resolve
    })
  }

  /** Replays on from where it stopped, from the beginning again after the end, for `ms`. */
  async run({ ms }) {
    const records = this.#records
    const bytes = this.#bytes
    this.#paused = false
    const cpuBefore = process.cpuUsage()
    const began = performance.now()
    await new Promise((resolve, reject) => {
      this.#atGate = { resolve, reject }
      setTimeout(() => {
        this.#paused = true
      }, ms)
      this.#resume()
    })
    const { user, system } = process.cpuUsage(cpuBefore)
    return {
      records: this.#records - records,
      bytes: this.#bytes - bytes,
      seconds: (performance.now() - began) / 1000,
      cpuMicros: user + system,
    }
  }

  async stop() {
    this.#stopped = true
    this.#resume()
    await this.#ended
  }
}

/** Reads the whole log once; records, and a sum that depends on each. */
export async function readOnce(wal, how) {
  let records = 0
  let sum = 0
  if (how === 'batches') {
    for await (const { buffer, offsets, length } of wal.readBatches()) {
      for (let i = 0; i < length; i++) sum += buffer[offsets[i]]
      records += length
    }
  } else {
    for await (const { data } of wal.read()) {
      sum += data[0]
      records++
    }
  }
  return { records, sum }
}

/** Microseconds until the first record from a place anywhere in the log. */
export async function randomReads(wal, { count }) {
  const latencies = new Latencies()
  const span = wal.lastLsn - wal.firstLsn
  for (let i = 0; i < count; i++) {
    const from = wal.firstLsn + Math.floor(Math.random() * span)
    const began = performance.now()
    for await (const { lsn } of wal.read({ from })) {
      latencies.add((performance.now() - began) * 1000)
      if (lsn !== from) throw new Error(`read ${lsn} instead of ${from}`)
      break
    }
  }
  return { ...latencies.summary(), latencies: latencies.pairs() }
}
