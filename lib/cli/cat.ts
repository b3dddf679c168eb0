// `stonelog cat DIR`: prints each record and a newline, beside a running writer too.
import { once } from 'node:events'
import type { RecordBatch } from '../record-batch.js'
import { Exit, openLog, parseCommand, parseNumber, warnIfNew } from './exit.js'

/** The batch as it is printed: one copy, one write. */
function toLines(batch: RecordBatch): Buffer {
  const { buffer, offsets, lengths, length } = batch
  let size = length
  for (const bytes of lengths) size += bytes
  const text = Buffer.allocUnsafe(size)
  let at = 0
  for (let index = 0; index < length; index++) {
    const start = offsets[index]!
    at += buffer.copy(text, at, start, start + lengths[index]!)
    text[at++] = 0x0a
  }
  return text
}

/** Opens read-only: neither a lock nor a byte is touched. */
export async function cat(args: string[]): Promise<Exit> {
  const { directory, values } = parseCommand(args, {
    from: { type: 'string' },
    to: { type: 'string' },
    recovery: { type: 'string' },
  })
  const from = parseNumber('from', 'an LSN', values.from)
  const to = parseNumber('to', 'an LSN', values.to)
  const wal = await openLog(directory, values.recovery, { readOnly: true })
  warnIfNew(wal.recovery, directory)
  try {
    for await (const batch of wal.readBatches({ from, to })) {
      if (!process.stdout.write(toLines(batch))) await once(process.stdout, 'drain')
    }
  } finally {
    await wal.close()
  }
  // With `--recovery` damage does not stop it, and something is missing all the same.
  return wal.recovery.verdict === 'corrupt' ? Exit.corrupt : Exit.ok
}
