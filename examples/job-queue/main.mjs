// Adds jobs to a new queue, and works off what is open.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { JobQueue } from './queue.mjs'

const { DIRECTORY = 'data/job-queue' } = process.env
const JOBS = Number(process.argv[2] ?? 20)
const WORKERS = 4

const outbox = join(DIRECTORY, 'outbox')
await mkdir(outbox, { recursive: true })
const queue = await JobQueue.open(join(DIRECTORY, 'log'))
if (queue.isNew) await queue.add(Array.from({ length: JOBS }, (_, index) => `letter ${index}`))
console.log(`${queue.waiting} jobs to do`)

/** What a job does: safe to repeat, because the job's id names the result. */
async function perform({ id, payload }) {
  await writeFile(join(outbox, `${id}.txt`), payload)
}

async function work() {
  for (let job = queue.take(); job !== undefined; job = queue.take()) {
    await perform(job)
    await queue.done(job.id)
    console.log(`done ${job.id}`)
  }
}

await Promise.all(Array.from({ length: WORKERS }, work))
await queue.close()
console.log('all done')
