// Plots as SVG, without a library: lines over a logarithmic or linear axis, and groups of bars.
// Plain elements with colours that stay readable on a light and on a dark page.

const WIDTH = 720
const HEIGHT = 380
const LEFT = 64
const RIGHT = 168
const TOP = 40
const BOTTOM = 48
const COLORS = [
  '#d9480f',
  '#1971c2',
  '#2f9e44',
  '#9c36b5',
  '#868e96',
  '#e8590c',
  '#0c8599',
  '#5f3dc4',
]
const TEXT = '#868e96'
const GRID = '#adb5bd'

const escaped = (text) =>
  String(text).replace(
    /[&<>"]/g,
    (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c],
  )

const round = (value) => Math.round(value * 10) / 10

function label(value) {
  if (value === 0) return '0'
  const size = Math.abs(value)
  const short = (x) => String(Number(x.toPrecision(3)))
  if (size >= 1e9) return `${short(value / 1e9)}G`
  if (size >= 1e6) return `${short(value / 1e6)}M`
  if (size >= 1e3) return `${short(value / 1e3)}k`
  return short(value)
}

/** Steps of 1, 2 or 5 times a power of ten that cover the range with some five lines. */
function linearTicks(high) {
  const rough = high / 5
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough)
  const ticks = []
  for (let at = 0; at < high + step; at += step) ticks.push(at)
  return ticks
}

/** Powers of ten around the range. */
function logTicks(low, high) {
  const ticks = []
  const last = Math.ceil(Math.log10(high))
  for (let power = Math.floor(Math.log10(low)); power <= last; power++) ticks.push(10 ** power)
  if (ticks.length === 1) ticks.push(ticks[0] * 10)
  return ticks
}

/** Maps values to pixels; `ticks` are the lines of the grid. */
function scale(values, { log }, from, to) {
  const finite = values.filter((value) => Number.isFinite(value) && (!log || value > 0))
  const low = Math.min(...finite)
  const high = Math.max(...finite)
  const ticks = log ? logTicks(low, high) : linearTicks(high > 0 ? high : 1)
  const position = log ? Math.log10 : (value) => value
  const first = position(ticks[0])
  const span = position(ticks.at(-1)) - first
  return { ticks, at: (value) => round(from + ((position(value) - first) / span) * (to - from)) }
}

function text(x, y, content, { anchor = 'start', color = TEXT, size = 12, more = '' } = {}) {
  return `<text x="${round(x)}" y="${round(y)}" fill="${color}" font-size="${size}" text-anchor="${anchor}" ${more}>${escaped(content)}</text>`
}

function frame(title, yTitle, y, parts) {
  const right = WIDTH - RIGHT
  const grid = y.ticks.map((tick) => {
    const at = y.at(tick)
    const line = `<line x1="${LEFT}" y1="${at}" x2="${right}" y2="${at}" stroke="${GRID}" stroke-opacity="0.4"/>`
    return line + text(LEFT - 6, at + 4, label(tick), { anchor: 'end' })
  })
  const middle = (TOP + HEIGHT - BOTTOM) / 2
  const side = text(14, middle, yTitle, {
    anchor: 'middle',
    more: `transform="rotate(-90 14 ${middle})"`,
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" role="img">`,
    `<title>${escaped(title)}</title>`,
    text(LEFT, 20, title, { size: 14 }),
    side,
    ...grid,
    ...parts,
    '</svg>',
    '',
  ].join('\n')
}

const legend = (names) =>
  names.map((name, i) => {
    const y = TOP + 12 + i * 20
    const x = WIDTH - RIGHT + 14
    const box = `<rect x="${x}" y="${y - 9}" width="10" height="10" fill="${COLORS[i % COLORS.length]}"/>`
    return box + text(x + 16, y, name)
  })

/**
 * Lines, one for each series.
 * @param {{ title: string, xTitle: string, yTitle: string, xLog?: boolean, yLog?: boolean,
 *   series: Array<{ name: string, points: Array<[x: number, y: number]> }> }} plot
 */
export function linePlot({ title, xTitle, yTitle, xLog = false, yLog = false, series }) {
  const points = series.flatMap((one) => one.points)
  const x = scale(
    points.map(([value]) => value),
    { log: xLog },
    LEFT,
    WIDTH - RIGHT,
  )
  const y = scale(
    points.map(([, value]) => value),
    { log: yLog },
    HEIGHT - BOTTOM,
    TOP,
  )
  const lines = series.flatMap((one, i) => {
    const color = COLORS[i % COLORS.length]
    const places = one.points
      .filter(([, value]) => Number.isFinite(value) && (!yLog || value > 0))
      .map(([px, py]) => [x.at(px), y.at(py)])
    const path = places.map((place) => place.join(',')).join(' ')
    return [
      `<polyline points="${path}" fill="none" stroke="${color}" stroke-width="2"/>`,
      ...places.map(([px, py]) => `<circle cx="${px}" cy="${py}" r="3" fill="${color}"/>`),
    ]
  })
  const bottom = x.ticks.map((tick) =>
    text(x.at(tick), HEIGHT - BOTTOM + 18, label(tick), { anchor: 'middle' }),
  )
  const below = text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, xTitle, { anchor: 'middle' })
  const parts = [...lines, ...bottom, below, ...legend(series.map(({ name }) => name))]
  return frame(title, yTitle, y, parts)
}

/**
 * Groups of bars, one bar for each series.
 * @param {{ title: string, yTitle: string, yLog?: boolean, groups: string[],
 *   series: Array<{ name: string, values: number[] }> }} plot
 */
export function barPlot({ title, yTitle, yLog = false, groups, series }) {
  const all = series.flatMap(({ values }) => values)
  const y = scale(all, { log: yLog }, HEIGHT - BOTTOM, TOP)
  const wide = (WIDTH - RIGHT - LEFT) / groups.length
  const bar = (wide * 0.84) / series.length
  const floor = HEIGHT - BOTTOM
  const bars = series.flatMap(({ values }, s) =>
    values.map((value, g) => {
      if (!Number.isFinite(value) || value <= 0) return ''
      const top = y.at(value)
      const left = round(LEFT + g * wide + wide * 0.08 + s * bar)
      const color = COLORS[s % COLORS.length]
      return `<rect x="${left}" y="${top}" width="${round(bar * 0.9)}" height="${round(floor - top)}" fill="${color}"/>`
    }),
  )
  const names = groups.map((group, g) =>
    text(LEFT + (g + 0.5) * wide, floor + 18, group, { anchor: 'middle' }),
  )
  return frame(title, yTitle, y, [...bars, ...names, ...legend(series.map(({ name }) => name))])
}
