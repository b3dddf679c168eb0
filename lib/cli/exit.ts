// What all commands share: exit codes, arguments, where warnings go.
import { parseArgs } from 'node:util'
import type { Logger } from '../options.js'

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
    return { directory, values: values as Record<string, string | boolean | undefined> }
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new UsageError((error as Error).message.split('\n', 1)[0]!)
  }
}

/** An LSN argument, or undefined if it was not given. @throws UsageError */
export function parseLsn(name: string, text: string | boolean | undefined): number | undefined {
  if (text === undefined) return undefined
  const lsn = typeof text === 'string' && /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(lsn)) throw new UsageError(`--${name} takes an LSN, not ${text}`)
  return lsn
}

/** Warnings and errors to stderr; stdout belongs to the data. */
export const stderrLogger: Logger = {
  info() {},
  warn: (message) => void process.stderr.write(`${message}\n`),
  error: (message) => void process.stderr.write(`${message}\n`),
}
