// What the workloads share: the probe, how long and how often, and fresh logs.
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Company } from './company.mjs'
import { inPairs } from './pairing.mjs'
import { quantile } from './statistics.mjs'
import { Subject } from './subject.mjs'

const WARM_UP_SLICES = 3

/**
 * @typedef {object} Figure
 * @property {string} id the target it belongs to, or ''
 * @property {string} name what was measured
 * @property {string} unit of the value
 * @property {object} value a summary: median, 95% interval, range
 * @property {[op: '<=' | '>=', limit: number]} [target]
 * @property {boolean} [exact] counted, not timed: a busy machine does not change it
 * @property {boolean} unsteady other processes were busy meanwhile, or the probe's slices differed
 *   by more than a factor of two
 * @property {string[]} beside further facts of the same run; the raw probe's among them
 */

export class Session {
  /**
   * @param {import('./probe.mjs').Probe} probe
   * @param {string} directory an existing one, for everything written
   * @param {{ slices: number, sliceMs: number, logBytes: number, memoryLogBytes: number,
   *   largeBytes: number, patienceMs: number }} settings
   */
  constructor(probe, directory, settings) {
    this.probe = probe
    this.directory = directory
    this.settings = settings
    this.#pids.add(probe.pid)
    /** @type {Figure[]} */
    this.figures = []
    /** Of every slice of raw commits, in microseconds: how steady the machine was. */
    this.commitP50s = []
    this.company = new Company(() => this.#pids, settings.patienceMs)
  }

  #pids = new Set([process.pid])
  /** What the probe achieved since the last figure, by command. */
  #speeds = new Map()
  #unsteady = false
  #disturbed = 0

  /** Figures added one after the other without a slice of the probe between them share it. */
  add(figure) {
    if (this.#speeds.size > 0) {
      const varies = [...this.#speeds.values()].some((speeds) => {
        const ascending = speeds.sort((a, b) => a - b)
        return quantile(ascending, 0.9) > 2 * quantile(ascending, 0.1)
      })
      this.#unsteady = varies || this.company.disturbed > this.#disturbed
      this.#speeds.clear()
      this.#disturbed = this.company.disturbed
    }
    const whole = { ...figure, unsteady: this.#unsteady && figure.exact !== true }
    this.figures.push(whole)
    this.onFigure?.(whole)
  }

  #note(command, speed) {
    const speeds = this.#speeds.get(command) ?? []
    this.#speeds.set(command, [...speeds, speed])
  }

  commit = async () => {
    const result = await this.probe.commit(this.settings.sliceMs)
    this.commitP50s.push(result.p50)
    this.#note('commit', 1 / result.p50)
    return result
  }

  write = async () => {
    const result = await this.probe.write(this.settings.sliceMs)
    this.#note('write', result.bytesPerSecond)
    return result
  }

  /** Reads the file at `path`. */
  read = async (path) => {
    const result = await this.probe.read(this.settings.sliceMs, path)
    this.#note('read', result.bytesPerSecond)
    return result
  }

  /** Reads the file at `path` and looks at what was read. */
  look = async (path) => {
    const result = await this.probe.look(this.settings.sliceMs, path)
    this.#note('look', result.bytesPerSecond)
    return result
  }

  /** Runs `work` with a measured process and a directory name that does not exist yet. */
  async withSubject(work) {
    const parent = mkdtempSync(join(this.directory, 'run-'))
    const subject = new Subject()
    this.#pids.add(subject.pid)
    try {
      return await work(subject, join(parent, 'log'))
    } finally {
      this.#pids.delete(subject.pid)
      await subject.stop()
      rmSync(parent, { recursive: true, force: true })
    }
  }

  /** The same with an open log. */
  withLog(options, work) {
    return this.withSubject(async (subject, directory) => {
      const { io } = await subject.call('open', { directory, options })
      this.io ??= io
      const result = await work(subject, directory)
      await subject.call('close')
      return result
    })
  }

  /** Interleaved slices of the probe and the subject, after a warm-up. */
  async pairs(probe, subject, count = this.settings.slices) {
    for (let i = 0; i < WARM_UP_SLICES; i++) await subject(i)
    return inPairs(count, probe, subject, this.company)
  }
}
