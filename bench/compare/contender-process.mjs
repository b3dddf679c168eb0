// The process of one contender: functions that the measuring one calls by name, one at a time.
import { accessSync } from 'node:fs'
import { peakBytes, resetPeak, residentBytes } from '../lib/process-memory.mjs'
import { contenders } from './contenders/index.mjs'
import * as loads from './loads.mjs'

/** @type {import('./contenders/contender.mjs').Contender} */
let contender

/** A system call that fails, to be found in a trace. */
function mark(name) {
  try {
    accessSync(`/stonelog-${name}`)
  } catch {}
}

const functions = {
  async open({ name, directory }) {
    const began = performance.now()
    const before = residentBytes()
    contender = await contenders[name].open(directory)
    return { ms: performance.now() - began, residentBefore: before }
  },
  close: () => contender.close(),
  resetPeak,
  peakBytes,
  /** Appends one after the other between two marks. */
  async acknowledge({ count, size }) {
    const data = Buffer.alloc(size, 0x5a)
    for (let i = 0; i < 10; i++) await contender.append(data)
    mark('begin')
    for (let i = 0; i < count; i++) await contender.append(data)
    mark('end')
  },
}
for (const [name, load] of Object.entries(loads)) {
  functions[name] = (options) => load(contender, options)
}

process.on('message', async ({ id, name, options }) => {
  try {
    process.send({ id, result: (await functions[name](options)) ?? null })
  } catch (error) {
    process.send({ id, error: `${name}: ${error?.stack ?? error}` })
  }
})
process.on('disconnect', () => process.exit(1))
