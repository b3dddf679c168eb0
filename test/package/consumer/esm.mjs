import * as stonelog from 'stonelog'
import { run } from './cycle.cjs'

await run(stonelog, process.argv.slice(2))
