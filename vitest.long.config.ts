import { defineConfig } from 'vitest/config';

// The long suite: full-size versions of what the quick suite shows in small. One file at a time, because they measure.
export default defineConfig({
  test: {
    include: ['test/**/*.long.test.ts'],
    globalSetup: ['test/support/global-postgres.ts'],
    testTimeout: 300_000,
    hookTimeout: 60_000,
    maxWorkers: 1,
    fileParallelism: false,
    reporters: ['default'],
  },
});
