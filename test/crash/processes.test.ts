// What a process meets: limits, children, other names of a directory, clocks that jump.
import { execFileSync, spawn } from 'node:child_process'
import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Wal } from 'stonelog'
import { expect, it } from 'vitest'
import {
  expectCode,
  lsnsFrom,
  makeDirectory,
  open,
  packageRoot,
  readLsns,
} from '../fixtures/log.js'
import { ended, start, stonelog } from '../fixtures/process.js'

/** Runs a fixture in a shell that has set its limits. */
function startLimited(limit: string, script: string, args: string[]) {
  const command = `${limit}; exec "$@"`
  const path = join(packageRoot, 'test/fixtures', script)
  return ended(spawn('bash', ['-c', command, 'bash', process.execPath, path, ...args]))
}

it('a limit of the size of files refuses records without killing the process', async () => {
  const directory = makeDirectory()
  const limited = await startLimited('ulimit -f 600', 'limited.mjs', [directory])
  const { code, signal, stdout, stderr } = limited
  expect({ code, signal }).toEqual({ code: 0, signal: null })
  expect(stdout).toBe('WAL_NO_SPACE -27 not-written 0\n')
  expect(stderr).toMatch(/may not write files of that size .* raise its file-size limit/)
  expect(await (await open(directory)).append('without the limit')).toBe(1)
})

it('a queue for which there is no memory is an error of opening, and begins nothing', async ({
  skip,
}) => {
  const limited = await startLimited('ulimit -v 3000000', 'starved.mjs', [makeDirectory()])
  // A build with sanitizers, or another runtime, may not even start so.
  if (limited.stdout === '') return skip('this process cannot live with limited memory')
  expect(limited).toMatchObject({ code: 0, signal: null })
  expect(limited.stdout).toBe('WAL_IO -12 mmap\nopened 1\n')
})

it('a limit that is met by an open segment stops the log without killing the process', async ({
  skip,
}) => {
  try {
    execFileSync('prlimit', ['--version'])
  } catch {
    return skip('needs prlimit')
  }
  const directory = makeDirectory()
  const { code, signal, stdout } = await ended(start('limited.mjs', [directory, '100000']))
  expect({ code, signal }).toEqual({ code: 0, signal: null })
  // Writing zeros ahead may have met the limit first.
  const [, durable] = /^WAL_(?:IO|POISONED) -27 (?:indeterminate|not-written) (\d+)\n$/.exec(
    stdout,
  )!
  const wal = await open(directory)
  expect(wal.recovery.verdict).not.toBe('corrupt')
  expect(wal.lastLsn).toBeGreaterThanOrEqual(Number(durable))
})

it('another name of a directory is the same log', async () => {
  const wal = await open()
  const alias = join(makeDirectory(), 'alias')
  symlinkSync(wal.directory, alias)
  const same = await open(alias)
  expect([await wal.append('a'), await same.append('b')]).toEqual([1, 2])
  expect(same.epoch).toBe(wal.epoch)
  const { code, stderr } = await stonelog(['append', alias], 'c\n')
  expect({ code, stderr }).toEqual({ code: 3, stderr: expect.stringMatching(/WAL_LOCKED/) })
  await wal.close()
  expect(await same.append('c')).toBe(3)
})

it('a worker of a cluster is refused while the primary writes, and inherits nothing', async () => {
  const { code, stdout, stderr } = await ended(start('cluster.mjs', [makeDirectory()]))
  expect({ code, stdout, stderr }).toEqual({
    code: 0,
    stdout: 'WAL_LOCKED true\nworker 3\n',
    stderr: '',
  })
})

/** A library that lets the wall clock jump back and forth by days, from call to call. */
function makeJumpingClock(directory: string): string | undefined {
  const source = join(directory, 'clock.c')
  const library = join(directory, 'clock.so')
  writeFileSync(
    source,
    `#define _GNU_SOURCE
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    int clock_gettime(clockid_t clock, struct timespec* time) {
      static unsigned calls;
      const int result = syscall(SYS_clock_gettime, clock, time);
      if (clock == CLOCK_REALTIME) time->tv_sec += (++calls * 7919u % 21u) * 86400 - 864000;
      return result;
    }`,
  )
  try {
    execFileSync('cc', ['-shared', '-fPIC', '-o', library, source], { stdio: 'ignore' })
    return library
  } catch {
    return undefined
  }
}

it('a wall clock that jumps changes no order and no verdict', async ({ skip }) => {
  const base = makeDirectory()
  const library = makeJumpingClock(base)
  if (library === undefined) return skip('needs a C compiler named cc')
  const directory = join(base, 'wal')
  const lines = Array.from({ length: 400 }, (_, index) => `${index + 1} `.padEnd(2000, '.'))
  for (const part of [lines.slice(0, 200), lines.slice(200)]) {
    // Behind a sanitizer's library, which must be the first.
    const preloaded = [process.env.LD_PRELOAD, library].filter((path) => path !== undefined)
    const env = { ...process.env, LD_PRELOAD: preloaded.join(':') }
    const args = [join(packageRoot, 'dist/cli/main.js'), 'append', directory]
    const child = spawn(process.execPath, args, { env })
    child.stdin.end(`${part.join('\n')}\n`)
    expect(await ended(child)).toMatchObject({ code: 0, stderr: '' })
  }
  const report = await Wal.verify(directory)
  expect(report).toMatchObject({ verdict: 'clean', closed: true, records: 400 })
  const wal = await open(directory)
  expect(await readLsns(wal)).toEqual(lsnsFrom(1, 400))
  const times: number[] = []
  for await (const { timestamp } of wal.read()) times.push(Number(timestamp))
  // It did jump.
  const back = times.filter((time, index) => index > 0 && time < times[index - 1]! - 1000)
  expect(back.length).toBeGreaterThan(0)
  await expectCode(wal.flush(500), 'WAL_BAD_ARGUMENT')
})
