import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

// The tests take the package as its users do, built; Node loads it, not the transformer, so that
// the measured and tested code is the shipped one.
export default defineConfig({
  resolve: {
    alias: { stonelog: fileURLToPath(new URL('dist/index.js', import.meta.url)) },
  },
  test: {
    include: ['test/**/*.test.ts'],
    server: { deps: { external: [/\/dist\//] } },
    // A crash must take one test file with it, not the run; workers of the runner would also hide
    // environment teardown.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
