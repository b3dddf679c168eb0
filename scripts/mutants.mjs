#!/usr/bin/env node
// The mutation gate: for each defence the core without it, which the native tests or the simulator must
// catch. Works on a copy of the sources under build/mutants; prints a table; exits 1 if a mutant survives.
//
//   node scripts/mutants.mjs [--only NAME]… [--seeds N]
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { MUTANTS } from './mutants/list.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const copy = join(root, 'build/mutants')
const BUILD_MS = 900_000
const CHECK_MS = 120_000 // a hang is a catch, too

/** A copy of what the native build needs. With new times: an object of an interrupted mutant must not look new. */
function makeCopy() {
  mkdirSync(copy, { recursive: true })
  for (const part of ['native', 'scripts', 'bench', 'package.json']) {
    rmSync(join(copy, part), { recursive: true, force: true })
    cpSync(join(root, part), join(copy, part), { recursive: true })
  }
  rmSync(join(copy, 'node_modules'), { force: true })
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
}

/** Runs a program of the copy; false if it failed, hung or crashed. */
function passes(command, args, timeout = CHECK_MS) {
  const result = spawnSync(command, args, {
    cwd: copy,
    timeout,
    killSignal: 'SIGKILL',
    maxBuffer: 1 << 28,
    encoding: 'utf8',
  })
  return { ok: result.status === 0, text: `${result.stdout}${result.stderr}` }
}

function build() {
  const { ok, text } = passes(process.execPath, ['scripts/build.mjs', 'test', 'sim'], BUILD_MS)
  if (!ok) throw new Error(`the build failed:\n${text}`)
}

/** The first check that fails, or undefined. */
function findCatcher(seeds) {
  const sim = passes('build/release/sim', ['--seeds', String(seeds)])
  if (!sim.ok)
    return `simulator: ${sim.text.match(/^.*(?:finding|FOUND|seed \d+:).*$/im)?.[0] ?? 'failed'}`
  const tests = passes('build/release/native-tests', ['--no-colors=1', '--abort-after=1'])
  if (!tests.ok)
    return `native test: ${tests.text.match(/TEST CASE: +(.*)/)?.[1] ?? 'crashed or hung'}`
  return undefined
}

/** The text with any white space between its words: formatting is no change of the core. */
function patternOf(text) {
  const words = text.trim().split(/\s+/)
  return new RegExp(words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('\\s+'))
}

/** Applies one mutant, builds, looks who catches it, and takes it back. */
function tryMutant(mutant, seeds) {
  const path = join(copy, mutant.file)
  const source = readFileSync(path, 'utf8')
  const pattern = patternOf(mutant.find)
  const places = source.split(pattern).length - 1
  if (places !== 1)
    throw new Error(`${mutant.name}: its text stands ${places} times in ${mutant.file}`)
  writeFileSync(
    path,
    source.replace(pattern, () => mutant.replace),
  )
  try {
    build()
    return findCatcher(seeds)
  } finally {
    writeFileSync(path, source)
  }
}

function main() {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', multiple: true },
      seeds: { type: 'string', default: '40' },
    },
  })
  const chosen = MUTANTS.filter(({ name }) => values.only?.includes(name) ?? true)
  makeCopy()
  build()
  const catcher = findCatcher(values.seeds)
  if (catcher !== undefined) throw new Error(`without any mutant: ${catcher}`)
  let survivors = 0
  for (const mutant of chosen) {
    const caught = tryMutant(mutant, values.seeds)
    if (caught === undefined) survivors++
    console.log(
      `${(caught ? 'caught' : 'SURVIVED').padEnd(9)} ${mutant.name.padEnd(36)} ${caught ?? mutant.defence}`,
    )
  }
  console.log(`${chosen.length - survivors} passed, ${survivors} failed, 0 skipped`)
  process.exitCode = survivors > 0 ? 1 : 0
}

main()
