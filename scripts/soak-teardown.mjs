#!/usr/bin/env node
// Ends environments with work in flight, again and again, at every step of a log's life: threads
// are terminated, processes exit or kill themselves, references are dropped and collected. After
// each the log must open, undamaged, with everything that was acknowledged.
//
//   npm run soak:teardown -- [--count N] [--processes N] [--collections N] [--variant asan|tsan]
//                            [--visitors N] [--seed N]
//
// N: 1000 terminated threads, 1000 processes, 1000 rounds of collection, 1000 threads that open and
// close the log that this thread writes to until they are terminated. Prints the seed; the
// moments are the machine's affair, so a seed repeats the plan and not the outcome.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { preload } from './sanitizer.mjs'
import { optionsOf, STEPS } from './soak/steps.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const work = join(root, `build/tmp/soak-${process.pid}`)

/** mulberry32: numbers in [0, 1). */
function randomOf(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Opens what was left and reads it; throws if anything acknowledged is not there. */
async function check(Wal, step, directory, last) {
  const wal = await Wal.open(directory, optionsOf(step))
  try {
    if (wal.recovery.verdict === 'corrupt') throw new Error('recovery says corrupt')
    if (wal.durableLsn < last) throw new Error(`${last} was acknowledged, not ${wal.durableLsn}`)
    let next = wal.firstLsn
    for await (const batch of wal.readBatches({ to: wal.durableLsn })) {
      if (batch.firstLsn !== next) throw new Error(`${batch.firstLsn} follows ${next - 1}`)
      next = batch.lastLsn + 1
    }
  } finally {
    await wal.close()
  }
}

/** A thread that begins a step; `failed` rejects if it ends by itself. */
function startThread(step, directory) {
  const last = new Int32Array(new SharedArrayBuffer(4))
  const worker = new Worker(new URL('soak/worker.mjs', import.meta.url), {
    workerData: { step, directory, last },
  })
  const failed = once(worker, 'error').then(([error]) => {
    throw error
  })
  failed.catch(() => {})
  return { worker, last, failed, begun: Promise.race([once(worker, 'message'), failed]) }
}

async function terminateThreads(Wal, count, random) {
  for (let i = 0; i < count; i++) {
    const step = STEPS[i % STEPS.length]
    const directory = join(work, `thread-${step}`)
    mkdirSync(directory, { recursive: true })
    const { worker, last, failed, begun } = startThread(step, directory)
    await begun
    await Promise.race([sleep(random() * 12), failed])
    await worker.terminate()
    // A thread's log may be closing still; whoever opens it then waits for that.
    if (random() < 0.2 || i + STEPS.length >= count) await check(Wal, step, directory, last[0])
  }
  return count
}

async function endProcesses(Wal, count, random, wrapper) {
  for (let i = 0; i < count; i++) {
    const step = STEPS[i % STEPS.length]
    const how = random() < 0.5 ? 'exit' : 'kill'
    const directory = join(work, `process-${step}`)
    mkdirSync(directory, { recursive: true })
    const ms = random() < 0.2 ? 0 : Math.ceil(random() * 20)
    const script = fileURLToPath(new URL('soak/process.mjs', import.meta.url))
    const [command, ...args] = [...wrapper, process.execPath, script, step, directory, ms, how]
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let [out, err] = ['', '']
    child.stdout.on('data', (chunk) => {
      out += chunk
    })
    child.stderr.on('data', (chunk) => {
      err += chunk
    })
    const [code, signal] = await once(child, 'close')
    const ended = how === 'exit' ? code === 0 : signal === 'SIGKILL'
    if (!ended) throw new Error(`${step}, ${how}: ended with ${code ?? signal}\n${err}`)
    const last = Math.max(0, ...out.split('\n').map(Number))
    await check(Wal, step, directory, last)
  }
  return count
}

async function collect(count, wrapper) {
  const script = fileURLToPath(new URL('soak/garbage.mjs', import.meta.url))
  const directory = join(work, 'garbage')
  const [command, ...args] = [...wrapper, process.execPath, '--expose-gc', script, directory, count]
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let out = ''
  child.stdout.on('data', (chunk) => {
    out += chunk
  })
  const [code, signal] = await once(child, 'close')
  if (code !== 0) throw new Error(`garbage: ended with ${code ?? signal}`)
  return Number(out)
}

/** Writes some records without waiting and notes under which LSN each must be found. */
async function writeSome(wal, sent, count) {
  for (let i = 0; i < count; i++) {
    const text = `of the main thread, ${sent.size}`
    try {
      const lsn = wal.write(text)
      if (sent.has(lsn)) throw new Error(`LSN ${lsn} was given twice`)
      sent.set(lsn, text)
    } catch (error) {
      if (error.code !== 'WAL_BACKPRESSURE') throw error
      await wal.ready()
    }
  }
  await new Promise((resolve) => setImmediate(resolve))
}

/** Reads back what was written since the last time, all of it, and releases it. */
async function compare(wal, sent) {
  await wal.flush()
  let next = Math.max(wal.firstLsn, sent.keys().next().value ?? 0)
  for await (const { lsn, data } of wal.read({ from: next, to: wal.durableLsn })) {
    if (lsn !== next++) throw new Error(`${lsn} follows ${next - 2}`)
    // Those of visitors may be anywhere, its own only where it was told.
    const isOwn = data.toString().startsWith('of the main thread')
    if ((isOwn || sent.has(lsn)) && sent.get(lsn) !== data.toString())
      throw new Error(`${lsn} is ${data}, and not ${sent.get(lsn)}`)
    sent.delete(lsn)
  }
  if (sent.size > 0) throw new Error(`${sent.size} records are not where they were written`)
  await wal.truncateBefore(wal.durableLsn)
}

/** Threads open, write to and close the log this thread writes to, and are terminated meanwhile. */
async function visit(Wal, count, random) {
  const directory = join(work, 'visited')
  mkdirSync(directory, { recursive: true })
  const wal = await Wal.open(directory, optionsOf('visiting'))
  const visitors = []
  const sent = new Map()
  await wal.append('the first, which brings a lease')
  for (let i = 0; i < count; i++) {
    const visitor = startThread('visiting', directory)
    visitors.push(visitor)
    await visitor.begun
    const until = performance.now() + random() * 10
    do await writeSome(wal, sent, Math.ceil(random() * 900))
    while (performance.now() < until)
    // While one alone is there leases come and go; while there are more there is none.
    if (visitors.length === 3 || random() < 0.5) {
      for (const { worker } of visitors.splice(0)) await worker.terminate()
    }
    await writeSome(wal, sent, 50)
    await Promise.race([...visitors.map(({ failed }) => failed), undefined])
    if (i % 20 === 19 || i + 1 === count) await compare(wal, sent)
  }
  for (const { worker } of visitors) await worker.terminate()
  await wal.close()
  await check(Wal, 'visiting', directory, wal.durableLsn)
  return count
}

/** Runs this script again with the sanitizer's runtime loaded. */
function rerun(variant) {
  const { missing, wrapper, env } = preload(variant)
  if (missing) {
    console.log(`SKIPPED teardown under ${variant}: ${missing}`)
    return 0
  }
  const [command, ...args] = [...wrapper, process.execPath, ...process.argv.slice(1)]
  return spawnSync(command, args, { stdio: 'inherit', env: { ...process.env, ...env } }).status ?? 1
}

async function main() {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '1000' },
      processes: { type: 'string', default: '1000' },
      collections: { type: 'string', default: '1000' },
      visitors: { type: 'string', default: '1000' },
      seed: { type: 'string', default: String(Date.now() % 1e9) },
      variant: { type: 'string' },
    },
  })
  if (values.variant && process.env.STONELOG_SANITIZER !== values.variant) {
    process.exitCode = rerun(values.variant)
    return
  }
  const { Wal } = await import('../dist/index.js')
  const random = randomOf(Number(values.seed))
  const wrapper = values.variant === 'tsan' ? ['setarch', '-R'] : []
  console.log(`seed ${values.seed}, ${values.variant ?? 'release'}`)
  mkdirSync(work, { recursive: true })
  const parts = {
    'threads terminated': () => terminateThreads(Wal, Number(values.count), random),
    'processes ended': () => endProcesses(Wal, Number(values.processes), random, wrapper),
    'rounds of collection': () => collect(Number(values.collections), wrapper),
    'visitors terminated': () => visit(Wal, Number(values.visitors), random),
  }
  let [passed, failed] = [0, 0]
  for (const [name, part] of Object.entries(parts)) {
    try {
      const count = await part()
      console.log(`${count} ${name}`)
      passed += count
    } catch (error) {
      console.log(`FAILED ${name}: ${error.stack}`)
      failed++
    }
  }
  // The evidence of a failure stays.
  if (failed === 0) rmSync(work, { recursive: true, force: true })
  else process.exitCode = 1
  console.log(`${passed} passed, ${failed} failed, 0 skipped`)
}

await main()
