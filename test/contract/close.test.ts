import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Wal } from 'stonelog'
import { describe, expect, it } from 'vitest'
import { expectCode, makeDirectory, open, readTexts, SMALL } from '../fixtures/log.js'
import { stonelog } from '../fixtures/process.js'

describe('close', () => {
  it('makes everything durable and settles every promise', async () => {
    const wal = await open()
    const appends = Array.from({ length: 100 }, (_, index) => wal.append(`${index}`))
    wal.write('queued')
    await wal.close()
    expect(await Promise.all(appends)).toHaveLength(100)
    const again = await open(wal.directory)
    expect(again.recovery).toMatchObject({ verdict: 'clean', closed: true, lastLsn: 101 })
  })

  it.each(['interval', 'none'] as const)(
    'keeps what was queued at durability %s',
    async (durability) => {
      const wal = await open(makeDirectory(), { durability })
      await wal.append('queued')
      await wal.close()
      expect(await readTexts(await open(wal.directory))).toEqual(['queued'])
    },
  )

  it('twice is the same promise, and every call after it is WAL_CLOSED', async () => {
    const wal = await open()
    expect(wal.close()).toBe(wal.close())
    await wal.close()
    await expectCode(wal.append('a'), 'WAL_CLOSED')
    await expectCode(wal.appendBatch(['a']), 'WAL_CLOSED')
    await expectCode(() => wal.write('a'), 'WAL_CLOSED')
    await expectCode(() => wal.appendSync('a'), 'WAL_CLOSED')
    await expectCode(wal.flush(), 'WAL_CLOSED')
    await expectCode(wal.truncateBefore(1), 'WAL_CLOSED')
  })

  it('comes at the end of `await using`', async () => {
    const wal = await open()
    await wal[Symbol.asyncDispose]()
    await expectCode(wal.flush(), 'WAL_CLOSED')
  })

  it('of one handle leaves the others', async () => {
    const one = await open()
    const two = await open(one.directory)
    await one.append('from one')
    await one.close()
    expect(await two.append('from two')).toBe(2)
    expect(await readTexts(two)).toEqual(['from one', 'from two'])
  })
})

describe('open', () => {
  it('starts a higher epoch in each life', async () => {
    const wal = await open()
    await wal.append('a')
    await wal.close()
    const again = await open(wal.directory)
    expect(again.epoch).toBeGreaterThan(wal.epoch)
    expect(again.recovery).toMatchObject({ epoch: again.epoch, truncatedBytes: 0, lost: [] })
  })

  it('creates missing directories, takes URLs, and refuses other things', async () => {
    const url = pathToFileURL(join(makeDirectory(), 'a/b/'))
    const wal = await Wal.open(url, SMALL)
    expect(await wal.append('a')).toBe(1)
    await wal.close()
    await expectCode(Wal.open(5 as never), 'WAL_BAD_ARGUMENT')
    await expectCode(Wal.open(''), 'WAL_BAD_ARGUMENT')
  })

  it.each([{ create: false }, { readOnly: true }])(
    'of a missing directory with %j is WAL_NOT_FOUND',
    async (options) => {
      await expectCode(Wal.open(join(makeDirectory(), 'missing'), options), 'WAL_NOT_FOUND')
    },
  )

  it('by a second process is WAL_LOCKED and names the first', async () => {
    const wal = await open()
    const { code, stderr } = await stonelog(['append', wal.directory], 'intruder\n')
    expect({ code, stderr }).toEqual({ code: 3, stderr: expect.stringMatching(/WAL_LOCKED/) })
    expect(stderr).not.toMatch(/recovery/) // the mode has nothing to do with it
    expect(stderr).toContain(`process ${process.pid}`)
  })

  it('of an open log with other options is WAL_BAD_OPTION', async () => {
    const wal = await open()
    await expectCode(open(wal.directory, { segmentBytes: 1024 * 1024 }), 'WAL_BAD_OPTION')
  })

  it('that is aborted leaves no lock behind', async () => {
    const directory = makeDirectory()
    const signal = AbortSignal.abort('changed my mind')
    const error = await expectCode(Wal.open(directory, { signal }), 'WAL_ABORTED')
    expect(error).toMatchObject({ name: 'AbortError', cause: 'changed my mind' })
    const controller = new AbortController()
    const opening = Wal.open(directory, { ...SMALL, signal: controller.signal })
    controller.abort()
    await expectCode(opening, 'WAL_ABORTED')
    await expect.poll(async () => (await stonelog(['append', directory], 'a\n')).code).toBe(0)
  })

  it('of many logs at a time keeps them apart', async () => {
    const parent = makeDirectory()
    const wals = await Promise.all(
      Array.from({ length: 5 }, () => open(mkdtempSync(join(parent, 'log-')))),
    )
    await Promise.all(wals.map((wal, index) => wal.append(`log ${index}`)))
    const texts = await Promise.all(wals.map((wal) => readTexts(wal)))
    expect(texts).toEqual(wals.map((_, index) => [`log ${index}`]))
  })
})
