// The mutants against the sources: a mutant whose text is gone would test nothing.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
// @ts-expect-error: a script, without types
import { MUTANTS } from '../../scripts/mutants/list.mjs'
// @ts-expect-error: a script, without types
import { mutate } from '../../scripts/mutants/text.mjs'

interface Mutant {
  name: string
  defence: string
  danger: string
  by: string
}

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const mutants = MUTANTS as Mutant[]
const nativeTests = readdirSync(join(root, 'native/test'))
  .filter((name) => name.endsWith('.cc'))
  .map((name) => read(`native/test/${name}`))
  .join('\n')

describe.each(mutants)('mutant $name', (mutant) => {
  it('changes a text that stands in the sources exactly once', () => {
    const changed: Map<string, string> = mutate(mutant, read)
    for (const [file, text] of changed) expect(text).not.toBe(read(file))
  })

  it('names the native test that covers its defence', () => {
    const named = nativeTests.includes(`TEST_CASE("${mutant.by}")`)
    expect(named || mutant.by === 'simulator', mutant.by).toBe(true)
  })
})

it('mutants have names of their own, and there are at least 24', () => {
  const names = mutants.map(({ name }) => name)
  expect(new Set(names).size).toBe(names.length)
  expect(names.length).toBeGreaterThanOrEqual(24)
})

it('a text that is gone, or stands twice, is refused', () => {
  const mutant = { name: 'm', file: 'f', find: 'a  (b)', replace: 'c' }
  expect([...mutate(mutant, () => 'x a\n(b) y')]).toEqual([['f', 'x c y']])
  expect(() => mutate(mutant, () => 'x')).toThrow('stands 0 times in f')
  expect(() => mutate(mutant, () => 'a (b) a (b)')).toThrow('stands 2 times in f')
})
