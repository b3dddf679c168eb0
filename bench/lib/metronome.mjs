// What is due is told by another process (bench/native/metronome.cc): the event loop sleeps until a
// socket is readable, as that of a service does.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('../../build/release/metronome', import.meta.url))
const LINE_END = '\n'.charCodeAt(0)

/** Ms of `performance.now()` at `ns` of CLOCK_MONOTONIC: `process.hrtime` is that clock itself. */
function fromMonotonic(ns) {
  let closest = { apart: Number.POSITIVE_INFINITY }
  // A thread may be put aside between two looks at the clock.
  for (let i = 0; i < 5; i++) {
    const before = performance.now()
    const monotonic = process.hrtime.bigint()
    const apart = performance.now() - before
    if (apart < closest.apart) closest = { apart, at: before + apart / 2, monotonic }
  }
  return closest.at + Number(ns - closest.monotonic) / 1e6
}

/** What the metronome wrote: a line, beats, another line. */
class Reading {
  #texts = ['', '']
  #beats = 0
  /** When the first beat was due, in ms of `performance.now()`. */
  began

  /** Takes what was read; how many beats were in it, after how many. */
  take(chunk) {
    let rest = chunk
    if (this.began === undefined) {
      const end = chunk.indexOf(LINE_END)
      this.#texts[0] += chunk.toString('latin1', 0, end < 0 ? chunk.length : end)
      if (end < 0) return { first: 0, count: 0 }
      this.began = fromMonotonic(BigInt(this.#texts[0]))
      rest = chunk.subarray(end + 1)
    }
    const end = this.#texts[1] === '' ? rest.indexOf(LINE_END) : 0
    if (end >= 0) this.#texts[1] += rest.toString('latin1', end)
    const count = end < 0 ? rest.length : end
    const first = this.#beats
    this.#beats += count
    return { first, count }
  }

  /** Ms by which the metronome itself was late at most; undefined if it did not get to its end. */
  get lateMs() {
    const [, ns] = /^\n(\d+)\n$/.exec(this.#texts[1]) ?? []
    return ns === undefined ? undefined : Number(ns) / 1e6
  }
}

/**
 * Calls `wake(due, count)` whenever something is due, `perSecond` times a second for `ms`: `count`
 * things, the first of them since `due`, each further one `1000 / perSecond` later. However late a
 * call is, nothing is left out. Both numbers are whole.
 * @param {{ perSecond: number, ms: number }} rate
 * @param {(due: number, count: number) => void} wake times in ms of `performance.now()`
 * @returns {Promise<{ began: number, lateMs: number }>} when the first thing was due, and by how
 *   much the metronome itself was late at most
 */
export function metronome({ perSecond, ms }, wake) {
  return new Promise((resolve, reject) => {
    const given = [String(perSecond), String(ms)]
    const child = spawn(PROGRAM, given, { stdio: ['ignore', 'pipe', 'inherit'] })
    const reading = new Reading()
    const interval = 1000 / perSecond
    child.stdout.on('data', (chunk) => {
      try {
        const { first, count } = reading.take(chunk)
        if (count > 0) wake(reading.began + first * interval, count)
      } catch (error) {
        reject(error)
        child.stdout.destroy()
      }
    })
    child.on('error', reject)
    child.on('close', (code, signal) => {
      const { began, lateMs } = reading
      if (lateMs === undefined) reject(new Error(`the metronome ended early: ${signal ?? code}`))
      else resolve({ began, lateMs })
    })
  })
}
