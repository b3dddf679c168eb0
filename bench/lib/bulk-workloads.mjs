// Bulk loads and replays: T5, T6, T7, and T15 of bulk.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { over } from './pairing.mjs'
import { number } from './report.mjs'
import { median } from './statistics.mjs'

function rateLine(name, slices) {
  return `${name}: ${number(median(slices.map(({ bytesPerSecond }) => bytesPerSecond)))}B/s`
}

function loadLine(pairs) {
  const slices = pairs.map(({ subject }) => subject)
  const records = median(slices.map(({ records, seconds }) => records / seconds))
  const bytes = median(slices.map(({ bytes, seconds }) => bytes / seconds))
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
  value: ({ probe, subject }) => subject.bytes / subject.seconds / probe.bytesPerSecond,
  target: ['>=', growing ? 0.45 : 0.9],
})

/** Replays a bulk-written log; the raw probe reads the log's own segments, one after the other. */
async function replay(session, { size, how, id = 'T7', unit, value, target }) {
  await session.withLog({}, async (subject, directory) => {
    await subject.call('fill', { size, bytes: session.settings.logBytes })
    const segments = readdirSync(directory).filter((name) => /^\d+\.wal$/.test(name))
    // Not the last two: the current one is written in part only, the prepared one not at all.
    const whole = segments.slice(0, -2).map((name) => join(directory, name))
    const ms = session.settings.sliceMs
    await subject.call('startReplay', { how })
    const pairs = await session.pairs(
      (index) => session.read(whole[index % whole.length]),
      () => subject.call('replay', { ms }),
    )
    await subject.call('stopReplay')
    const kind = size >= 1024 ? `${size / 1024} KiB` : `${size} B`
    const call = how === 'batches' ? 'readBatches' : 'read'
    session.add({
      id,
      name: `replay by ${call}, ${kind}`,
      unit,
      value: over(pairs, value),
      target,
      beside: [
        loadLine(pairs),
        rateLine(
          'raw read',
          pairs.map(({ probe }) => probe),
        ),
      ],
    })
  })
}

const recordRate = {
  unit: 'records/s',
  value: ({ subject }) => subject.records / subject.seconds,
}
const readRatio = {
  unit: 'x raw read',
  value: ({ probe, subject }) => subject.bytes / subject.seconds / probe.bytesPerSecond,
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
