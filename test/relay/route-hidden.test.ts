// What code makes that statements only call: what a client reads next is read as on a server of its own, on a replica where the
// replica can be told, on the primary where it cannot.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import * as frontend from '../support/frontend-messages.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { transcribe } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { sendCancel, WireClient } from '../support/wire-client.ts';
import { startHaltingTarget } from './halting-target.ts';
import { codesOf, ROUTING_RULES, valuesOf, WHERE } from './routed-client.ts';

let postgres: TestPostgres;
let weir: TestWeir;
let client: WireClient;

beforeAll(async () => {
  postgres = await startPostgres({ standbys: 1 });
  await postgres.query(`
    GRANT pg_monitor TO app;
    GRANT CREATE ON SCHEMA public TO app;
    CREATE FUNCTION set_memory(text) RETURNS text LANGUAGE sql AS $$ SELECT set_config('work_mem', $1, false) $$;
    CREATE FUNCTION become(text) RETURNS text LANGUAGE sql AS $$ SELECT set_config('role', $1, false) $$;
    CREATE FUNCTION make_temporary() RETURNS int LANGUAGE plpgsql AS
      $$ BEGIN CREATE TEMP TABLE made AS SELECT 5 AS a; RETURN 1; END $$;
    CREATE PROCEDURE set_much() LANGUAGE plpgsql AS
      $$ BEGIN SET work_mem = '13MB'; COMMIT; CREATE TEMP TABLE made AS SELECT 6 AS a; END $$;
    CREATE FUNCTION innocent() RETURNS int LANGUAGE sql AS 'SELECT 1'`);
  await postgres.waitForReplay();
  weir = await startTestWeir({ postgres, rules: ROUTING_RULES });
});
afterAll(async () => {
  await weir?.stop();
  await postgres?.stop();
});
afterEach(() => client.end());

const login = async (address: { host: string; port: number } = weir): Promise<WireClient> => {
  client = await WireClient.login(address, { user: 'app' });
  return client;
};

test.each([
  [["SELECT set_memory('9MB')"], 'SHOW work_mem'],
  [["SELECT set_memory('9MB')", 'SELECT 1', "SET work_mem = '8MB'", 'SELECT innocent()'], 'SHOW work_mem'],
  [["SET work_mem = '8MB'", "SELECT set_memory('9MB')", 'SELECT 1', 'RESET work_mem'], 'SHOW work_mem'],
  [["SET app.tenant = 'a'", 'SELECT innocent()'], "SELECT current_setting('app.tenant')"],
  [["SELECT become('pg_monitor')"], 'SELECT current_user'],
  [["SELECT become('pg_monitor')", 'SELECT 1', "SELECT become('none')"], 'SELECT current_user'],
  [["SET application_name = 'it''s'", 'SELECT innocent()'], 'SHOW application_name'],
  [["PREPARE hidden AS SELECT set_memory('9MB')", 'EXECUTE hidden'], 'SHOW work_mem'],
  [['SELECT make_temporary()'], 'SELECT a FROM made'],
  [['CALL set_much()'], 'SELECT a FROM made'],
  [['CALL set_much()', 'DROP TABLE made'], 'SHOW work_mem'],
  [["DO $$ BEGIN EXECUTE 'SE' || 'T work_mem = ''7MB'''; END $$"], 'SHOW work_mem'],
  [["DO $$ BEGIN EXECUTE 'CREATE TE' || 'MP TABLE made AS SELECT 1 AS a'; END $$"], 'SELECT a FROM made'],
  [['EXPLAIN ANALYZE CREATE TEMP TABLE made AS SELECT 1 AS a'], 'SELECT a FROM made'],
  [['PREPARE rows AS SELECT 3 AS a', 'CREATE TEMP TABLE made AS EXECUTE rows'], 'SELECT a FROM made'],
  [['SET search_path = pg_temp', 'CREATE TABLE made (a int)'], 'SELECT a FROM made'],
])('%j: what is asked next is answered as by a server of its own', async (statements, question) => {
  const ask = async (address: { host: string; port: number }): Promise<string[]> => {
    await login(address);
    for (const sql of statements) await client.query(sql);
    const answers = [transcribe(await client.query(question))];
    client.send(frontend.extendedQuery(question), frontend.sync());
    answers.push(transcribe(await client.readUntilReady()));
    await client.end();
    return answers.flat();
  };
  expect(await ask(weir)).toEqual(await ask({ host: postgres.host, port: postgres.port }));
});

test('what is prepared is used with the settings that a function has made since', async () => {
  await login();
  client.send(frontend.parse('SHOW work_mem', 'memory'), frontend.sync());
  await client.readUntilReady();
  for (const memory of ['9MB', '8MB', '7MB']) {
    await client.query(`SELECT set_memory('${memory}')`);
    const use = [
      frontend.bind({ statement: 'memory' }),
      frontend.describePortal(),
      frontend.execute(),
      frontend.sync(),
    ];
    client.send(...use);
    expect(valuesOf(await client.readUntilReady())).toEqual([memory]);
    expect(await client.rows(WHERE)).toEqual([['t']]);
  }
});

test('what leaves only settings keeps nobody from the replica', async () => {
  await login();
  for (const sql of [
    'SELECT innocent()',
    "SELECT set_memory('9MB')",
    'CREATE TABLE lasting (a int)',
    'CALL set_much()',
  ]) {
    await client.query(sql);
    await client.query('DROP TABLE IF EXISTS made');
    expect(await client.rows(WHERE), sql).toEqual([['t']]);
  }
  expect(await client.rows('SHOW work_mem')).toEqual([['13MB']]);
});

test('a temporary table of a function keeps its client on the primary until DISCARD ALL', async () => {
  await login();
  await client.query('SELECT make_temporary()');
  expect(await client.rows(WHERE)).toEqual([['f']]);
  await client.query('DISCARD ALL');
  expect(await client.rows(WHERE)).toEqual([['t']]);
});

test('a configuration that has changed by then is told to the client, which stays on the primary with it', async () => {
  await login();
  expect(await client.rows(WHERE)).toEqual([['t']]);
  await client.query('SELECT innocent()');
  await postgres.query("ALTER SYSTEM SET TimeZone = 'Asia/Tokyo'");
  try {
    await postgres.query('SELECT pg_reload_conf()');
    await sleep(500);
    expect(await client.rows('SHOW TimeZone')).toEqual([['Asia/Tokyo']]);
    expect(client.parameters.get('TimeZone')).toBe('Asia/Tokyo');
  } finally {
    await postgres.query('ALTER SYSTEM RESET TimeZone');
    await postgres.query('SELECT pg_reload_conf()');
  }
});

test('a notification that comes with the answer to the question is the client’s, and a cancel meanwhile does no harm', async () => {
  await login();
  await client.query('LISTEN hidden');
  for (let round = 0; round < 20; round++) {
    await client.query('SELECT innocent()');
    const notified = postgres.query("NOTIFY hidden, 'heard'");
    client.send(frontend.query(WHERE));
    const cancelled = sendCancel(weir, client.processId, client.secretKey);
    const messages = await client.readUntilReady();
    expect(['', '57014']).toContain(codesOf(messages).join());
    await Promise.all([notified, cancelled]);
    if (!messages.some(({ type }) => type === 'A')) await client.readUntil('A');
  }
  expect(client.status).toBe('I');
});

test('what waits for the answer to the question can be cancelled', async () => {
  const target = await startHaltingTarget(postgres, 'holdings');
  target.haltAt(1, 1_000);
  const halted = await startTestWeir({
    postgres: { ...postgres, host: target.host, port: target.port },
    rules: ROUTING_RULES,
  });
  await login(halted);
  await client.query('SELECT innocent()');
  client.send(frontend.query('SELECT pg_sleep(20)'));
  await sleep(300);
  await sendCancel(halted, client.processId, client.secretKey);
  expect(codesOf(await client.readUntilReady())).toEqual(['57014']);
  await client.end();
  await halted.stop();
  await target.stop();
});
