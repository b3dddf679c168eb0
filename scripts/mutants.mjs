#!/usr/bin/env node
// The mutation gate: for each defence the core without it, which the native tests or the simulator
// must catch. Works on a copy of the sources under build/mutants, with the objects of the whole
// core at hand, so that a mutant costs one file and one link. Exits with 1 if a mutant survives or
// its text is not in the sources any more.
//
//   node scripts/mutants.mjs [--only NAME]… [--seeds N] [--markdown]
import { spawn } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { MUTANTS } from './mutants/list.mjs'
import { filesOf, mutate } from './mutants/text.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const copy = join(root, 'build/mutants')
const objects = join(copy, 'build/release')
const whole = join(copy, 'build/whole') // the objects without any mutant
const BUILD_MS = 1_800_000
const FINDING_CHARACTERS = 110

/**
 * A copy of what the native build needs. Files that are the same keep their time, so that objects
 * of an earlier run are used again.
 */
function makeCopy() {
  mkdirSync(copy, { recursive: true })
  rmSync(join(copy, 'node_modules'), { force: true })
  for (const part of ['native', 'scripts', 'bench', 'package.json']) {
    rmSync(join(copy, part), { recursive: true, force: true })
    cpSync(join(root, part), join(copy, part), { recursive: true, preserveTimestamps: true })
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  // Objects of a run that was interrupted may hold a mutant.
  rmSync(objects, { recursive: true, force: true })
  cpSync(whole, objects, { recursive: true, preserveTimestamps: true, force: true })
}

/**
 * Runs a program of the copy until it ends, says something that matches `enough`, or hangs.
 * @returns {Promise<{ ok: boolean, hung: boolean, text: string }>}
 */
function run(command, args, { timeout, enough }) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: copy, stdio: ['ignore', 'pipe', 'pipe'] })
    let text = ''
    let hung = false
    let stopped = false
    const timer = setTimeout(() => {
      hung = true
      child.kill('SIGKILL')
    }, timeout)
    const hear = (chunk) => {
      text += chunk
      if (stopped || !enough?.test(text)) return
      stopped = true
      child.kill('SIGKILL')
    }
    child.stdout.setEncoding('utf8').on('data', hear)
    child.stderr.setEncoding('utf8').on('data', hear)
    child.on('error', (error) => hear(error.message))
    child.on('close', (status) => {
      clearTimeout(timer)
      resolve({ ok: status === 0, hung, text })
    })
  })
}

async function build(...targets) {
  const args = ['scripts/build.mjs', ...targets]
  const { ok, text } = await run(process.execPath, args, { timeout: BUILD_MS })
  if (!ok) throw new Error(`the build failed:\n${text}`)
}

const shorten = (text) =>
  text.length > FINDING_CHARACTERS ? `${text.slice(0, FINDING_CHARACTERS - 1)}…` : text

/** The finding of the simulator of a build, or undefined. */
async function simulate(directory, timeout, seeds) {
  const args = ['--seeds', String(seeds)]
  const options = { timeout, enough: /^FAILED seed .*\n/m }
  const { ok, hung, text } = await run(`${directory}/sim`, args, options)
  if (ok) return undefined
  const [, seed, finding] = text.match(/^FAILED seed (\d+): (.*)/m) ?? []
  if (seed !== undefined) return `simulator, seed ${seed}: ${shorten(finding)}`
  const done = text.match(/^seed \d+:/gm)?.length ?? 0
  return `simulator, seed ${done + 1}: it ${hung ? 'hangs' : 'crashes'}`
}

/** The first native test of a build that fails, or undefined. */
async function test(directory, timeout, name) {
  const filter = name === undefined ? [] : [`--test-case=${name.replaceAll(',', '?')}`]
  const args = ['--no-colors=1', '--abort-after=1', ...filter]
  const { ok, hung, text } = await run(`${directory}/native-tests`, args, { timeout })
  if (/test cases:\s+0 /.test(text)) throw new Error(`there is no test ${name}`)
  if (ok) return undefined
  const failed = text.match(/TEST CASE: +(.*)/)?.[1] ?? name
  return `native test \`${failed ?? 'unknown'}\`${hung ? ', which hangs' : ''}`
}

const limits = new Map() // of each check that was tried without a mutant, ms
let wholeMs = 0

/**
 * What a check finds now. Before its first use it must find nothing without a mutant; one that
 * takes ten times as long as then, and a minute more, hangs.
 */
async function find(check, ...args) {
  const key = `${check.name} ${args}`
  if (!limits.has(key)) {
    const began = Date.now()
    const caught = await check(whole, BUILD_MS, ...args)
    if (caught !== undefined) throw new Error(`without any mutant: ${caught}`)
    wholeMs += Date.now() - began
    limits.set(key, 10 * (Date.now() - began) + 60_000)
  }
  return check(objects, limits.get(key), ...args)
}

/** Who catches what is in the copy now: first who is expected to, then everybody. */
async function findCatcher(by, seeds) {
  if (by === 'simulator') {
    await build('sim')
    const finding = await find(simulate, seeds)
    if (finding !== undefined) return finding
  }
  await build('test')
  const failed = (by !== 'simulator' ? await find(test, by) : undefined) ?? (await find(test))
  if (failed !== undefined || by === 'simulator') return failed
  await build('sim')
  return find(simulate, seeds)
}

/** Builds one mutant, looks who catches it, and takes it back. */
async function tryMutant(mutant, seeds) {
  const read = (file) => readFileSync(join(copy, file), 'utf8')
  const texts = mutate(mutant, read)
  const before = filesOf(mutant).map((file) => {
    const { atime, mtime } = statSync(join(copy, file))
    return { file, text: read(file), atime, mtime }
  })
  for (const [file, text] of texts) writeFileSync(join(copy, file), text)
  try {
    return await findCatcher(mutant.by, seeds)
  } finally {
    for (const { file, text, atime, mtime } of before) {
      writeFileSync(join(copy, file), text)
      utimesSync(join(copy, file), atime, mtime)
    }
    rmSync(objects, { recursive: true, force: true })
    cpSync(whole, objects, { recursive: true, preserveTimestamps: true })
  }
}

/** Builds everything without a mutant. */
async function buildWhole() {
  await build('test', 'sim')
  const aside = `${whole}.new` // renamed last: half a copy is never believed
  for (const path of [whole, aside]) rmSync(path, { recursive: true, force: true })
  cpSync(objects, aside, { recursive: true, preserveTimestamps: true })
  renameSync(aside, whole)
}

const cell = (text) => text.replaceAll('|', '\\|')

/** The lines of the table, for people or for a page. */
const LAYOUTS = {
  text: {
    head: [],
    row: ({ name, defence }, caught, seconds) =>
      `${caught ? 'caught' : 'SURVIVED'}  ${name.padEnd(40)} ${seconds.padStart(5)} s  ` +
      `${caught ?? defence}`,
  },
  markdown: {
    head: [
      '| Mutant | The defence that it lacks | What it would do | Caught by | s |',
      '|---|---|---|---|---|',
    ],
    row: ({ name, defence, danger }, caught, seconds) =>
      `| ${[`\`${name}\``, defence, danger, caught ?? '**nothing**', seconds].map(cell).join(' | ')} |`,
  },
}

async function main() {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', multiple: true },
      seeds: { type: 'string', default: '40' },
      markdown: { type: 'boolean', default: false },
    },
  })
  const unknown = values.only?.find((name) => !MUTANTS.some((mutant) => mutant.name === name))
  if (unknown !== undefined) throw new Error(`there is no mutant ${unknown}`)
  const chosen = MUTANTS.filter(({ name }) => values.only?.includes(name) ?? true)
  mkdirSync(whole, { recursive: true })
  makeCopy()
  for (const mutant of MUTANTS) mutate(mutant, (file) => readFileSync(join(copy, file), 'utf8'))
  await buildWhole()
  const layout = values.markdown ? LAYOUTS.markdown : LAYOUTS.text
  for (const line of layout.head) console.log(line)
  let survivors = 0
  for (const mutant of chosen) {
    const began = Date.now() - wholeMs
    const caught = await tryMutant(mutant, values.seeds)
    if (caught === undefined) survivors++
    const seconds = (Date.now() - wholeMs - began) / 1000
    console.log(layout.row(mutant, caught, seconds.toFixed(1)))
  }
  const sum = `${chosen.length - survivors} passed, ${survivors} failed, 0 skipped`
  console[values.markdown ? 'error' : 'log'](sum)
  process.exitCode = survivors > 0 ? 1 : 0
}

main().catch((error) => {
  console.error(error.message)
  process.exitCode = 1
})
