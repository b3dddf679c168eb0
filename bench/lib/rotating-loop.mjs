// An open loop that tells for each rotation which append around it took longest.
import { openLoop } from './open-loop.mjs'

// What a rotation sets going - sealing, releasing, preparing the next segment - is over by then.
const AROUND_MS = 5
// Looking costs some 15 us.
const LOOK_MS = 2

/**
 * `openLoop`; beside its results, for each rotation, the microseconds of the longest append that
 * was due or under way within 5 ms of it. With `everyMs` for moments that far apart instead of
 * rotations: what such a time holds where nothing rotates.
 */
export async function rotatingLoop(wal, { everyMs, ...load }) {
  const appends = []
  // Each from when it had not happened yet to when it had been seen.
  const moments = []
  let looked
  let rotations = wal.stats().rotations
  function look(now) {
    const before = looked ?? now
    looked = now
    const seen = wal.stats().rotations
    const rotated = seen > rotations
    rotations = seen
    const passed = Math.floor(now / everyMs) > Math.floor(before / everyMs)
    if (everyMs === undefined ? rotated : passed) moments.push([before, now])
  }
  const result = await openLoop(wal, load, {
    onWake(_, now) {
      if (looked === undefined || now >= looked + LOOK_MS) look(now)
    },
    onAppend: (due, done) => appends.push([due, done]),
  })
  const longest = moments.map(([before, seen]) => {
    const [from, to] = [before - AROUND_MS, seen + AROUND_MS]
    const around = appends.filter(([due, done]) => due <= to && done >= from)
    return Math.max(0, ...around.map(([due, done]) => 1000 * (done - due)))
  })
  return { ...result, longest }
}
