// The steps of a log's life, each repeated until its environment is ended in the middle of it.
import { Wal } from '../../dist/index.js'

/** Of a step's log. Small segments, but for what stages: a lease needs room for all of it. */
export function optionsOf(step) {
  const stages = step === 'writing' || step === 'visiting'
  return { segmentBytes: (stages ? 4096 : 128) * 1024, minFreeBytes: 0 }
}

export const STEPS = [
  'opening',
  'appending',
  'batch',
  'sync',
  'reading',
  'truncating',
  'verifying',
  'flushing',
  'writing',
  'closing',
  'following',
]

/** An append that waits where the queue is full. */
async function append(wal, data, acknowledged) {
  for (;;) {
    try {
      acknowledged(await wal.append(data))
      return
    } catch (error) {
      if (error.code !== 'WAL_BACKPRESSURE') throw error
      await wal.ready()
    }
  }
}

function burst(wal, text, acknowledged) {
  return Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      append(wal, `${text} ${i} `.padEnd(500, '.'), acknowledged),
    ),
  )
}

const turns = {
  async appending(wal, acknowledged) {
    await burst(wal, 'appending', acknowledged)
  },
  async batch(wal, acknowledged) {
    const { lastLsn } = await wal.appendBatch(['one', 'two', Buffer.alloc(3000)]).catch(() => ({}))
    if (lastLsn !== undefined) acknowledged(lastLsn)
    await wal.ready()
  },
  async sync(wal, acknowledged) {
    for (let i = 0; i < 5; i++) {
      try {
        acknowledged(wal.appendSync(`sync ${i}`))
      } catch (error) {
        if (error.code !== 'WAL_BACKPRESSURE') throw error
        await wal.ready()
      }
    }
    await new Promise((resolve) => setImmediate(resolve))
  },
  async reading(wal, acknowledged) {
    const pending = burst(wal, 'read', acknowledged)
    let count = 0
    for await (const batch of wal.readBatches()) {
      count += batch.length
      if (count > 500) break
    }
    await pending
  },
  async truncating(wal, acknowledged) {
    await burst(wal, 'truncated', acknowledged)
    await wal.truncateBefore(Math.max(wal.firstLsn, wal.durableLsn - 50))
  },
  async verifying(wal, acknowledged, directory) {
    await Promise.all([Wal.verify(directory), burst(wal, 'verified', acknowledged)])
  },
  async flushing(wal) {
    for (let i = 0; i < 20; i++) {
      try {
        wal.write(`written ${i}`)
      } catch (error) {
        if (error.code !== 'WAL_BACKPRESSURE') throw error
        await wal.ready()
      }
    }
    await wal.flush()
  },
  async writing(wal, acknowledged) {
    await stage(wal, 300)
    acknowledged(wal.durableLsn)
    await new Promise((resolve) => setImmediate(resolve))
  },
}

/** Writes without waiting: most of it is staged, and admitted when the turn of the loop ends. */
async function stage(wal, count) {
  for (let i = 0; i < count; i++) {
    try {
      wal.write(`staged ${i}`)
    } catch (error) {
      if (error.code !== 'WAL_BACKPRESSURE') throw error
      await wal.ready()
    }
  }
}

/** A handle beside another thread's, for a moment only: its lease ends and can be given again. */
async function visit(directory, begun) {
  begun()
  for (;;) {
    const wal = await Wal.open(directory, optionsOf('visiting'))
    await stage(wal, 5)
    await new Promise((resolve) => setImmediate(resolve))
    await stage(wal, 5)
    await wal.close()
  }
}

/**
 * Lives until it is ended.
 * @param {string} step one of STEPS, or `visiting`
 * @param {string} directory
 * @param {() => void} begun called when the step has begun
 * @param {(lsn: number) => void} acknowledged called with each LSN that was acknowledged
 */
export async function live(step, directory, begun, acknowledged) {
  if (step === 'opening' || step === 'closing') {
    if (step === 'opening') begun()
    for (;;) {
      const wal = await Wal.open(directory, optionsOf(step))
      if (step === 'closing') {
        void burst(wal, 'closed', acknowledged).catch(() => {})
        begun()
      }
      await wal.close()
    }
  }
  if (step === 'visiting') return visit(directory, begun)
  const wal = await Wal.open(directory, optionsOf(step))
  // A process that ends at once ends with these staged.
  if (step === 'writing') await stage(wal, 50)
  if (step === 'following') {
    await burst(wal, 'followed', acknowledged)
    const reader = await Wal.open(directory, { readOnly: true })
    begun()
    for (;;) {
      for await (const record of reader.read()) if (record.lsn % 100 === 0) break
      await burst(wal, 'followed', acknowledged)
    }
  }
  begun()
  for (;;) await turns[step](wal, acknowledged, directory)
}
