// CRC32C of a buffer that stays in the cache, the cost of the call itself taken off.
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)
const packageDirectory = fileURLToPath(new URL('../..', import.meta.url))

/** @param {'stonelog' | 'node-rs' | 'fast-crc32c'} name */
function implementation(name) {
  if (name === 'stonelog') return require('node-gyp-build')(packageDirectory).crc32c
  if (name === 'fast-crc32c') return require('fast-crc32c').calculate
  const { crc32c } = require('@node-rs/crc32')
  return (bytes) => crc32c(bytes)
}

function secondsPerCall(crc32c, data, ms) {
  const rounds = Math.max(16, Math.ceil((64 << 10) / Math.max(data.length, 64)))
  const began = performance.now()
  let calls = 0
  let now = began
  for (; now < began + ms; now = performance.now()) {
    for (let i = 0; i < rounds; i++) crc32c(data)
    calls += rounds
  }
  return (now - began) / 1000 / calls
}

/** Bytes per second for buffers of `size`, for `ms`. */
export function checksum({ name, size, ms }) {
  const crc32c = implementation(name)
  const overhead = secondsPerCall(crc32c, Buffer.alloc(0), ms / 4)
  const whole = secondsPerCall(crc32c, Buffer.alloc(size, 0x5a), (ms * 3) / 4)
  return { bytesPerSecond: size / (whole - overhead), overheadNanos: overhead * 1e9 }
}
