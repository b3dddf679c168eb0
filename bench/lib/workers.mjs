// Worker threads that append to one log, each with a handle of its own.
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { Wal } from '../../dist/index.js'
import { closedLoop } from './closed-loop.mjs'
import { pool } from './statistics.mjs'

/** Threads that work at the same time. */
export class Crew {
  #workers

  constructor(workers) {
    this.#workers = workers
  }

  static async start(count, directory) {
    const file = fileURLToPath(import.meta.url)
    const workers = Array.from({ length: count }, () => new Worker(file, { workerData: directory }))
    const crew = new Crew(workers)
    await crew.#ask('ready')
    return crew
  }

  #ask(message) {
    return Promise.all(
      this.#workers.map(
        (worker) =>
          new Promise((resolve, reject) => {
            worker.once('error', reject)
            worker.once('message', (answer) => {
              worker.off('error', reject)
              resolve(answer)
            })
            worker.postMessage(message)
          }),
      ),
    )
  }

  /** A closed loop on every thread; the total. */
  async work({ inFlightTotal, size, ms }) {
    const inFlight = inFlightTotal / this.#workers.length
    const results = await this.#ask({ inFlight, size, ms })
    return {
      perSecond: results.reduce((sum, { count, seconds }) => sum + count / seconds, 0),
      ...pool(results.map(({ latencies }) => latencies)),
    }
  }

  async stop() {
    await this.#ask('stop')
    for (const worker of this.#workers) await worker.terminate()
  }
}

async function workerMain() {
  const wal = await Wal.open(workerData)
  parentPort.on('message', async (message) => {
    if (message === 'stop') await wal.close()
    const isWork = typeof message === 'object'
    parentPort.postMessage(isWork ? await closedLoop(wal, message) : message)
  })
}

if (!isMainThread) await workerMain()
