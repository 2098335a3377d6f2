// A text says what it says under the settings that it reaches the server with, not under those that pgweir heard of last: what is
// sent behind a change of client_encoding or standard_conforming_strings, in one piece with it, gets past no rule.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { transcribe } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

const { parse, bind, execute, query, sync } = frontend;
const postgres = sharedPostgres();
const RULES = `
traffic_control:
  on_unparsed: deny
  rules:
    - { name: no_delete, match: { statement: [delete] }, action: deny }
    - { name: no_secrets, match: { tables: [read_secrets] }, action: deny }
`;
/** Where a backslash is one, this is all one literal. */
const SMUGGLED = "SELECT '\\''; DELETE FROM read_items --'";
const SMUGGLED_READ = "SELECT '\\'' || id FROM read_secrets --'";
const OFF = 'standard_conforming_strings';

async function say(client: WireClient, readies: number, ...parts: readonly Buffer[]): Promise<string[]> {
  client.send(Buffer.concat(parts));
  return transcribe(await client.readUntilReady(readies));
}

const refusals = (lines: readonly string[]): number => lines.filter((line) => line.includes('C="42501"')).length;

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
    await postgres.query(
      `DROP TABLE IF EXISTS read_items, read_secrets; CREATE TABLE read_items AS SELECT 1 AS id;
       CREATE TABLE read_secrets AS SELECT 1 AS id`,
    );
    client = await WireClient.login(weir);
  });
  afterEach(() => client.destroy());

  /** As many as the smuggled text would delete. */
  const countItems = async (): Promise<number> =>
    Number((await postgres.query('SELECT count(*) AS n FROM read_items')).rows[0]?.n);

  test.each([
    ['SET', [query(`SET ${OFF} = off`)]],
    ['set_config', [query(`SELECT set_config('${OFF}', 'off', false)`)]],
    ['CREATE TABLE AS', [query(`CREATE TEMP TABLE off AS SELECT set_config('${OFF}', 'off', false)`)]],
    ['COPY', [query(`COPY (SELECT set_config('${OFF}', 'off', false)) TO STDOUT`)]],
    ['EXPLAIN', [query(`EXPLAIN ANALYZE SELECT set_config('${OFF}', 'off', false)`)]],
    [
      'a cursor',
      [query('BEGIN'), query(`DECLARE c CURSOR FOR SELECT set_config('${OFF}', 'off', false)`), query('FETCH c')],
    ],
    ['DO', [query(`DO 'BEGIN SET ${OFF} = off; END'`)]],
    ['pg_settings', [query(`UPDATE pg_settings SET setting = 'off' WHERE name = '${OFF}'`)]],
    [
      'a rollback of what had set it',
      [query(`SET ${OFF} = off`), query('BEGIN'), query(`SET ${OFF} = on`), query('ROLLBACK')],
    ],
    ['EXECUTE', [query(`PREPARE off AS SELECT set_config('${OFF}', 'off', false)`), query('EXECUTE off')]],
    ['an Execute', [Buffer.concat([parse(`SET ${OFF} = off`), bind(), execute(), sync()])]],
  ])('what is hidden in a literal until %s is refused', async (_name, changes) => {
    const lines = await say(client, changes.length + 1, ...changes, query(SMUGGLED));
    expect(refusals(lines)).toBe(1);
    expect(await countItems()).toBe(1);
  });

  test('so it is behind an error, which undoes at once what its transaction has set', async () => {
    client.destroy();
    client = await WireClient.login(weir, { parameters: { options: `-c ${OFF}=off` } });
    await client.query('BEGIN');
    await client.query(`SET LOCAL ${OFF} = on`);
    const lines = await say(client, 2, query("SELECT 'é\\'"), query("SELECT 'é\\'"));
    expect(lines.filter((line) => line === 'DataRow ["é\\\\"]').length).toBe(2);
    await say(client, 2, query('SELECT 1 / 0'), query(`ROLLBACK; ${SMUGGLED}`));
    expect(await countItems()).toBe(1);
  });

  test('so it is in the same unit of work, where no report of the change comes before its end', async () => {
    const setting = [parse(`SET ${OFF} = off`), bind(), execute()];
    const smuggled = [parse(SMUGGLED_READ, 'late'), bind({ statement: 'late' }), execute(), sync()];
    expect(refusals(await say(client, 1, ...setting, ...smuggled))).toBe(1);
  });

  test('other settings, and other statements, put nothing in doubt', async () => {
    const odd = query("SELECT 'é\\'");
    const lines = await say(client, 6, query('SELECT 1'), odd, query("SET work_mem = '1MB'"), odd, query('BEGIN'), odd);
    expect(refusals(lines)).toBe(0);
    expect(lines.filter((line) => line === 'DataRow ["é\\\\"]').length).toBe(3);
    const unit = [parse("SET work_mem = '2MB'"), bind(), execute(), parse("SELECT 'é\\'"), bind(), execute(), sync()];
    expect(refusals(await say(client, 1, ...unit))).toBe(0);
  });

  test('a text in the encoding that is set in front of it is read in that', async () => {
    const latin1 = Buffer.concat([Buffer.from("SELECT length('"), Buffer.from([0xe9]), Buffer.from("')")]);
    const message = frontend.message('Q', latin1, Buffer.from([0]));
    const lines = await say(client, 2, query("SET client_encoding = 'LATIN1'"), message);
    expect(lines).toContain('DataRow ["1"]');
  });
});
