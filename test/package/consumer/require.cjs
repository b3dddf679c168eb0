const { run } = require('./cycle.mjs')

run(require('stonelog'), process.argv.slice(2)).catch((error) => {
  console.error(error)
  process.exitCode = 1
})
