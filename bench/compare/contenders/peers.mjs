// The npm packages: bench/peers has a lock file of its own, so that none of them is a dependency.
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

export const PEERS_DIRECTORY = fileURLToPath(new URL('../../peers/', import.meta.url))
const fromPeers = createRequire(`${PEERS_DIRECTORY}package.json`)

/** The package as CommonJS; throws if it is not installed. */
export function requirePeer(name) {
  return fromPeers(name)
}

/** `name version`, as the lock file has it. */
export function peerVersion(name) {
  return fromPeers('./package-lock.json').packages[`node_modules/${name}`].version
}
