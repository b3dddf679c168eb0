// The types that users see. `npm run typecheck` judges them; here is a test so that they are also
// judged by `npm test`, together with everything else that is compiled for tests.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  type AppendOptions,
  type BatchLsns,
  type Latency,
  type Logger,
  type LostRange,
  type NoteMessage,
  type OpenMessage,
  type Outcome,
  type PoisonedMessage,
  type ReadRange,
  type RecordBatch,
  type RecoveryMode,
  type RecoveryReport,
  type Verdict,
  type VerifyReport,
  Wal,
  WalError,
  type WalErrorCode,
  type WalErrorDetails,
  type WalOptions,
  type WalRecord,
  type WalStats,
} from 'stonelog'
import { expect, expectTypeOf, it } from 'vitest'
import { packageRoot } from '../fixtures/log.js'

type Data = Uint8Array | string

it('what calls take and give', () => {
  expectTypeOf<typeof Wal.open>().toEqualTypeOf<
    (directory: string | URL, options?: WalOptions) => Promise<Wal>
  >()
  expectTypeOf(Wal.verify).returns.toEqualTypeOf<Promise<VerifyReport>>()
  expectTypeOf<Wal['append']>().toEqualTypeOf<
    (data: Data, options?: AppendOptions) => Promise<number>
  >()
  expectTypeOf<Wal['appendBatch']>().toEqualTypeOf<
    (records: ReadonlyArray<Data>, options?: AppendOptions) => Promise<BatchLsns>
  >()
  expectTypeOf<Wal['write']>().toEqualTypeOf<(data: Data, options?: AppendOptions) => number>()
  expectTypeOf<Wal['appendSync']>().toEqualTypeOf<(data: Data) => number>()
  expectTypeOf<Wal['flush']>().toEqualTypeOf<(upTo?: number) => Promise<number>>()
  expectTypeOf<Wal['ready']>().toEqualTypeOf<() => Promise<void>>()
  expectTypeOf<Wal['truncateBefore']>().toEqualTypeOf<(lsn: number) => Promise<number>>()
  expectTypeOf<Wal['read']>().toEqualTypeOf<
    (range?: ReadRange) => AsyncIterableIterator<WalRecord>
  >()
  expectTypeOf<Wal['readBatches']>().returns.toEqualTypeOf<AsyncIterableIterator<RecordBatch>>()
  expectTypeOf<Wal['stats']>().returns.toEqualTypeOf<WalStats>()
  expectTypeOf<Wal>().toExtend<AsyncDisposable>()
  expectTypeOf<Wal['recovery']>().toEqualTypeOf<RecoveryReport>()
  expectTypeOf<Wal['lastLsn']>().toEqualTypeOf<number>()
  // @ts-expect-error: a log is made by Wal.open
  expectTypeOf(() => new Wal()).toBeFunction()
})

it('what records and reports hold', () => {
  expectTypeOf<WalRecord>().toEqualTypeOf<{
    lsn: number
    data: Buffer
    timestamp: number
    epoch: number
  }>()
  expectTypeOf<RecordBatch>().toExtend<Iterable<WalRecord>>()
  expectTypeOf<Verdict>().toEqualTypeOf<'clean' | 'torn-tail' | 'corrupt'>()
  expectTypeOf<RecoveryReport['lost']>().toEqualTypeOf<LostRange[]>()
  expectTypeOf<VerifyReport>().toExtend<RecoveryReport & { records: number }>()
  expectTypeOf<WalStats['latency']['write']>().toEqualTypeOf<Latency>()
  expectTypeOf<OpenMessage['recovery']>().toEqualTypeOf<RecoveryReport>()
  expectTypeOf<PoisonedMessage['error']>().toEqualTypeOf<WalError>()
  expectTypeOf<NoteMessage['message']>().toEqualTypeOf<string>()
})

it('what options may be', () => {
  expectTypeOf<WalOptions['recovery']>().toEqualTypeOf<RecoveryMode | undefined>()
  expectTypeOf<typeof console>().toExtend<Logger>()
  expectTypeOf<{ segmentByte: 1 }>().not.toEqualTypeOf<Partial<WalOptions>>()
  const options = {} satisfies WalOptions
  expectTypeOf(options).toExtend<WalOptions>()
  // @ts-expect-error: misspelt
  expectTypeOf<WalOptions>().toHaveProperty('segmentByte')
  // @ts-expect-error: not a level
  expectTypeOf<WalOptions['durability']>().toEqualTypeOf<'always'>()
})

it('what errors are', () => {
  expectTypeOf<WalError>().toExtend<Error>()
  expectTypeOf<WalError['code']>().toEqualTypeOf<WalErrorCode>()
  expectTypeOf<WalError['outcome']>().toEqualTypeOf<Outcome | undefined>()
  expectTypeOf<Outcome>().toEqualTypeOf<'not-written' | 'indeterminate'>()
  expectTypeOf<WalErrorDetails>().toHaveProperty('lsn')
  expect(new WalError('WAL_IO', 'failed', { lsn: 1 })).toMatchObject({ code: 'WAL_IO', lsn: 1 })
})

it('everything compiles under the strict settings of the tests', async () => {
  const tsc = join(packageRoot, 'node_modules/typescript/bin/tsc')
  const args = [tsc, '-p', join(packageRoot, 'tsconfig.test.json')]
  const { stdout } = await promisify(execFile)(process.execPath, args).catch((error) => error)
  expect(stdout).toBe('')
}, 120_000)
