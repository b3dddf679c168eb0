// What is measured runs in a process of its own: its CPU time and memory are nobody else's, and the
// measuring process does nothing while it works.
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('./subject-process.mjs', import.meta.url))

export class Subject {
  #child
  #waiting = new Map()
  #lastId = 0

  constructor() {
    this.#child = fork(PROGRAM, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
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

  /** Calls a function of subject-process.mjs; the promise settles to what it returns. */
  call(name, options = {}) {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId
      this.#waiting.set(id, { resolve, reject })
      this.#child.send({ id, name, options }, (error) => {
        if (error) reject(error)
      })
    })
  }

  /** Ends the process; `SIGKILL` leaves its log unclosed. */
  async stop(signal = 'SIGTERM') {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill(signal)
    await ended
  }
}
