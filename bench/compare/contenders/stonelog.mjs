// stonelog as it comes: default options.
import { setImmediate } from 'node:timers/promises'
import { Wal } from '../../../dist/index.js'

// A loop that never lets the event loop turn would never hear what became durable.
const TURN_BYTES = 4 << 20
const LARGE_BYTES = 32 << 10
const SEGMENT_BYTES = 64 << 20

/** @returns {Promise<import('./contender.mjs').Contender>} */
export async function open(directory) {
  const wal = await Wal.open(directory)
  const isNew = wal.lastLsn === 0

  /** Where the queue takes no more, the caller waits, as documented. */
  function roomAfter(error) {
    if (error.code !== 'WAL_BACKPRESSURE') throw error
    return wal.ready()
  }

  // A thousand of these are more than the queue takes.
  async function patient(data) {
    for (;;) {
      try {
        return await wal.append(data)
      } catch (error) {
        await roomAfter(error)
      }
    }
  }

  async function queue(data, count) {
    let sinceTurn = 0
    for (let i = 0; i < count; i++) {
      for (;;) {
        try {
          wal.write(data)
          break
        } catch (error) {
          await roomAfter(error)
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
  // As the pre-written files of the others: a log that has run for a while writes into segments it
  // has released. One is always prepared before that, so it takes some rounds.
  for (let round = 0; isNew && round < 3; round++) {
    await queue(Buffer.alloc(1 << 20), (2 * SEGMENT_BYTES) >> 20)
    // At the end all of it, since replays count; before, not what the current segment holds: the
    // unused end of one that is emptied early is given back to the disk.
    await wal.truncateBefore(round < 2 ? wal.lastLsn : wal.lastLsn + 1)
  }
  return {
    append: (data) => (data.length < LARGE_BYTES ? wal.append(data) : patient(data)),
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
