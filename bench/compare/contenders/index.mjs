// Everything that is compared. `durable` is the setting that makes an acknowledgement durable,
// as each one's documentation has it.
import { existsSync } from 'node:fs'
import { openAsync, openBlocking, openGrowing } from './files.mjs'
import { open as openLevel } from './level.mjs'
import { open as openLmdb } from './lmdb.mjs'
import { PEERS_DIRECTORY, peerVersion } from './peers.mjs'
import { open as openSqlite } from './sqlite.mjs'
import { open as openStonelog } from './stonelog.mjs'

const isInstalled = (name) => existsSync(`${PEERS_DIRECTORY}node_modules/${name}`)

/** By name; `peer`: the npm package it needs. */
export const contenders = {
  stonelog: { open: openStonelog, durable: 'default options' },
  lmdb: { open: openLmdb, peer: 'lmdb', durable: 'default sync, `flushed` awaited' },
  sqlite: {
    open: openSqlite,
    peer: 'better-sqlite3',
    durable: 'journal_mode=WAL, synchronous=FULL, one transaction a turn',
  },
  level: { open: openLevel, peer: 'classic-level', durable: 'sync: true, one batch at a time' },
  'fs-growing': { open: openGrowing, durable: 'growing file, fdatasync, group commit' },
  'fs-blocking': {
    open: openBlocking,
    durable: 'pre-written O_DSYNC file, one blocking write a turn',
  },
  'fs-async': { open: openAsync, durable: 'pre-written O_DSYNC file, group commit' },
}

/** Its title in tables: the package with its version. */
export function titleOf(name) {
  const { peer } = contenders[name]
  return peer === undefined ? name : `${peer} ${peerVersion(peer)}`
}

/** Why it cannot run here, or nothing. */
export function missing(name) {
  const { peer } = contenders[name]
  if (peer === undefined || isInstalled(peer)) return
  return `the package ${peer} is not installed in bench/peers`
}
