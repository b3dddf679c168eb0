// `stonelog append DIR`: each line of stdin is a record.
import { WalError } from '../errors.js'
import type { Wal } from '../wal.js'
import { Exit, openLog, parseCommand, parseNumber } from './exit.js'

const NEWLINE = 0x0a

/** The default of maxRecordBytes: a longer line is handed over as it is, to be refused. */
const LINE_BYTES_MAX = 16 * 1024 * 1024

/** Lines without their newline, as bytes; the last one need not end in one. */
async function* lines(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let pieces: Buffer[] = []
  let size = 0
  for await (const chunk of input) {
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const rest = chunk.subarray(start, end)
      yield pieces.length === 0 ? rest : Buffer.concat([...pieces, rest])
      pieces = []
      size = 0
      start = end + 1
    }
    if (start < chunk.length) pieces.push(chunk.subarray(start))
    size += chunk.length - start
    if (size > LINE_BYTES_MAX) break
  }
  if (pieces.length > 0) yield Buffer.concat(pieces)
}

/** Queues a record, waiting while the queue is full. */
async function write(wal: Wal, data: Buffer): Promise<void> {
  for (;;) {
    try {
      wal.write(data)
      return
    } catch (error) {
      if (!(error instanceof WalError) || error.code !== 'WAL_BACKPRESSURE') throw error
      await wal.ready()
    }
  }
}

/**
 * Prints the last durable LSN at the end, also when a line was refused: what is there, is there.
 */
export async function append(args: string[]): Promise<Exit> {
  const { directory, values } = parseCommand(args, {
    recovery: { type: 'string' },
    'segment-bytes': { type: 'string' },
  })
  const segmentBytes = parseNumber('segment-bytes', 'bytes', values['segment-bytes'])
  const wal = await openLog(directory, values.recovery, { segmentBytes })
  try {
    for await (const line of lines(process.stdin)) await write(wal, line)
  } finally {
    try {
      await wal.close()
    } finally {
      process.stdout.write(`${wal.durableLsn}\n`)
    }
  }
  return Exit.ok
}
