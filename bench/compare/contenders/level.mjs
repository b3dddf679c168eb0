// classic-level: `sync: true` syncs LevelDB's own log at every write. What is appended while a
// batch is on its way makes the next batch.
import { rmSync } from 'node:fs'
import { GroupCommit } from './contender.mjs'
import { requirePeer } from './peers.mjs'

const QUEUE_RECORDS = 10_000
const READ_RECORDS = 1000

/** @returns {Promise<import('./contender.mjs').Contender>} */
export async function open(directory) {
  const { ClassicLevel } = requirePeer('classic-level')
  const path = `${directory}/data`
  const create = async () => {
    const database = new ClassicLevel(path, { keyEncoding: 'buffer', valueEncoding: 'buffer' })
    await database.open()
    return database
  }
  let database = await create()
  let next = 1

  function put(value) {
    const key = Buffer.allocUnsafe(8)
    key.writeUInt32BE(Math.floor(next / 2 ** 32), 0)
    key.writeUInt32BE(next++ >>> 0, 4)
    return { type: 'put', key, value }
  }
  const commits = new GroupCommit((batch) => database.batch(batch.map(put), { sync: true }))
  const batchOf = (data, count, sync) =>
    database.batch(
      Array.from({ length: count }, () => put(data)),
      { sync },
    )
  return {
    append: (data) => commits.append(data),
    batch: (data, count) => batchOf(data, count, true),
    async queue(data, count) {
      for (let left = count; left > 0; ) {
        const here = Math.min(left, QUEUE_RECORDS)
        left -= here
        await batchOf(data, here, left === 0)
      }
    },
    async replay() {
      let records = 0
      let sum = 0
      const values = database.values({ fillCache: false })
      for (;;) {
        const some = await values.nextv(READ_RECORDS)
        if (some.length === 0) break
        for (const value of some) sum += value[0]
        records += some.length
      }
      await values.close()
      return { records, sum }
    },
    // A fresh database: what deleting leaves behind would be compacted during later slices.
    async recycle() {
      await database.close()
      rmSync(path, { recursive: true })
      next = 1
      database = await create()
    },
    close: () => database.close(),
  }
}
