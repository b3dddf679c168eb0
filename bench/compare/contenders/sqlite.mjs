// better-sqlite3: WAL with synchronous=FULL syncs the WAL at every commit. What is appended in one
// turn of the event loop makes one transaction; the call blocks, as all of this package do.
import { setImmediate } from 'node:timers/promises'
import { TurnCommit } from './contender.mjs'
import { requirePeer } from './peers.mjs'

const TURN_RECORDS = 16_384

/** @returns {Promise<import('./contender.mjs').Contender>} */
export async function open(directory) {
  const Database = requirePeer('better-sqlite3')
  const database = new Database(`${directory}/data.sqlite`)
  database.pragma('journal_mode = WAL')
  database.pragma('synchronous = FULL')
  database.exec('CREATE TABLE IF NOT EXISTS log (lsn INTEGER PRIMARY KEY, data BLOB NOT NULL)')
  const insert = database.prepare('INSERT INTO log (data) VALUES (?)')
  const insertAll = database.transaction((batch) => {
    for (const data of batch) insert.run(data)
  })
  // One statement is a transaction of its own.
  const turns = new TurnCommit((batch) => {
    if (batch.length === 1) insert.run(batch[0])
    else insertAll(batch)
  })
  const begin = database.prepare('BEGIN')
  const commit = database.prepare('COMMIT')

  async function queue(data, count) {
    begin.run()
    for (let i = 0; i < count; i++) {
      insert.run(data)
      if (i % TURN_RECORDS === TURN_RECORDS - 1) await setImmediate()
    }
    commit.run()
  }
  return {
    append: (data) => turns.append(data),
    batch: queue,
    queue,
    async replay() {
      let records = 0
      let sum = 0
      for (const [data] of database.prepare('SELECT data FROM log ORDER BY lsn').raw().iterate()) {
        sum += data[0]
        records++
      }
      return { records, sum }
    },
    async recycle() {
      database.exec('DELETE FROM log')
      database.pragma('wal_checkpoint(TRUNCATE)')
    },
    close: async () => database.close(),
  }
}
