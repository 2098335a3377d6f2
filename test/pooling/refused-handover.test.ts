// What becomes of a client whose state the server does not give to another connection of it any more.

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import * as frontend from '../support/frontend-messages.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { readFields } from '../support/transcript.ts';
import { type PoolGround, startPoolGround } from './pool-ground.ts';

/** Of its own: roles come and go here. */
let postgres: TestPostgres;
let ground: PoolGround | null = null;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres.stop());
afterEach(async () => {
  await ground?.stop();
  ground = null;
  await postgres.query('DROP ROLE IF EXISTS passing');
});

const LOST = [
  { state: 'SET ROLE passing', change: 'DROP ROLE passing', words: 'role "passing" does not exist' },
  { state: 'SET ROLE passing', change: 'REVOKE passing FROM app', words: 'permission denied to set role "passing"' },
];

test.each(LOST)(
  'a client that has said $state is told so and let go where the server refuses that after $change, and two connections are opened for it at most',
  async ({ state, change, words }) => {
    await postgres.query('CREATE ROLE passing');
    await postgres.query('GRANT passing TO app');
    ground = await startPoolGround(postgres, { size: 1, queryWaitMs: 2_000 });
    const { wire } = await ground.login({ user: 'app' });
    const { wire: other } = await ground.login({ user: 'app' });
    await wire.rows(state);
    expect(await other.rows('SELECT current_user')).toEqual([['app']]);
    await postgres.query(change);
    wire.send(frontend.query('SELECT 1'));
    const error = readFields((await wire.readMessage()).body);
    expect([error.S, error.C]).toEqual(['FATAL', '08006']);
    expect(error.M).toContain(words);
    expect(await other.rows('SELECT current_user')).toEqual([['app']]);
    expect(ground.pool().opened).toBeLessThanOrEqual(3);
    await ground.checkLedger();
  },
);

test('a client that can have its state only on a connection that nobody has used gets a new one', async () => {
  ground = await startPoolGround(postgres, { size: 1, affinity: 'prefer' });
  const { wire } = await ground.login();
  const { wire: other } = await ground.login();
  await wire.rows("SET temp_buffers = '2MB'");
  await other.rows(
    'BEGIN; CREATE TEMPORARY TABLE passing (a int) ON COMMIT DROP; INSERT INTO passing VALUES (1); COMMIT',
  );
  expect(await wire.rows('SHOW temp_buffers')).toEqual([['2MB']]);
  expect(ground.pool().opened).toBe(2);
});

test('temp_buffers can be set by who has used no temporary table, though others had some on the connection', async () => {
  ground = await startPoolGround(postgres, { size: 1, affinity: 'prefer' });
  const { wire } = await ground.login();
  const { wire: other } = await ground.login();
  await other.rows(
    'BEGIN; CREATE TEMPORARY TABLE passing (a int) ON COMMIT DROP; INSERT INTO passing VALUES (1); COMMIT',
  );
  await wire.rows('SELECT 1');
  await wire.rows("SET temp_buffers = '2MB'");
  expect(await wire.rows('SHOW temp_buffers')).toEqual([['2MB']]);
  await other.rows('SELECT 1');
  await ground.checkLedger();
});
