import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Wal } from 'stonelog'
import { describe, expect, it } from 'vitest'
import { damage, makeDirectory, makeLog, open, packageRoot, readTexts } from '../fixtures/log.js'
import { makeKilledLog, makeTornLog, stonelog } from '../fixtures/process.js'

describe('stonelog append', () => {
  it('makes each line a record and prints the last durable LSN', async () => {
    const directory = makeDirectory()
    const ended = await stonelog(['append', directory], 'one\n\nthree\r\nwithout newline')
    expect(ended).toMatchObject({ code: 0, stdout: '4\n', stderr: '' })
    expect(await readTexts(await open(directory))).toEqual([
      'one',
      '',
      'three\r',
      'without newline',
    ])
  })

  it('of more than the queue holds waits and loses nothing', async () => {
    const directory = makeDirectory()
    const lines = Array.from({ length: 50_000 }, (_, index) => `${index}`.padEnd(1000, '.'))
    expect(await stonelog(['append', directory], `${lines.join('\n')}\n`)).toMatchObject({
      code: 0,
      stdout: '50000\n',
    })
    const { stdout } = await stonelog(['verify', directory, '--json'])
    expect(JSON.parse(stdout)).toMatchObject({ verdict: 'clean', records: 50_000 })
  })

  it('of nothing prints 0', async () => {
    expect(await stonelog(['append', makeDirectory()])).toMatchObject({ code: 0, stdout: '0\n' })
  })
})

describe('stonelog cat', () => {
  it('prints each record and a newline', async () => {
    const directory = await makeLog(['a', '', Uint8Array.of(0, 255), 'd'])
    const { code, stdout } = await stonelog(['cat', directory, '--to', '2'])
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'a\n\n' })
    expect((await stonelog(['cat', directory, '--from=4'])).stdout).toBe('d\n')
  })

  it('of a torn log prints what is whole and exits with 0', async () => {
    const directory = await makeTornLog(['first payload', 'second payload'], 'second payload')
    expect(await Wal.verify(directory)).toMatchObject({ verdict: 'torn-tail' })
    const { code, stdout } = await stonelog(['cat', directory])
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'first payload\n' })
  })

  it('of a damaged log prints what comes before and exits with 1', async () => {
    const directory = await makeLog(['first payload', 'second payload'])
    damage(directory, 'second payload')
    expect(await stonelog(['cat', directory])).toMatchObject({
      code: 1,
      stdout: 'first payload\n',
      stderr: expect.stringMatching(/WAL_CORRUPT/),
    })
  })
})

describe('--recovery', () => {
  const payloads = ['first payload', 'second payload', 'third payload']
  const makeDamagedLog = async () => {
    // A group each; idle until the durable watermark is published.
    const directory = await makeKilledLog(payloads, 300)
    damage(directory, 'second payload')
    return directory
  }

  it('of cat says what to print of a damaged log, changing nothing, and exits with 1', async () => {
    const directory = await makeDamagedLog()
    const printed = async (mode: string) => stonelog(['cat', directory, '--recovery', mode])
    expect(await printed('strict')).toMatchObject({ code: 1, stdout: '' })
    expect(await printed('point-in-time')).toMatchObject({ code: 1, stdout: 'first payload\n' })
    expect(await printed('salvage')).toMatchObject({
      code: 1,
      stdout: 'first payload\nthird payload\n',
      stderr: expect.stringMatching(/lost LSN 2 to 2/),
    })
    expect(await Wal.verify(directory)).toMatchObject({ verdict: 'corrupt', records: 1 })
  })

  it('of append accepts damage that is refused without it', async () => {
    const directory = await makeDamagedLog()
    expect(await stonelog(['append', directory], 'fourth')).toMatchObject({ code: 1 })
    expect(await stonelog(['append', directory, '--recovery=salvage'], 'fourth')).toMatchObject({
      code: 0,
      stdout: '4\n',
    })
    expect(await stonelog(['cat', directory])).toMatchObject({
      code: 0,
      stdout: 'first payload\nthird payload\nfourth\n',
    })
  })
})

describe('--segment-bytes', () => {
  it('makes room for a longer record', async () => {
    const directory = makeDirectory()
    const text = 'x'.repeat(70_000)
    const small = ['append', directory, '--segment-bytes']
    expect(await stonelog([...small, '131072'], text)).toMatchObject({ code: 3, stdout: '0\n' })
    expect(await stonelog([...small, '262144'], text)).toMatchObject({ code: 0, stdout: '1\n' })
    expect(readdirSync(directory)).toContain('00000000000000000001.wal')
  })
})

describe('stonelog verify', () => {
  it('reports in words and in JSON', async () => {
    const directory = await makeLog(['a', 'b'])
    const words = await stonelog(['verify', directory])
    expect(words).toMatchObject({ code: 0, stdout: expect.stringMatching(/^verdict +clean/) })
    const json = await stonelog(['verify', directory, '--json'])
    expect(JSON.parse(json.stdout)).toMatchObject({ verdict: 'clean', closed: true, records: 2 })
  })

  it('says truly whether the log is open, new, closed or left open', async () => {
    const state = async (directory: string) =>
      (await stonelog(['verify', directory])).stdout.match(/^verdict +clean \((.*)\)$/m)?.[1]
    const wal = await open()
    expect(await state(wal.directory)).toBe('open by a writer') // live and empty
    await wal.append('a')
    expect(await state(wal.directory)).toBe('open by a writer')
    await wal.close()
    expect(await state(wal.directory)).toBe('closed properly')
    expect(await state(makeDirectory())).toBe('new')
    expect(await state(await makeKilledLog([]))).toBe('not closed properly')
    expect(await state(await makeKilledLog(['a']))).toBe('not closed properly')
  })

  it('of a damaged log exits with 1', async () => {
    const directory = await makeLog(['first payload', 'second payload'])
    damage(directory, 'first payload')
    expect(await stonelog(['verify', directory])).toMatchObject({ code: 1 })
  })
})

describe('exit codes', () => {
  it.each([
    [[]],
    [['frobnicate']],
    [['toString']],
    [['cat']],
    [['cat', 'a', 'b']],
    [['cat', 'a', '--from', 'x']],
    [['verify', 'a', '--jsn']],
    [['cat', 'a', '--recovery', 'salvge']],
    [['append', 'a', '--segment-bytes', '1e6']],
    [['append', 'a', '--segment-bytes', '12']],
  ])('%j is usage, 2', async (args) => {
    const { code, stderr } = await stonelog(args)
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringMatching(/\nusage: stonelog/),
    })
  })

  it.each(['cat', 'verify'])('%s of a missing directory is 3', async (command) => {
    const { code, stderr } = await stonelog([command, join(makeDirectory(), 'missing')])
    expect({ code, stderr }).toEqual({ code: 3, stderr: expect.stringMatching(/WAL_NOT_FOUND/) })
  })

  it.each([
    [['--help']],
    [['-h']],
    [['help']],
    [['append', '--help']],
    [['cat', '--help']],
    [['cat', 'a', '-h']],
    [['verify', '--json', '--help']],
  ])('of %j is 0, and help goes to stdout', async (args) => {
    expect(await stonelog(args)).toEqual({
      code: 0,
      signal: null,
      stdout: expect.stringMatching(/^usage: stonelog append DIR/),
      stderr: '',
    })
  })

  it.each([[['--version']], [['append', '--version']]])('of %j is 0', async (args) => {
    const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'))
    expect(await stonelog(args)).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' })
  })

  it('of a directory called --help, behind --, is that of the command', async () => {
    expect(await stonelog(['cat', '--', '--help'])).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/WAL_NOT_FOUND/),
    })
  })
})
