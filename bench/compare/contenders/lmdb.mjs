// lmdb: a key is the record's number. The default settings sync every commit; the promise that is
// documented to mean "on the disk" is `flushed`, which `separateFlushed` gives for each write.
import { rmSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { requirePeer } from './peers.mjs'

const TURN_RECORDS = 16_384

/** @returns {Promise<import('./contender.mjs').Contender>} */
export async function open(directory) {
  const lmdb = requirePeer('lmdb')
  const path = `${directory}/data`
  const settings = { path, keyEncoding: 'uint32', encoding: 'binary', separateFlushed: true }
  let database = lmdb.open(settings)
  let next = 1

  async function queue(data, count) {
    let last
    for (let i = 0; i < count; i++) {
      last = database.put(next++, data)
      if (i % TURN_RECORDS === TURN_RECORDS - 1) await setImmediate()
    }
    await last.flushed
  }
  return {
    append: (data) => database.put(next++, data).flushed,
    batch: queue,
    queue,
    async replay() {
      let records = 0
      let sum = 0
      for (const { value } of database.getRange({ snapshot: true })) {
        sum += value[0]
        records++
      }
      return { records, sum }
    },
    // A fresh file: what deleting leaves behind makes its later commits dearer.
    async recycle() {
      await database.close()
      rmSync(path, { recursive: true })
      next = 1
      database = lmdb.open(settings)
    },
    close: () => database.close(),
  }
}
