// Counts the system calls by which a contender makes things durable, per acknowledged append: what
// a setting is documented to do is one thing, what the process does another.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Subject } from '../lib/subject.mjs'

const PROGRAM = fileURLToPath(new URL('./contender-process.mjs', import.meta.url))

const SYNCS = new Set(['fsync', 'fdatasync', 'msync', 'sync_file_range', 'sync', 'syncfs'])
const WRITES = new Set(['write', 'pwrite64', 'writev', 'pwritev', 'pwritev2', 'io_submit'])
const TRACED = [...SYNCS, ...WRITES, 'open', 'openat', 'close', 'dup', 'access', 'io_uring_enter']
/** Many more than stonelog leaves to its committers before the event loop begins commits. */
export const APPENDS = 200

/** Why nothing can be counted here, or nothing. */
export function cannotCount() {
  const { status } = spawnSync('strace', ['-o', '/dev/null', 'true'])
  if (status !== 0) return 'strace is not there, or may not trace'
}

/** The calls of a trace: `pid name(arguments) = result`, those in two parts joined. */
function* callsOf(text) {
  const unfinished = new Map()
  for (const line of text.split('\n')) {
    const [, pid, rest] = /^(\d+) +(.*)$/.exec(line) ?? []
    if (pid === undefined) continue
    if (rest.endsWith('<unfinished ...>')) {
      unfinished.set(pid, rest.slice(0, -'<unfinished ...>'.length))
      continue
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest)
    const whole = resumed ? `${unfinished.get(pid) ?? ''}${resumed[1]}` : rest
    const [, name, given, result] = /^(\w+)\((.*)\) += (-?\d+)/.exec(whole) ?? []
    if (name !== undefined) yield { name, given, result: Number(result) }
  }
}

// Apart by a space: a bar would end a table's cell.
const flagsOf = (given) => given.match(/\bRWF_\w+/g).join(' ')

/** Durable calls between the marks, by kind. */
export function countSyncs(trace) {
  const synced = new Set() // descriptors whose writes are durable
  const counts = {}
  let counting = false
  const count = (kind) => {
    counts[kind] = (counts[kind] ?? 0) + 1
  }
  for (const { name, given, result } of callsOf(trace)) {
    const fd = Number.parseInt(given, 10)
    if (name === 'access') counting = given.includes('stonelog-begin')
    else if (name === 'open' || name === 'openat') {
      if (/\bO_D?SYNC\b/.test(given)) synced.add(result)
      else synced.delete(result)
    } else if (name === 'close') synced.delete(fd)
    else if (!counting || result < 0) continue
    else if (SYNCS.has(name)) count(name)
    else if (WRITES.has(name) && /\bRWF_D?SYNC\b/.test(given)) count(`${name} ${flagsOf(given)}`)
    else if (WRITES.has(name) && synced.has(fd)) count(`${name} O_DSYNC`)
    else if (name === 'io_uring_enter') count(name)
  }
  return counts
}

/**
 * Syncs of one contender in a run of its own, under strace.
 * @returns {Promise<{ appends: number, counts: Record<string, number>, perAppend: number }>}
 */
export async function syncsOf(name, parent) {
  const directory = mkdtempSync(join(parent, 'syncs-'))
  const trace = `${directory}.trace`
  const tracer = ['-f', '-qq', '-v', '-s', '1', '-e', `trace=${TRACED.join(',')}`, '-o', trace]
  const subject = new Subject(PROGRAM, {
    execPath: 'strace',
    execArgv: [...tracer, process.execPath],
  })
  try {
    await subject.call('open', { name, directory })
    await subject.call('acknowledge', { count: APPENDS, size: 100 })
    await subject.call('close')
  } finally {
    // strace with an output file blocks the signals that would end it.
    await subject.leave()
    rmSync(directory, { recursive: true, force: true })
  }
  const counts = countSyncs(readFileSync(trace, 'utf8'))
  rmSync(trace)
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0)
  return { appends: APPENDS, counts, perAppend: total / APPENDS }
}
