// `npm run docs`: every public symbol is documented, every link of a docstring resolves.
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { makeDirectory, packageRoot } from '../fixtures/log.js'

it('is built without a warning, and has the guides and every export', async () => {
  const site = join(makeDirectory(), 'site')
  const typedoc = join(packageRoot, 'node_modules/typedoc/bin/typedoc')
  const args = [typedoc, '--out', site]
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: packageRoot })
  expect(`${stdout}${stderr}`).not.toMatch(/warning/)

  const documents = readdirSync(join(site, 'documents')).join(' ')
  for (const guide of readdirSync(join(packageRoot, 'docs/guides'))) {
    const [, heading] = readFileSync(join(packageRoot, 'docs/guides', guide), 'utf8').match(
      /^# (.*)$/m,
    )!
    expect(documents).toContain(heading!.split(/[ ,]/)[0]!)
  }
  expect(existsSync(join(site, 'classes/index.Wal.html'))).toBe(true)
}, 120_000)
