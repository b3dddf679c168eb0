// The demo's input: lines of the text files that lie in the repository and its dependencies, in a
// fixed order, so that two processes make the same records without talking to each other.
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'

const TEXT = /\.(md|ts|mts|cts|js|mjs|cjs|json|cc|h|txt|yml|yaml)$|^(LICENSE|README|CHANGELOG)/
const SKIPPED = new Set(['.git', 'build', 'dist', 'coverage', 'prebuilds'])

function* textFiles(directory) {
  const entries = readdirSync(directory, { withFileTypes: true })
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(directory, entry.name)
    if (entry.isDirectory() && !SKIPPED.has(entry.name)) yield* textFiles(path)
    else if (entry.isFile() && TEXT.test(entry.name)) yield path
  }
}

/** `count` records `<file>:<line>\t<text>` of the files below `root`, empty lines left out. */
export function readRecords(root, count) {
  const records = []
  for (const path of textFiles(root)) {
    const lines = readFileSync(path, 'utf8').split('\n')
    const name = relative(root, path)
    for (const [index, line] of lines.entries()) {
      if (line.trim() === '') continue
      records.push(Buffer.from(`${name}:${index + 1}\t${line.slice(0, 2000)}`))
      if (records.length === count) return records
    }
  }
  throw new Error(`only ${records.length} lines of text below ${root}; run npm ci first`)
}
