// Why appends were slow: each stall is laid over what the process and its threads did meanwhile.

/** Of [from, to], how many ms the intervals cover together; they may overlap. */
function covered(from, to, intervals) {
  let end = from
  let sum = 0
  for (const one of intervals.sort((a, b) => a.from - b.from)) {
    const begin = Math.max(end, one.from)
    const until = Math.min(to, one.to)
    if (until <= begin) continue
    sum += until - begin
    end = until
  }
  return sum
}

const overlapping = (list, from, to) => list.filter((one) => one.from < to && one.to > from)

/** Appends that were slow together are one stall: the longest stands for them. */
export function stallsOf(slow) {
  const stalls = []
  for (const [due, done] of [...slow].sort((a, b) => a[0] - b[0])) {
    const last = stalls.at(-1)
    if (last === undefined || due >= last.to) stalls.push({ from: due, to: done, appends: 1 })
    else {
      last.to = Math.max(last.to, done)
      last.appends++
    }
  }
  return stalls
}

/**
 * How one stall was spent. What is left over was spent in no call and no late wake-up: waiting for
 * a lock, a thread to be scheduled, or a prepared segment.
 */
export function explain({ from, to, appends }, { calls, wakeUps, collections }) {
  const now = overlapping(calls, from, to)
  const of = (list) => covered(from, to, [...list])
  const late = overlapping(wakeUps, from, to)
  const commits = now.filter(({ purpose }) => purpose === 'commit')
  const beside = now.filter(({ purpose }) => purpose !== 'commit')
  const slowest = [...commits].sort((a, b) => b.to - b.from - (a.to - a.from))[0]
  const besideByPurpose = {}
  for (const purpose of new Set(beside.map((one) => one.purpose))) {
    const own = beside.filter((one) => one.purpose === purpose)
    besideByPurpose[purpose] = {
      ms: of(own),
      duringSlowestCommit: slowest === undefined ? 0 : covered(slowest.from, slowest.to, own),
    }
  }
  return {
    from,
    ms: to - from,
    appends,
    lateMs: of(late),
    gcMs: of(overlapping(collections, from, to)),
    commitMs: of(commits),
    slowestCommitMs: slowest === undefined ? 0 : slowest.to - slowest.from,
    unexplainedMs: to - from - of([...late, ...commits]),
    beside: besideByPurpose,
  }
}

/** The one word for it: where most of the stall went. */
export function causeOf({ ms, lateMs, gcMs, slowestCommitMs, unexplainedMs, beside }) {
  if (slowestCommitMs >= 0.5 * ms) {
    const [name] = Object.entries(beside)
      .filter(([, { duringSlowestCommit }]) => duringSlowestCommit >= 0.25 * slowestCommitMs)
      .sort((a, b) => b[1].duringSlowestCommit - a[1].duringSlowestCommit)[0] ?? ['nothing of ours']
    return `slow commit beside ${name}`
  }
  if (gcMs >= 0.5 * ms) return 'garbage collection'
  if (lateMs >= 0.5 * ms) return 'late wake-up of the event loop'
  if (unexplainedMs >= 0.5 * ms) return 'waiting in no call'
  return 'several commits in turn'
}
