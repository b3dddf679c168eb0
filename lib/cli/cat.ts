// `stonelog cat DIR`: prints each record and a newline, beside a running writer too.
import { once } from 'node:events'
import type { RecordBatch } from '../record-batch.js'
import { Wal } from '../wal.js'
import { Exit, parseCommand, parseLsn, stderrLogger } from './exit.js'

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
  })
  const range = { from: parseLsn('from', values.from), to: parseLsn('to', values.to) }
  const wal = await Wal.open(directory, { readOnly: true, logger: stderrLogger })
  try {
    for await (const batch of wal.readBatches(range)) {
      if (!process.stdout.write(toLines(batch))) await once(process.stdout, 'drain')
    }
  } finally {
    await wal.close()
  }
  return Exit.ok
}
