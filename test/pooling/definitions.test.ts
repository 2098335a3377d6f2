// Definitions that change where nobody would look for it: what calls them leaves nothing to others all the same.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { type PoolClient, type PoolGround, startPoolGround } from './pool-ground.ts';

const PLAIN = 'CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$BEGIN RETURN 1; END$$';
const SETTING = `CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE plpgsql
  AS $$BEGIN PERFORM set_config('work_mem', '5MB', false); RETURN 2; END$$`;

let postgres: TestPostgres;
let ground: PoolGround;
let one: PoolClient;
let other: PoolClient;
beforeAll(async () => {
  postgres = await startPostgres({ settings: { max_prepared_transactions: '2' } });
});
afterAll(() => postgres.stop());
beforeEach(async () => {
  await postgres.query(PLAIN);
  ground = await startPoolGround(postgres, { size: 1 });
  one = await ground.login();
  other = await ground.login();
});
afterEach(() => ground.stop());

/** Resolves when a call of f() leaves the connection to everybody: what it does is known, and nothing. */
async function waitForPlain(): Promise<void> {
  await waitFor(
    async () => {
      // Definitions are read when somebody needs the connection.
      await other.wire.rows('SELECT 1');
      await one.wire.rows('SELECT f()');
      return !one.holds().includes('reclaimable');
    },
    20_000,
    () => `f() is not plain: ${one.holds()}`,
    300,
  );
}

async function expectNothingLeft(): Promise<void> {
  expect(await one.wire.rows('SELECT f()')).toEqual([['2']]);
  expect(await other.wire.rows('SHOW work_mem')).toEqual([['4MB']]);
  expect(await one.wire.rows('SHOW work_mem')).toEqual([['5MB']]);
}

test.each(['one', 'other'])('a prepared transaction changes them when %s commits it', async (who) => {
  await one.wire.rows(`SELECT 'x'; BEGIN; ${SETTING}; PREPARE TRANSACTION 'it''s'`);
  await waitForPlain();
  await (who === 'one' ? one : other).wire.rows("COMMIT PREPARED E'it\\'s'");
  await expectNothingLeft();
});

test('so does a text that is too long to be read', async () => {
  await waitForPlain();
  await one.wire.rows(`SELECT '${'x'.repeat(1_200_000)}';\n${SETTING}`);
  await expectNothingLeft();
});
