// Rules on `in_transaction` hold for what the server is in when a statement runs, not for what was sent in front of it: a BEGIN or
// COMMIT that fails, or is skipped, opens and ends nothing.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { transcribe } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

const { query, sync, parse, bind, execute } = frontend;
const postgres = sharedPostgres();
const RULES = `
traffic_control:
  rules:
    - { name: inside, match: { statement: [delete], in_transaction: false }, action: deny }
    - { name: outside, match: { statement: [update], not: { in_transaction: false } }, action: deny }
`;
const DELETE = 'DELETE FROM transacted';
const UPDATE = 'UPDATE transacted SET id = 2';
const FAILING = frontend.extendedQuery('SELECT 1 / 0');
const BEGIN = frontend.extendedQuery('BEGIN');

describe.each([
  ['session', {}],
  ['transaction', { size: 2, affinity: 'avoid' } as const],
] as const)('in %s mode', (mode, pool) => {
  let weir: TestWeir;
  let client: WireClient;

  beforeAll(async () => {
    weir = await startTestWeir({ postgres, rules: RULES, settings: { pool: { mode, ...pool } } });
  });
  afterAll(() => weir.stop());
  beforeEach(async () => {
    await postgres.query('DROP TABLE IF EXISTS transacted; CREATE TABLE transacted AS SELECT 1 AS id');
    client = await WireClient.login(weir);
  });
  afterEach(() => client.destroy());

  /** Sent in one piece. */
  async function send(readies: number, ...parts: readonly Buffer[]): Promise<string[]> {
    client.send(Buffer.concat(parts));
    return transcribe(await client.readUntilReady(readies));
  }
  const refusals = (lines: readonly string[]): number => lines.filter((line) => line.includes('C="42501"')).length;
  const kept = async (): Promise<unknown> => (await postgres.query('SELECT id FROM transacted')).rows;

  test.each([
    ['a Query in which something failed', 2, [query('SELECT 1 / 0; BEGIN'), query(DELETE)]],
    ['a unit of work that failed before it', 2, [FAILING, BEGIN, sync(), query(DELETE)]],
    [
      'a unit of work that failed before it, of extended messages too',
      2,
      [FAILING, BEGIN, sync(), frontend.extendedQuery(DELETE), sync()],
    ],
    [
      'one that is answered while others are not',
      3,
      [query('SELECT 1 / 0; BEGIN'), query('SELECT pg_sleep(0.1)'), query(DELETE)],
    ],
  ])('a BEGIN in %s opens no transaction', async (_name, readies, parts) => {
    expect(refusals(await send(readies, ...parts))).toBe(1);
    expect(await kept()).toEqual([{ id: 1 }]);
  });

  test('nor does it for what was prepared inside another one', async () => {
    await send(3, query('BEGIN'), parse(DELETE, 'late'), sync(), query('COMMIT'));
    const bound = [bind({ statement: 'late' }), execute(), sync()];
    expect(refusals(await send(2, FAILING, BEGIN, sync(), ...bound))).toBe(1);
    expect(await kept()).toEqual([{ id: 1 }]);
  });

  test('a COMMIT that is not reached ends none', async () => {
    await send(2, query('BEGIN'), query('SAVEPOINT here'));
    const lines = await send(3, query('SELECT 1 / 0; COMMIT'), query('ROLLBACK TO here'), query(UPDATE));
    expect(refusals(lines)).toBe(1);
  });

  test('those that are reached count before they are answered', async () => {
    const inside = [query('BEGIN'), query('SELECT 1'), query(DELETE), query('COMMIT'), query(UPDATE)];
    expect(refusals(await send(5, ...inside))).toBe(0);
    const unit = [BEGIN, frontend.extendedQuery(DELETE), frontend.extendedQuery('COMMIT'), sync()];
    expect(refusals(await send(2, ...unit, frontend.extendedQuery(UPDATE), sync()))).toBe(0);
  });

  test('nothing waits for the end of a unit whose Sync a COPY has passed over', async () => {
    client.send(Buffer.concat([BEGIN, frontend.extendedQuery('COPY transacted FROM STDIN'), sync()]));
    await client.readUntil('G');
    const lines = await send(
      1,
      frontend.copyData(Buffer.from('2\n')),
      frontend.copyDone(),
      frontend.extendedQuery(DELETE),
      sync(),
    );
    expect(refusals(lines)).toBe(0);
  });
});
