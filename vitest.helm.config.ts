import { defineConfig } from 'vitest/config';

// The charts by the real helm, against the schemas of Kubernetes: `npm run test:helm` finds or builds the programs and calls this.
// Where one of them is missing the run fails with "not run", it does not pass.
export default defineConfig({
  test: {
    include: ['test/helm/**/*.helm.ts'],
    globalSetup: ['test/helm/programs.ts'],
    testTimeout: 300_000,
    hookTimeout: 600_000,
    maxWorkers: 1,
    reporters: ['default'],
  },
});
