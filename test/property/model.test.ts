// Any sequence of calls behaves as an array would. A finding replays from the printed seed:
// STONELOG_SEED=… npx vitest run test/property
import fc from 'fast-check'
import { Wal } from 'stonelog'
import { afterAll, expect, it } from 'vitest'
import { makeDirectory, SMALL } from '../fixtures/log.js'

/** What the log must hold: records[i] has LSN i + 1; those below firstLsn have been released. */
interface Model {
  records: string[]
  firstLsn: number
}
interface Real {
  directory: string
  wal: Wal
}
type Command = fc.AsyncCommand<Model, Real>

/** A text of exactly that many bytes that tells which record it is. */
const payload = (size: number, lsn: number) => `${lsn}:`.padEnd(size, '.').slice(0, size)

/** A command by its name and what it does; always allowed. */
function command(name: string, run: (model: Model, real: Real) => Promise<void>): Command {
  return { check: () => true, run, toString: () => name }
}

async function retried<T>(wal: Wal, call: () => T | Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if ((error as { code?: string }).code !== 'WAL_BACKPRESSURE') throw error
      await wal.ready()
    }
  }
}

const append = (size: number, how: 'append' | 'write' | 'appendSync') =>
  command(`${how}(${size})`, async (model, { wal }) => {
    const lsn = model.records.length + 1
    const text = payload(size, lsn)
    expect(await retried(wal, () => wal[how](text))).toBe(lsn)
    model.records.push(text)
  })

const appendBatch = (sizes: number[]) =>
  command(`appendBatch(${sizes})`, async (model, { wal }) => {
    const first = model.records.length + 1
    const texts = sizes.map((size, index) => payload(size, first + index))
    const last = first + texts.length - 1
    expect(await retried(wal, () => wal.appendBatch(texts))).toEqual({ first, last })
    model.records.push(...texts)
  })

const flush = () =>
  command('flush()', async (model, { wal }) => {
    expect(await wal.flush()).toBe(model.records.length)
    expect(wal.durableLsn).toBe(model.records.length)
  })

const truncate = (part: number) =>
  command(`truncate(${part})`, async (model, { wal }) => {
    const lsn = 1 + Math.floor(part * model.records.length)
    const firstLsn = await wal.truncateBefore(lsn)
    expect(firstLsn).toBeGreaterThanOrEqual(model.firstLsn)
    expect(firstLsn).toBeLessThanOrEqual(Math.max(lsn, model.firstLsn))
    model.firstLsn = firstLsn
  })

const reopen = () =>
  command('reopen()', async (model, real) => {
    await real.wal.close()
    const { epoch } = real.wal
    real.wal = await Wal.open(real.directory, SMALL)
    expect(real.wal.recovery).toMatchObject({ verdict: 'clean', closed: true, lost: [] })
    expect(real.wal.recovery).toMatchObject({ firstLsn: model.firstLsn })
    expect(real.wal.lastLsn).toBe(model.records.length)
    expect(real.wal.epoch).toBeGreaterThan(epoch)
  })

const read = (fromPart: number, toPart: number) =>
  command(`read(${fromPart}, ${toPart})`, async (model, { wal }) => {
    await wal.flush()
    const span = model.records.length + 2 - model.firstLsn
    const from = model.firstLsn + Math.floor(fromPart * span)
    const to = model.firstLsn + Math.floor(toPart * span)
    const seen: string[] = []
    for await (const { lsn, data } of wal.read({ from, to })) {
      expect(lsn).toBe(from + seen.length)
      seen.push(data.toString())
    }
    expect(seen).toEqual(model.records.slice(from - 1, to))
  })

const size = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 300 }) },
  // Around sectors and blocks, and the largest there is.
  { weight: 2, arbitrary: fc.integer({ min: 440, max: 560 }) },
  { weight: 2, arbitrary: fc.integer({ min: 3980, max: 4140 }) },
  { weight: 1, arbitrary: fc.constantFrom(20_000, 65_535, 65_536) },
)
const part = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const commands = fc.commands(
  [
    fc.tuple(size, fc.constantFrom('append', 'write', 'appendSync')).map((args) => append(...args)),
    fc.array(fc.integer({ min: 0, max: 3000 }), { minLength: 1, maxLength: 20 }).map(appendBatch),
    fc.constant(flush()),
    part.map(truncate),
    fc.constant(reopen()),
    fc.tuple(part, part).map((args) => read(...args)),
  ],
  { maxCommands: 60, size: 'max' },
)

const seed = Number(process.env.STONELOG_SEED ?? Date.now() % 2 ** 31)
afterAll(() => console.log(`property tests ran with STONELOG_SEED=${seed}`))

it('any sequence of calls behaves as an array would', async () => {
  const property = fc.asyncProperty(commands, async (sequence) => {
    const directory = makeDirectory()
    const real = { directory, wal: await Wal.open(directory, SMALL) }
    const setup = () => ({ model: { records: [], firstLsn: 1 }, real })
    try {
      await fc.asyncModelRun(setup, sequence)
    } finally {
      await real.wal.close()
    }
  })
  await fc.assert(property, { seed, numRuns: 40 })
}, 180_000)
