#!/usr/bin/env node
// Form: biome for JavaScript, TypeScript and JSON, clang-format for C++. Markdown is formatted by
// hand.
//
//   node scripts/lint.mjs [--write]     --write puts right what can be put right
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
// Other versions format differently, so that theirs would be a change each time.
const CLANG_FORMAT_MAJOR = 14
const write = process.argv.includes('--write')

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' })
  return error === undefined && status === 0
}

/** The command of the right clang-format, or undefined. */
function clangFormat() {
  for (const name of [`clang-format-${CLANG_FORMAT_MAJOR}`, 'clang-format']) {
    const { stdout } = spawnSync(name, ['--version'], { encoding: 'utf8' })
    if (stdout?.includes(`version ${CLANG_FORMAT_MAJOR}.`)) return name
  }
  return undefined
}

function cppFiles() {
  return ['native', 'bench/native'].flatMap((room) =>
    readdirSync(join(root, room), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(cc|h)$/.test(name))
      .map((name) => join(room, name)),
  )
}

function lintCpp() {
  const tool = clangFormat()
  if (tool === undefined) {
    console.log(`SKIPPED C++: clang-format ${CLANG_FORMAT_MAJOR} is not installed`)
    return true
  }
  const files = cppFiles()
  const ok = run(tool, [...(write ? ['-i'] : ['--dry-run', '-Werror']), ...files])
  if (ok) console.log(`Checked ${files.length} C++ files.`)
  return ok
}

const biome = join(root, 'node_modules/@biomejs/biome/bin/biome')
const biomeArgs = [biome, 'check', ...(write ? ['--write'] : ['--error-on-warnings'])]
const results = [run(process.execPath, biomeArgs), lintCpp()]
if (results.includes(false)) process.exitCode = 1
