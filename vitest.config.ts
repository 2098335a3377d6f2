import { defineConfig } from 'vitest/config';

// The quick suite: every test file but the long ones. One PostgreSQL for all (globalSetup); files run one after another
// on machines with few cores, because timing-sensitive files share the server.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/**/*.long.test.ts', 'node_modules/**'],
    globalSetup: ['test/support/global-postgres.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    reporters: ['default'],
  },
});
