// Shares out work among threads; what is in the log is done.
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { Wal } from 'stonelog'

const { DIRECTORY = 'data/worker-threads' } = process.env
const ITEMS = Number(process.argv[2] ?? 1000)
const THREADS = 4

const wal = await Wal.open(DIRECTORY)
/** One byte for each item, seen by all threads; 1 is done. */
const done = new Uint8Array(new SharedArrayBuffer(ITEMS))
for await (const { data } of wal.read()) done[JSON.parse(data.toString()).item] = 1
console.log(`${done.filter(Boolean).length} of ${ITEMS} are done`)

const threads = Array.from({ length: THREADS }, (_, index) => {
  const workerData = { directory: DIRECTORY, done, first: index, step: THREADS }
  const worker = new Worker(new URL('worker.mjs', import.meta.url), { workerData })
  worker.on('message', (items) => console.log(`acknowledged ${items.join(' ')}`))
  return once(worker, 'exit')
})
const codes = (await Promise.all(threads)).map(([code]) => code)
if (codes.some((code) => code !== 0)) throw new Error(`threads ended with ${codes}`)

let count = 0
for await (const batch of wal.readBatches()) count += batch.length
console.log(`${count} results, LSN ${wal.firstLsn} to ${wal.durableLsn}`)
await wal.close()
