// Pairs of slices, one of the raw probe and one of what is measured, close together in time: the
// machine's drift over seconds touches both alike and falls out of their ratio.
import { summarize } from './statistics.mjs'

/**
 * Runs both `count` times, in the order a b, b a, a b, …; each gets the index of its pair.
 * @template A, B
 * @param {number} count
 * @param {(index: number) => Promise<A>} probe
 * @param {(index: number) => Promise<B>} subject
 * @param {import('./company.mjs').Company} company
 * @returns {Promise<Array<{ probe: A, subject: B }>>}
 */
export async function inPairs(count, probe, subject, company) {
  const pairs = []
  for (let index = 0; index < count; index++) {
    const pair = async () => {
      if (index % 2 === 0) {
        const first = await probe(index)
        return { probe: first, subject: await subject(index) }
      }
      const first = await subject(index)
      return { probe: await probe(index), subject: first }
    }
    pairs.push(await company.undisturbed(pair))
  }
  return pairs
}

/** `value` of every pair, summarized. */
export function over(pairs, value) {
  return summarize(pairs.map(value))
}
