import { defineConfig } from 'vitest/config';

// The quick suite: every test file but the long ones, three files at a time (they wait as much as they work), on one
// PostgreSQL for all (globalSetup).
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/**/*.long.test.ts', 'node_modules/**'],
    globalSetup: ['test/support/global-postgres.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    maxWorkers: 3,
    reporters: ['default'],
  },
});
