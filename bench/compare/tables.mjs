// The rows as Markdown tables and plots.
import { micros, number } from '../lib/report.mjs'
import { titleOf } from './contenders/index.mjs'
import { barPlot, linePlot } from './plots.mjs'
import { APPENDS } from './sync-count.mjs'

const kind = (size) => (size >= 1024 ? `${size / 1024} KiB` : `${size} B`)

function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

const unique = (values) => [...new Set(values)]

/** `*` marks who does not sync for every acknowledgement. */
function namer(syncs) {
  return (name) => {
    const own = syncs.find((one) => one.contender === name)
    const flagged = own?.perAppend !== undefined && own.perAppend < 1
    return `${titleOf(name)}${flagged ? ' *' : ''}`
  }
}

function closedTable(rows, size, nameOf) {
  const cells = rows.filter((row) => row.size === size)
  const counts = unique(cells.map(({ inFlight }) => inFlight))
  const of = (name, count) =>
    cells.find(({ contender, inFlight }) => contender === name && inFlight === count)
  const lines = unique(cells.map(({ contender }) => contender)).map((name) => [
    nameOf(name),
    ...counts.map((count) => {
      const row = of(name, count)
      if (row === undefined) return ''
      const { p50, p99, p999 } = row.latency
      const times = [p50, p99, p999].map((value) => micros(value)).join(' / ')
      const cpu = `${number(row.cpuMicrosPerRecord.median)} us`
      return `**${number(row.ratio.median)}** x, ${number(row.perSecond.median)}/s; ${times}; ${cpu}`
    }),
  ])
  return table(['', ...counts.map((count) => `${count} in flight`)], lines)
}

function bulkTable(rows, nameOf) {
  const sizes = unique(rows.map(({ size }) => size))
  const lines = unique(rows.map(({ contender }) => contender)).map((name) => [
    nameOf(name),
    ...sizes.map((size) => {
      const row = rows.find((one) => one.contender === name && one.size === size)
      if (row === undefined) return ''
      const { median, low, high } = row.perSecond
      const bytes = number(median * size)
      const range = `${number(low)} - ${number(high)}`
      return `**${number(median)}**/s (${range}), ${bytes}B/s, ${number(row.cpuMicrosPerRecord.median)} us`
    }),
  ])
  return table(['', ...sizes.map(kind)], lines)
}

function openTable(rows, nameOf) {
  const lines = rows.map((row) => [
    row.part === undefined ? `${number(row.perSecond)}/s` : `${row.part * 100}% of its maximum`,
    nameOf(row.contender),
    `${number(row.perSecond)}/s`,
    micros(row.latency.p50),
    micros(row.latency.p99),
    micros(row.latency.p999),
    micros(row.latency.max),
    row.overloaded ? `overloaded (${row.lost} refused)` : '',
    micros(row.rawP999),
  ])
  const head = ['load', '', 'rate', 'p50', 'p99', 'p99.9', 'max', '', 'raw p99.9']
  return table(head, lines)
}

function smallTables(by, nameOf) {
  const parts = []
  if (by.syncs?.length > 0) {
    const lines = by.syncs.map(({ contender, durable, counts, perAppend, skipped }) => [
      nameOf(contender),
      durable,
      skipped ??
        `${perAppend} (${Object.entries(counts)
          .map((one) => one.join(' '))
          .join(', ')})`,
      perAppend < 1 ? 'NOT durable at each acknowledgement' : '',
    ])
    parts.push(`Durable calls for each of ${APPENDS} acknowledged appends, counted by strace:`)
    parts.push(table(['', 'set up as', 'durable calls an append', ''], lines))
  }
  if (by.delay?.length > 0) {
    const lines = by.delay.map(({ contender, p99AboveIdleMs, maxMs }) => [
      nameOf(contender),
      `${p99AboveIdleMs.median.toFixed(2)} ms`,
      `${maxMs.toFixed(1)} ms`,
    ])
    parts.push('Event loop delay, 64 appends of 100 bytes in flight:')
    parts.push(table(['', 'p99 above idle', 'longest'], lines))
  }
  if (by.memory?.length > 0) {
    const lines = by.memory.map(({ contender, size, peak, residentBefore }) => [
      nameOf(contender),
      kind(size),
      `${(peak / 2 ** 20).toFixed(0)} MiB`,
      `${((peak - residentBefore) / 2 ** 20).toFixed(0)} MiB`,
    ])
    parts.push('Resident memory at its highest during the closed loops:')
    parts.push(table(['', 'records of', 'peak', 'above the process before it opened'], lines))
  }
  return parts
}

/** Everything as Markdown; `by`: rows by phase. */
export function markdown(by) {
  const nameOf = namer(by.syncs ?? [])
  const parts = []
  for (const size of unique((by.closed ?? []).map((row) => row.size))) {
    parts.push(
      `Closed loops, records of ${kind(size)}: **times the raw commits/s of the same round**, ` +
        'records/s; p50 / p99 / p99.9; CPU a record:',
    )
    parts.push(closedTable(by.closed, size, nameOf))
  }
  const bulk = [
    ['batches', 'One sync for every 1000 records'],
    ['queued', 'Queued, one sync at the end'],
    ['replay', 'Replay by a new process, page cache emptied'],
  ]
  for (const [phase, title] of bulk) {
    if (!(by[phase]?.length > 0)) continue
    parts.push(`${title}: **records/s** (95% interval), bytes/s, CPU a record:`)
    parts.push(bulkTable(by[phase], nameOf))
    const left = Math.max(...by[phase].map(({ residentPages }) => residentPages ?? 0))
    if (phase === 'replay') parts.push(`Pages left in the cache before a replay: at most ${left}.`)
  }
  if (by.open?.length > 0) {
    parts.push('Open loops, records of 100 bytes, latency from when an append was due:')
    parts.push(openTable(by.open, nameOf))
  }
  return `${[...parts, ...smallTables(by, nameOf)].join('\n\n')}\n`
}

/** Plots by file name. */
export function plots(by) {
  const files = {}
  for (const size of unique((by.closed ?? []).map((row) => row.size))) {
    const rows = by.closed.filter((row) => row.size === size)
    files[`closed-${size}.svg`] = linePlot({
      title: `Durable appends of ${kind(size)}`,
      xTitle: 'in flight',
      yTitle: 'x raw commits/s',
      xLog: true,
      yLog: true,
      series: unique(rows.map(({ contender }) => contender)).map((name) => ({
        name,
        points: rows
          .filter(({ contender }) => contender === name)
          .map(({ inFlight, ratio }) => [inFlight, ratio.median]),
      })),
    })
  }
  for (const phase of ['batches', 'queued', 'replay']) {
    const rows = by[phase] ?? []
    if (rows.length === 0) continue
    const sizes = unique(rows.map(({ size }) => size))
    const of = (name, size) => rows.find((row) => row.contender === name && row.size === size)
    files[`${phase}.svg`] = barPlot({
      title: { batches: 'One sync per 1000', queued: 'Queued', replay: 'Replay, cold' }[phase],
      yTitle: 'records/s',
      yLog: true,
      groups: sizes.map(kind),
      series: unique(rows.map(({ contender }) => contender)).map((name) => ({
        name,
        values: sizes.map((size) => of(name, size)?.perSecond.median ?? Number.NaN),
      })),
    })
  }
  const common = (by.open ?? []).filter(({ part }) => part === undefined)
  if (common.length > 0) {
    files['open-p99.svg'] = linePlot({
      title: 'Open loop, 100 B: p99 from when an append was due',
      xTitle: 'appends/s',
      yTitle: 'us',
      xLog: true,
      yLog: true,
      series: unique(common.map(({ contender }) => contender)).map((name) => ({
        name,
        points: common
          .filter(({ contender }) => contender === name)
          .map(({ perSecond, latency }) => [perSecond, latency.p99]),
      })),
    })
  }
  return files
}
