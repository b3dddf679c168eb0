// What the documents show is run as it stands, and compiled against the package's types.
import { execFile } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { makeDirectory, packageRoot } from '../fixtures/log.js'
import { commandsOf, type Example, examplesOf, listPages } from '../fixtures/markdown.js'

const run = promisify(execFile)
const examples = listPages().flatMap(examplesOf)
const NOT_RUN = /^\s*(npm|npx|git|cd|node) /

/** As JavaScript: types are checked by the test of their own. */
const toJavaScript = ({ language, code }: Example) =>
  language === 'js'
    ? code
    : ts.transpileModule(code, {
        compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
      }).outputText

/** `await using` is for newer Nodes; older ones refuse its syntax. */
const needsNode24 = ({ code }: Example) => code.includes('await using ')

describe('the programs of the documents', () => {
  it('are there at all', () => {
    expect(examples.length).toBeGreaterThan(15)
  })

  it.each(examples)('$place runs, and prints what the page says', async (example) => {
    if (needsNode24(example)) {
      const [major] = process.versions.node.split('.')
      if (Number(major) < 24) example = { ...example, code: downlevel(example) }
    }
    const directory = makeDirectory()
    const script = join(directory, 'example.mjs')
    writeFileSync(script, toJavaScript(example))
    const { stdout } = await run(process.execPath, [script], { cwd: directory })
    if (example.prints !== undefined) expect(stdout).toBe(example.prints)
  })

  it('have the types of the package', () => {
    const directory = makeDirectory()
    const places = new Map<string, string>()
    for (const [index, { place, language, code }] of examples.entries()) {
      const path = join(directory, `example-${index}.m${language}`)
      // A module of its own, whatever it imports.
      writeFileSync(path, `${code}export {}\n`)
      places.set(path, place)
    }
    const program = ts.createProgram([...places.keys()], {
      target: ts.ScriptTarget.ES2022,
      lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      types: ['node'],
      typeRoots: [join(packageRoot, 'node_modules/@types')],
      strict: true,
      // Examples in JavaScript write no types of parameters, and know what they catch.
      noImplicitAny: false,
      useUnknownInCatchVariables: false,
      allowJs: true,
      checkJs: true,
      noEmit: true,
      skipLibCheck: true,
    })
    const problems = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
      const line = file?.getLineAndCharacterOfPosition(start ?? 0).line ?? 0
      const text = ts.flattenDiagnosticMessageText(messageText, ' ')
      return `${places.get(file?.fileName ?? '') ?? file?.fileName} +${line + 1}: ${text}`
    })
    expect(problems).toEqual([])
  })
})

/** `await using` as older syntax. */
function downlevel({ code }: Example): string {
  return ts.transpileModule(code, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  }).outputText
}

describe('the commands of the documents', () => {
  const pages = listPages().map(commandsOf)

  it.each(pages.filter(({ lines }) => lines.length > 0))('$place run', async ({ lines }) => {
    const directory = makeDirectory()
    const bin = join(directory, '.bin')
    mkdirSync(bin)
    chmodSync(join(packageRoot, 'dist/cli/main.js'), 0o755)
    symlinkSync(join(packageRoot, 'dist/cli/main.js'), join(bin, 'stonelog'))
    writeFileSync(join(directory, 'lines.txt'), 'first\nsecond\n')
    const commands = lines.filter((line) => !NOT_RUN.test(line)).map((line) => line.trim())
    const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` }
    await run('sh', ['-e', '-c', commands.join('\n')], { cwd: directory, env })
  })

  it('name files that exist', () => {
    const missing = pages.flatMap(({ place, lines }) =>
      [...lines.join('\n').matchAll(/^\s*node ([\w./-]+)/gm)]
        .filter(([, path]) => !existsSync(join(packageRoot, path!)))
        .map(([, path]) => `${place}: ${path}`),
    )
    expect(missing).toEqual([])
  })

  it('name npm scripts that exist', async () => {
    const { default: manifest } = await import('../../package.json', { with: { type: 'json' } })
    const unknown = pages.flatMap(({ place, lines }) =>
      [...lines.join('\n').matchAll(/npm (?:run ([\w:-]+)|(test))/g)]
        .map(([, script, test]) => script ?? test!)
        .filter((name) => !Object.hasOwn(manifest.scripts, name))
        .map((name) => `${place}: npm run ${name}`),
    )
    expect(unknown).toEqual([])
  })
})
