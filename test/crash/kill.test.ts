// kill -9 at any moment: everything that was acknowledged is there, exactly, life after life.
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { makeDirectory, open } from '../fixtures/log.js'
import { ended, start } from '../fixtures/process.js'

const ROUNDS = 15

/** LSN and payload of each line that the writer finished printing. */
function acknowledged(stdout: string): Array<[lsn: number, text: string]> {
  const lines = stdout.split('\n').slice(0, -1)
  return lines.map((line) => {
    const space = line.indexOf(' ')
    return [Number(line.slice(0, space)), line.slice(space + 1)]
  })
}

it.each([1, 16])(
  'a writer with %d in flight, killed again and again, loses nothing',
  async (inFlight) => {
    const directory = makeDirectory()
    const expected = new Map<number, string>()
    for (let round = 0; round < ROUNDS; round++) {
      const writer = start('writer.mjs', [directory, String(inFlight)])
      const end = ended(writer)
      // From before the lock is taken to well into rotation; on a busy machine, too.
      if (round % 2 === 1) await once(writer.stdout!, 'data')
      await sleep(60 + 25 * round)
      writer.kill('SIGKILL')
      const { stdout, stderr } = await end
      expect(stderr).toBe('')
      for (const [lsn, text] of acknowledged(stdout)) expected.set(lsn, text)

      const wal = await open(directory)
      expect(wal.recovery.verdict).not.toBe('corrupt')
      const seen = new Map<number, string>()
      for await (const { lsn, data } of wal.read()) seen.set(lsn, data.toString())
      for (const [lsn, text] of expected)
        expect(seen.get(lsn), `LSN ${lsn}, round ${round}`).toBe(text)
      expect([...seen.keys()]).toEqual(Array.from(seen, (_, index) => index + 1))
      await wal.close()
    }
    expect(expected.size).toBeGreaterThan(0)
  },
  120_000,
)
