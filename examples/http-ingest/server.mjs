// An HTTP service that answers once the records are durable.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { Wal } from 'stonelog'
import { appendPatiently, Overloaded } from './append.mjs'

const BODY_BYTES_MAX = 1024 * 1024
const { PORT = '8080', DIRECTORY = 'data/http-ingest', QUEUE_BYTES = '8388608' } = process.env

let stopping = false
const wal = await Wal.open(DIRECTORY, { queueBytes: Number(QUEUE_BYTES), logger: console })

/** The body's lines, or undefined if it is too large: read to its end then, but not kept. */
async function readLines(request) {
  const chunks = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size <= BODY_BYTES_MAX) chunks.push(chunk)
  }
  if (size > BODY_BYTES_MAX) return undefined
  const lines = Buffer.concat(chunks).toString().split('\n')
  if (lines.at(-1) === '') lines.pop()
  return lines
}

async function postRecords(request, response) {
  const lines = await readLines(request)
  if (lines === undefined) return answer(response, 413, { error: 'the body is too large' })
  if (lines.length === 0) return answer(response, 400, { error: 'the body has no lines' })
  answer(response, 201, await appendPatiently(wal, lines))
}

async function* toLines(records) {
  for await (const { lsn, data, timestamp } of records) {
    yield `${JSON.stringify({ lsn, timestamp, data: data.toString() })}\n`
  }
}

/** The pipeline reads from the log only as fast as the client takes it. */
async function getRecords(url, response) {
  const from = Number(url.searchParams.get('from') ?? wal.firstLsn)
  if (from < wal.firstLsn) return answer(response, 410, { error: `gone: ${from}` })
  const records = wal.read({ from })
  response.writeHead(200, { 'content-type': 'application/x-ndjson' })
  await pipeline(toLines(records), response)
}

function answer(response, status, body, headers = {}) {
  if (stopping) response.setHeader('connection', 'close')
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(`${JSON.stringify(body)}\n`)
}

function answerError(response, error) {
  if (response.headersSent) return response.destroy()
  const { code, outcome, message } = error
  if (error instanceof Overloaded) {
    return answer(response, 503, { error: message, outcome }, { 'retry-after': '1' })
  }
  const status = code === 'WAL_BAD_ARGUMENT' ? 400 : code === 'WAL_RECORD_TOO_LARGE' ? 413 : 500
  answer(response, status, { error: message, code, outcome })
  // The log has stopped: nothing will be acknowledged any more. A new process recovers it.
  if (code === 'WAL_POISONED' || code === 'WAL_IO') shutDown(1)
}

const server = createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost')
  const route = `${request.method} ${url.pathname}`
  const routes = {
    'POST /records': () => postRecords(request, response),
    'GET /records': () => getRecords(url, response),
    'GET /stats': () => answer(response, 200, wal.stats()),
  }
  if (!Object.hasOwn(routes, route)) return answer(response, 404, { error: `no ${route}` })
  Promise.resolve()
    .then(routes[route])
    .catch((error) => answerError(response, error))
})

/** No new connections, the requests under way to their end, then the log. */
async function shutDown(code) {
  if (stopping) return
  stopping = true
  console.log('stopping')
  const closed = once(server, 'close')
  server.close()
  server.closeIdleConnections()
  await closed
  await wal.close().catch((error) => console.error(error.message))
  process.exitCode = code
}

process.on('SIGTERM', () => shutDown(0))
process.on('SIGINT', () => shutDown(0))

server.listen(Number(PORT), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`)
})
