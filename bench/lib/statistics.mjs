// Statistics of a noisy machine: medians, intervals that assume no distribution, pooled latencies.

/** The value at `part` (0 to 1) of ascending values, nearest rank. */
export function quantile(ascending, part) {
  if (ascending.length === 0) return Number.NaN
  const index = Math.min(Math.floor(part * ascending.length), ascending.length - 1)
  return ascending[index]
}

/** The median: of an even number of values, the mean of the middle two. */
export function median(values) {
  const ascending = [...values].sort((a, b) => a - b)
  const middle = ascending.length >> 1
  if (ascending.length % 2 === 1) return ascending[middle]
  return (ascending[middle - 1] + ascending[middle]) / 2
}

/** P(X <= k) of X ~ Binomial(n, 1/2). */
function halfBinomial(n, k) {
  let term = 0.5 ** n
  let sum = 0
  for (let i = 0; i <= k; i++) {
    sum += term
    term = (term * (n - i)) / (i + 1)
  }
  return sum
}

/**
 * The 95% interval of the median by order statistics: the k-th smallest to the k-th largest value,
 * with the largest k that leaves at most 2.5% on either side. Below 6 values no k does; then the
 * whole range is given, which is less than 95%.
 */
function medianInterval(ascending) {
  const n = ascending.length
  let k = 1
  while (2 * (k + 1) <= n && halfBinomial(n, k) <= 0.025) k++
  return [ascending[k - 1], ascending[n - k]]
}

/** Median, its 95% interval, range and number of values. */
export function summarize(values) {
  const ascending = [...values].sort((a, b) => a - b)
  const [low, high] = medianInterval(ascending)
  return {
    median: median(ascending),
    low,
    high,
    min: ascending[0],
    max: ascending.at(-1),
    count: ascending.length,
  }
}

const LIMIT_MICROS = 1 << 17

/** Latencies, counted by the microsecond: cheap to add to, exact enough, small to hand over. */
export class Latencies {
  #counts = new Uint32Array(LIMIT_MICROS)
  #beyond = new Map()

  add(micros) {
    const rounded = Math.round(micros)
    if (rounded < LIMIT_MICROS) this.#counts[rounded]++
    else this.#beyond.set(rounded, (this.#beyond.get(rounded) ?? 0) + 1)
  }

  /** Adds pairs of microseconds and count, as `pairs` gives them. */
  merge(pairs) {
    for (const [micros, count] of pairs) {
      if (micros < LIMIT_MICROS) this.#counts[micros] += count
      else this.#beyond.set(micros, (this.#beyond.get(micros) ?? 0) + count)
    }
  }

  /** Pairs of microseconds and count, ascending. */
  pairs() {
    const pairs = []
    this.#counts.forEach((count, micros) => {
      if (count > 0) pairs.push([micros, count])
    })
    return pairs.concat([...this.#beyond].sort((a, b) => a[0] - b[0]))
  }

  summary() {
    return summarizePairs(this.pairs())
  }
}

/** Percentiles in microseconds of ascending pairs of microseconds and count. */
export function summarizePairs(pairs) {
  const total = pairs.reduce((sum, [, count]) => sum + count, 0)
  const at = (part) => {
    let below = 0
    for (const [micros, count] of pairs) {
      below += count
      if (below > part * total) return micros
    }
    return pairs.at(-1)?.[0] ?? Number.NaN
  }
  return {
    count: total,
    p50: at(0.5),
    p90: at(0.9),
    p99: at(0.99),
    p999: at(0.999),
    max: pairs.at(-1)?.[0] ?? Number.NaN,
  }
}

/** The percentiles of many slices together. */
export function pool(listOfPairs) {
  const all = new Latencies()
  for (const pairs of listOfPairs) all.merge(pairs)
  return all.summary()
}
