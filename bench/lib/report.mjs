// Figures as text, for a terminal and for docs/performance.md.

/** About three significant digits; large ones with a prefix for the unit that follows. */
export function number(value) {
  if (!Number.isFinite(value)) return '-'
  const size = Math.abs(value)
  if (size >= 1e9) return `${(value / 1e9).toFixed(2)} G`
  if (size >= 1e6) return `${(value / 1e6).toFixed(size >= 1e7 ? 1 : 2)} M`
  if (size >= 1000) return value.toLocaleString('en-US', { maximumFractionDigits: 0 })
  if (size >= 100) return value.toFixed(0)
  if (size >= 10) return value.toFixed(1)
  return value.toFixed(2)
}

/** Microseconds, or milliseconds from 1000 on. */
export function micros(value) {
  return value >= 1000 ? `${(value / 1000).toFixed(2)} ms` : `${value.toFixed(0)} us`
}

export function percentiles({ p50, p99, p999, max }) {
  return `p50 ${micros(p50)}, p99 ${micros(p99)}, p99.9 ${micros(p999)}, max ${micros(max)}`
}

/** Whether the median meets the target, and what leaves that open. */
export function verdict({ value, target, unsteady }) {
  if (target === undefined) return ''
  const [op, limit] = target
  const meets = (x) => (op === '<=' ? x <= limit : x >= limit)
  const sure = meets(value.low) === meets(value.high)
  if (unsteady) return `unclear, unsteady machine (${meets(value.median) ? '' : 'not '}met)`
  return `${meets(value.median) ? 'met' : 'NOT met'}${sure ? '' : ' (interval spans it)'}`
}

function targetText({ target }) {
  return target === undefined ? '' : `${target[0]} ${number(target[1])}`
}

function interval({ low, high }) {
  return `${number(low)} - ${number(high)}`
}

/** A figure as lines for the terminal. */
export function figureLines(figure) {
  const { id, name, unit, value, beside } = figure
  const goal = figure.target === undefined ? '' : `   ${targetText(figure)}: ${verdict(figure)}`
  const range =
    value.count > 1 ? `  [${interval(value)}]  ${number(value.min)}..${number(value.max)}` : ''
  const head = `${id.padEnd(4)}${name}: ${number(value.median)} ${unit}${range}${goal}`
  return [head, ...beside.map((line) => `      ${line}`)]
}

const COLUMNS = [
  '',
  'workload',
  'median',
  '95% interval',
  'min - max',
  'target',
  '',
  'in the same run',
]

/** All figures as a Markdown table. */
export function markdownTable(figures) {
  const rows = figures.map((figure) => {
    const { id, name, unit, value, beside } = figure
    const many = value.count > 1
    return [
      id,
      name,
      `${number(value.median)} ${unit}`,
      many ? interval(value) : '',
      many ? `${number(value.min)} - ${number(value.max)}` : '',
      targetText(figure),
      verdict(figure),
      beside.join('; '),
    ]
  })
  const line = (cells) => `| ${cells.join(' | ')} |`
  return [line(COLUMNS), line(COLUMNS.map(() => '---')), ...rows.map(line)].join('\n')
}
