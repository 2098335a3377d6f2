// vitest's global setup: one primary and one standby for the whole run, and a check at the end that nothing is left.

import type { TestProject } from 'vitest/node';
import { makeSharedTemplate, startPostgres, TEMPLATE_VARIABLE } from './postgres.ts';
import type { SharedPostgresAddress } from './shared-postgres.ts';

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const template = await makeSharedTemplate();
  // Worker processes inherit the environment: servers of their own are copies of this one.
  process.env[TEMPLATE_VARIABLE] = template.folder;
  const postgres = await startPostgres({ standbys: 1 });
  const [standby] = postgres.standbys;
  if (standby === undefined) throw new Error('the standby is missing');
  const address: SharedPostgresAddress = {
    host: postgres.host,
    primaryPort: postgres.port,
    standbyPort: standby.port,
    socketDirectory: postgres.socketDirectory,
    user: postgres.user,
    database: postgres.database,
    version: postgres.version,
  };
  project.provide('postgres', address);
  return async () => {
    try {
      await postgres.stop();
    } finally {
      await template.remove();
    }
  };
}
