// Routes to a replica where server connections are shared: they hold on when definitions and logins change.

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ROUTING_RULES, WHERE } from '../relay/routed-client.ts';
import { waitFor } from '../support/deadline.ts';
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
