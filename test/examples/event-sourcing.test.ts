// The bank is killed in the middle of transfers; no money appears or disappears.
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
// @ts-expect-error: JavaScript, without types
import { Bank } from '../../examples/event-sourcing/bank.mjs'
import { killAfter, startExample } from '../fixtures/example.js'
import { makeDirectory } from '../fixtures/log.js'

const TOTAL = 10_000
const isAcknowledged = (line: string) => line.startsWith('acknowledged ')

it('keeps every acknowledged transfer and the total, whenever it is killed', async () => {
  const directory = makeDirectory()
  for (let life = 1; life <= 3; life++) {
    const example = startExample('event-sourcing/main.mjs', ['100000'], { DIRECTORY: directory })
    const lines = await killAfter(example, 300, isAcknowledged)
    const lsns = lines.filter(isAcknowledged).map((line) => Number(line.split(' ')[1]))

    const bank = await Bank.open(directory)
    const replayed = await Bank.open(directory, { useSnapshot: false })
    expect(bank.total).toBe(TOTAL)
    expect(bank.lsn).toBeGreaterThanOrEqual(Math.max(...lsns))
    expect(replayed.toJSON()).toEqual(bank.toJSON())
    await Promise.all([bank.close(), replayed.close()])
  }
  expect(existsSync(join(directory, 'snapshot.json'))).toBe(true)
  rmSync(join(directory, 'snapshot.json'))
  const last = startExample('event-sourcing/main.mjs', ['50'], { DIRECTORY: directory })
  expect(await last.end).toEqual({ code: 0, signal: null })
  expect(last.lines.at(-1)).toContain(`total ${TOTAL},`)
}, 120_000)

it('never promises the same money twice', async () => {
  const bank = await Bank.open(makeDirectory())
  await bank.deposit('a', 10)
  const results = await Promise.allSettled([1, 2, 3].map(() => bank.transfer('a', 'b', 6)))
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected'])
  expect([bank.balance('a'), bank.balance('b')]).toEqual([4, 6])
  await bank.close()
})
