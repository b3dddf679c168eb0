// stonelog as it comes: default options.
import { setImmediate } from 'node:timers/promises'
import { Wal } from '../../../dist/index.js'

// A loop that never lets the event loop turn would never hear what became durable.
const TURN_BYTES = 4 << 20

/** @returns {Promise<import('./contender.mjs').Contender>} */
export async function open(directory) {
  const wal = await Wal.open(directory)

  async function queue(data, count) {
    let sinceTurn = 0
    for (let i = 0; i < count; i++) {
      for (;;) {
        try {
          wal.write(data)
          break
        } catch (error) {
          if (error.code !== 'WAL_BACKPRESSURE') throw error
          await wal.ready()
        }
      }
      sinceTurn += data.length
      if (sinceTurn >= TURN_BYTES) {
        sinceTurn = 0
        await setImmediate()
      }
    }
    await wal.flush()
  }
  return {
    append: (data) => wal.append(data),
    batch: queue,
    queue,
    async replay() {
      let records = 0
      let sum = 0
      for await (const { buffer, offsets, length } of wal.readBatches()) {
        for (let i = 0; i < length; i++) sum += buffer[offsets[i]]
        records += length
      }
      return { records, sum }
    },
    recycle: () => wal.truncateBefore(Math.max(1, wal.durableLsn)),
    close: () => wal.close(),
  }
}
