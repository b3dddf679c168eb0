// Drops logs, readers and promises with work in flight, and collects. Arguments: directory, rounds.
// Needs --expose-gc. Prints how many rounds it made.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Wal } from '../../dist/index.js'

const [directory, rounds] = process.argv.slice(2)
const options = { segmentBytes: 128 * 1024, minFreeBytes: 0 }

/** Starts work of every kind on a log, and keeps nothing of it. */
async function abandon(path) {
  const wal = await Wal.open(path, options)
  const quiet = (promise) => void promise.catch(() => {})
  for (let i = 0; i < 10; i++) quiet(wal.append(`dropped ${i}`.padEnd(1000, '.')))
  quiet(wal.appendBatch(['a', 'b', Buffer.alloc(2000)]))
  quiet(wal.flush())
  quiet(wal.ready())
  quiet(Wal.verify(path))
  const iterator = wal.readBatches()[Symbol.asyncIterator]()
  quiet(iterator.next())
  globalThis.gc()
  return wal
}

let done = 0
for (; done < Number(rounds); done++) {
  const path = join(directory, String(done % 4))
  mkdirSync(path, { recursive: true })
  let wal = await abandon(path)
  globalThis.gc()
  // Every other log is forgotten open: the process shares it with the next round's.
  if (done % 2 === 0) await wal.close()
  wal = undefined
  await new Promise((resolve) => setImmediate(resolve))
  globalThis.gc()
}
process.stdout.write(`${done}\n`)
process.exit(0)
