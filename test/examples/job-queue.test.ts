// The job queue is killed in the middle of the work, again and again.
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { expect, it } from 'vitest'
// @ts-expect-error: JavaScript, without types
import { JobQueue } from '../../examples/job-queue/queue.mjs'
import { killAfter, startExample } from '../fixtures/example.js'
import { makeDirectory, segmentFiles } from '../fixtures/log.js'

const isDone = (line: string) => line.startsWith('done ')
const JOBS = 400

const oldestSegment = (directory: string) =>
  Number.parseInt(basename(segmentFiles(directory)[0]!), 10)

it('every job is done, and none again once it was reported done', async () => {
  const directory = makeDirectory()
  const start = () => startExample('job-queue/main.mjs', [String(JOBS)], { DIRECTORY: directory })
  const reported: string[] = []
  for (let life = 1; life <= 3; life++) {
    const lines = await killAfter(start(), 50, isDone)
    reported.push(...lines.filter(isDone))
  }
  const last = start()
  expect(await last.end).toEqual({ code: 0, signal: null })
  reported.push(...last.lines.filter(isDone))
  expect(new Set(reported).size).toBe(reported.length)

  const outbox = join(directory, 'outbox')
  const letters = readdirSync(outbox).map((name) => readFileSync(join(outbox, name), 'utf8'))
  const expected = Array.from({ length: JOBS }, (_, index) => `letter ${index}`)
  expect(letters.sort()).toEqual(expected.sort())
}, 120_000)

it('the log is released up to the oldest open job', async () => {
  const directory = makeDirectory()
  const options = { segmentBytes: 128 * 1024, minFreeBytes: 0 }
  const queue = await JobQueue.open(directory, options)
  const ids: number[] = []
  for (let round = 0; round < 15; round++) ids.push(...(await queue.add(Array(100).fill('short'))))
  const first = queue.take()
  for (const id of ids.slice(1)) await queue.done(id)
  await queue.close()

  const again = await JobQueue.open(directory, options)
  expect(again.waiting).toBe(1)
  expect(oldestSegment(directory)).toBe(1)
  expect(again.take()).toEqual(first)
  await again.done(first!.id)
  for (let round = 0; round < 1000; round++) {
    const [id] = await again.add(['short'])
    await again.done(id)
  }
  await again.close()
  expect(oldestSegment(directory)).toBeGreaterThan(1)
  const empty = await JobQueue.open(directory, options)
  expect(empty.waiting).toBe(0)
  await empty.close()
}, 120_000)
