import { existsSync, readdirSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import {
  appendAll,
  bigRecords,
  damage,
  errorOf,
  expectCode,
  lsnsFrom,
  makeDirectory,
  makeLog,
  open,
  readLsns,
  readTexts,
  segmentFiles,
} from '../fixtures/log.js'

/**
 * Makes a log of a record alone and of others that share one group, each for itself. A batch would
 * be one group for certain, but is handed out whole or not at all. Where the log makes more groups
 * of a burst, all is arranged again.
 */
async function makeLogOfTwoGroups(alone: string, together: string[]): Promise<string> {
  for (let tries = 1; ; tries++) {
    const wal = await open()
    await wal.append(alone)
    await Promise.all(together.map((text) => wal.append(text)))
    const { groups, controlGroups } = wal.stats()
    await wal.close()
    if (groups - controlGroups === 2) return wal.directory
    expect(tries, `${groups - controlGroups} groups instead of 2`).toBeLessThan(10)
  }
}

describe('reading', () => {
  it('gives LSN, data, time and epoch', async () => {
    const wal = await open()
    const before = Date.now()
    await wal.append('a')
    for await (const { lsn, data, timestamp, epoch } of wal.read()) {
      expect({ lsn, data, epoch }).toEqual({ lsn: 1, data: Buffer.from('a'), epoch: wal.epoch })
      expect(timestamp).toBeGreaterThanOrEqual(before - 1)
      expect(timestamp).toBeLessThanOrEqual(Date.now() + 1)
    }
  })

  it.each([
    [{}, lsnsFrom(1, 50)],
    [{ from: 30 }, lsnsFrom(30, 50)],
    [{ to: 3 }, [1, 2, 3]],
    [{ from: 7, to: 7 }, [7]],
    [{ from: 8, to: 7 }, []],
    [{ from: 51 }, []],
    [{ from: 1000, to: 2000 }, []],
    [{ from: 49, to: Number.POSITIVE_INFINITY }, [49, 50]],
  ])('%j across segments gives exactly that range', async (range, lsns) => {
    const wal = await open(await makeLog(bigRecords(50)))
    expect(segmentFiles(wal.directory).length).toBeGreaterThan(5)
    expect(await readLsns(wal, range)).toEqual(lsns)
  })

  it('from below firstLsn is WAL_NOT_FOUND at the first step', async () => {
    const wal = await open()
    const reader = wal.read({ from: 0 })
    await expectCode(reader.next(), 'WAL_NOT_FOUND')
    expect(await reader.next()).toEqual({ value: undefined, done: true })
  })

  it('in batches gives the same records', async () => {
    const wal = await open()
    const texts = lsnsFrom(1, 5000).map((lsn) => `record ${lsn}`)
    await Promise.all(texts.map((text) => wal.append(text)))
    const seen: string[] = []
    for await (const batch of wal.readBatches()) {
      expect([...batch]).toHaveLength(batch.length)
      for (const { data } of batch) seen.push(data.toString())
    }
    expect(seen).toEqual(texts)
  })

  it('goes on while the log is appended to, and ends', async () => {
    const wal = await open()
    await wal.append('1')
    let count = 0
    for await (const { lsn } of wal.read()) {
      count = lsn
      if (lsn < 3) await wal.append(`${lsn + 1}`)
    }
    expect(count).toBeGreaterThanOrEqual(1)
    expect(await readTexts(wal)).toEqual(['1', '2', '3'].slice(0, wal.lastLsn))
  })

  it('reads what was appended while a slab was worked off', async () => {
    // Three slabs: with the third one at hand, whoever reads ahead may have met the end of the log.
    const wal = await open(await makeLog(bigRecords(30)))
    const batches = wal.readBatches()
    const before = [await batches.next(), await batches.next()]
    const count = before[0]!.value!.length + before[1]!.value!.length
    expect(count).toBeLessThan(30)
    await setTimeout(100)
    await wal.append('later')
    const texts: string[] = []
    for await (const batch of batches) {
      for (const { data } of batch) texts.push(data.toString())
    }
    expect(texts).toEqual([...bigRecords(30), 'later'].slice(count))
  })

  it('hands out data that later reads and appends do not change', async () => {
    const wal = await open(await makeLog(bigRecords(20)))
    const kept: Buffer[] = []
    for await (const { data } of wal.read()) kept.push(data)
    await appendAll(wal, bigRecords(20))
    expect(kept.map((data) => data.toString())).toEqual(bigRecords(20))
  })

  it('left early releases its reader, a thousand times over', async () => {
    const wal = await open(await makeLog(bigRecords(20)))
    for (let round = 0; round < 1000; round++) {
      for await (const { lsn } of wal.read()) if (lsn === 1) break
    }
    const reader = wal.readBatches()
    await reader.next()
    expect(await reader.return?.()).toEqual({ value: undefined, done: true })
  })

  it('damage in the middle of a group throws there, after the records before it', async () => {
    const texts = Array.from({ length: 500 }, (_, i) => `record ${i + 1} ${'.'.repeat(100)}`)
    const directory = await makeLogOfTwoGroups('alone', texts)
    damage(directory, 'record 300 ')
    const wal = await open(directory)
    const seen: string[] = []
    const iterate = async (range?: object) => {
      for await (const { data } of wal.read(range)) seen.push(data.toString())
    }
    await expectCode(iterate(), 'WAL_CORRUPT')
    // A sector holds less than five of these records.
    expect(seen.length).toBeGreaterThan(1 + 299 - 6)
    expect(seen.length).toBeLessThanOrEqual(1 + 299)
    expect(seen).toEqual(['alone', ...texts].slice(0, seen.length))
    seen.length = 0
    await iterate({ from: 2, to: 200 })
    expect(seen).toEqual(texts.slice(0, 199))
    for await (const { timestamp, epoch, lsn } of wal.read({ from: 100, to: 150 })) {
      expect({ lsn, epoch }).toEqual({ lsn, epoch: 1 })
      expect(Math.abs(Date.now() - timestamp)).toBeLessThan(60_000)
    }
    for await (const { buffer } of wal.readBatches({ from: 100, to: 150 })) {
      expect(buffer.length).toBeLessThan(2 * texts.slice(98, 149).join('').length)
    }
  })

  it('damage in the middle of a batch hands out nothing of it', async () => {
    const large = { segmentBytes: 8 << 20, queueBytes: 4 << 20, maxRecordBytes: 1 << 20 }
    for (const count of [20, 5000]) {
      const directory = makeDirectory()
      const writer = await open(directory, large)
      const records = Array.from({ length: count }, (_, i) => `part ${i + 1} ${'.'.repeat(100)}`)
      await Promise.all([writer.append('before'), writer.appendBatch(records)])
      await writer.append('after')
      await writer.close()
      damage(directory, `part ${count - 5} `)
      const wal = await open(directory, large)
      for (const from of [1, 2]) {
        const seen: string[] = []
        const iterate = async () => {
          for await (const { data } of wal.read({ from })) seen.push(data.toString())
        }
        await expectCode(iterate(), 'WAL_CORRUPT')
        expect(seen).toEqual(from === 1 ? ['before'] : [])
      }
    }
  })

  it('damage in a sealed segment throws there, after everything before it', async () => {
    const directory = await makeLog(bigRecords(20))
    damage(directory, 'record 3 ')
    const wal = await open(directory)
    const seen: number[] = []
    const error = await errorOf(async () => {
      for await (const { lsn } of wal.read()) seen.push(lsn)
    })
    expect(seen).toEqual([1, 2])
    expect(error).toMatchObject({ code: 'WAL_CORRUPT', segment: expect.any(Number) })
    expect(await readLsns(wal, { from: 10, to: 12 })).toEqual([10, 11, 12])
  })

  it('after close is WAL_CLOSED', async () => {
    const wal = await open(await makeLog(['a']))
    await wal.close()
    await expectCode(wal.read().next(), 'WAL_CLOSED')
  })
})

describe('a reader that nobody ends', () => {
  const descriptors = () => readdirSync('/proc/self/fd').length
  // Of 60 readers; the log opens and closes a few files of its own.
  const FEW = 15

  it('is over with the last record that was asked for', async ({ skip }) => {
    if (!existsSync('/proc/self/fd')) return skip('no descriptors to count here')
    const wal = await open()
    await appendAll(wal, ['a', 'b', 'c'])
    const before = descriptors()
    for (let count = 0; count < 30; count++) {
      // Two readers each time.
      const { value } = await wal.read({ from: 2, to: 2 }).next()
      expect(value.data.toString()).toBe('b')
      await wal.readBatches({ from: 1, to: 3 }).next()
    }
    expect(descriptors()).toBeLessThan(before + FEW)
  })

  it('is closed when it is collected', async ({ skip }) => {
    if (!existsSync('/proc/self/fd')) return skip('no descriptors to count here')
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const wal = await open()
    await appendAll(wal, ['a', 'b', 'c'])
    const before = descriptors()
    const abandon = async () => {
      const held = Array.from({ length: 60 }, () => wal.read({ from: 2 }))
      for (const reader of held) await reader.next()
      expect(descriptors()).toBeGreaterThan(before + FEW)
      expect(held).toHaveLength(60)
    }
    await abandon()
    await expect
      .poll(() => {
        collect()
        return descriptors()
      })
      .toBeLessThan(before + FEW)
  })
})

it('small records share memory, which cannot be taken away from the others', async () => {
  const wal = await open()
  await appendAll(wal, ['a', 'b', 'c'])
  const kept: Buffer[] = []
  for await (const { data } of wal.read()) {
    kept.push(data)
    const memory = data.buffer as ArrayBuffer
    // Node 20 copies it instead, later ones throw.
    try {
      structuredClone(memory, { transfer: [memory] })
    } catch (error) {
      expect(error).toMatchObject({ name: 'DataCloneError' })
    }
  }
  expect(kept.map(String)).toEqual(['a', 'b', 'c'])
})
