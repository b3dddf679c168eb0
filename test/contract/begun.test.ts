import { describe, expect, it } from 'vitest'
import type { Wal } from '../../lib/index.js'
import { beginsCommits, makeDirectory, open } from '../fixtures/log.js'

// The first hundred bursts of a process are left to committers.
async function appendOneByOne(wal: Wal): Promise<void> {
  for (let count = 0; count < 150; count++) await wal.append('small')
}

describe('a small commit', () => {
  it('is begun by the event loop, which is told of its end at once', async (context) => {
    const wal = await open()
    if (!beginsCommits(wal)) return context.skip()
    await appendOneByOne(wal)
    const { begun, latency } = wal.stats()
    expect(begun).toBeGreaterThan(25)
    // Nobody but a committer that looks after it some 20 ms later tells of it else: of every one.
    const soon = latency.write.buckets.filter(({ leMicros }) => leMicros < 15_000).at(-1)
    expect(soon?.count).toBeGreaterThan(5)
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
