// vitest's global setup: one primary and one standby for the whole run, and a check at the end that nothing is left.

import type { TestProject } from 'vitest/node';
import { startPostgres, TEMPLATE_VARIABLE } from './postgres.ts';
import type { SharedPostgresAddress } from './shared-postgres.ts';

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const postgres = await startPostgres({ standbys: 1 });
  // Worker processes inherit the environment: servers of their own are copies of this one as it was before its start.
  process.env[TEMPLATE_VARIABLE] = postgres.templateFolder;
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
  return () => postgres.stop();
}
