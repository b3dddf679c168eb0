// A log that stores nothing and answers in the next turn of the event loop: what the open loop, the
// JavaScript engine and the machine's scheduler are late by themselves.
const NOTHING = {
  groups: 0,
  groupBytes: 0,
  payloadBytes: 0,
  zeroedBytes: 0,
  wakes: 0,
  secondSlot: 0,
  rotations: 0,
}

export const hollowLog = {
  durableLsn: 1,
  append: () => new Promise((resolve) => setImmediate(resolve)),
  write: () => 1,
  truncateBefore: async () => 1,
  stats: () => NOTHING,
}
