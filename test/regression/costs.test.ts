// What does not drift: groups, bytes and durable calls for so many appends.
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { beginsCommits, makeDirectory, open, packageRoot } from '../fixtures/log.js'
import { ended } from '../fixtures/process.js'

const BLOCK = 4096
const RECORD = Buffer.alloc(100, 0x5a)

/** Groups and bytes for records between two looks; those of idle watermarks are taken off. */
async function costOf(wal: Awaited<ReturnType<typeof open>>, work: () => Promise<unknown>) {
  const before = wal.stats()
  await work()
  const after = wal.stats()
  const controls = after.controlGroups - before.controlGroups
  return {
    groups: after.groups - before.groups - controls,
    bytes: after.groupBytes - before.groupBytes - controls * BLOCK,
    syncs: after.syncs - before.syncs,
    records: after.records - before.records,
  }
}

it.each([
  [1, 1],
  [8, 1],
  [64, 2],
  [128, 4],
])('a burst of %i appends of 100 bytes is one group of %i blocks', async (count, blocks) => {
  const wal = await open(makeDirectory(), { segmentBytes: 8 << 20 })
  await wal.append(RECORD)
  const burst = () => Promise.all(Array.from({ length: count }, () => wal.append(RECORD)))
  const cost = await costOf(wal, async () => {
    for (let i = 0; i < 20; i++) await burst()
  })
  // Where synchronous writes are not trusted each group needs a sync.
  const syncs = wal.stats().io.dsync ? 0 : cost.syncs
  expect(cost).toEqual({ groups: 20, bytes: 20 * blocks * BLOCK, syncs, records: 20 * count })
})

it.each([
  [1000, 100, 27],
  [50, 4096, 52],
])('%i writes of %i bytes and a flush are one group of %i blocks', async (count, size, blocks) => {
  const wal = await open(makeDirectory(), { segmentBytes: 64 << 20 })
  const data = Buffer.alloc(size, 0x5a)
  await wal.append(data)
  const { controlGroups } = wal.stats()
  const cost = await costOf(wal, async () => {
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < count; i++) wal.write(data)
      await wal.flush()
    }
  })
  expect(cost.records).toBe(20 * count)
  // A burst that meets an idle watermark on its way to the device does not wait for it.
  const split = cost.groups - 20
  expect(split).toBeGreaterThanOrEqual(0)
  expect(split).toBeLessThanOrEqual(wal.stats().controlGroups - controlGroups)
  expect(cost.bytes).toBeLessThanOrEqual((20 * blocks + split) * BLOCK)
})

it('bulk bytes are at most 1.1 times the payload', async () => {
  const wal = await open(makeDirectory(), { segmentBytes: 64 << 20 })
  const data = Buffer.alloc(4096, 0x5a)
  const count = 4000
  const cost = await costOf(wal, async () => {
    for (let i = 0; i < count; i++) wal.write(data)
    await wal.flush()
  })
  expect(cost.records).toBe(count)
  expect(cost.bytes / (count * data.length)).toBeLessThan(1.1)
})

it('an acknowledged append makes one durable call', async ({ skip }) => {
  // The path is computed: the benchmarks are JavaScript without types.
  const { cannotCount, syncsOf } = await import(join(packageRoot, 'bench/compare/sync-count.mjs'))
  const reason = cannotCount()
  if (reason !== undefined) return skip(reason)
  const directory = makeDirectory()
  mkdirSync(directory, { recursive: true })
  const { perAppend, counts } = await syncsOf('stonelog', directory)
  // A watermark that an idle moment publishes may come in between, a second sync may not.
  expect(perAppend).toBeGreaterThanOrEqual(1)
  expect(perAppend).toBeLessThan(1.5)
  // What the event loop begins by itself must be durable when it is done, and must never wait.
  const begun = Object.keys(counts).filter((kind) => kind.startsWith('io_submit'))
  expect(begun).toEqual(beginsCommits(await open()) ? ['io_submit RWF_DSYNC RWF_NOWAIT'] : [])
})

/**
 * What a process of three lives of a log, of so many lone appends each, does with contexts of
 * asynchronous I/O, and how many commits the event loop began in each life.
 */
async function contextsOf(appends: number): Promise<{ calls: string[]; begun: number[] }> {
  const trace = `${makeDirectory()}.trace`
  const program = `
    import { Wal } from 'stonelog'
    for (let life = 0; life < 3; life++) {
      const wal = await Wal.open(${JSON.stringify(makeDirectory())})
      for (let count = 0; count < ${appends}; count++) await wal.append('small')
      console.log(wal.stats().begun)
      await wal.close()
    }`
  const tracer = ['-f', '-qq', '-e', 'trace=io_setup,io_destroy', '-o', trace]
  const node = [process.execPath, '--input-type=module', '-e', program]
  const { code, stdout } = await ended(spawn('strace', [...tracer, ...node], { cwd: packageRoot }))
  expect(code).toBe(0)
  const calls = readFileSync(trace, 'utf8').match(/\bio_(setup|destroy)\(/g) ?? []
  return { calls, begun: stdout.trim().split('\n').map(Number) }
}

// Giving one up takes some 35 ms, for which the event loop would stand still; so does the end of a
// process that has one.
it('closing a log does not give up the context of asynchronous I/O', async ({ skip }) => {
  const { cannotCount } = await import(join(packageRoot, 'bench/compare/sync-count.mjs'))
  const reason = cannotCount()
  if (reason !== undefined) return skip(reason)
  if (!beginsCommits(await open())) return skip('no commit is begun by the event loop here')
  const { calls, begun } = await contextsOf(150)
  expect(begun.every((count) => count > 0)).toBe(true)
  expect(calls).toEqual(['io_setup('])
})

it('a process that makes only a few commits has no context of asynchronous I/O', async ({
  skip,
}) => {
  const { cannotCount } = await import(join(packageRoot, 'bench/compare/sync-count.mjs'))
  const reason = cannotCount()
  if (reason !== undefined) return skip(reason)
  if (!beginsCommits(await open())) return skip('no commit is begun by the event loop here')
  const { calls, begun } = await contextsOf(5)
  expect(calls).toEqual([])
  expect(begun).toEqual([0, 0, 0])
})
