// Not a log, another version, damaged: three different answers, and none of them touches the file.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32c } from '@node-rs/crc32'
import { Wal } from 'stonelog'
import { expect, it } from 'vitest'
import { expectCode, makeLog, open, segmentFiles, snapshot } from '../fixtures/log.js'

/** Rewrites the version in a segment's preamble, with its checksum: as another build would. */
function setVersion(path: string, version: number, subVersion: number): void {
  const bytes = readFileSync(path)
  bytes.writeUInt16LE(version, 8)
  bytes.writeUInt16LE(subVersion, 10)
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 12)), 12)
  writeFileSync(path, bytes)
}

it.each([
  [1, 0],
  [0, 2],
  [0, 0],
])('format version %d.%d is refused by its name and left as it is', async (version, subVersion) => {
  const directory = await makeLog(['a'])
  setVersion(segmentFiles(directory)[0]!, version, subVersion)
  const before = snapshot(directory)
  for (const options of [{}, { readOnly: true }, { recovery: 'salvage' as const }]) {
    const error = await expectCode(open(directory, options), 'WAL_UNSUPPORTED_VERSION')
    expect(error.message).toContain(`${version}.${subVersion}`)
  }
  await expectCode(Wal.verify(directory), 'WAL_UNSUPPORTED_VERSION')
  expect(snapshot(directory)).toEqual(before)
})

it('a version that its checksum does not bear out is damage', async () => {
  const directory = await makeLog(['a'])
  const path = segmentFiles(directory)[0]!
  const bytes = readFileSync(path)
  bytes.writeUInt16LE(7, 8)
  writeFileSync(path, bytes)
  await expectCode(open(directory), 'WAL_CORRUPT')
})

it('a foreign file under a segment’s name is not a log', async () => {
  const directory = await makeLog(['a'])
  writeFileSync(join(directory, '00000000000000000077.wal'), 'a diary, '.repeat(2000))
  const before = snapshot(directory)
  await expectCode(open(directory), 'WAL_NOT_A_LOG')
  expect(snapshot(directory)).toEqual(before)
})
