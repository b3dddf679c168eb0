// Other processes on the machine. On a few cores one busy neighbour turns a commit of 0.1 ms into
// one of 4 ms, the scheduler's slice; a pair of slices that had such company says nothing.
import { readFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'

const TICKS_PER_SECOND = 100
// Of one core. Below it are the ticks' own inaccuracy and what the system does by itself.
const MOST_SHARE = 0.25
const LOOK_MS = 250

/** Ticks in user mode, of all processes. (Kernel time is in good part the measured I/O's own.) */
function allTicks() {
  const [, user, nice] = /^cpu +(\d+) (\d+)/.exec(readFileSync('/proc/stat', 'utf8'))
  return Number(user) + Number(nice)
}

/** Ticks in user mode of one process; the name, in parentheses, may contain anything. */
function ticksOf(pid) {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[11])
}

export class Company {
  #own
  #patienceMs
  #discarded = 0
  #disturbed = 0

  /**
   * @param {() => Iterable<number>} own the ids of the processes that belong to the measurement
   * @param {number} patienceMs how long to wait in total for neighbours to be quiet
   */
  constructor(own, patienceMs) {
    this.#own = own
    this.#patienceMs = patienceMs
  }

  /** How often work was done again because it had company. */
  get discarded() {
    return this.#discarded
  }

  /** How often work was accepted although it had company. */
  get disturbed() {
    return this.#disturbed
  }

  #look() {
    let own = 0
    for (const pid of this.#own()) own += ticksOf(pid)
    return { at: performance.now(), others: allTicks() - own }
  }

  #isBusySince(before) {
    const { at, others } = this.#look()
    const seconds = (at - before.at) / 1000
    return others - before.others > MOST_SHARE * TICKS_PER_SECOND * seconds + 2
  }

  /** Waits until the neighbours are quiet or patience is at its end. */
  async quiet() {
    while (this.#patienceMs > 0) {
      const before = this.#look()
      await setTimeout(LOOK_MS)
      if (!this.#isBusySince(before)) return
      this.#patienceMs -= LOOK_MS
    }
  }

  /** Does `work`, again and again until it had no company, or patience is at its end. */
  async undisturbed(work) {
    for (;;) {
      const before = this.#look()
      const result = await work()
      if (!this.#isBusySince(before)) return result
      if (this.#patienceMs <= 0) {
        this.#disturbed++
        return result
      }
      this.#discarded++
      this.#patienceMs -= performance.now() - before.at
      await this.quiet()
    }
  }
}
