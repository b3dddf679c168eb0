import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'
import { describe, expect, it } from 'vitest'
import { codeOf, describeValue, fromCode, fromNative, WalError } from '../../lib/errors.js'
import { nativeError } from '../fixtures/fake-native.js'

describe('codes', () => {
  it('are those of native/io/status.h, number by number', () => {
    const header = readFileSync(new URL('../../native/io/status.h', import.meta.url), 'utf8')
    const body = header.match(/enum class Code[^{]*\{([^}]*)\}/)![1]!
    const codes = [...body.matchAll(/(\w+) = (\d+),/g)].filter(([, name]) => name !== 'ok')
    expect(codes.length).toBeGreaterThanOrEqual(16)
    for (const [, name, number] of codes) {
      expect(codeOf(Number(number))).toBe(`WAL_${name!.toUpperCase()}`)
    }
  })

  it('that are unknown become WAL_IO rather than undefined', () => {
    expect(codeOf(999)).toBe('WAL_IO')
  })
})

describe('WalError', () => {
  it('has only the facts that apply', () => {
    const error = new WalError('WAL_IO', 'text', { errno: -5, lsn: undefined })
    expect(Object.keys(error)).toEqual(['code', 'errno'])
    expect(error).toMatchObject({ name: 'WalError', message: 'text' })
    expect('cause' in error).toBe(false)
  })

  it('is an AbortError when aborted', () => {
    expect(new WalError('WAL_ABORTED', 'text').name).toBe('AbortError')
  })
})

describe('a native error', () => {
  const failure = nativeError({
    code: 7,
    message: 'the device failed a write',
    errno: constants.errno.EIO,
    syscall: 'pwritev2',
    path: 'wal/0001.wal',
    segment: 1,
    offset: 4096,
  })

  it('becomes one sentence: what happened, where, what to do', () => {
    expect(fromNative(failure, 'writing the log').message).toBe(
      'writing the log failed at wal/0001.wal, segment 1, offset 4096: the device failed a ' +
        'write, i/o error (EIO in pwritev2); check the device and the permissions, then open ' +
        'the log again',
    )
  })

  it('carries its facts, errno as Node has it', () => {
    const error = fromNative(failure, 'writing', { lsn: 7, epoch: 2, outcome: 'indeterminate' })
    expect(error).toMatchObject({
      code: 'WAL_IO',
      syscall: 'pwritev2',
      path: 'wal/0001.wal',
      segment: 1,
      offset: 4096,
      lsn: 7,
      epoch: 2,
      outcome: 'indeterminate',
    })
    expect(getSystemErrorName(error.errno!)).toBe('EIO')
  })

  it('without details still says something', () => {
    const error = fromNative(nativeError({ code: 3, pid: 42 }), 'opening', { directory: 'wal' })
    expect(error).toMatchObject({ code: 'WAL_LOCKED', pid: 42 })
    expect(error.message).toMatch(/^opening failed at wal: held by process 42; close the log/)
    expect(error.errno).toBeUndefined()
  })

  it.each([
    ['ENOSPC', /no space left on device.*; free space on that file system.*or minFreeBytes$/],
    ['EFBIG', /files of that size \(EFBIG in fallocate\); raise its file-size limit.*ulimit -f/],
    ['EDQUOT', /quota .* is used up \(EDQUOT in fallocate\); free space within the quota/],
  ] as const)('for want of space says which: %s', (name, text) => {
    const errno = constants.errno[name]
    const error = fromNative(nativeError({ code: 4, errno, syscall: 'fallocate' }), 'appending')
    expect(error.code).toBe('WAL_NO_SPACE')
    expect(error.message).toMatch(text)
    expect(error.errno).toBe(-errno)
    if (name !== 'ENOSPC') expect(error.message).not.toMatch(/that file system|disk/)
  })

  it('of an unknown errno is named by number', () => {
    expect(fromNative(nativeError({ errno: 9999 }), 'x').message).toMatch(/errno 9999/)
  })
})

it('a refused admission names the remedy', () => {
  const error = fromCode(-5, 'appending', { outcome: 'not-written' })
  expect(error).toMatchObject({ code: 'WAL_BACKPRESSURE', outcome: 'not-written' })
  expect(error.message).toBe(
    'appending failed: the queue is full, or the next segment is not ready yet; ' +
      'wait for ready(), or raise queueBytes',
  )
})

it('values are described by type', () => {
  const values = [undefined, null, [], {}, new Float64Array(1), 'text', 1.5, () => {}, 3n]
  expect(values.map(describeValue)).toEqual([
    'undefined',
    'null',
    'an array',
    'an Object',
    'a Float64Array',
    '"text"',
    'number 1.5',
    'a function',
    'bigint 3',
  ])
})
