// Bulk loads and replays: T5, T6, T7, and T15 of bulk.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { over } from './pairing.mjs'
import { number } from './report.mjs'
import { median } from './statistics.mjs'

function rateLine(name, slices) {
  return `${name}: ${number(median(slices.map(({ bytesPerSecond }) => bytesPerSecond)))}B/s`
}

const byteRate = ({ bytes, seconds }) => bytes / seconds

function loadLine(pairs) {
  const slices = pairs.map(({ subject }) => subject)
  const records = median(slices.map(({ records, seconds }) => records / seconds))
  const bytes = median(slices.map(byteRate))
  const cpu = median(slices.map(({ records, cpuMicros }) => (cpuMicros * 1000) / records))
  const rates = `${number(records)} records/s, ${number(bytes)}B/s`
  return `stonelog: ${rates}, CPU ${number(cpu)} ns a record`
}

/** Bulk slices: into recycled segments of one log, or each into a growing log of its own. */
async function bulkPairs(session, size, growing) {
  const ms = session.settings.sliceMs
  if (growing) {
    return session.withSubject((subject, directory) =>
      session.pairs(session.write, (index) =>
        subject.call('bulkGrowing', { directory: `${directory}-${index}`, options: {}, size, ms }),
      ),
    )
  }
  return session.withLog({}, async (subject) => {
    await subject.call('recycle')
    return session.pairs(session.write, () => subject.call('bulk', { size, ms, release: true }))
  })
}

async function bulk(session, size, growing, { id, unit, value, target }) {
  const pairs = await bulkPairs(session, size, growing)
  const probe = rateLine(
    'raw write',
    pairs.map(({ probe }) => probe),
  )
  const kind = size >= 1024 ? `${size / 1024} KiB` : `${size} B`
  const name = `write + flush, ${kind}, ${growing ? 'growing' : 'recycled space'}`
  session.add({
    id,
    name,
    unit,
    value: over(pairs, value),
    target,
    beside: [loadLine(pairs), probe],
  })
  const amplification = ({ subject: { written } }) => written.groupBytes / written.payloadBytes
  session.add({
    id: 'T15',
    name: `bytes written, ${name}`,
    unit: 'x payload',
    value: over(pairs, amplification),
    target: growing || size < 1024 ? undefined : ['<=', 1.1],
    exact: true,
    beside: [],
  })
}

const records = (growing) => ({
  id: 'T5',
  unit: 'records/s',
  value: ({ subject }) => subject.records / subject.seconds,
  target: growing ? undefined : ['>=', 10e6],
})

const bytes = (growing) => ({
  id: 'T6',
  unit: 'x raw write',
  value: ({ probe, subject }) => byteRate(subject) / byteRate(probe),
  target: ['>=', growing ? 0.45 : 0.9],
})

/**
 * Replays a bulk-written log; the raw probe reads the log's own segments, one after the other, and
 * again with a look at what it read, which a replay cannot do without.
 */
async function replay(session, { size, how, unit, value, target }) {
  await session.withLog({}, async (subject, directory) => {
    await subject.call('fill', { size, bytes: session.settings.logBytes })
    const segments = readdirSync(directory).filter((name) => /^\d+\.wal$/.test(name))
    // Not the last two: the current one is written in part only, the prepared one not at all.
    const whole = segments.slice(0, -2).map((name) => join(directory, name))
    const ms = session.settings.sliceMs
    await subject.call('startReplay', { how })
    const pairs = await session.pairs(
      async (index) => {
        // Which of the two is next to the replay changes every second pair.
        const path = whole[index % whole.length]
        const first = index % 4 < 2 ? await session.look(path) : undefined
        const reading = await session.read(path)
        return { ...reading, looking: first ?? (await session.look(path)) }
      },
      () => subject.call('replay', { ms }),
    )
    await subject.call('stopReplay')
    const kind = size >= 1024 ? `${size / 1024} KiB` : `${size} B`
    const call = how === 'batches' ? 'readBatches' : 'read'
    const reads = pairs.map(({ probe }) => probe)
    const looks = reads.map(({ looking }) => looking)
    const beside = [
      loadLine(pairs),
      rateLine('raw read', reads),
      rateLine('raw read that looks at what it read', looks),
    ]
    const name = `replay by ${call}, ${kind}`
    session.add({ id: 'T7', name, unit, value: over(pairs, value), target, beside })
    session.add({
      id: '-',
      name: `${name}, beside a look`,
      unit: 'x raw read that looks',
      value: over(pairs, ({ probe, subject }) => byteRate(subject) / byteRate(probe.looking)),
      beside: [],
    })
  })
}

const recordRate = {
  unit: 'records/s',
  value: ({ subject }) => subject.records / subject.seconds,
}
const readRatio = {
  unit: 'x raw read',
  value: ({ probe, subject }) => byteRate(subject) / byteRate(probe),
  target: ['>=', 0.9],
}

export const bulkWorkloads = {
  'write-100': (session) => bulk(session, 100, false, records(false)),
  'write-100-growing': (session) => bulk(session, 100, true, records(true)),
  'write-4k': (session) => bulk(session, 4 << 10, false, bytes(false)),
  'write-4k-growing': (session) => bulk(session, 4 << 10, true, bytes(true)),
  'write-64k': (session) => bulk(session, 64 << 10, false, bytes(false)),
  'write-64k-growing': (session) => bulk(session, 64 << 10, true, bytes(true)),
  'replay-batches': (session) =>
    replay(session, { size: 100, how: 'batches', ...recordRate, target: ['>=', 10e6] }),
  'replay-read': (session) =>
    replay(session, { size: 100, how: 'records', ...recordRate, target: ['>=', 3e6] }),
  'replay-batches-4k': (session) =>
    replay(session, { size: 4 << 10, how: 'batches', ...readRatio }),
  'replay-batches-64k': (session) =>
    replay(session, { size: 64 << 10, how: 'batches', ...readRatio }),
}
