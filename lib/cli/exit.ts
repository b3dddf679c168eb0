// What all commands share: exit codes, arguments, opening a log, where warnings go.
import { parseArgs } from 'node:util'
import { WalError } from '../errors.js'
import type { Logger, RecoveryMode, WalOptions } from '../options.js'
import { type RecoveryReport, stateOf } from '../recovery.js'
import { Wal } from '../wal.js'

export const enum Exit {
  /** Clean, or a torn tail. */
  ok = 0,
  corrupt = 1,
  usage = 2,
  /** Cannot read or open. */
  unreadable = 3,
}

/** The command line does not say what to do. */
export class UsageError extends Error {}

/** What an option was given, if it was. */
type Value = string | boolean | undefined

/** Option names of a command and what they take. */
type Options = Record<string, { type: 'string' | 'boolean' }>

/**
 * One directory and options.
 * @throws UsageError
 */
export function parseCommand(args: string[], options: Options) {
  try {
    const { positionals, values } = parseArgs({ args, options, allowPositionals: true })
    const [directory, ...rest] = positionals
    if (directory === undefined) throw new UsageError('no directory given')
    if (rest.length > 0) throw new UsageError(`one directory only, not also ${rest.join(', ')}`)
    return { directory, values: values as Record<string, Value> }
  } catch (error) {
    if (error instanceof UsageError) throw error
    // Node's advice behind the first sentence is about positional arguments.
    throw new UsageError((error as Error).message.split(/\.\s/, 1)[0]!)
  }
}

/** An argument that is `what`, or undefined if it was not given. @throws UsageError */
export function parseNumber(name: string, what: string, text: Value): number | undefined {
  if (text === undefined) return undefined
  const number = typeof text === 'string' && /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(number)) throw new UsageError(`--${name} takes ${what}, not ${text}`)
  return number
}

/**
 * Opens a log, with `--recovery` as it was given.
 * @throws UsageError for an option that is refused, since the command line is where it came from
 */
export async function openLog(directory: string, recovery: Value, options: WalOptions) {
  const mode = recovery as RecoveryMode | undefined
  try {
    return await Wal.open(directory, { ...options, recovery: mode, logger: stderrLogger })
  } catch (error) {
    const isOption = error instanceof WalError && error.code === 'WAL_BAD_OPTION'
    throw isOption ? new UsageError(error.message) : error
  }
}

/** A wrong path shall not pass for a log that is well. */
export function warnIfNew(report: RecoveryReport, directory: string): void {
  if (stateOf(report) !== 'new') return
  process.stderr.write(
    `stonelog: ${directory}: there is no log here, or one that was never begun\n`,
  )
}

/** Warnings and errors to stderr; stdout belongs to the data. */
const stderrLogger: Logger = {
  info() {},
  warn: (message) => void process.stderr.write(`${message}\n`),
  error: (message) => void process.stderr.write(`${message}\n`),
}
