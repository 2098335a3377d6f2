// Crowds of pgbench clients over few connections, watched from the server's side.

import { setTimeout as sleep } from 'node:timers/promises';
import { type ProgramResult, runProgram } from '../support/native-binaries.ts';
import type { TestServer } from '../support/postgres.ts';
import type { SpawnedWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

export interface CrowdOptions {
  readonly user: string;
  readonly clients: number;
  readonly seconds: number;
  readonly mode: 'simple' | 'extended' | 'prepared';
  /** A script of its own in place of pgbench's `select only`. */
  readonly script?: string;
}

export interface CrowdRun {
  readonly transactions: number;
  readonly tps: number;
  readonly meanMs: number;
}

/** Rejects when a client of it met an error. */
export async function runCrowd(
  pgbench: string,
  weir: { readonly host: string; readonly port: number },
  database: string,
  options: CrowdOptions,
): Promise<CrowdRun> {
  const what = options.script === undefined ? ['-S'] : ['-f', options.script];
  const result: ProgramResult = await runProgram(
    pgbench,
    [
      ...['-n', '-M', options.mode, '-c', String(options.clients), '-j', '1', '-T', String(options.seconds), ...what],
      ...['-h', weir.host, '-p', String(weir.port), '-U', options.user, database],
    ],
    { deadlineMs: options.seconds * 1_000 + 120_000, env: { PGSSLMODE: 'disable' } },
  );
  const number = (pattern: RegExp): number => Number(pattern.exec(result.stdout)?.[1] ?? Number.NaN);
  const run = {
    transactions: number(/^number of transactions actually processed: (\d+)/m),
    tps: number(/^tps = ([\d.]+)/m),
    meanMs: number(/^latency average = ([\d.]+) ms/m),
  };
  const failed = number(/^number of failed transactions: (\d+)/m);
  if (result.code !== 0 || !(run.transactions > 0) || failed > 0 || /error|aborted/i.test(result.stderr)) {
    throw new Error(`pgbench: exit ${result.code}\n${result.stdout}\n${result.stderr.slice(0, 4_000)}`);
  }
  return run;
}

export interface Watch {
  /** The most connections that a user ever had at once, and how many it had on average. */
  readonly most: ReadonlyMap<string, number>;
  readonly average: ReadonlyMap<string, number>;
  readonly samples: number;
}

/** Counts each user's connections on the server every 50 ms for as long as `isOver` does not say so. */
export async function watchConnections(
  server: Pick<TestServer, 'host' | 'port'>,
  users: readonly string[],
  isOver: () => boolean,
): Promise<Watch> {
  const most = new Map(users.map((user) => [user, 0]));
  const sums = new Map(users.map((user) => [user, 0]));
  const keeper = await WireClient.login({ host: server.host, port: server.port });
  let samples = 0;
  try {
    while (!isOver()) {
      const rows = await keeper.rows(
        "SELECT usename, count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() GROUP BY 1",
      );
      samples++;
      for (const [user, count] of rows) {
        if (user === null || user === undefined || !most.has(user)) continue;
        most.set(user, Math.max(most.get(user) ?? 0, Number(count)));
        sums.set(user, (sums.get(user) ?? 0) + Number(count));
      }
      await sleep(50);
    }
  } finally {
    await keeper.end();
  }
  return { most, average: new Map([...sums].map(([user, sum]) => [user, sum / Math.max(1, samples)])), samples };
}

/** What a crowd's test looks at in an entry of GET /pools. */
export interface PoolReport {
  readonly user: string;
  readonly limit: number;
  readonly acquires: number;
  readonly releases: number;
  readonly held: number;
  readonly opened: number;
  readonly closed: number;
  readonly wait_timeouts: number;
}

/** GET /pools of the admin API. */
export async function readPools(weir: Pick<SpawnedWeir, 'adminUrl'>): Promise<readonly PoolReport[]> {
  const response = await fetch(`${weir.adminUrl}/pools`, { headers: { accept: 'application/json' } });
  if (!response.ok) throw new Error(`GET /pools: ${response.status} ${await response.text()}`);
  const body: unknown = await response.json();
  if (!isPoolList(body)) throw new Error(`GET /pools gives no list: ${JSON.stringify(body)}`);
  return body.pools;
}

function isPoolList(body: unknown): body is { readonly pools: readonly PoolReport[] } {
  return typeof body === 'object' && body !== null && 'pools' in body && Array.isArray(body.pools);
}
