// What pgweir runs by itself in front of a client's message may fail, or have no place: its client hears what the server says
// to its own message, and nobody finds what was left behind.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import type { BackendMessage } from '../support/transcript.ts';
import { WireClient } from '../support/wire-client.ts';
import { type PoolClient, type PoolGround, startPoolGround } from './pool-ground.ts';

const SHOWN = 'SELECT name, statement FROM pg_prepared_statements';

/** With file, line and routine of the server's code, which tell one place of the same error from another. */
const allOf = (messages: readonly BackendMessage[]): string[] =>
  messages.map(({ type, body }) => `${type} ${body.toString('latin1')}`);

let postgres: TestPostgres;
let ground: PoolGround;
let one: PoolClient;
let other: PoolClient;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres.stop());
beforeEach(async () => {
  await postgres.query('CREATE TABLE passing (a int)');
  ground = await startPoolGround(postgres, { size: 1 });
  one = await ground.login();
  other = await ground.login();
  await one.wire.rows('PREPARE mine AS SELECT * FROM passing');
  // Here its statement is dropped: before the next use it is to be made again.
  await other.wire.rows('SELECT 1');
});
afterEach(async () => {
  await ground.stop();
  await postgres.query('DROP TABLE IF EXISTS passing');
});

test("a PREPARE repeated in vain is in nobody else's list", async () => {
  await other.wire.rows('DROP TABLE passing');
  await expect(one.wire.rows('EXECUTE mine')).rejects.toThrow(/"passing" does not exist/);
  expect(await other.wire.rows(SHOWN)).toEqual([]);
});

test("nor in its own client's", async () => {
  await other.wire.rows('DROP TABLE passing');
  await expect(one.wire.rows('EXECUTE mine')).rejects.toThrow(/"passing" does not exist/);
  await one.wire.rows('PREPARE second AS SELECT 2');
  expect(await one.wire.rows('SELECT name FROM pg_prepared_statements WHERE name <> $$mine$$')).toEqual([['second']]);
});

test('the same in a transaction that the failure has ended', async () => {
  await other.wire.rows('DROP TABLE passing');
  await one.wire.rows('BEGIN');
  await expect(one.wire.rows('EXECUTE mine')).rejects.toThrow(/"passing" does not exist/);
  await one.wire.rows('ROLLBACK');
  expect(await other.wire.rows(SHOWN)).toEqual([]);
});

test('one repeated with success is there for its client, and for nobody else', async () => {
  expect(await one.wire.rows('EXECUTE mine')).toEqual([]);
  expect(await one.wire.rows(SHOWN)).toEqual([['mine', 'PREPARE mine AS SELECT * FROM passing']]);
  expect(await other.wire.rows(SHOWN)).toEqual([]);
});

test.each(['EXECUTE mine', 'SELECT 1; EXECUTE mine', 'ROLLBACK; SELECT 1'])(
  '%s in a failed transaction, with its statement elsewhere, is answered in the words of the server',
  async (sql) => {
    const bare = await WireClient.login(postgres);
    await bare.rows('PREPARE mine AS SELECT * FROM passing');
    await one.wire.rows('BEGIN');
    await bare.rows('BEGIN');
    await expect(one.wire.rows('SELECT 1/0')).rejects.toThrow(/zero/);
    await expect(bare.rows('SELECT 1/0')).rejects.toThrow(/zero/);
    const expected = await bare.query(sql);
    expect(allOf(await one.wire.query(sql))).toEqual(allOf(expected));
    await one.wire.rows('ROLLBACK');
    expect(await one.wire.rows('EXECUTE mine')).toEqual([]);
    await bare.end();
  },
);
