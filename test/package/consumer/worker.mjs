// The same, in a worker: its kill takes the whole process with it.
import { fileURLToPath } from 'node:url'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import * as stonelog from 'stonelog'
import { run } from './cycle.mjs'

if (isMainThread) {
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: process.argv.slice(2) })
  worker.on('error', (error) => {
    console.error(error)
    process.exitCode = 1
  })
} else {
  await run(stonelog, workerData)
}
