// What concerns a log as a whole: memory, opening, the event loop, rotation, checksums.
// T8 to T12.
import { over } from './pairing.mjs'
import { micros, number, percentiles } from './report.mjs'
import { median, pool, summarize } from './statistics.mjs'

const MIB = 1 << 20
const QUEUE_BYTES = 32 * MIB

function commitLine(commits) {
  const raw = pool(commits.map(({ latencies }) => latencies))
  const rate = median(commits.map(({ count, seconds }) => count / seconds))
  return `raw commit: ${number(rate)}/s, ${percentiles(raw)}`
}

async function memory(session) {
  const bytes = session.settings.memoryLogBytes
  const target = ['<=', 64 + QUEUE_BYTES / MIB]
  await session.withSubject(async (first, directory) => {
    /** Growth of resident memory over what it was before `work`, which opens the log, too. */
    const grown = async (subject, name, work) => {
      const commits = [await session.commit()]
      await subject.call('resetPeak')
      const before = await subject.call('residentBytes')
      await work()
      const growth = ((await subject.call('peakBytes')) - before) / MIB
      await subject.call('close')
      commits.push(await session.commit())
      const beside = [`log of ${number(bytes)}B in records of 100 B`, commitLine(commits)]
      const value = summarize([growth])
      session.add({ id: 'T8', name, unit: 'MiB grown', value, target, exact: true, beside })
    }
    await grown(first, 'memory, writing', async () => {
      await first.call('open', { directory, options: {} })
      await first.call('fill', { size: 100, bytes })
    })
    for (const how of ['batches', 'records']) {
      await session.withSubject((subject) =>
        grown(subject, `memory, ${how === 'batches' ? 'readBatches' : 'read'}`, async () => {
          await subject.call('open', { directory, options: {} })
          await subject.call('readOnce', { how })
        }),
      )
    }
  })
}

/** Opens both logs in turn; a log is closed after each, or its process killed. */
async function openTimes(session, directories, count, crash) {
  const rows = []
  for (let i = 0; i < count; i++) {
    const commit = await session.commit()
    const row = { commit, ms: [] }
    for (const directory of i % 2 === 0 ? directories : [...directories].reverse()) {
      await session.withSubject(async (subject) => {
        await subject.call('stats').catch(() => {}) // the process is up and has loaded everything
        const { ms } = await subject.call('open', { directory, options: {} })
        row.ms[directories.indexOf(directory)] = ms
        if (crash) {
          await subject.call('closedLoop', { inFlight: 64, size: 100, ms: 50 })
          await subject.stop('SIGKILL')
        } else {
          await subject.call('close')
        }
      })
    }
    rows.push(row)
  }
  return rows
}

async function opening(session) {
  const { slices, largeBytes } = session.settings
  const sizes = [256 * MIB, largeBytes]
  await session.withSubject(async (writer, parent) => {
    const directories = sizes.map((bytes) => `${parent}-${bytes}`)
    for (const [index, directory] of directories.entries()) {
      await writer.call('open', { directory, options: {} })
      await writer.call('fill', { size: 64 << 10, bytes: sizes[index] })
      await writer.call('close')
    }
    const add = (rows, when, ratioTarget, msTarget) => {
      const probe = commitLine(rows.map(({ commit }) => commit))
      const small = median(rows.map(({ ms }) => ms[0]))
      const names = sizes.map((bytes) => `${number(bytes / MIB)} MiB`)
      session.add({
        id: 'T9',
        name: `opening ${names[1]} ${when}, against ${names[0]}`,
        unit: 'x its time',
        value: over(rows, ({ ms }) => ms[1] / ms[0]),
        target: ratioTarget,
        beside: [`${names[0]}: ${small.toFixed(1)} ms`, probe],
      })
      const value = over(rows, ({ ms }) => ms[1])
      const name = `opening ${names[1]} ${when}`
      session.add({ id: 'T9', name, unit: 'ms', value, target: msTarget, beside: [probe] })
    }
    const count = Math.min(12, slices)
    add(
      await openTimes(session, directories, count, false),
      'after a close',
      ['<=', 1.5],
      ['<=', 50],
    )
    // The first of these still follows a close.
    add((await openTimes(session, directories, count, true)).slice(1), 'after a kill')
  })
}

async function loopDelay(session) {
  const ms = 500
  const count = Math.max(4, Math.round(session.settings.slices / 3))
  await session.withLog({}, async (subject) => {
    await subject.call('fill', { size: 100, bytes: session.settings.logBytes })
    const measure = async (load, name, target) => {
      const delay = (which) => subject.call('loopDelay', { load: which, ms })
      const commits = []
      const pairs = await session.pairs(
        async () => {
          commits.push(await session.commit())
          return delay('idle')
        },
        () => delay(load),
        count,
      )
      const idle = median(pairs.map(({ probe }) => probe.p99))
      const longest = Math.max(...pairs.map(({ subject: { max } }) => max))
      session.add({
        id: 'T10',
        name: `event loop delay p99 above idle, ${name}`,
        unit: 'ms',
        value: over(pairs, ({ probe, subject: { p99 } }) => p99 - probe.p99),
        target,
        beside: [
          `p99 idle ${idle.toFixed(2)} ms, 1 ms of timer included; longest ${number(longest)} ms`,
          commitLine(commits),
        ],
      })
    }
    await measure('append', '64 in flight', ['<=', 0.3])
    await measure('batches', 'replay by readBatches', ['<=', 2])
    await measure('records', 'replay by read', ['<=', 2])
  })
}

/** The first record from anywhere, in a log that is open and whose places have been asked for. */
async function readAnywhere(session, groups, fill) {
  await session.withLog({}, async (subject) => {
    await fill(subject)
    const count = 60
    await subject.call('randomReads', { count: 5 * count })
    const pairs = await session.pairs(session.commit, () => subject.call('randomReads', { count }))
    const all = pool(pairs.map(({ subject: { latencies } }) => latencies))
    session.add({
      id: '-',
      name: `first record from anywhere, ${groups}`,
      unit: 'ms, p50',
      value: over(pairs, ({ subject: { p50 } }) => p50 / 1000),
      target: ['<=', 1],
      beside: [`stonelog: ${percentiles(all)}`, commitLine(pairs.map(({ probe }) => probe))],
    })
  })
}

// Few enough to be filled several times before anything is measured, large enough for many slices.
const WHOLE_BYTES = 256 * MIB
const LEAST_ROTATIONS = 50

/**
 * Small segments, so that a slice holds several rotations. In the same pairs the same load goes
 * into a log that has room for it in one segment: what is left there is none of rotation. Both
 * write into space that was used before.
 */
async function rotation(session, name, load, segmentBytes) {
  const ms = 2 * session.settings.sliceMs
  const everyMs = (1000 * segmentBytes) / load.bulkBytesPerSecond
  const whole = { segmentBytes: WHOLE_BYTES }
  await session.withLog({ segmentBytes }, (rotating) =>
    session.withLog(whole, async (still) => {
      for (const [subject, bytes] of [
        [rotating, segmentBytes],
        [still, WHOLE_BYTES],
      ]) {
        await subject.call('passBytes', { size: 64 << 10, bytes: 6 * bytes })
      }
      const pairs = await session.pairs(session.commit, async (index) => {
        const one = () => rotating.call('rotatingLoop', { ...load, ms })
        const other = () => still.call('rotatingLoop', { ...load, ms, everyMs })
        if (index % 4 < 2) return { rotating: await one(), still: await other() }
        const first = await other()
        return { rotating: await one(), still: first }
      })
      addRotation(session, name, pairs)
    }),
  )
}

function openLoopLines(slices, what) {
  const of = (field) => pool(slices.map((slice) => slice[field]))
  const refused = (kind) => slices.reduce((sum, slice) => sum + slice.refused[kind], 0)
  const all = of('latencies')
  return [
    `refused: ${refused('appends')} of ${all.count} appends, ${refused('bulk')} bulk records`,
    `longest of a slice, median: ${micros(median(slices.map(({ max }) => max)))}`,
    `${what}: ${percentiles(all)}`,
    `wake-ups late by ${percentiles(of('wakeUps'))}; the metronome by at most ` +
      micros(1000 * Math.max(...slices.map(({ metronomeLateMs }) => metronomeLateMs))),
  ]
}

function addRotation(session, name, pairs) {
  const raw = commitLine(pairs.map(({ probe }) => probe))
  const { p999 } = pool(pairs.map(({ probe }) => probe.latencies))
  const rotating = pairs.map(({ subject }) => subject.rotating)
  // At the end of its segment that one rotates, too.
  const still = pairs
    .map(({ subject }) => subject.still)
    .filter(({ written }) => written.rotations === 0)
  const rotations = rotating.reduce((sum, { written }) => sum + written.rotations, 0)
  const few = rotations < LEAST_ROTATIONS ? `, fewer than ${LEAST_ROTATIONS}` : ''
  const unit = 'x raw p99.9'
  const longest = (slices) => summarize([Math.max(...slices.map(({ max }) => max)) / p999])
  const addAround = (slices, what, text) => {
    const longest = slices.flatMap((slice) => slice.longest)
    if (longest.length === 0) return
    session.add({
      id: '-',
      name: `longest append around ${what}`,
      unit,
      value: summarize(longest.map((us) => us / p999)),
      beside: [`${text}; the longest ${micros(Math.max(...longest))}`, raw],
    })
  }
  session.add({
    id: 'T11',
    name: `longest stall, ${name}`,
    unit,
    value: longest(rotating),
    target: ['<=', 3],
    beside: [
      `${rotations} rotations in ${pairs.length} slices${few}`,
      ...openLoopLines(rotating, 'stonelog'),
      raw,
    ],
  })
  addAround(rotating, `a rotation, ${name}`, 'within 5 ms of each one')
  // A slice that is too long for any segment has nothing to stand beside it.
  if (still.length === 0) return
  session.add({
    id: '-',
    name: `longest stall, ${name}, one segment`,
    unit,
    value: longest(still),
    beside: [
      `${still.length} slices without a rotation`,
      ...openLoopLines(still, 'stonelog, one segment'),
      raw,
    ],
  })
  addAround(still, `no rotation, ${name}, one segment`, 'in as much time, as often')
}

async function crc32c(session) {
  await session.withSubject(async (subject) => {
    for (const size of [4 << 10, 16 << 10, 64 << 10]) {
      const slice = (name) => () => subject.call('checksum', { name, size, ms: 40 })
      const commits = [await session.commit()]
      const pairs = await session.pairs(slice('node-rs'), slice('stonelog'))
      const other = median(pairs.map(({ probe }) => probe.bytesPerSecond))
      const calls = median(pairs.map(({ subject: { overheadNanos } }) => overheadNanos))
      const beside = [
        `@node-rs/crc32: ${number(other)}B/s; a call costs ${number(calls)} ns, taken off`,
        commitLine(commits),
      ]
      const name = `CRC32C of ${size >> 10} KiB in cache`
      session.add({
        id: 'T12',
        name,
        unit: 'GB/s',
        value: over(pairs, ({ subject: { bytesPerSecond } }) => bytesPerSecond / 1e9),
        target: ['>=', 20],
        beside,
      })
      session.add({
        id: 'T12',
        name,
        unit: 'x @node-rs/crc32',
        value: over(pairs, ({ probe, subject: s }) => s.bytesPerSecond / probe.bytesPerSecond),
        target: ['>=', 2],
        beside,
      })
    }
  })
}

export const wholeWorkloads = {
  memory,
  open: opening,
  'loop-delay': loopDelay,
  'read-anywhere-bulk': (session) =>
    readAnywhere(session, 'bulk-written', (subject) =>
      subject.call('fill', { size: 100, bytes: session.settings.logBytes }),
    ),
  'read-anywhere': (session) =>
    readAnywhere(session, 'groups of 8 records', (subject) =>
      subject.call('closedLoop', { inFlight: 8, size: 100, ms: 30 * session.settings.sliceMs }),
    ),
  rotation: (session) =>
    rotation(
      session,
      'rotating every 1 MiB',
      { perSecond: 2000, size: 100, bulkBytesPerSecond: 20e6 },
      MIB,
    ),
  'rotation-bulk': (session) =>
    rotation(
      session,
      'rotating every 8 MiB beside 200 MB/s of bulk',
      { perSecond: 2000, size: 100, bulkBytesPerSecond: 200e6 },
      8 * MIB,
    ),
  crc32c,
}
