// A thread that lives until it is terminated. workerData: step, directory, last (an Int32Array on
// shared memory: the highest LSN acknowledged).
import { parentPort, workerData } from 'node:worker_threads'
import { live } from './steps.mjs'

const { step, directory, last } = workerData
await live(
  step,
  directory,
  () => parentPort.postMessage('begun'),
  (lsn) => {
    if (lsn > Atomics.load(last, 0)) Atomics.store(last, 0, lsn)
  },
)
