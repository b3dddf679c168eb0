// One thread: its share of the items, each result appended by itself.
import { scryptSync } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import { Wal } from 'stonelog'

const { directory, done, first, step } = workerData
const BATCH = 8

const wal = await Wal.open(directory)

async function compute(item) {
  const key = scryptSync(`item ${item}`, 'salt', 16, { N: 256 }).toString('hex')
  for (;;) {
    try {
      await wal.append(JSON.stringify({ item, key }))
      return item
    } catch (error) {
      if (error.code !== 'WAL_BACKPRESSURE') throw error
      await wal.ready()
    }
  }
}

let items = []
for (let item = first; item < done.length; item += step) {
  if (done[item] === 0) items.push(item)
  if (items.length === BATCH || (items.length > 0 && item + step >= done.length)) {
    parentPort.postMessage(await Promise.all(items.map(compute)))
    items = []
  }
}
await wal.close()
