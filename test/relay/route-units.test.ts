// A unit of work runs on one server from its first message to its Sync, whatever becomes of the rules or of that server meanwhile.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';
import { codesOf, valuesOf, WHERE } from './routed-client.ts';

const ONE_AT_A_TIME = {
  name: 'one',
  match: { query_regex: 'held' },
  action: 'max_concurrent',
  limit: 1,
  wait_ms: 60_000,
};
const WRITES_ALONE = { name: 'alone', match: { query_class: 'write' }, action: 'kill_after_ms', timeout_ms: 60_000 };
const READS_THERE = { name: 'reads', match: { query_class: 'read' }, action: 'route_replica' };

const MODES = ['session', 'transaction'] as const;

let postgres: TestPostgres;
let weir: TestWeir;

beforeAll(async () => {
  postgres = await startPostgres({ standbys: 1 });
});
afterAll(() => postgres?.stop());
beforeEach(async () => {
  await postgres.query('DROP TABLE IF EXISTS units; CREATE TABLE units (a int)');
  await postgres.waitForReplay();
});
afterEach(() => weir.stop());

async function startWith(mode: (typeof MODES)[number], rules: readonly object[]): Promise<WireClient> {
  weir = await startTestWeir({ postgres, rules: wordRules(rules), settings: { pool: { mode } } });
  return WireClient.login(weir);
}

const wordRules = (rules: readonly object[]): string => JSON.stringify({ traffic_control: { rules } });

test.each(MODES)(
  'in mode %s a unit that has begun on the primary ends there, though the rules route its rest by then',
  async (mode) => {
    const client = await startWith(mode, [WRITES_ALONE]);
    // The first request makes the server of the admin API, which takes its time.
    await fetch(`${weir.adminUrl}/rules`);
    client.send(
      frontend.extendedQuery('INSERT INTO units SELECT 1 FROM pg_sleep(2)'),
      frontend.extendedQuery(WHERE),
      frontend.sync(),
    );
    await sleep(300);
    const { status } = await fetch(`${weir.adminUrl}/rules`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: wordRules([WRITES_ALONE, READS_THERE]),
    });
    expect(status).toBe(200);
    expect(valuesOf(await client.readUntilReady())).toEqual(['f']);
    const { rows } = await postgres.query('SELECT a FROM units');
    expect(rows).toHaveLength(1);
    expect(await client.rows(WHERE)).toEqual([['t']]);
    await client.end();
  },
);

test.each(MODES)(
  'in mode %s a replica that ends in the middle of a unit ends the session, as a server of its own would',
  async (mode) => {
    const client = await startWith(mode, [ONE_AT_A_TIME, READS_THERE]);
    const holder = await WireClient.login(weir);
    const [standby] = postgres.standbys;
    holder.send(frontend.query('SELECT pg_sleep(3) /* held */'));
    await sleep(300);
    client.send(frontend.extendedQuery('SELECT 1 /* held */'), frontend.sync());
    await client.readUntil('T');
    const ofUnit = "FROM pg_stat_activity WHERE query LIKE 'SELECT 1 /* held%'";
    await waitFor(
      async () => (await standby?.query(`SELECT pg_terminate_backend(pid) ${ofUnit}`))?.rowCount === 1,
      5_000,
      () => 'the unit is not on the replica',
      50,
    );
    expect(codesOf(await client.readUntilEnd())).toEqual(['57P01']);
    await holder.readUntilReady();
    await holder.end();
  },
);

test.each(MODES)('in mode %s what comes behind a Query that took the place of a Sync begins anew', async (mode) => {
  const client = await startWith(mode, [READS_THERE]);
  expect(await client.rows(WHERE)).toEqual([['t']]);
  client.send(frontend.parse('SELECT 1', 'open'), frontend.flush());
  await client.readUntil('1');
  for (const where of ['f', 't']) expect(await client.rows(WHERE)).toEqual([[where]]);
  client.send(frontend.extendedQuery('INSERT INTO units VALUES (1)'), frontend.sync());
  expect(codesOf(await client.readUntilReady())).toEqual([]);
  await client.end();
});

/** The server passes over its Sync. */
const COPY_AND_SYNC = Buffer.concat([
  frontend.parse('COPY units FROM STDIN'),
  frontend.bind(),
  frontend.execute(),
  frontend.sync(),
]);
const DATA = Buffer.concat([frontend.copyData(Buffer.from('1\n')), frontend.copyDone()]);

for (const mode of MODES) {
  test.each([
    ['a Query', frontend.query(WHERE), 'T'],
    ['an extended message', Buffer.concat([frontend.extendedQuery(WHERE), frontend.sync()]), 'I'],
  ])(
    `in mode ${mode} %s right behind the data of a COPY, which has passed over its Sync, runs in its unit on the primary`,
    async (_what, read, status) => {
      const client = await startWith(mode, [READS_THERE]);
      expect(valuesOf(await client.query(WHERE))).toEqual(['t']);
      client.send(COPY_AND_SYNC, DATA, read);
      expect(valuesOf(await client.readUntilReady())).toEqual(['f']);
      expect(client.status).toBe(status);
      await client.query('COMMIT');
      expect((await postgres.query('SELECT a FROM units')).rows).toEqual([{ a: 1 }]);
      expect(valuesOf(await client.query(WHERE))).toEqual(['t']);
    },
  );

  test(`in mode ${mode} what is skipped behind a COPY that fails keeps nobody waiting`, async () => {
    const client = await startWith(mode, [READS_THERE]);
    client.send(COPY_AND_SYNC, frontend.copyFail('no'), frontend.query(WHERE), frontend.sync());
    const messages = await client.readUntilReady();
    expect([valuesOf(messages), codesOf(messages)]).toEqual([[], ['57014']]);
    expect(valuesOf(await client.query(WHERE))).toEqual(['t']);
  });

  test(`in mode ${mode} a statement amid the data of a COPY is refused as by the server`, async () => {
    const client = await startWith(mode, [READS_THERE]);
    client.send(frontend.query('COPY units FROM STDIN'));
    await client.readUntil('G');
    client.send(frontend.query(WHERE));
    expect(codesOf(await client.readUntilEnd())).toEqual(['08P01', '08P01']);
  });
}
