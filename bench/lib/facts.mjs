// What figures depend on: the machine, the disk, the file system.
import { statfsSync } from 'node:fs'
import { cpus, loadavg, totalmem } from 'node:os'

const GIB = 1 << 30
// tmpfs and ramfs: what they call durable is gone with the machine's power.
const MEMORY_FILE_SYSTEMS = [0x01021994, 0x858458f6]

/** An error whose message is all the user needs. */
export class UsageError extends Error {}

/** @throws {UsageError} on a file system that has no disk */
export function refuseMemoryFileSystem(directory) {
  if (!MEMORY_FILE_SYSTEMS.includes(statfsSync(directory).type)) return
  throw new UsageError(
    'the directory is on a file system in memory (tmpfs): nothing is durable there, so no ' +
      'figure would mean anything; choose another one with --dir.',
  )
}

/** What the figures depend on, without names or paths of this machine. */
export function facts(info, settings) {
  return {
    date: new Date().toISOString().slice(0, 10),
    node: process.versions.node,
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: info.cores,
    memoryGib: Math.round(totalmem() / GIB),
    loadBefore: loadavg()[0],
    ...info,
    settings,
  }
}

/** The same for a reader. */
export function headerLines({ date, node, cpu, cores, kernel, memoryGib, loadBefore, ...rest }) {
  const { fileSystem, mountOptions, direct, dsync, device, settings } = rest
  const yes = (value) => (value ? 'yes' : 'no')
  const disk =
    device === null
      ? 'unknown'
      : Object.entries(device)
          .map(([name, value]) => `${name} ${value}`)
          .join(', ')
  const lines = [
    `${date}, Node ${node}, Linux ${kernel}, ${cores} x ${cpu}, ${memoryGib} GiB`,
    `${fileSystem} (${mountOptions}), direct I/O ${yes(direct)}, RWF_DSYNC ${yes(dsync)}`,
    `device: ${disk}`,
    `${settings.slices} slices of ${settings.sliceMs} ms of each side; load before ${loadBefore}`,
  ]
  if (loadBefore > 0.5) lines.push('The machine is busy with something else: repeat later.')
  return lines
}
