// The ingest service is loaded, killed, restarted and stopped.
import { once } from 'node:events'
import { request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { Wal, WalError } from 'stonelog'
import { expect, it } from 'vitest'
// @ts-expect-error: JavaScript, without types
import { appendPatiently, Overloaded } from '../../examples/http-ingest/append.mjs'
import { type Running, startExample } from '../fixtures/example.js'
import { makeDirectory } from '../fixtures/log.js'

async function startServer(directory: string, env: Record<string, string> = {}) {
  const server = startExample('http-ingest/server.mjs', [], {
    PORT: '0',
    DIRECTORY: directory,
    ...env,
  })
  const line = await server.line((text) => text.startsWith('listening on '))
  return { ...server, url: line.slice('listening on '.length) }
}

const post = (url: string, body: string) => fetch(`${url}/records`, { method: 'POST', body })

/** A request that the server has accepted, without its body; call the result to finish it. */
async function beginPost(url: string): Promise<() => Promise<number | undefined>> {
  const headers = { expect: '100-continue' }
  const client = request(`${url}/records`, { method: 'POST', headers })
  client.flushHeaders()
  await once(client, 'continue')
  return async () => {
    client.end('a line')
    const [response] = await once(client, 'response')
    response.resume()
    return response.statusCode
  }
}

/** LSN to line, of everything that the server hands out. */
async function getAll(url: string): Promise<Map<number, string>> {
  const text = await (await fetch(`${url}/records`)).text()
  const records = text.split('\n').filter(Boolean)
  return new Map(records.map((line) => JSON.parse(line)).map(({ lsn, data }) => [lsn, data]))
}

/** Clients that post two lines at a time until the server is gone; what was acknowledged. */
async function load(url: string, clients: number, onAcknowledged: (count: number) => void) {
  const acknowledged = new Map<number, string>()
  const client = async (name: number) => {
    for (let turn = 0; ; turn++) {
      const lines = [`${name} ${turn} a`, `${name} ${turn} b`]
      try {
        const response = await post(url, lines.join('\n'))
        const { first, last } = (await response.json()) as { first: number; last: number }
        expect([response.status, last]).toEqual([201, first + 1])
        lines.forEach((line, index) => {
          acknowledged.set(first + index, line)
        })
        onAcknowledged(acknowledged.size)
      } catch (error) {
        if (error instanceof TypeError || error instanceof SyntaxError) return // it is gone
        throw error
      }
    }
  }
  await Promise.all(Array.from({ length: clients }, (_, index) => client(index)))
  return acknowledged
}

async function stop({ child, end }: Running, signal: NodeJS.Signals) {
  child.kill(signal)
  return await end
}

it('a killed server has everything that it acknowledged when it is started again', async () => {
  const directory = makeDirectory()
  const acknowledged = new Map<number, string>()
  for (let life = 1; life <= 3; life++) {
    const server = await startServer(directory)
    const before = await getAll(server.url)
    for (const [lsn, line] of acknowledged) expect(before.get(lsn)).toBe(line)
    const news = await load(server.url, 8, (count) => {
      if (count >= 200) server.child.kill('SIGKILL')
    })
    for (const [lsn, line] of news) acknowledged.set(lsn, line)
  }
  const server = await startServer(directory)
  const kept = await getAll(server.url)
  for (const [lsn, line] of acknowledged) expect(kept.get(lsn)).toBe(line)
  // Batches are whole: every first line has its second.
  const lines = [...kept.values()]
  expect(lines.filter((line) => line.endsWith('a'))).toHaveLength(lines.length / 2)
  await stop(server, 'SIGKILL')
})

it('what is acknowledged can be read at once: it is durable', async () => {
  const server = await startServer(makeDirectory())
  for (let turn = 0; turn < 20; turn++) {
    const { first } = (await (await post(server.url, `line ${turn}`)).json()) as { first: number }
    const text = await (await fetch(`${server.url}/records?from=${first}`)).text()
    expect(JSON.parse(text)).toMatchObject({ lsn: first, data: `line ${turn}` })
  }
  await stop(server, 'SIGTERM')
})

it('SIGTERM lets requests under way finish, closes the log, and ends with 0', async () => {
  const directory = makeDirectory()
  const server = await startServer(directory)
  const requests = await Promise.all(Array.from({ length: 20 }, () => beginPost(server.url)))
  const ended = stop(server, 'SIGTERM')
  await server.line((line) => line === 'stopping')
  await expect(post(server.url, 'too late')).rejects.toThrow('fetch failed')
  const statuses = await Promise.all(requests.map((finish) => finish()))
  expect(statuses).toEqual(Array(20).fill(201))
  expect(await ended).toEqual({ code: 0, signal: null })
  const report = await Wal.verify(directory)
  expect(report).toMatchObject({ verdict: 'clean', closed: true, records: 20 })
})

it('bad requests are told so and write nothing', async () => {
  const directory = makeDirectory()
  const server = await startServer(directory, { QUEUE_BYTES: '65536' })
  const statuses = [
    await post(server.url, ''),
    await post(server.url, 'x'.repeat(100_000)),
    await post(server.url, 'x'.repeat(2_000_000)),
    await fetch(`${server.url}/records?from=x`),
    await fetch(`${server.url}/nowhere`),
  ].map(({ status }) => status)
  expect(statuses).toEqual([400, 413, 413, 400, 404])
  expect(await getAll(server.url)).toEqual(new Map())
  await stop(server, 'SIGTERM')
})

/** A log that has room at the n-th try. */
function fakeLog(tries: number) {
  const log = { tried: 0, waited: 0, appendBatch, ready }
  async function appendBatch() {
    if (++log.tried < tries) throw new WalError('WAL_BACKPRESSURE', 'full')
    return { first: 1, last: 1 }
  }
  async function ready() {
    log.waited++
    await sleep(1)
  }
  return log
}

it('without room a request waits and tries again', async () => {
  const log = fakeLog(4)
  expect(await appendPatiently(log, ['x'], 60_000)).toEqual({ first: 1, last: 1 })
  expect([log.tried, log.waited]).toEqual([4, 3])
})

it('without room for too long a request is refused', async () => {
  const log = fakeLog(Number.POSITIVE_INFINITY)
  await expect(appendPatiently(log, ['x'], 20)).rejects.toBeInstanceOf(Overloaded)
  const other = { ...fakeLog(1), appendBatch: () => Promise.reject(new WalError('WAL_IO', 'no')) }
  await expect(appendPatiently(other, ['x'], 20)).rejects.toMatchObject({ code: 'WAL_IO' })
})
