// The threads' process is killed; the next one goes on, and nothing is done twice.
import { Wal } from 'stonelog'
import { expect, it } from 'vitest'
import { killAfter, startExample } from '../fixtures/example.js'
import { makeDirectory } from '../fixtures/log.js'

const ITEMS = 1500
const isAcknowledged = (line: string) => line.startsWith('acknowledged ')

it('each result is there exactly once, whenever it is killed', async () => {
  const directory = makeDirectory()
  const args = [String(ITEMS)]
  const env = { DIRECTORY: directory }
  for (let life = 1; life <= 2; life++) {
    const example = startExample('worker-threads/main.mjs', args, env)
    const lines = await killAfter(example, 20, isAcknowledged)
    const acknowledged = lines.filter(isAcknowledged).flatMap((line) => line.split(' ').slice(1))
    const wal = await Wal.open(directory)
    const items = new Set<string>()
    for await (const { data } of wal.read()) items.add(String(JSON.parse(data.toString()).item))
    expect(acknowledged.filter((item) => !items.has(item))).toEqual([])
    await wal.close()
  }
  const last = startExample('worker-threads/main.mjs', args, env)
  expect(await last.end).toEqual({ code: 0, signal: null })
  expect(last.lines.at(-1)).toBe(`${ITEMS} results, LSN 1 to ${ITEMS}`)
  const wal = await Wal.open(directory, { readOnly: true })
  const items: number[] = []
  for await (const { data } of wal.read()) items.push(JSON.parse(data.toString()).item)
  await wal.close()
  expect(items.sort((a, b) => a - b)).toEqual(Array.from({ length: ITEMS }, (_, i) => i))
}, 120_000)
