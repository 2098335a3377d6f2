// Clients that go while a server connection works for them: it answers nobody else before it has done with them, if ever.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

const postgres = sharedPostgres();
const SLOW = "SELECT pg_sleep(2), 'nobody''s'";

let weir: TestWeir;
beforeEach(async () => {
  weir = await startTestWeir({ postgres, settings: { pool: { mode: 'transaction', size: 1 } } });
});
afterEach(() => weir.stop());

async function waitUntilActive(): Promise<void> {
  await waitFor(
    () => weir.control.sessions().some(({ state }) => state === 'active'),
    2_000,
    () => 'it does not run',
  );
}

const WORK: readonly [string, Buffer][] = [
  ['a Query', frontend.query(SLOW)],
  ['an extended statement', Buffer.concat([frontend.extendedQuery(SLOW), frontend.sync()])],
  ['several statements', Buffer.concat([frontend.query(SLOW), frontend.query('SELECT 7'), frontend.query('SELECT 8')])],
  [
    'a result',
    frontend.query("SELECT repeat('x', 1000) FROM generate_series(1, 100) WHERE pg_sleep(0.01) IS NOT NULL"),
  ],
];

const SLOW_ROW: [string, Buffer] = ['a row of statements', Buffer.concat([frontend.query(SLOW), frontend.query(SLOW)])];

test.each([...WORK, SLOW_ROW])(
  '%s of a client that resets its connection is not answered to the next one',
  async (_what, said) => {
    const leaver = await WireClient.login(weir);
    leaver.send(said);
    await waitUntilActive();
    const next = await WireClient.login(weir);
    leaver.socket.resetAndDestroy();
    for (let number = 1; number <= 5; number++) expect(await next.rows(`SELECT ${number}`)).toEqual([[`${number}`]]);
    await next.end();
  },
);

test.each(WORK)('%s of a client that is sent home does not keep pgweir', async (_what, said) => {
  const busy = await WireClient.login(weir);
  busy.send(said);
  await waitUntilActive();
  const startMs = performance.now();
  await weir.stop();
  expect(performance.now() - startMs).toBeLessThan(1_800);
  busy.destroy();
});

test.each([
  ['a statement that leaves nothing', frontend.query('SELECT pg_sleep(0.1)')],
  ['a setting', frontend.query("SET work_mem = '1234kB'; SELECT pg_sleep(0.1)")],
  ['code of its own', frontend.query('DO $$ BEGIN PERFORM pg_sleep(0.1); END $$')],
  ['a temporary table', frontend.query('CREATE TEMP TABLE left_behind AS SELECT 1 FROM pg_sleep(0.1)')],
  ['an extended statement', Buffer.concat([frontend.extendedQuery('SELECT pg_sleep(0.1)'), frontend.sync()])],
])('behind %s a client that ends in the middle of a message costs the next one nothing', async (_what, said) => {
  const next = await WireClient.login(weir);
  for (let round = 1; round <= 3; round++) {
    const leaver = await WireClient.login(weir);
    leaver.send(said, frontend.query('SELECT 123456').subarray(0, 9));
    await waitUntilActive();
    leaver.socket.end();
    expect(await next.rows("SELECT current_setting('work_mem')")).toEqual([['4MB']]);
    leaver.destroy();
  }
  await next.end();
});

test('COPY data that is cut off behind a statement does not swallow what the next client says', async () => {
  const next = await WireClient.login(weir, {}, 4_000);
  const leaver = await WireClient.login(weir);
  leaver.send(frontend.query('SELECT pg_sleep(0.1)'), frontend.messageWithLength('d', 5_000, Buffer.alloc(100)));
  leaver.socket.end();
  expect(await next.rows('SELECT 1')).toEqual([['1']]);
  leaver.destroy();
  await next.end();
});
