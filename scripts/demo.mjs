// The main job on real input, in four acts: append durably at speed, be killed in the middle,
// recover and prove it, find a damaged byte. Run by `npm run demo`, which builds first.
import assert from 'node:assert/strict'
import { execFileSync, fork } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Wal } from 'stonelog'
import { readRecords } from './demo/input.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const COUNT = 250_000
const LANES = 256

const number = (value) => Math.round(value).toLocaleString('en-US')

/** Runs the writer until it has acknowledged half of the records, then kills it without warning. */
function killWriterHalfWay(directory) {
  const args = [directory, root, String(COUNT), String(LANES)]
  const writer = fork(join(root, 'scripts/demo/writer.mjs'), args)
  let last = { acknowledged: 0, seconds: 0, p50: 0, p99: 0 }
  return new Promise((resolve, reject) => {
    writer.on('message', (message) => {
      last = message
      const rate = number(last.acknowledged / last.seconds)
      process.stdout.write(`\r  ${number(last.acknowledged)} acknowledged, ${rate} records/s `)
      if (last.acknowledged >= COUNT / 2) writer.kill('SIGKILL')
    })
    writer.on('error', reject)
    writer.on('exit', (code, signal) => {
      process.stdout.write('\n')
      if (signal === 'SIGKILL') resolve(last)
      else reject(new Error(`the writer ended by itself: code ${code}, signal ${signal}`))
    })
  })
}

/** Every record must be the input's, in order; returns how many there are. */
async function checkAgainst(wal, records) {
  let lsn = 0
  for await (const batch of wal.readBatches()) {
    for (const record of batch) {
      assert.equal(record.lsn, ++lsn)
      assert.ok(record.data.equals(records[lsn - 1]), `LSN ${lsn} is not what was appended`)
    }
  }
  return lsn
}

/** Queues the records, waiting where the log says that its queue is full, and flushes. */
async function writeRest(wal, records) {
  for (const record of records) {
    try {
      wal.write(record)
    } catch (error) {
      if (error.code !== 'WAL_BACKPRESSURE') throw error
      await wal.ready()
      wal.write(record)
    }
  }
  await wal.flush()
}

/** Flips one bit of a record of the input that stands whole in a segment file; says where. */
function damage(directory, records) {
  for (const name of readdirSync(directory).filter((name) => name.endsWith('.wal'))) {
    const path = join(directory, name)
    const bytes = readFileSync(path)
    for (let lsn = Math.floor(COUNT / 3); lsn < COUNT / 3 + 1000; lsn++) {
      const at = bytes.indexOf(records[lsn - 1])
      if (at < 0) continue
      bytes[at + 3] ^= 0x10
      writeFileSync(path, bytes)
      return {
        lsn,
        name,
        offset: at + 3,
        undo: () => {
          bytes[at + 3] ^= 0x10
          writeFileSync(path, bytes)
        },
      }
    }
  }
  throw new Error('no record stands whole in a segment file')
}

/** One slice of the raw probe: 4 KiB direct DSYNC overwrites, one in flight. */
function probe(directory) {
  const program = join(root, 'build/release/raw-probe')
  if (!existsSync(program)) return undefined
  const answer = execFileSync(program, [directory], { input: 'commit 1000\n', encoding: 'utf8' })
  return JSON.parse(answer.trim().split('\n').at(-1))
}

async function main(directory) {
  console.log(
    `1. ${number(COUNT)} records, from the lines of the text files here; ${LANES} in flight, durable`,
  )
  const records = readRecords(root, COUNT)
  const writing = await killWriterHalfWay(directory)
  const { acknowledged, seconds, p50, p99 } = writing
  console.log(`  killed by SIGKILL; the last acknowledgement heard was LSN ${number(acknowledged)}`)

  console.log('2. Recovery')
  const wal = await Wal.open(directory)
  console.log(`  ${JSON.stringify(wal.recovery)}`)
  const found = await checkAgainst(wal, records)
  assert.ok(found >= acknowledged, `${acknowledged - found} acknowledged records are missing`)
  console.log(`  all ${number(acknowledged)} acknowledged records are there, in order, unaltered;`)
  console.log(
    `  ${number(found - acknowledged)} more had reached the disk, each as appended; nothing else`,
  )
  await writeRest(wal, records.slice(found))
  await wal.close()

  console.log('3. Figures')
  const raw = probe(directory)
  const us = (value) => `${number(value)} us`
  console.log(
    `  stonelog: ${number(acknowledged / seconds)} durable records/s, p50 ${us(p50)}, p99 ${us(p99)}`,
  )
  if (raw === undefined) console.log('  raw probe: not built (Linux only)')
  else {
    const rate = raw.count / raw.seconds
    console.log(
      `  raw disk: ${number(rate)} commits of 4 KiB/s, one in flight, p50 ${us(raw.p50)}, p99 ${us(raw.p99)}`,
    )
    console.log(
      `  so ${(acknowledged / seconds / rate).toFixed(1)} durable records for each raw commit`,
    )
  }

  console.log('4. One bit of an acknowledged record is damaged')
  const hurt = damage(directory, records)
  const report = await Wal.verify(directory)
  assert.equal(report.verdict, 'corrupt')
  const [lost] = report.lost
  console.log(`  flipped in LSN ${number(hurt.lsn)}, ${hurt.name} at ${hurt.offset}`)
  console.log(
    `  verify: ${report.verdict}, ${lost.reason}: segment ${lost.segment}, offset ${lost.offset}, from LSN ${number(lost.from)}`,
  )
  assert.ok(
    lost.offset <= hurt.offset && hurt.offset < lost.offset + 512,
    'the damage was found elsewhere',
  )
  const reader = await Wal.open(directory, { readOnly: true })
  await assert.rejects(checkAgainst(reader, records), { code: 'WAL_CORRUPT' })
  await reader.close()
  console.log('  reading throws WAL_CORRUPT there, after handing out everything before it')
  hurt.undo()
  const mended = await Wal.verify(directory)
  assert.equal(mended.verdict, 'clean')
  assert.equal(mended.records, COUNT)
  console.log(`  the bit put back: ${mended.verdict}, ${number(mended.records)} records`)
}

mkdirSync(join(root, 'build/tmp'), { recursive: true })
const directory = mkdtempSync(join(root, 'build/tmp/demo-'))
try {
  await main(directory)
  console.log('done')
} finally {
  rmSync(directory, { recursive: true, force: true })
}
