// The measured process: functions that the measuring one calls by name, one at a time.
import { rm } from 'node:fs/promises'
import { Wal } from '../../dist/index.js'
import { hollowLog } from '../stalls/hollow-log.mjs'
import { watchedLoop } from '../stalls/watch.mjs'
import { bulk, fill, growTo, passBytes, recycle } from './bulk.mjs'
import { closedLoop, oneInFlightSync } from './closed-loop.mjs'
import { checksum } from './crc.mjs'
import { loopDelay } from './loop-delay.mjs'
import { openLoop } from './open-loop.mjs'
import { peakBytes, resetPeak, residentBytes } from './process-memory.mjs'
import { Replay, randomReads, readOnce } from './replay.mjs'
import { rotatingLoop } from './rotating-loop.mjs'
import { Crew } from './workers.mjs'

/** @type {Wal} */
let wal
let replay
let crew

const functions = {
  async open({ directory, options }) {
    const began = performance.now()
    wal = await Wal.open(directory, options)
    return { ms: performance.now() - began, recovery: wal.recovery, io: wal.stats().io }
  },
  async close() {
    const began = performance.now()
    await wal.close()
    return { ms: performance.now() - began }
  },
  /** Writes `bytes` of records of `size` and waits until they are durable. */
  fill: (options) => fill(wal, options),
  /** Fills and releases segments until new ones are made of old ones. */
  recycle: () => recycle(wal),
  /** Releases what is durable, so that the disk does not fill up between slices. */
  truncate: () => wal.truncateBefore(Math.max(1, wal.durableLsn)),
  stats: () => wal.stats(),
  passBytes: (options) => passBytes(wal, options),
  growTo: (options) => growTo(wal, options),
  randomReads: (options) => randomReads(wal, options),
  async verify({ directory }) {
    const began = performance.now()
    const { verdict } = await Wal.verify(directory)
    return { ms: performance.now() - began, verdict }
  },
  closedLoop: (options) => closedLoop(wal, options),
  oneInFlightSync: (options) => oneInFlightSync(wal, options),
  openLoop: (options) => openLoop(wal, options),
  /** The same load without a log. */
  openLoopAlone: (options) => openLoop(hollowLog, options),
  rotatingLoop: (options) => rotatingLoop(wal, options),
  watchedLoop: (options) => watchedLoop(wal, options),
  bulk: (options) => bulk(wal, options),
  /** A bulk load into a log of its own, from opening on: nothing is prepared ahead of it. */
  async bulkGrowing({ directory, options, ...load }) {
    wal = await Wal.open(directory, options)
    const result = await bulk(wal, load)
    await wal.close()
    await rm(directory, { recursive: true })
    return result
  },
  startReplay({ how }) {
    replay = new Replay(wal, how)
  },
  replay: (options) => replay.run(options),
  stopReplay: () => replay.stop(),
  readOnce: ({ how }) => readOnce(wal, how),
  loopDelay: (options) => loopDelay(wal, options),
  checksum,
  async startCrew({ count, directory }) {
    crew = await Crew.start(count, directory)
  },
  workCrew: (options) => crew.work(options),
  stopCrew: () => crew.stop(),
  /** CPU time of the process in a while of doing nothing. */
  async idle({ ms }) {
    const before = process.cpuUsage()
    await new Promise((resolve) => setTimeout(resolve, ms))
    const { user, system } = process.cpuUsage(before)
    return { cpuMicros: user + system }
  },
  residentBytes,
  resetPeak,
  peakBytes,
}

process.on('message', async ({ id, name, options }) => {
  try {
    process.send({ id, result: (await functions[name](options)) ?? null })
  } catch (error) {
    process.send({ id, error: `${name}: ${error?.stack ?? error}` })
  }
})
process.on('disconnect', () => process.exit(1))
