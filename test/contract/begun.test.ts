import { describe, expect, it } from 'vitest'
import type { Wal } from '../../lib/index.js'
import { beginsCommits, makeDirectory, open, warmUp } from '../fixtures/log.js'

async function appendOneByOne(wal: Wal, count = 50): Promise<void> {
  for (let done = 0; done < count; done++) await wal.append('small')
}

describe('a small commit', () => {
  it('is begun by the event loop, which is told of its end at once', async (context) => {
    // The first 16 of a process.
    const others = await open()
    if (!beginsCommits(others)) return context.skip()
    await appendOneByOne(others, 16)
    await warmUp() // if another test was first
    const wal = await open()
    await wal.append('begun at once')
    expect(wal.stats().begun).toBe(1)
    await appendOneByOne(wal)
    const { begun, latency } = wal.stats()
    expect(begun).toBeGreaterThan(25)
    // Nobody but a committer that looks after it some 20 ms later tells of it else.
    const byCommitters = others.stats().latency.write.p50Micros
    expect(latency.write.p50Micros).toBeLessThan(Math.max(5000, 4 * byCommitters))
  })

  it('is begun so by whichever handle of the environment is left alone', async (context) => {
    const directory = makeDirectory()
    const first = await open(directory)
    if (!beginsCommits(first)) return context.skip()
    const second = await open(directory)
    await Promise.all([first.append('x'), second.append('x')])
    await first.close()
    await appendOneByOne(second)
    expect(second.stats().begun).toBeGreaterThan(25)
  })
})
