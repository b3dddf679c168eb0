// Contenders in rotated rounds: each round has one slice of everyone and one of the raw probe, and
// begins with somebody else, so that neither drift nor an order favours anybody.
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Company } from '../lib/company.mjs'
import { Subject } from '../lib/subject.mjs'

const PROGRAM = fileURLToPath(new URL('./contender-process.mjs', import.meta.url))

export class Contest {
  #subjects = new Map()
  #pids

  /**
   * @param {import('../lib/probe.mjs').Probe} probe
   * @param {string} directory an existing one, for everything written
   * @param {string[]} names of contenders
   * @param {{ rounds: number, sliceMs: number, patienceMs: number }} settings
   */
  constructor(probe, directory, names, settings) {
    this.probe = probe
    this.directory = directory
    this.names = names
    this.settings = settings
    this.#pids = new Set([process.pid, probe.pid])
    this.company = new Company(() => this.#pids, settings.patienceMs)
    /** Contenders that broke, with the reason; they take no further part. */
    this.broken = new Map()
  }

  /** A contender that broke. */
  note(name, error) {
    this.broken.set(name, error.message)
    console.log(`BROKEN ${name}: ${error.stack}`)
  }

  get standing() {
    return this.names.filter((name) => !this.broken.has(name))
  }

  async #start(name, directory) {
    const subject = new Subject(PROGRAM)
    this.#pids.add(subject.pid)
    const { residentBefore } = await subject.call('open', { name, directory })
    await subject.call('resetPeak')
    return { subject, directory, residentBefore }
  }

  async #end({ subject }) {
    await subject.call('close').catch(() => {})
    this.#pids.delete(subject.pid)
    await subject.stop()
  }

  /** Runs `work` with a process and an open, empty store for every contender. */
  async withContenders(work) {
    const parent = mkdtempSync(join(this.directory, 'contest-'))
    try {
      for (const name of this.standing) {
        try {
          const directory = mkdtempSync(join(parent, `${name}-`))
          this.#subjects.set(name, await this.#start(name, directory))
        } catch (error) {
          this.note(name, error)
        }
      }
      return await work()
    } finally {
      for (const one of this.#subjects.values()) await this.#end(one)
      this.#subjects.clear()
      rmSync(parent, { recursive: true, force: true })
    }
  }

  /** Calls a function of every contender's process; results by name. */
  async call(name, options) {
    const results = new Map()
    for (const [who, { subject, residentBefore }] of this.#subjects) {
      if (this.broken.has(who)) continue
      try {
        results.set(who, { value: await subject.call(name, options), residentBefore })
      } catch (error) {
        this.note(who, error)
      }
    }
    return results
  }

  /**
   * One round: a slice of raw commits and one of each contender. `slice(name)` gives the call, or
   * nothing if that contender sits out.
   * @returns {Promise<{ probe: object, results: Map<string, object> }>}
   */
  async round(index, slice) {
    const order = ['probe', ...this.#subjects.keys()]
    const first = index % order.length
    const rotated = [...order.slice(first), ...order.slice(0, first)]
    return this.company.undisturbed(async () => {
      const results = new Map()
      let probe
      for (const name of rotated) {
        if (name === 'probe') {
          probe = await this.probe.commit(this.settings.sliceMs)
          continue
        }
        const wanted = this.broken.has(name) ? undefined : slice(name)
        if (wanted === undefined) continue
        try {
          results.set(name, await this.#subjects.get(name).subject.call(...wanted))
        } catch (error) {
          this.note(name, error)
        }
      }
      return { probe, results }
    })
  }

  /** Opens what `directory` holds in a new process, with nothing of it in the page cache. */
  async cold(name, directory, work) {
    let resident = 0
    for (const file of readdirSync(directory, { recursive: true })) {
      const path = join(directory, file)
      if (statSync(path).isFile()) resident += await this.probe.evict(path)
    }
    const one = await this.#start(name, directory)
    try {
      return { ...(await work(one.subject)), residentPages: resident }
    } finally {
      await this.#end(one)
    }
  }

  /** A closed store that holds `records`; its directory. */
  async filled(name, parent, options) {
    const directory = mkdtempSync(join(parent, `${name}-`))
    const one = await this.#start(name, directory)
    try {
      await one.subject.call('fill', options)
    } finally {
      await this.#end(one)
    }
    return directory
  }
}
