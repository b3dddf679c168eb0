// Resident memory as the kernel counts it. (`resourceUsage().maxRSS` starts with the parent's.)
import { readFileSync, writeFileSync } from 'node:fs'

export function residentBytes() {
  return process.memoryUsage.rss()
}

/** Begins a new peak. */
export function resetPeak() {
  writeFileSync('/proc/self/clear_refs', '5')
}

/** The most that was resident since the last `resetPeak`. */
export function peakBytes() {
  const status = readFileSync('/proc/self/status', 'utf8')
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)[1]) * 1024
}
