#!/usr/bin/env node
// The command line: picks the command, turns errors into one line and an exit code.
import { createRequire } from 'node:module'
import { WalError } from '../errors.js'
import { append } from './append.js'
import { cat } from './cat.js'
import { Exit, UsageError } from './exit.js'
import { verify } from './verify.js'

const USAGE = `usage: stonelog append DIR [--segment-bytes N]  append each line of stdin as a record;
                                                prints the last durable LSN
       stonelog cat DIR [--from N] [--to N]     print each record and a newline
       stonelog verify DIR [--json]             scan everything and report, changing nothing
       stonelog --help | --version              also behind a command
append and cat take --recovery MODE: tolerate-torn-tail (default), strict, point-in-time, salvage;
cat never changes the log, whatever the mode
exit codes: 0 clean or torn tail, 1 corrupt, 2 usage, 3 cannot read or open
`

const COMMANDS: Record<string, (args: string[]) => Promise<Exit>> = { append, cat, verify }

function version(): string {
  return createRequire(import.meta.url)('../../package.json').version
}

/** What is asked for instead of a command, wherever it stands; behind `--` nothing is an option. */
function question(args: string[]): string | undefined {
  const end = args.indexOf('--')
  const options = end === -1 ? args : args.slice(0, end)
  if (args[0] === 'help' || options.includes('--help') || options.includes('-h')) return USAGE
  return options.includes('--version') ? `${version()}\n` : undefined
}

async function run(args: string[]): Promise<Exit> {
  const asked = question(args)
  if (asked !== undefined) {
    process.stdout.write(asked)
    return Exit.ok
  }
  const [command, ...rest] = args
  const chosen = command === undefined ? undefined : COMMANDS[command]
  if (chosen === undefined || !Object.hasOwn(COMMANDS, command!)) {
    throw new UsageError(command === undefined ? 'no command given' : `unknown command ${command}`)
  }
  return chosen(rest)
}

/** One line for the user and the exit code. */
function report(error: unknown): Exit {
  if (error instanceof UsageError) {
    process.stderr.write(`stonelog: ${error.message}\n${USAGE}`)
    return Exit.usage
  }
  if (!(error instanceof WalError)) {
    process.stderr.write(`stonelog: ${error instanceof Error ? error.stack : String(error)}\n`)
    return Exit.unreadable
  }
  process.stderr.write(`stonelog: ${error.code}: ${error.message}\n`)
  return error.code === 'WAL_CORRUPT' ? Exit.corrupt : Exit.unreadable
}

// A reader that has seen enough (`stonelog cat | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') process.stderr.write(`stonelog: stdout: ${error.message}\n`)
  process.exit(error.code === 'EPIPE' ? Exit.ok : Exit.unreadable)
})

process.exitCode = await run(process.argv.slice(2)).catch(report)
