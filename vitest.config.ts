import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Against hanging alone: a machine that is slow or shared is not wrong.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // A process per file: with many isolates in one process, V8 aborts all of them now and then (Check failed: jit_page.has_value()).
    pool: 'forks',
    maxWorkers: 2,
  },
});
