// Damage anywhere ends as a typed error or with every record, over the public API and on real
// files; native/every_byte does it to every byte. Replays with STONELOG_SEED=<the printed seed>.
import { cpSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Wal, WalError } from 'stonelog'
import { afterAll, expect, it } from 'vitest'
import {
  bigRecords,
  makeDirectory,
  makeLog,
  SMALL,
  segmentFiles,
  snapshot,
} from '../fixtures/log.js'
import { makeKilledLog } from '../fixtures/process.js'

const seed = Number(process.env.STONELOG_SEED ?? Date.now() % 2 ** 31)
afterAll(() => console.log(`every byte ran with STONELOG_SEED=${seed}`))

const SECTOR = 512
const REFUSALS = ['WAL_CORRUPT', 'WAL_NOT_A_LOG', 'WAL_UNSUPPORTED_VERSION']

/** Numbers by chance, the same for the same seed. */
function makeRandom(start: number): (bound: number) => number {
  let state = start | 0
  return (bound) => {
    state = (state + 0x9e3779b9) | 0
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad)
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97)
    return ((mixed ^ (mixed >>> 15)) >>> 0) % bound
  }
}

type Random = ReturnType<typeof makeRandom>

/** A sector of a file that holds something. */
function someSector(bytes: Buffer, random: Random): number {
  for (;;) {
    const at = random(bytes.length / SECTOR) * SECTOR
    if (bytes.subarray(at, at + SECTOR).some((byte) => byte !== 0)) return at
  }
}

function flip(files: string[], random: Random): string {
  const path = files[random(files.length)]!
  const bytes = readFileSync(path)
  const at = someSector(bytes, random) + random(SECTOR)
  const mask = 1 + random(255)
  bytes[at]! ^= mask
  writeFileSync(path, bytes)
  return `${path} at ${at} xor ${mask}`
}

function loseSector(files: string[], random: Random): string {
  const path = files[random(files.length)]!
  const bytes = readFileSync(path)
  const at = someSector(bytes, random)
  bytes.fill(0, at, at + SECTOR)
  writeFileSync(path, bytes)
  return `${path}: the sector at ${at} zeroed`
}

function exchangeSectors(files: string[], random: Random): string {
  const path = files[random(files.length)]!
  const bytes = readFileSync(path)
  const [a, b] = [someSector(bytes, random), someSector(bytes, random)]
  const kept = Buffer.from(bytes.subarray(a, a + SECTOR))
  bytes.copyWithin(a, b, b + SECTOR)
  kept.copy(bytes, b)
  writeFileSync(path, bytes)
  return `${path}: the sectors at ${a} and ${b} exchanged`
}

function cut(files: string[], random: Random): string {
  const path = files[random(files.length)]!
  const bytes = readFileSync(path)
  const size = random(bytes.length)
  writeFileSync(path, bytes.subarray(0, size))
  return `${path} cut to ${size}`
}

function remove(files: string[], random: Random): string {
  const path = files[random(files.length)]!
  unlinkSync(path)
  return `${path} removed`
}

function exchangeFiles(files: string[], random: Random): string {
  const a = random(files.length)
  const b = (a + 1 + random(files.length - 1)) % files.length
  renameSync(files[a]!, `${files[a]}.aside`)
  renameSync(files[b]!, files[a]!)
  renameSync(`${files[a]}.aside`, files[b]!)
  return `${files[a]} and ${files[b]} exchanged`
}

/** Opens and reads; what became of it, or what it must never come to. */
async function openAndRead(directory: string, records: string[], what: string): Promise<string> {
  const before = snapshot(directory)
  let wal: Wal
  try {
    wal = await Wal.open(directory, SMALL)
  } catch (error) {
    expect(error, what).toBeInstanceOf(WalError)
    expect(REFUSALS, what).toContain((error as WalError).code)
    // Strings of whole files: compared here, not printed.
    const after = snapshot(directory)
    const same = Object.keys(before).every((name) => before[name] === after[name])
    expect(same && Object.keys(after).length === Object.keys(before).length, what).toBe(true)
    return 'refused'
  }
  let read = 0
  try {
    for await (const { data } of wal.read()) {
      expect(data.toString() === records[read], `${what}: LSN ${read + 1} is altered`).toBe(true)
      read++
    }
  } catch (error) {
    if (!(error instanceof WalError)) throw error
    expect(error.code, what).toBe('WAL_CORRUPT')
    return 'stopped'
  } finally {
    await wal.close()
  }
  expect(read, what).toBe(records.length)
  return 'intact'
}

async function damageAgainAndAgain(
  pristine: string,
  records: string[],
  ways: Array<(files: string[], random: Random) => string>,
  rounds: number,
): Promise<void> {
  const random = makeRandom(seed)
  const directory = makeDirectory()
  const outcomes: Record<string, number> = {}
  for (let round = 0; round < rounds; round++) {
    const copy = join(directory, String(round))
    cpSync(pristine, copy, { recursive: true })
    const what = ways[round % ways.length]!(segmentFiles(copy), random)
    const outcome = await openAndRead(copy, records, `STONELOG_SEED=${seed}: ${what}`)
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
  }
  console.log(`${rounds} damages: ${JSON.stringify(outcomes)}`)
}

it('of a closed log that is damaged in any way: a typed error, or every record', async () => {
  const records = bigRecords(24)
  const ways = [flip, loseSector, flip, exchangeSectors, flip, cut, remove, exchangeFiles]
  await damageAgainAndAgain(await makeLog(records), records, ways, 64)
}, 180_000)

it('of a killed log in which a byte flips: a typed error, or every record', async () => {
  const records = Array.from({ length: 60 }, (_, i) => `record ${i + 1} `.padEnd(700, 'y'))
  await damageAgainAndAgain(await makeKilledLog(records), records, [flip], 24)
}, 180_000)
