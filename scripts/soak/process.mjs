// A process that ends itself at a random moment. Arguments: step, directory, ms, how (exit or
// kill). Prints each LSN that was acknowledged, synchronously.
import { writeSync } from 'node:fs'
import { warmUp } from '../../test/fixtures/warm.mjs'
import { live } from './steps.mjs'

const [step, directory, ms, how] = process.argv.slice(2)
await warmUp(directory)
await live(
  step,
  directory,
  () => {
    const end = () => (how === 'exit' ? process.exit(0) : process.kill(process.pid, 'SIGKILL'))
    // Not at the end of a turn of the loop only: 0 ends it at once, from inside of the step.
    if (Number(ms) === 0) end()
    else setTimeout(end, Number(ms))
  },
  (lsn) => writeSync(1, `${lsn}\n`),
)
