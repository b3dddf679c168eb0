// What a typed application writes; compiled with several settings, then run. Never built by the
// project itself, whose own compiler options are stricter than most.
import { type RecoveryReport, Wal, WalError, type WalErrorCode, type WalRecord } from 'stonelog'

const [what, directory = ''] = process.argv.slice(2)

async function crash(): Promise<void> {
  const wal: Wal = await Wal.open(directory, { segmentBytes: 128 * 1024, minFreeBytes: 0 })
  for (let i = 1; i <= 40; i++) {
    const lsn: number = await wal.append(`record ${i}`)
    console.log(lsn)
  }
  const { first, last }: { first: number; last: number } = await wal.appendBatch(['a', 'b'])
  console.log(`${first}\n${last}`)
  process.kill(process.pid, 'SIGKILL')
}

async function recover(): Promise<void> {
  const wal = await Wal.open(directory, { durability: 'group', segmentBytes: 128 * 1024 })
  const report: RecoveryReport = wal.recovery
  const texts: string[] = []
  for await (const record of wal.read({ from: 1 })) {
    const { lsn, data, timestamp, epoch }: WalRecord = record
    if (lsn < 1 || timestamp < 1 || epoch < 1) throw new Error('a record without its facts')
    texts.push(data.toString('utf8'))
  }
  await wal.close()
  let code: WalErrorCode | undefined
  await wal.append('closed').catch((error: unknown) => {
    if (error instanceof WalError) code = error.code
  })
  console.log(JSON.stringify({ verdict: report.verdict, lastLsn: wal.lastLsn, texts, code }))
}

if (what === 'crash') await crash()
else await recover()
