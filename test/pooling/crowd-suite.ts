// Many pgbench clients over few server connections: no error, never a connection too many, every one given back, and fair
// waits between a user who asks for much and one who asks for little.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fillTables, findProgram } from '../bench/pgbench.ts';
import { waitFor } from '../support/deadline.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { type SpawnedWeir, spawnWeir } from '../support/weir.ts';
import { type CrowdOptions, type CrowdRun, readPools, runCrowd, type Watch, watchConnections } from './crowd.ts';

const DATABASE = 'weir';
/** Not the superuser: it is counted on the server, and pgweir's own questions are not. */
const USER = 'app';
const OTHER_USER = 'crowd_other';
const SIZE = 20;
const SLEEP_MS = 40;
const TEST_MS = 7_200_000;

export function defineCrowdTests(options: { readonly clients: number; readonly seconds: number }): void {
  let postgres: TestPostgres;
  let pgbench: string;
  let folder: string;

  beforeAll(async () => {
    const found = await findProgram('pgbench');
    if (found === null) throw new Error('not run: there is no pgbench on this machine');
    pgbench = found;
    folder = await mkdtemp(join(tmpdir(), 'weir-crowd-'));
    // No more than the pool may have, the watcher, and what is kept for superusers.
    postgres = await startPostgres({ settings: { max_connections: '40' } });
    await fillTables(
      pgbench,
      { host: postgres.host, port: postgres.port, user: 'weir', database: DATABASE, isTls: false },
      1,
    );
    await postgres.query(`CREATE ROLE ${OTHER_USER} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC`);
  });

  afterAll(async () => {
    await postgres?.stop();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  async function withWeir<T>(
    pool: Readonly<Record<string, unknown>>,
    use: (weir: SpawnedWeir) => Promise<T>,
  ): Promise<T> {
    const weir = await spawnWeir({
      postgres,
      configuration: { pool: { mode: 'transaction', ...pool }, limits: { max_clients: 4_000 } },
    });
    try {
      const result = await use(weir);
      await waitFor(
        async () => (await readPools(weir)).every(({ held }) => held === 0),
        10_000,
        () => 'connections are held with no client left',
      );
      for (const { acquires, releases } of await readPools(weir)) expect(acquires).toBe(releases);
      return result;
    } finally {
      await weir.stop();
    }
  }

  /** The server sleeps so long that connections are what is scarce, and not processors. */
  async function writeSleep(): Promise<string> {
    const script = join(folder, 'sleep.sql');
    await writeFile(script, `SELECT pg_sleep(${SLEEP_MS / 1_000});\n`);
    return script;
  }

  /** Crowds at once, and the server watched for as long as the last one lasts. */
  async function run(weir: SpawnedWeir, crowds: readonly CrowdOptions[]): Promise<[CrowdRun[], Watch]> {
    let isOver = false;
    const watching = watchConnections(postgres, [USER, OTHER_USER], () => isOver);
    watching.catch(() => undefined);
    try {
      const runs = await Promise.all(crowds.map((crowd) => runCrowd(pgbench, weir, DATABASE, crowd)));
      isOver = true;
      return [runs, await watching];
    } finally {
      isOver = true;
    }
  }

  test(
    `${options.clients} clients over ${SIZE} connections for ${options.seconds} s meet no error`,
    async () => {
      await withWeir({ size: SIZE }, async (weir) => {
        const third = Math.max(1, Math.round(options.seconds / 3));
        for (const mode of ['simple', 'extended', 'prepared'] as const) {
          const [[crowd], watch] = await run(weir, [{ user: USER, clients: options.clients, seconds: third, mode }]);
          const [pool] = await readPools(weir);
          console.log(
            `${mode}: ${crowd?.transactions} transactions, ${Math.round(crowd?.tps ?? 0)}/s, ${crowd?.meanMs} ms; at most ${watch.most.get(USER)} connections in ${watch.samples} looks; ${JSON.stringify(pool)}`,
          );
          expect(watch.most.get(USER)).toBeLessThanOrEqual(SIZE);
          expect(watch.most.get(USER)).toBeGreaterThan(SIZE / 2);
          expect(pool?.wait_timeouts).toBe(0);
        }
      });
    },
    TEST_MS,
  );

  test(
    'two users with ten times the demand of one another share a target fairly',
    async () => {
      const script = await writeSleep();
      const limit = 10;
      const shared = { clients: 10, seconds: Math.min(60, options.seconds), mode: 'simple', script } as const;
      await withWeir({ size: limit, max_per_target: limit }, async (weir) => {
        const [[greedy, modest], watch] = await run(weir, [
          { ...shared, user: USER, clients: 100 },
          { ...shared, user: OTHER_USER },
        ]);
        if (greedy === undefined || modest === undefined) throw new Error('a crowd is missing');
        const totals = [USER, OTHER_USER].map((user) => watch.most.get(user) ?? 0);
        console.log(
          `100 clients: ${Math.round(greedy.tps)}/s, ${greedy.meanMs} ms; 10 clients: ${Math.round(modest.tps)}/s, ${modest.meanMs} ms; connections at most ${totals.join(' and ')}, on average ${[...watch.average.values()].map((n) => n.toFixed(1)).join(' and ')}`,
        );
        // Max-min: both want more than half, so both get half.
        expect(modest.tps / greedy.tps).toBeGreaterThan(0.7);
        expect(modest.tps / greedy.tps).toBeLessThan(1.4);
        expect((watch.average.get(USER) ?? 0) + (watch.average.get(OTHER_USER) ?? 0)).toBeLessThanOrEqual(limit);
      });
    },
    TEST_MS,
  );

  test(
    'who wants less than the share hardly waits, and the rest is not left unused',
    async () => {
      const script = await writeSleep();
      const limit = 10;
      const seconds = Math.min(60, options.seconds);
      await withWeir({ size: limit, max_per_target: limit }, async (weir) => {
        const [[greedy, modest]] = await run(weir, [
          { user: USER, clients: 50, seconds, mode: 'simple', script },
          { user: OTHER_USER, clients: 2, seconds, mode: 'simple', script },
        ]);
        console.log(
          `50 clients: ${Math.round(greedy?.tps ?? 0)}/s; 2 clients: ${Math.round(modest?.tps ?? 0)}/s, ${modest?.meanMs} ms`,
        );
        // Two connections of their own: the sleep, and little beside it. The others wait for their turns.
        expect(modest?.meanMs).toBeLessThan((greedy?.meanMs ?? 0) / 3);
        expect((greedy?.tps ?? 0) / (modest?.tps ?? 1)).toBeGreaterThan(2.5);
      });
    },
    TEST_MS,
  );
}
