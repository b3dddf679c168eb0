// The directory of a log, as callers may name it.
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { badArgument, describeValue } from './errors.js'

/**
 * The directory as an absolute path: a later `process.chdir` must not move an open log, and threads
 * of one process must agree on it.
 * @param directory a path, or a `file:` URL
 * @throws {WalError} WAL_BAD_ARGUMENT
 */
export function resolveDirectory(directory: string | URL): string {
  if (directory instanceof URL && directory.protocol === 'file:') {
    return resolve(fileURLToPath(directory))
  }
  if (typeof directory !== 'string' || directory.length === 0 || directory.includes('\0')) {
    throw badArgument(
      `the directory of a log is a path or a file: URL, not ${describeValue(directory)}`,
    )
  }
  return resolve(directory)
}
