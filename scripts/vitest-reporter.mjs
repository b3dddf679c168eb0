// Hands the results of a vitest run to scripts/test.mjs: how many passed, each failure in words,
// and each skipped test with its reason. The file's name comes from STONELOG_TEST_RESULT.
import { writeFileSync } from 'node:fs'

// Where an error comes from is in the first lines of its stack.
const LINES_OF_AN_ERROR = 8

const told = (name, errors) =>
  [name, ...errors.map(({ stack, message }) => firstLines(message, stack))].join('\n')

function firstLines(message, stack) {
  const text = stack?.includes(message) ? stack : `${message}\n${stack ?? ''}`
  return text.trimEnd().split('\n').slice(0, LINES_OF_AN_ERROR).join('\n')
}

export default class ResultReporter {
  /** @param {ReadonlyArray<import('vitest/node').TestModule>} modules */
  onTestRunEnd(modules, unhandledErrors) {
    // An error outside any test (a broken import, an unhandled rejection) is a failure as well.
    const outside = (name) => (error) => told(name, [error])
    const result = {
      passed: 0,
      failures: unhandledErrors.map(outside('outside of any test')),
      skipped: [],
    }
    for (const module of modules) {
      result.failures.push(...module.errors().map(outside(module.relativeModuleId)))
      for (const test of module.children.allTests()) {
        const { state, note, errors } = test.result()
        const name = `${module.relativeModuleId} ${test.fullName}`
        if (state === 'passed') result.passed++
        else if (state === 'failed') result.failures.push(told(name, errors))
        else result.skipped.push({ name, note })
      }
      for (const suite of module.children.allSuites()) {
        result.failures.push(...suite.errors().map(outside(suite.fullName)))
      }
    }
    writeFileSync(process.env.STONELOG_TEST_RESULT, JSON.stringify(result))
  }
}
