// Hands the results of a vitest run to scripts/test.mjs: counts, and each skipped test with its
// reason. The file's name comes from STONELOG_TEST_RESULT.
import { writeFileSync } from 'node:fs'

export default class ResultReporter {
  /** @param {ReadonlyArray<import('vitest/node').TestModule>} modules */
  onTestRunEnd(modules, unhandledErrors) {
    // An error outside any test (a broken import, an unhandled rejection) is a failure as well.
    const result = { passed: 0, failed: unhandledErrors.length, skipped: [] }
    for (const module of modules) {
      result.failed += module.errors().length
      for (const test of module.children.allTests()) {
        const { state, note } = test.result()
        if (state === 'passed') result.passed++
        else if (state === 'failed') result.failed++
        else result.skipped.push({ name: `${module.relativeModuleId} ${test.fullName}`, note })
      }
      for (const suite of module.children.allSuites()) result.failed += suite.errors().length
    }
    writeFileSync(process.env.STONELOG_TEST_RESULT, JSON.stringify(result))
  }
}
