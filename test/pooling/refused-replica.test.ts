// What becomes of a client whose state a replica does not take: it stays on the primary, and only it.

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

const openedOn = (target: string): number =>
  weir.control.pools().reduce((sum, pool) => sum + (pool.target === target ? pool.opened : 0), 0);
const withPool = async (): Promise<void> => {
  weir = await startTestWeir({
    postgres,
    rules: ROUTING_RULES,
    settings: { pool: { mode: 'transaction', size: 2 } },
  });
};

test('a role that a replica does not know yet keeps its client on the primary, and nobody else', async () => {
  await withPool();
  const [standby] = postgres.standbys;
  const client = await WireClient.login(weir);
  const other = await WireClient.login(weir);
  await standby?.query('SELECT pg_wal_replay_pause()');
  try {
    await postgres.query('CREATE ROLE handed_early');
    await client.rows('SET ROLE handed_early');
    for (let round = 0; round < 5; round++) {
      expect(await client.rows('SELECT current_user, pg_is_in_recovery()')).toEqual([['handed_early', 'f']]);
      expect(await other.rows(WHERE)).toEqual([['t']]);
    }
    expect(openedOn('replica1')).toBeLessThan(6);
  } finally {
    await standby?.query('SELECT pg_wal_replay_resume()');
  }
});

test('a session that is serializable by default stays on the primary, as a standby refuses all that it says', async () => {
  await withPool();
  const client = await WireClient.login(weir);
  expect(await client.rows(WHERE)).toEqual([['t']]);
  await client.rows('SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE');
  for (let round = 0; round < 3; round++) expect(await client.rows(WHERE)).toEqual([['f']]);
  await client.rows('RESET default_transaction_isolation');
  // What it has set is asked for a moment later.
  await waitFor(
    async () => (await client.rows(WHERE))[0]?.[0] === 't',
    5_000,
    () => 'it is never routed again',
  );
});

test.each(['session', 'transaction'] as const)(
  'in mode %s who is serializable by options or role stays on the primary, too',
  async (mode) => {
    weir = await startTestWeir({ postgres, rules: ROUTING_RULES, settings: { pool: { mode, size: 2 } } });
    const other = await WireClient.login(weir);
    const options = '-c default_transaction_isolation=serializable';
    const byOptions = await WireClient.login(weir, { parameters: { options } });
    await postgres.query('CREATE ROLE careful LOGIN');
    await postgres.query('ALTER ROLE careful SET default_transaction_isolation = serializable');
    try {
      await postgres.waitForReplay();
      const byRole = await WireClient.login(weir, { user: 'careful' });
      for (let round = 0; round < 3; round++) {
        for (const client of [byOptions, byRole]) expect(await client.rows(WHERE)).toEqual([['f']]);
        expect(await other.rows(WHERE)).toEqual([['t']]);
      }
      await byRole.end();
    } finally {
      await weir.stop();
      await postgres.query('DROP ROLE careful');
    }
  },
);
