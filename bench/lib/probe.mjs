// The raw probe (bench/native/raw_probe.cc) as a child process that obeys.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

export class Probe {
  #child
  #waiting = []

  /**
   * Starts the program; its file is prepared before the first answer.
   * @param {string} program
   * @param {string} directory
   */
  constructor(program, directory) {
    this.#child = spawn(program, [directory], { stdio: ['pipe', 'pipe', 'inherit'] })
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.#waiting.shift().resolve(JSON.parse(line))
    })
    const fail = (error) => {
      for (const { reject } of this.#waiting.splice(0)) reject(error)
    }
    this.#child.on('error', fail)
    this.#child.on('exit', (code, signal) => fail(new Error(`raw-probe ended: ${signal ?? code}`)))
    // Its exit tells more than the broken pipe.
    this.#child.stdin.on('error', () => {})
  }

  get pid() {
    return this.#child.pid
  }

  #ask(command) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.#child.stdin.write(`${command}\n`)
    })
  }

  info() {
    return this.#ask('info')
  }

  /** Latencies in microseconds: percentiles, and all as pairs of microseconds and count. */
  commit(ms) {
    return this.#ask(`commit ${ms} latencies`)
  }

  /**
   * Commits while another thread does something `perSecond` times a second.
   * @param {string} kind one that raw_probe.cc lists
   */
  beside(kind, perSecond, ms) {
    return this.#ask(`beside ${kind} ${perSecond} ${ms}`)
  }

  write(ms) {
    return this.#ask(`write ${ms}`)
  }

  /** Reads the probe's own file, or the one at `path`. */
  read(ms, path = '') {
    return this.#ask(`read ${ms} ${path}`.trim())
  }

  /** The same, and each cache line of what was read is looked at. */
  look(ms, path = '') {
    return this.#ask(`look ${ms} ${path}`.trim())
  }

  /** Drops a file from the page cache: how many of its pages are left there. */
  async evict(path) {
    return (await this.#ask(`evict ${path}`)).residentPages
  }

  async stop() {
    if (this.#child.exitCode !== null) return
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.stdin.end()
    await ended
  }
}
