// `stonelog verify DIR`: scans everything, changes nothing, reports.
import { type Evidence, stateOf, type VerifyReport } from '../recovery.js'
import { Wal } from '../wal.js'
import { Exit, parseCommand, warnIfNew } from './exit.js'

const count = (number: number, what: string) => `${number} ${what}${number === 1 ? '' : 's'}`

function describe(report: VerifyReport): string {
  const { verdict, firstLsn, lastLsn, epoch, scanned } = report
  const range = lastLsn < firstLsn ? 'empty' : `LSN ${firstLsn} to ${lastLsn}`
  const lines = [
    `verdict    ${verdict} (${stateOf(report)})`,
    `records    ${report.records} (${range}), epoch ${epoch}`,
    `scanned    ${count(scanned.segments, 'segment')}, ${count(scanned.bytes, 'byte')} in ${report.durationMs.toFixed(1)} ms`,
  ]
  const place = ({ segment, offset, reason }: Evidence) =>
    `segment ${segment}, offset ${offset}: ${reason}`
  if (report.truncatedBytes > 0) lines.push(`torn       ${report.truncatedBytes} bytes`)
  if (report.evidence !== null) lines.push(`evidence   ${place(report.evidence)}`)
  for (const lost of report.lost) {
    // Where a hole was that an earlier recovery left, nobody knows any more.
    const where = lost.segment === 0 ? `: ${lost.reason}` : `, ${place(lost)}`
    lines.push(`lost       LSN ${lost.from} to ${lost.to}${where}`)
  }
  return `${lines.join('\n')}\n`
}

export async function verify(args: string[]): Promise<Exit> {
  const { directory, values } = parseCommand(args, { json: { type: 'boolean' } })
  const report = await Wal.verify(directory)
  warnIfNew(report, directory)
  process.stdout.write(values.json ? `${JSON.stringify(report, null, 2)}\n` : describe(report))
  return report.verdict === 'corrupt' ? Exit.corrupt : Exit.ok
}
