import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const built = (name: string) => fileURLToPath(new URL(`dist/${name}.js`, import.meta.url))

// The tests take the package as its users do, built; Node loads it, not the transformer, so that
// the measured and tested code is the shipped one.
export default defineConfig({
  resolve: {
    // In this order: `stonelog` alone is the beginning of the others.
    alias: [
      { find: 'stonelog/opentelemetry', replacement: built('opentelemetry') },
      { find: 'stonelog/prometheus', replacement: built('prometheus') },
      { find: 'stonelog', replacement: built('index') },
    ],
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
    // What is waited for comes in milliseconds, or on a busy machine much later.
    expect: { poll: { timeout: 30_000 } },
  },
})
