// Clients that know what their sessions must hold, few server connections, and everything that can go wrong at once: server
// processes ended and killed, the server restarted, rules swapped, pools paused and renewed, sessions ended and cancelled.
// Nobody sees what is another's or loses what is his without an error, nobody waits for ever, and in the end nothing is held.

import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { type SpawnedWeir, spawnWeir } from '../support/weir.ts';
import { chooseSeed, Dice } from './dice.ts';
import { StormClient } from './storm-client.ts';

const SETUP = `
  CREATE TABLE storm_rows (client int PRIMARY KEY, n int);
  INSERT INTO storm_rows SELECT i, 0 FROM generate_series(1, 200) i;
  CREATE FUNCTION storm_set(value text) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN PERFORM set_config('storm.own', value, false); END $$`;
const ONE_BACKEND =
  "FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1";
/** None of them refuses anything. A place that is not given back is one that somebody waits for in vain. */
const RULES = ['write', 'read', 'session'].map(
  (queryClass) => `traffic_control:
  default_action: allow
  rules:
    - { name: seen, match: { query_class: ${queryClass} }, action: observe }
    - { name: few, match: { query_class: ${queryClass} }, action: max_concurrent, limit: 3, wait_ms: 600000 }
`,
);
const QUIET_BEFORE_THE_END_MS = 2_000;

type Disturbance = () => Promise<unknown>;

export interface StormOptions {
  /** Server connections of the pool; null: mode session. */
  readonly size: number | null;
  readonly clients: number;
  readonly seconds: number;
}

export function defineStormTest({ size, clients, seconds }: StormOptions): void {
  const where = size === null ? 'in session mode' : `over ${size} connections`;
  test(`${clients} clients ${where} in a storm of ${seconds} s keep what is theirs`, {
    timeout: seconds * 1_000 + 90_000,
  }, async () => {
    const dice = new Dice(chooseSeed(`storm ${where}`));
    const postgres = await startPostgres({ settings: { max_connections: String(clients + 20) } });
    try {
      await postgres.query(SETUP);
      const pool = size === null ? {} : { pool: { mode: 'transaction', size } };
      const weir = await spawnWeir({ postgres, configuration: pool });
      try {
        const endsAt = performance.now() + seconds * 1_000;
        const isOver = () => performance.now() >= endsAt;
        const crowd = Array.from({ length: clients }, (_, index) =>
          StormClient.live(weir, index + 1, new Dice(dice.below(2 ** 31)), isOver),
        );
        const calmsAt = endsAt - QUIET_BEFORE_THE_END_MS;
        const [disturbances, ...done] = await Promise.all([disturb(postgres, weir, dice, calmsAt), ...crowd]);
        console.log(`${done.reduce((sum, count) => sum + count, 0)} things done; ${JSON.stringify([...disturbances])}`);
        await expectCalm(postgres, weir);
      } finally {
        await weir.stop();
      }
    } finally {
      await postgres.stop();
    }
  });
}

/** One after another until `endsAtMs`. Resolves with how often what was done. */
async function disturb(
  postgres: TestPostgres,
  weir: SpawnedWeir,
  dice: Dice,
  endsAtMs: number,
): Promise<Map<string, number>> {
  const disturbances = listDisturbances(postgres, weir, dice);
  const counts = new Map<string, number>();
  while (performance.now() < endsAtMs) {
    await sleep(100 + dice.below(700));
    const [name, act] = dice.weighted(disturbances.map(([weight, ...one]) => [weight, one] as const));
    await act();
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

function listDisturbances(
  postgres: TestPostgres,
  weir: SpawnedWeir,
  dice: Dice,
): (readonly [number, string, Disturbance])[] {
  const onSomeSession = async (method: string, rest: string): Promise<void> => {
    const { sessions } = (await ask(weir, 'GET', '/sessions')) as { sessions: readonly { readonly id: number }[] };
    if (sessions.length > 0)
      await ask(weir, method, `/sessions/${dice.pick(sessions).id}${rest}`, [202, 204, 404, 409]);
  };
  return [
    [4, 'end a server process', () => postgres.query(`SELECT pg_terminate_backend(pid) ${ONE_BACKEND}`)],
    [3, 'swap the rules', () => ask(weir, 'POST', '/rules', [200], dice.pick(RULES))],
    [2, 'end a session', () => onSomeSession('DELETE', '')],
    [2, 'cancel a session', () => onSomeSession('POST', '/cancel')],
    [1, 'reload', async () => weir.signal('SIGHUP')],
    [1, 'renew the pools', () => ask(weir, 'POST', '/pools/reconnect', [200, 409])],
    [
      1,
      'pause',
      async () => {
        await ask(weir, 'POST', '/pools/pause?wait_ms=300', [200, 202, 409]);
        await ask(weir, 'POST', '/pools/resume', [200, 409]);
      },
    ],
    [
      0.5,
      'kill a server process',
      async () => {
        const { rows } = await postgres.query(`SELECT pid ${ONE_BACKEND}`);
        if (rows[0] !== undefined) process.kill(Number(rows[0].pid), 'SIGKILL');
        await waitFor(
          () => postgres.query('SELECT 1'),
          20_000,
          () => 'the server does not recover',
          100,
        );
      },
    ],
    [
      0.5,
      'restart the server',
      async () => {
        await postgres.shutDown(dice.pick(['fast', 'immediate']));
        await sleep(dice.below(500));
        await postgres.boot();
      },
    ],
  ];
}

async function ask(
  weir: SpawnedWeir,
  method: string,
  path: string,
  expected = [200],
  body: string | null = null,
): Promise<unknown> {
  const response = await fetch(`${weir.adminUrl}${path}`, {
    method,
    body,
    headers: body === null ? {} : { 'content-type': 'application/yaml' },
    signal: AbortSignal.timeout(20_000),
  });
  const text = await response.text();
  expect(expected, `${method} ${path}: ${text}`).toContain(response.status);
  return text.startsWith('{') ? JSON.parse(text) : text;
}

interface PoolTotals {
  readonly held: number;
  readonly connections: { readonly active: number };
  readonly acquires: number;
  readonly releases: number;
  readonly pins: readonly { readonly current: number }[];
}

/** With no client left nothing is held, pinned, waited for or locked, and the log knows of no mistake of pgweir's own. */
async function expectCalm(postgres: TestPostgres, weir: SpawnedWeir): Promise<void> {
  const totals = await waitFor(
    async () => {
      const { sessions } = (await ask(weir, 'GET', '/sessions')) as { sessions: readonly unknown[] };
      const pools = (await ask(weir, 'GET', '/pools')) as { totals: PoolTotals };
      // One that is being cleaned is nobody's, and still active.
      const { held, connections } = pools.totals;
      return sessions.length === 0 && held === 0 && connections.active === 0 ? pools.totals : null;
    },
    10_000,
    () => 'something is still held with no client left',
  );
  expect(totals).toMatchObject({ waiting: 0, connections: { reclaimable: 0, pinned: 0, opening: 0 } });
  expect(totals.acquires).toBe(totals.releases);
  expect(totals.pins.filter(({ current }) => current !== 0)).toEqual([]);
  const { rows } = await postgres.query("SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory'");
  expect(rows[0]?.n).toBe(0);
  expect(weir.log()).not.toContain('"code":"internal"');
}
