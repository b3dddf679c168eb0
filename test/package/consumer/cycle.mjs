// What each installed copy must be able to do, in any runtime and module system: append, crash,
// recover. `run(stonelog, ['crash', DIR])` prints each LSN once it is acknowledged and kills its
// own process with writes under way; `run(stonelog, ['recover', DIR])` prints what a new process
// finds.
import { writeSync } from 'node:fs'

const ACKNOWLEDGED = 40

const text = (lsn) => `record ${lsn}`

async function crash({ Wal }, directory) {
  const wal = await Wal.open(directory, { segmentBytes: 128 * 1024, minFreeBytes: 0 })
  for (let i = 1; i <= ACKNOWLEDGED; i++) {
    writeSync(1, `${await wal.append(text(i))}\n`)
  }
  for (let i = 1; i <= 20; i++) wal.write(text(ACKNOWLEDGED + i))
  process.kill(process.pid, 'SIGKILL')
}

async function recover({ Wal }, directory) {
  const wal = await Wal.open(directory, { segmentBytes: 128 * 1024, minFreeBytes: 0 })
  const { verdict, lastLsn } = wal.recovery
  let intact = true
  let expected = 1
  for await (const record of wal.read()) {
    intact &&= record.lsn === expected && record.data.toString() === text(expected)
    expected++
  }
  const next = await wal.append('after the crash')
  const { io } = wal.stats()
  await wal.close()
  const after = await Wal.verify(directory)
  writeSync(
    1,
    `${JSON.stringify({ verdict, lastLsn, read: expected - 1, intact, next, after: after.verdict, io })}\n`,
  )
}

export async function run(stonelog, [what, directory]) {
  if (what === 'crash') return await crash(stonelog, directory)
  return await recover(stonelog, directory)
}
