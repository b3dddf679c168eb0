// The process that the demo kills: appends the records with many in flight, and says on its channel
// which LSNs were acknowledged, as soon as they were.
import { Wal } from 'stonelog'
import { readRecords } from './input.mjs'

const [, , directory, root, count, lanes] = process.argv
const records = readRecords(root, Number(count))
const wal = await Wal.open(directory)
const latenciesUs = new Float64Array(records.length)
let next = 0
let acknowledged = 0

async function lane() {
  while (next < records.length) {
    const index = next++
    const began = performance.now()
    const lsn = await wal.append(records[index])
    latenciesUs[index] = (performance.now() - began) * 1000
    // Acknowledgements come in LSN order, so the highest says it all.
    if (lsn > acknowledged) acknowledged = lsn
  }
}

const began = performance.now()
const report = setInterval(() => {
  const done = latenciesUs.subarray(0, acknowledged).slice().sort()
  process.send({
    acknowledged,
    seconds: (performance.now() - began) / 1000,
    p50: done[Math.floor(done.length * 0.5)] ?? 0,
    p99: done[Math.floor(done.length * 0.99)] ?? 0,
  })
}, 50)
await Promise.all(Array.from({ length: Number(lanes) }, lane))
clearInterval(report)
await wal.close()
process.disconnect()
