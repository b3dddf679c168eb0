// Mutants are texts of the sources, replaced. White space does not count: formatting is no change
// of the core.

/** The text with any white space between its words. */
function patternOf(text) {
  const words = text.trim().split(/\s+/)
  return new RegExp(
    words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('\\s+'),
    'g',
  )
}

/**
 * The places of one file that a mutant changes: one, or two where a defence stands twice.
 * @param {import('./list.mjs').Mutant} mutant
 */
function editsOf({ file, find, replace, and }) {
  return [{ file, find, replace }, ...(and ? [and] : [])]
}

/** The files a mutant changes. */
export function filesOf(mutant) {
  return [...new Set(editsOf(mutant).map(({ file }) => file))]
}

/**
 * The sources with a mutant in them.
 * @param {import('./list.mjs').Mutant} mutant
 * @param {(file: string) => string} read
 * @returns {Map<string, string>} file to text
 * @throws if a text of the mutant does not stand exactly once in its file
 */
export function mutate(mutant, read) {
  const texts = new Map()
  for (const { file, find, replace } of editsOf(mutant)) {
    const source = texts.get(file) ?? read(file)
    const pattern = patternOf(find)
    const places = source.match(pattern)?.length ?? 0
    if (places !== 1) throw new Error(`${mutant.name}: its text stands ${places} times in ${file}`)
    texts.set(
      file,
      source.replace(pattern, () => replace),
    )
  }
  return texts
}
