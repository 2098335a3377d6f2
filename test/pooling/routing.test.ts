// Routes to a replica where server connections are shared: they hold on when definitions and logins change.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ROUTING_RULES, WHERE } from '../relay/routed-client.ts';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

let postgres: TestPostgres;
let weir: TestWeir;
beforeAll(async () => {
  postgres = await startPostgres({ standbys: 1 });
});
afterAll(() => postgres.stop());
afterEach(() => weir.stop());

const withPool = async (size: number): Promise<void> => {
  weir = await startTestWeir({ postgres, rules: ROUTING_RULES, settings: { pool: { mode: 'transaction', size } } });
};

test('after a definition has changed the next statements go to the replica again, though nobody waits', async () => {
  await withPool(4);
  const client = await WireClient.login(weir);
  const other = await WireClient.login(weir);
  expect(await client.rows(WHERE)).toEqual([['t']]);
  await other.rows('CREATE TABLE routed_anew (a int)');
  await waitFor(
    async () => (await client.rows(WHERE))[0]?.[0] === 't',
    5_000,
    () => 'nothing is routed any more',
    20,
  );
});

test('connections to a replica that is reached after ALTER ROLE are used again by others', async () => {
  await withPool(2);
  const clients = [await WireClient.login(weir)];
  await clients[0]?.rows("ALTER ROLE app SET work_mem = '5MB'");
  for (let more = 0; more < 4; more++) clients.push(await WireClient.login(weir));
  for (let round = 0; round < 5; round++)
    for (const client of clients) expect(await client.rows(WHERE)).toEqual([['t']]);
  expect(weir.control.pools().find(({ target }) => target === 'replica1')?.opened).toBeLessThan(4);
});

test('a statement is counted in the pool of the target that it ran on', async () => {
  await withPool(2);
  const client = await WireClient.login(weir);
  for (let round = 0; round < 3; round++) expect(await client.rows(WHERE)).toEqual([['t']]);
  await client.rows('CREATE TEMP TABLE counted_here ()');
  expect(await client.rows(WHERE)).toEqual([['f']]);
  const counted = weir.control.pools().map(({ target, statements }) => [target, statements] as const);
  expect(Object.fromEntries(counted)).toEqual({
    primary: { shared: 1, pinned: 1 },
    replica1: { shared: 3, pinned: 0 },
  });
});

for (const [what, leave] of [
  ['nothing', 'SELECT 1'],
  ['a name that has to be closed first', 'PREPARE left_behind AS SELECT 1'],
] as const) {
  test(`a unit whose rest comes while it waits for the primary goes to the replica, where another client has left ${what}`, async () => {
    await withPool(1);
    const holder = await WireClient.login(weir);
    const client = await WireClient.login(weir);
    await holder.rows(leave);
    await holder.rows('BEGIN');
    client.send(frontend.parse(WHERE));
    await waitFor(
      () => weir.control.pools().some(({ waiting }) => waiting === 1),
      5_000,
      () => 'it does not wait',
      5,
    );
    client.send(frontend.bind(), frontend.execute(), frontend.sync());
    // It has been read before the connection comes free.
    await sleep(50);
    await holder.rows('COMMIT');
    const row = (await client.readUntilReady()).find(({ type }) => type === 'D');
    expect(row?.body.toString('latin1').endsWith('t')).toBe(true);
    expect(await holder.rows('SELECT 2')).toEqual([['2']]);
  });
}

for (const mode of ['session', 'transaction'] as const) {
  test(`a Query behind an extended message without a Sync runs where that has run, in mode ${mode}`, async () => {
    weir = await startTestWeir({ postgres, rules: ROUTING_RULES, settings: { pool: { mode, size: 1 } } });
    const client = await WireClient.login(weir);
    expect(await client.rows(WHERE)).toEqual([['t']]);
    await client.rows(`CREATE TABLE unsynced_${mode} (a int)`);
    client.send(frontend.extendedQuery(`INSERT INTO unsynced_${mode} VALUES (1)`), frontend.flush());
    await client.readUntil('C');
    client.send(frontend.query(WHERE));
    const row = (await client.readUntilReady()).find(({ type }) => type === 'D');
    expect(row?.body.toString('latin1').endsWith('f')).toBe(true);
    client.send(frontend.sync());
    // What such a session is worth after that is the server's own affair.
    expect((await client.readUntilReady()).map(({ type }) => type)).toEqual(['Z']);
  });
}

test('what a statement has left stays with its client, whose next one waits for its end and goes to the replica', async () => {
  weir = await startTestWeir({
    postgres,
    rules: `
traffic_control:
  rules:
    - { name: reads, match: { query_regex: pg_is_in_recovery }, action: route, target: replica }
    - { name: short, match: { query_regex: pg_is_in_recovery }, action: kill_after_ms, timeout_ms: 20000 }`,
    settings: { pool: { mode: 'transaction', size: 1 } },
  });
  const client = await WireClient.login(weir);
  const other = await WireClient.login(weir);
  client.send(frontend.query("SET work_mem = '7MB'"), frontend.query(WHERE));
  await client.readUntilReady();
  await client.readUntilReady();
  expect(await other.rows('SHOW work_mem')).toEqual([['4MB']]);
  expect(await client.rows('SHOW work_mem')).toEqual([['7MB']]);
});
