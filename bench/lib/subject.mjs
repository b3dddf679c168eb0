// What is measured runs in a process of its own: its CPU time and memory are nobody else's, and the
// measuring process does nothing while it works.
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export const PROGRAM = fileURLToPath(new URL('./subject-process.mjs', import.meta.url))

export class Subject {
  #child
  #waiting = new Map()
  #lastId = 0

  /**
   * @param {string} program
   * @param {import('node:child_process').ForkOptions} [options] of the fork
   */
  constructor(program = PROGRAM, options = {}) {
    this.#child = fork(program, { ...options, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#child.on('message', ({ id, result, error }) => {
      const { resolve, reject } = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (error === undefined) resolve(result)
      else reject(new Error(error))
    })
    this.#child.on('exit', (code, signal) => {
      const error = new Error(`the measured process ended: ${signal ?? code}`)
      for (const { reject } of this.#waiting.values()) reject(error)
      this.#waiting.clear()
    })
  }

  get pid() {
    return this.#child.pid
  }

  /** Calls a function of the program; the promise settles to what it returns. */
  call(name, options = {}) {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId
      this.#waiting.set(id, { resolve, reject })
      this.#child.send({ id, name, options }, (error) => {
        if (error) reject(error)
      })
    })
  }

  /** Lets the process end by itself, as it does when nobody asks it any more. */
  async leave() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    if (this.#child.connected) this.#child.disconnect()
    await ended
  }

  /** Ends the process; `SIGKILL` leaves its log unclosed. */
  async stop(signal = 'SIGTERM') {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill(signal)
    await ended
  }
}
