// Waiting for a server connection, and what ends it: the deadline, a pause that is over, room that a limit leaves. Logins that
// fail, transactions that idle, connections that grow old.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { waitFor, withDeadline } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { readFields } from '../support/transcript.ts';
import { ServerError, WireClient } from '../support/wire-client.ts';
import { type PoolClient, type PoolGround, startPoolGround } from './pool-ground.ts';

const postgres = sharedPostgres();
let ground: PoolGround | null = null;

afterEach(async () => {
  try {
    await ground?.checkLedger();
  } finally {
    await ground?.stop();
    ground = null;
  }
});

async function open(
  ...args: Parameters<typeof startPoolGround> extends [unknown, ...infer Rest] ? Rest : never
): Promise<PoolGround> {
  ground = await startPoolGround(postgres, ...args);
  return ground;
}

test('a statement that waits longer than query_wait fails with 53300, and its client stays; who holds the connection notices nothing', async () => {
  const { login, waitForQueue, pool } = await open({ queryWaitMs: 300 });
  const [holder, waiter] = [await login(), await login()];
  await holder.wire.rows('BEGIN');
  waiter.wire.send(frontend.query('SELECT 1'));
  await waitForQueue(1);
  const said = await waiter.wire.readUntilReady();
  expect(said.map(({ type }) => type)).toEqual(['E', 'Z']);
  const error = readFields(said[0]?.body ?? Buffer.alloc(0));
  expect(error).toMatchObject({ S: 'ERROR', C: '53300' });
  // No decision of the rules, so there is none to look up.
  expect(JSON.parse(error.D ?? '')).toEqual({ rule: 'pool.query_wait_ms' });
  expect(pool()).toMatchObject({ waiting: 0, waitTimeouts: 1 });
  expect(await holder.wire.rows('SELECT 2')).toEqual([['2']]);
  await holder.wire.rows('COMMIT');
  expect(await waiter.wire.rows('SELECT 3')).toEqual([['3']]);
});

test('who is let in before query_wait is over is answered', async () => {
  const { login, waitForQueue, pool } = await open({ queryWaitMs: 5_000 });
  const [holder, waiter] = [await login(), await login()];
  await holder.wire.rows('BEGIN');
  waiter.wire.send(frontend.query('SELECT 1'));
  await waitForQueue(1);
  await holder.wire.rows('COMMIT');
  expect((await waiter.wire.readUntilReady()).map(({ type }) => type)).toEqual(['T', 'D', 'C', 'Z']);
  expect(pool()).toMatchObject({ waiting: 0, waitTimeouts: 0 });
});

test('who waits for a server connection is in state waiting, and idle again afterwards', async () => {
  const { weir, login, waitForQueue } = await open({});
  const [holder, waiter] = [await login(), await login()];
  const look = () => {
    const { state, holds } = weir.control.session(waiter.sessionId) ?? {};
    return { state, holds };
  };
  expect(look()).toEqual({ state: 'idle', holds: [] });
  await holder.wire.rows('BEGIN');
  waiter.wire.send(frontend.query('SELECT 1'));
  await waitForQueue(1);
  expect(look()).toEqual({ state: 'waiting', holds: ['waiting'] });
  await holder.wire.rows('COMMIT');
  await waiter.wire.readUntilReady();
  expect(look()).toEqual({ state: 'idle', holds: [] });
});

test('those who wait are let in in the order in which they came', async () => {
  const { login, waitForQueue } = await open({});
  const holder = await login();
  const waiters = [await login(), await login(), await login()];
  await holder.wire.rows('BEGIN');
  const order: number[] = [];
  const answers: Promise<unknown>[] = [];
  for (const [index, { wire }] of waiters.entries()) {
    wire.send(frontend.query('SELECT pg_sleep(0.01)'));
    await waitForQueue(index + 1);
    answers.push(wire.readUntilReady().then(() => order.push(index)));
  }
  await holder.wire.rows('COMMIT');
  await Promise.all(answers);
  expect(order).toEqual([0, 1, 2]);
});

test('a client that gives up while it waits leaves the queue', async () => {
  const { login, waitForQueue } = await open({});
  const [holder, waiter] = [await login(), await login()];
  await holder.wire.rows('BEGIN');
  waiter.wire.send(frontend.query('SELECT 1'));
  await waitForQueue(1);
  waiter.wire.destroy();
  await waitForQueue(0);
  await holder.wire.rows('COMMIT');
});

test('how long somebody waited is known too where that was in vain', async () => {
  const { weir, login, waitForQueue } = await open({ queryWaitMs: 300 });
  const [holder, waiter] = [await login(), await login()];
  await holder.wire.rows('BEGIN');
  const before = weir.control.poolWaits().read();
  waiter.wire.send(frontend.query('SELECT 1'));
  await waiter.wire.readUntilReady();
  const timedOut = weir.control.poolWaits().read();
  expect(timedOut.count).toBe(before.count + 1);
  expect(timedOut.sumSeconds - before.sumSeconds).toBeGreaterThanOrEqual(0.3);
  waiter.wire.send(frontend.query('SELECT 2'));
  await waitForQueue(1);
  waiter.wire.destroy();
  await waitForQueue(0);
  expect(weir.control.poolWaits().read().count).toBe(before.count + 2);
  await holder.wire.rows('COMMIT');
});

test('PAUSE is over when the last transaction is, lets nobody in, and RESUME lets everybody in', async () => {
  const { weir, login, waitForQueue, pool } = await open({ size: 2 });
  const [busy, idle] = [await login(), await login()];
  await busy.wire.rows('BEGIN');
  let isPaused = false;
  const paused = weir.control.pausePools({}).then(() => {
    isPaused = true;
  });
  idle.wire.send(frontend.query('SELECT 1'));
  await waitForQueue(1);
  expect(await busy.wire.rows('SELECT 2')).toEqual([['2']]);
  expect([isPaused, pool().isPaused]).toEqual([false, true]);
  await busy.wire.rows('COMMIT');
  await paused;
  expect(pool()).toMatchObject({ waiting: 1, held: 0 });
  weir.control.resumePools({});
  expect((await idle.wire.readUntilReady()).map(({ type }) => type)).toEqual(['T', 'D', 'C', 'Z']);
  expect(pool().isPaused).toBe(false);
});

test('PAUSE does not wait for a client that left nothing but settings behind', async () => {
  const { weir, login } = await open({ size: 2 });
  const client = await login();
  await client.wire.rows("SET work_mem = '6MB'");
  await withDeadline(weir.control.pausePools({}), 5_000, () => 'the pause waits for a client that does nothing');
  weir.control.resumePools({});
  expect(await client.wire.rows('SHOW work_mem')).toEqual([['6MB']]);
});

test('PAUSE of another database concerns nobody here', async () => {
  const { weir, login } = await open({});
  const client = await login();
  await weir.control.pausePools({ database: 'another' });
  expect(await client.wire.rows('SELECT 1')).toEqual([['1']]);
});

test('RESUME of one database after PAUSE of all lets that go on, and no other, nor one that comes later', async () => {
  const { weir, login, pool, waitForQueue } = await open({});
  const client = await login();
  const { database, user } = pool();
  await weir.control.pausePools({});
  client.wire.send(frontend.query('SELECT 1'));
  await waitForQueue(1);
  weir.control.resumePools({ database: 'another' });
  const late = WireClient.login(weir, { user: 'app' });
  await waitFor(
    () => weir.control.pools().reduce((sum, { waiting }) => sum + waiting, 0) === 2,
    5_000,
    () => 'who comes later does not wait',
  );
  weir.control.resumePools({ database, user });
  expect((await client.wire.readUntilReady()).map(({ type }) => type)).toEqual(['T', 'D', 'C', 'Z']);
  // Longer than pools are looked after.
  await sleep(150);
  expect(await client.wire.rows('SELECT 2')).toEqual([['2']]);
  expect(weir.control.pools().map((one) => [one.user, one.isPaused])).toEqual([
    [user, false],
    ['app', true],
  ]);
  weir.control.resumePools({});
  await (await late).end();
});

test('RECONNECT gives everybody a new server connection, a pinned client when it lets go', async () => {
  const { weir, login } = await open({ size: 2 });
  const [free, pinned] = [await login(), await login()];
  const pidOf = async (client: typeof free): Promise<string | null | undefined> =>
    (await client.wire.rows('SELECT pg_backend_pid()'))[0]?.[0];
  await pinned.wire.rows('CREATE TEMP TABLE kept AS SELECT 7 AS seven');
  const before = [await pidOf(free), await pidOf(pinned)];
  weir.control.reconnectPools({});
  expect(await pidOf(free)).not.toBe(before[0]);
  expect(await pinned.wire.rows('SELECT seven FROM kept')).toEqual([['7']]);
  expect(await pidOf(pinned)).toBe(before[1]);
  await pinned.wire.rows('DROP TABLE kept');
  expect(await pidOf(pinned)).not.toBe(before[1]);
});

test('a login that the server refused is refused again with its words, and not for ever', async () => {
  await postgres.query('DROP ROLE IF EXISTS pooling_late');
  const { weir, login } = await open({ loginRetryMs: 700 });
  await login();
  const refusal = (): Promise<unknown> =>
    WireClient.login(weir, { user: 'pooling_late' }).then(
      (client) => client.end(),
      (error: unknown) => error,
    );
  const first = await refusal();
  expect(first).toBeInstanceOf(ServerError);
  expect(first).toMatchObject({ code: '28000', message: 'role "pooling_late" does not exist' });
  await postgres.query('CREATE ROLE pooling_late LOGIN');
  // The server would let it in now, but it is not asked yet.
  expect(await refusal()).toMatchObject({ code: '28000', message: 'role "pooling_late" does not exist' });
  const late = await waitFor(
    () => WireClient.login(weir, { user: 'pooling_late' }),
    5_000,
    () => 'the refusal is remembered for ever',
    50,
  );
  expect(await late.rows('SELECT current_user')).toEqual([['pooling_late']]);
  await late.end();
});

test('a client that idles in its transaction gets 25P03 and the connection is free', async () => {
  const { login, pool } = await open({ idleInTransactionMs: 250 });
  const [idler, other] = [await login(), await login()];
  await idler.wire.rows('BEGIN');
  other.wire.send(frontend.query('SELECT 1'));
  const said = await idler.wire.readUntilEnd();
  const errors = said.filter(({ type }) => type === 'E').map(({ body }) => readFields(body));
  expect(errors).toHaveLength(1);
  expect(errors[0]).toMatchObject({ S: 'FATAL', C: '25P03' });
  expect((await other.wire.readUntilReady()).map(({ type }) => type)).toEqual(['T', 'D', 'C', 'Z']);
  expect(pool().held).toBe(0);
});

test('a transaction that works longer than that is left alone', async () => {
  const { login } = await open({ idleInTransactionMs: 250 });
  const worker = await login();
  await worker.wire.rows('BEGIN');
  await worker.wire.rows('SELECT pg_sleep(0.6)');
  expect(await worker.wire.rows('SELECT 1')).toEqual([['1']]);
  await worker.wire.rows('COMMIT');
});

test('a client that idles outside of a transaction is left alone', async () => {
  const { login } = await open({ idleInTransactionMs: 100 });
  const [idler, worker] = [await login(), await login()];
  await idler.wire.rows('CREATE TEMP TABLE kept AS SELECT 7 AS seven');
  await idler.wire.rows('DROP TABLE kept');
  await worker.wire.rows('SELECT pg_sleep(0.4)');
  expect(await idler.wire.rows('SELECT 1')).toEqual([['1']]);
});

test('the reserve is opened for who has waited long enough, and not before', async () => {
  const { login, pool } = await open({ reserveSize: 1, reserveAfterMs: 200, queryWaitMs: 10_000 });
  const [holder, waiter] = [await login(), await login()];
  await holder.wire.rows('BEGIN');
  const startedAt = performance.now();
  expect(await waiter.wire.rows('SELECT 1')).toEqual([['1']]);
  expect(performance.now() - startedAt).toBeGreaterThan(190);
  expect(pool().limit).toBe(1);
  await holder.wire.rows('COMMIT');
});

for (const limit of ['maxPerDatabase', 'maxPerUser', 'maxPerTarget'] as const) {
  test(`${limit} is never passed`, async () => {
    const { login, waitForQueue } = await open({ size: 5, [limit]: 2 });
    const clients = [await login(), await login(), await login()];
    const name = `limit ${limit}`;
    for (const { wire } of clients.slice(0, 2)) {
      await wire.rows(`SET application_name = '${name}'`);
      await wire.rows('BEGIN');
    }
    clients[2]?.wire.send(frontend.query('SELECT 1'));
    await waitForQueue(1);
    const { rows } = await postgres.query(
      'SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = $1',
      [name],
    );
    expect(rows[0]?.n).toBe(2);
    await clients[0]?.wire.rows('COMMIT');
    await clients[2]?.wire.readUntilReady();
    await clients[1]?.wire.rows('COMMIT');
  });
}

/** Clients leave none of the three connections of their target at rest while `late` runs. How many of these had to go for it. */
async function crowdOut(late: (ground: PoolGround) => Promise<void>): Promise<number> {
  const crowded = await open({ size: 3, maxPerTarget: 3, queryWaitMs: 10_000 });
  const { control } = crowded.weir;
  const closed = (): number => control.pools().find(({ user }) => user !== 'app')?.closed ?? 0;
  let isOver = false;
  const work = async ({ wire }: PoolClient): Promise<void> => {
    while (!isOver) await wire.rows('SELECT pg_sleep(0.01)');
  };
  const busy: Promise<void>[] = [];
  for (let count = 0; count < 9; count++) busy.push(work(await crowded.login()));
  await crowded.waitForQueue(6);
  const before = closed();
  try {
    await late(crowded);
  } finally {
    isOver = true;
    await Promise.all(busy);
  }
  return closed() - before;
}

test('who comes late to a full target is let in before others get more than their share', async () => {
  const gone = await crowdOut(async ({ login, weir }) => {
    const { wire } = await login({ user: 'app' });
    for (let count = 0; count < 20; count++) await wire.rows('SELECT pg_sleep(0.01)');
    expect(weir.control.pools().find(({ user }) => user === 'app')).toMatchObject({ opened: 1, closed: 0 });
  });
  expect(gone).toBe(1);
});

test('where there are more users than connections, each has its turn', async () => {
  const users = ['limits_a', 'limits_b', 'limits_c', 'limits_d'];
  for (const user of users) await postgres.query(`CREATE ROLE ${user} LOGIN`);
  const { weir } = await open({ size: 2, maxPerTarget: 2, queryWaitMs: 15_000 });
  let isOver = false;
  const counts = users.map(() => 0);
  const work = async (user: string, at: number): Promise<void> => {
    const wire = await WireClient.login(weir, { user });
    while (!isOver) {
      await wire.rows('SELECT pg_sleep(0.01)');
      counts[at] = (counts[at] ?? 0) + 1;
    }
    await wire.end();
  };
  const busy = [...users, ...users].map((user, at) => work(user, at % users.length));
  try {
    await waitFor(
      () => counts.every((count) => count > 20),
      15_000,
      () => `statements by user: ${counts.join(', ')}`,
    );
  } finally {
    isOver = true;
    await Promise.allSettled(busy);
    for (const user of users) await postgres.query(`DROP ROLE ${user}`);
  }
});

test('whose login the server refuses takes hardly anything away from others', async () => {
  const refused = { user: 'app', parameters: { work_mem: 'a lot' } };
  const gone = await crowdOut(async ({ weir }) => {
    for (let count = 0; count < 20; count++)
      await expect(WireClient.login(weir, refused)).rejects.toMatchObject({ code: '22023' });
  });
  expect(gone).toBeLessThanOrEqual(2);
});

test('a connection that nobody has used for server_idle is closed, down to min_idle', async () => {
  const { login, pool } = await open({ size: 3, minIdle: 1, serverIdleMs: 200 });
  const clients = [await login(), await login(), await login()];
  for (const { wire } of clients) await wire.rows('BEGIN');
  for (const { wire } of clients) await wire.rows('COMMIT');
  await waitFor(
    () => pool().connections.idle === 1 && pool().closed === 2,
    5_000,
    () => `connections: ${JSON.stringify(pool())}`,
  );
  for (const { wire } of clients) expect(await wire.rows('SELECT 1')).toEqual([['1']]);
});

test('a connection that is older than server_lifetime is replaced, and nobody notices', async () => {
  const { login, pool } = await open({ serverLifetimeMs: 300 });
  const client = await login();
  await client.wire.rows("SET work_mem = '6MB'");
  const [before] = await client.wire.rows('SELECT pg_backend_pid()');
  await waitFor(
    async () => (await client.wire.rows('SELECT pg_backend_pid()'))[0]?.[0] !== before?.[0],
    5_000,
    () => `the connection is never replaced: ${JSON.stringify(pool())}`,
    50,
  );
  expect(await client.wire.rows('SHOW work_mem')).toEqual([['6MB']]);
});
