import * as stonelog from 'stonelog'
import { run } from './cycle.mjs'

await run(stonelog, process.argv.slice(2))
