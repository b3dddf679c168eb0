import { describe, expect, it, test } from 'vitest'
import { Durability } from '../../lib/native.js'
import {
  resolveAppendOptions,
  resolveOptions,
  resolveRange,
  type WalOptions,
} from '../../lib/options.js'
import { RECOVERY_POLICIES } from '../../lib/recovery.js'

const KiB = 1024
const MiB = 1024 * KiB

/** The message an invalid set of options is refused with. */
function refusal(options: unknown): string {
  try {
    resolveOptions(options as WalOptions)
  } catch (error) {
    expect(error).toMatchObject({ name: 'WalError', code: 'WAL_BAD_OPTION' })
    return (error as Error).message
  }
  return expect.fail(`accepted ${JSON.stringify(options)}`)
}

describe('defaults', () => {
  it('are those of the contract', () => {
    expect(resolveOptions()).toEqual({
      durability: Durability.group,
      intervalMs: 100,
      maxDelayMs: 0,
      maxGroupBytes: MiB,
      maxGroupRecords: 65_536,
      pipelineDepth: 2,
      segmentBytes: 64 * MiB,
      maxRecordBytes: 16 * MiB,
      queueBytes: 32 * MiB,
      directIo: 0,
      recovery: 'tolerate-torn-tail',
      readOnly: false,
      create: true,
      minFreeBytes: 128 * MiB,
      fileMode: 0o600,
      logger: undefined,
      signal: undefined,
    })
  })

  it('replace undefined but not null', () => {
    expect(resolveOptions({ intervalMs: undefined }).intervalMs).toBe(100)
    expect(refusal({ intervalMs: null })).toMatch(/intervalMs .* not null/)
  })

  it('of maxRecordBytes are what fits', () => {
    expect(resolveOptions({ segmentBytes: 128 * KiB }).maxRecordBytes).toBe(64 * KiB)
    expect(resolveOptions({ queueBytes: 8 * KiB }).maxRecordBytes).toBe(8 * KiB)
  })

  it('of minFreeBytes follow segmentBytes', () => {
    expect(resolveOptions({ segmentBytes: MiB }).minFreeBytes).toBe(2 * MiB)
    expect(resolveOptions({ segmentBytes: MiB, minFreeBytes: 0 }).minFreeBytes).toBe(0)
  })
})

describe('a misspelt name', () => {
  test.each([
    ['segmentByte', 'segmentBytes'],
    ['durabilty', 'durability'],
    ['readonly', 'readOnly'],
    ['directIO', 'directIo'],
    ['queueSize', 'queueBytes'],
    ['maxRecordByte', 'maxRecordBytes'],
  ])('%s is refused with a suggestion', (name, meant) => {
    expect(refusal({ [name]: 1 })).toBe(`unknown option "${name}"; did you mean "${meant}"?`)
  })

  it('that is like no other gets the list', () => {
    expect(refusal({ zstd: true })).toMatch(
      /unknown option "zstd"; known are durability, .*signal$/,
    )
  })
})

describe('a bad value', () => {
  test.each([
    [{ durability: 'groups' }, /durability cannot be "groups"; did you mean "group"/],
    [{ durability: 1 }, /durability cannot be number 1; known are group, each/],
    [{ durability: 'toString' }, /durability cannot be "toString"/],
    [{ recovery: 'tolerate' }, /recovery cannot be "tolerate"/],
    [{ directIo: true }, /directIo cannot be boolean true/],
    [{ intervalMs: 0 }, /intervalMs must be an integer from 1 to 3600000, not number 0/],
    [{ maxDelayMs: 0.5 }, /maxDelayMs must be an integer .* not number 0.5/],
    [{ maxGroupBytes: 1 }, /maxGroupBytes/],
    [{ maxGroupRecords: 0 }, /maxGroupRecords/],
    [{ pipelineDepth: 17 }, /pipelineDepth/],
    [{ segmentBytes: 128 * KiB - 1 }, /segmentBytes must be an integer from 131072 to 1073741824/],
    [{ segmentBytes: 1024 * MiB + 1 }, /segmentBytes/],
    [{ segmentBytes: '64MiB' }, /segmentBytes .* not "64MiB"/],
    [{ queueBytes: Number.NaN }, /queueBytes .* not number NaN/],
    [{ readOnly: 'yes' }, /readOnly must be true or false, not "yes"/],
    [{ create: 1 }, /create must be true or false/],
    [{ minFreeBytes: -1 }, /minFreeBytes/],
    [{ fileMode: 0o400 }, /fileMode 0o400 keeps the owner from/],
    [{ fileMode: 0o1777 }, /fileMode/],
    [{ logger: {} }, /logger needs a function "info"/],
    [{ logger: { info() {}, warn() {}, error() {}, debug: 1 } }, /"debug" that is no function/],
    [{ signal: {} }, /signal must be an AbortSignal, not an Object/],
    ['data/wal', /options must be an object, not "data\/wal"/],
    [null, /options must be an object, not null/],
  ])('%j is named', (options, message) => {
    expect(refusal(options)).toMatch(message)
  })

  it('maxRecordBytes that cannot fit is refused with the reason', () => {
    const message = refusal({ segmentBytes: MiB, maxRecordBytes: MiB })
    expect(message).toMatch(/maxRecordBytes is 1048576, but at most 983040 fit/)
    expect(resolveOptions({ segmentBytes: MiB, maxRecordBytes: 983_040 }).maxRecordBytes).toBe(
      983_040,
    )
    expect(refusal({ queueBytes: 64 * KiB, maxRecordBytes: 65_537 })).toMatch(/at most 65536 fit/)
  })
})

describe('a good value', () => {
  it('of segmentBytes is rounded up to whole blocks of any device', () => {
    expect(resolveOptions({ segmentBytes: 1_000_000 }).segmentBytes).toBe(MiB)
    expect(resolveOptions({ segmentBytes: 128 * KiB }).segmentBytes).toBe(128 * KiB)
  })

  it('of logger and signal is kept as it is', () => {
    const { signal } = new AbortController()
    expect(resolveOptions({ logger: console, signal })).toMatchObject({ logger: console, signal })
  })

  it('of one append overrides the default', () => {
    expect(resolveAppendOptions({ durability: 'each' }, Durability.none)).toBe(Durability.each)
    expect(resolveAppendOptions({}, Durability.none)).toBe(Durability.none)
  })
})

describe('ranges', () => {
  it('default to everything', () => {
    expect(resolveRange()).toEqual({ from: undefined, to: Number.MAX_SAFE_INTEGER })
    expect(resolveRange({ from: 2, to: Number.POSITIVE_INFINITY }).from).toBe(2)
  })

  test.each([[{ from: -1 }], [{ from: 1.5 }], [{ to: '3' }], [{ form: 1 }], [null]])(
    '%j is a bad argument',
    (range) => {
      expect(() => resolveRange(range as never)).toThrow(
        expect.objectContaining({ code: 'WAL_BAD_ARGUMENT' }),
      )
    },
  )
})

it('every recovery mode has a row, and only salvage skips', () => {
  const rows = Object.entries(RECOVERY_POLICIES)
  expect(rows.map(([mode]) => mode)).toEqual([
    'tolerate-torn-tail',
    'strict',
    'point-in-time',
    'salvage',
  ])
  // refuse 0, cut 1, skip 2
  expect(rows.map(([, row]) => [row.onTornTail, row.onDamage, row.scanAll])).toEqual([
    [1, 0, false],
    [0, 0, false],
    [1, 1, true],
    [1, 2, true],
  ])
})
