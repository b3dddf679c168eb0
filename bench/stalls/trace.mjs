// System calls of a process from a trace of strace -f -ttt -T -y: who waited for the disk, and
// when.

export const TRACED = [
  ...['pwritev2', 'pwritev', 'pwrite64', 'fsync', 'fdatasync', 'fallocate', 'ftruncate'],
  ...['openat', 'close', 'rename', 'renameat', 'renameat2', 'unlink', 'unlinkat'],
]

/** What a call does for a log; nothing for those that do not concern the directory. */
function purposeOf(name, given, directory) {
  if (!given.includes(directory)) return
  if (name.startsWith('pwrite')) {
    if (/\bRWF_D?SYNC\b/.test(given)) {
      // A zeroing write is one piece of 512 KiB or less of zeros; commits are told by their thread.
      return 'synchronous write'
    }
    return 'plain write'
  }
  if (name.startsWith('rename')) return 'rename'
  if (name.startsWith('unlink')) return 'unlink'
  if (name === 'fallocate') return given.includes('PUNCH_HOLE') ? 'punch' : 'allocate'
  if (name === 'fsync' || name === 'fdatasync') {
    return /\.(wal|tmp)>/.test(given) ? 'sync of a file' : 'sync of the directory'
  }
  if (name === 'openat') return given.includes('O_CREAT') ? 'create' : 'open'
  return name
}

/**
 * @typedef {{ thread: string, purpose: string, from: number, to: number }} Call times in ms
 * @returns {Call[]} by their beginning
 */
export function callsOf(text, directory) {
  const calls = []
  const begun = new Map()
  for (const line of text.split('\n')) {
    const [, thread, seconds, rest] = /^(\d+) +(\d+\.\d+) (.*)$/.exec(line) ?? []
    if (thread === undefined) continue
    const at = Number(seconds) * 1000
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest)
    if (rest.endsWith('<unfinished ...>')) {
      begun.set(thread, { at, text: rest.slice(0, -'<unfinished ...>'.length) })
      continue
    }
    const start = resumed ? begun.get(thread) : { at, text: '' }
    if (start === undefined) continue
    const whole = start.text + (resumed ? resumed[1] : rest)
    const [, name, given, took] = /^(\w+)\((.*)\) += .*<(\d+\.\d+)>$/.exec(whole) ?? []
    const purpose = name === undefined ? undefined : purposeOf(name, given, directory)
    if (purpose === undefined) continue
    calls.push({ thread, purpose, from: start.at, to: start.at + Number(took) * 1000 })
  }
  return calls.sort((a, b) => a.from - b.from)
}

/** The preparer is the one that renames; its synchronous writes are zeros, all others commits. */
export function tellZeroing(calls) {
  const preparers = new Set(
    calls
      .filter(({ purpose }) => purpose === 'allocate' || purpose === 'punch')
      .map(({ thread }) => thread),
  )
  return calls.map((call) => {
    if (call.purpose !== 'synchronous write') return call
    return { ...call, purpose: preparers.has(call.thread) ? 'zeroing' : 'commit' }
  })
}
