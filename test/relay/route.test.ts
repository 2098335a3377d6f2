// route: statements that a rule names run on the standby, and everything that a session believes of its server goes with
// them: transactions, settings, prepared statements. What cannot go stays on the primary, and is counted.

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { transcribe } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';
import { codesOf, ROUTING_RULES, talkThrough, valuesOf, WHERE } from './routed-client.ts';

const postgres = sharedPostgres();
let weir: TestWeir;
let client: WireClient;

beforeAll(async () => {
  await postgres.query('DROP TABLE IF EXISTS routed; CREATE TABLE routed (a int)');
  const standby = await WireClient.login({ host: postgres.host, port: postgres.standbyPort });
  await waitFor(
    async () => (await standby.rows("SELECT to_regclass('routed')"))[0]?.[0] === 'routed',
    10_000,
    () => 'the standby does not follow',
  );
  await standby.end();
  weir = await startTestWeir({ postgres, rules: ROUTING_RULES });
});
afterAll(() => weir.stop());
afterEach(() => client.end());

const login = async (address: TestWeir = weir): Promise<WireClient> => {
  client = await WireClient.login(address);
  return client;
};
const { send, simple, extended, prepare, use } = talkThrough(() => client);

describe('a statement that a rule routes to a replica', () => {
  test('runs on the standby as a simple, an extended and a prepared statement', async () => {
    await login();
    expect(await simple(WHERE)).toEqual(['t']);
    expect(await extended(WHERE)).toEqual(['t']);
    expect(await prepare('where', WHERE)).toEqual([]);
    expect(await use('where')).toEqual(['t']);
    expect(await use('where')).toEqual(['t']);
    expect(weir.control.rules.active.rules.find(({ name }) => name === 'reads')?.counters.routed).toBeGreaterThan(3);
    expect(weir.control.sessions().find(({ serverPid }) => serverPid !== null)?.target).toBe('replica1');
  });

  test('runs on the primary where a rule above it says so, or none matches', async () => {
    await login();
    expect(await simple(`${WHERE} /* stay */`)).toEqual(['f']);
    expect(await simple(WHERE)).toEqual(['t']);
    expect(await extended(`${WHERE} /* stay */`)).toEqual(['f']);
    expect(await simple('INSERT INTO routed VALUES (1) RETURNING pg_is_in_recovery()')).toEqual(['f']);
    expect(await simple(`${WHERE} FROM routed FOR UPDATE`)).not.toContain('25006');
    expect(await simple(WHERE)).toEqual(['t']);
  });

  test('counts in observe mode as it does when it is enforced, in messages of several statements, too', async () => {
    const counted: (number | undefined)[] = [];
    for (const mode of ['observe', 'enforce'] as const) {
      const routing = await startTestWeir({
        postgres,
        rules: `traffic_control:
  rules:
    - { name: secrets, match: { tables: secrets }, action: deny, priority: -1 }
    - { name: reads, mode: ${mode}, match: { query_class: read }, action: route_replica }\n`,
      });
      await login(routing);
      await simple('SELECT 1');
      await simple('SELECT 2; SELECT 3');
      await simple("SELECT 4; SET work_mem = '2MB'");
      await simple('PREPARE four AS SELECT 4');
      await simple('EXECUTE four');
      await simple('SELECT * FROM secrets');
      await client.end();
      const counters = routing.control.rules.active.rules.find(({ name }) => name === 'reads')?.counters;
      expect(counters?.matched).toBe(8);
      counted.push(mode === 'observe' ? counters?.wouldRoute : counters?.routed);
      await routing.stop();
    }
    await login();
    expect(counted[0]).toBe(counted[1]);
  });

  test('is answered message by message as a single server answers it', async () => {
    const program = [
      frontend.query('SELECT 1 AS one, NULL AS two'),
      frontend.query('SELECT no_such_column'),
      Buffer.concat([frontend.extendedQuery("SELECT 'x' WHERE $1 = '1'", ['1']), frontend.sync()]),
      Buffer.concat([frontend.parse('SELECT 5', 'five'), frontend.describeStatement('five'), frontend.sync()]),
      Buffer.concat([frontend.bind({ statement: 'five' }), frontend.execute(), frontend.sync()]),
      Buffer.concat([frontend.bind({ statement: 'nobody' }), frontend.execute(), frontend.sync()]),
      Buffer.concat([frontend.closeStatement('five'), frontend.sync()]),
      Buffer.concat([frontend.bind({ statement: 'five' }), frontend.execute(), frontend.sync()]),
      frontend.query("SET work_mem = '7MB'"),
      frontend.query("SELECT current_setting('work_mem')"),
      frontend.query(''),
    ];
    const run = async (address: { host: string; port: number }): Promise<string[]> => {
      client = await WireClient.login(address);
      const lines: string[] = [];
      for (const step of program) {
        client.send(step);
        lines.push(...transcribe(await client.readUntilReady()));
      }
      return lines;
    };
    const bare = await run({ host: postgres.host, port: postgres.primaryPort });
    await client.end();
    expect(await run(weir)).toEqual(bare);
  });

  test('keeps the order of a pipeline that goes to and fro', async () => {
    await login();
    const order = [WHERE, `${WHERE} /* stay */`, WHERE, `${WHERE} /* stay */`, WHERE];
    client.send(...order.map((sql) => frontend.query(sql)));
    expect(valuesOf(await client.readUntilReady(5))).toEqual(['t', 'f', 't', 'f', 't']);
    client.send(...order.flatMap((sql) => [frontend.extendedQuery(sql), frontend.sync()]));
    expect(valuesOf(await client.readUntilReady(5))).toEqual(['t', 'f', 't', 'f', 't']);
  });
});

describe('inside a transaction nothing is routed', () => {
  test('whether it was begun by a simple or an extended statement, and routing goes on after its end', async () => {
    await login();
    for (const begin of [simple, extended]) {
      for (const end of ['COMMIT', 'ROLLBACK']) {
        expect(await begin('BEGIN')).toEqual([]);
        expect(await simple(WHERE)).toEqual(['f']);
        expect(await extended(WHERE)).toEqual(['f']);
        expect(await begin(end)).toEqual([]);
        expect(await simple(WHERE)).toEqual(['t']);
      }
    }
  });

  test('nor right behind a BEGIN in the same packet, nor in a failed transaction', async () => {
    await login();
    client.send(frontend.query('BEGIN'), frontend.query(WHERE), frontend.query('SELECT 1/0'), frontend.query(WHERE));
    const messages = await client.readUntilReady(4);
    expect(valuesOf(messages)).toEqual(['f']);
    expect(codesOf(messages)).toEqual(['22012', '25P02']);
    client.send(frontend.query('ROLLBACK'), frontend.query(WHERE));
    expect(valuesOf(await client.readUntilReady(2))).toEqual(['t']);
  });

  test('nor in a pipeline that writes before its Sync', async () => {
    await login();
    expect(
      await send(
        frontend.extendedQuery('INSERT INTO routed VALUES (2)'),
        frontend.extendedQuery(WHERE),
        frontend.sync(),
      ),
    ).toEqual(['f']);
    expect(await send(frontend.extendedQuery(WHERE), frontend.extendedQuery(WHERE), frontend.sync())).toEqual([
      't',
      't',
    ]);
  });

  test('even where the rule routes everything: a transaction is never begun on one server and ended on another', async () => {
    const everything = await startTestWeir({
      postgres,
      rules: 'traffic_control: { rules: [{ name: everything, action: route_replica }] }',
    });
    await login(everything);
    await postgres.query('TRUNCATE routed');
    for (const run of [simple, extended]) {
      expect(await run('BEGIN')).toEqual([]);
      await run('INSERT INTO routed VALUES (3)');
      await run('ROLLBACK');
    }
    const { rows } = await postgres.query('SELECT a FROM routed');
    expect(rows).toEqual([]);
    expect(client.status).toBe('I');
    await client.end();
    await everything.stop();
  });
});

describe('settings', () => {
  const setting = (name: string): string => `SELECT current_setting('${name}') || ' ' || pg_is_in_recovery()`;

  test('made before and after the replica was reached hold there too', async () => {
    await login();
    await simple("SET work_mem = '5MB'");
    expect(await simple(setting('work_mem'))).toEqual(['5MB true']);
    await extended("SET work_mem = '6MB'");
    expect(await extended(setting('work_mem'))).toEqual(['6MB true']);
    await simple("SET SESSION TIME ZONE 'Asia/Tokyo'");
    expect(await simple(setting('TimeZone'))).toEqual(['Asia/Tokyo true']);
    await simple('RESET work_mem');
    expect(await simple(setting('work_mem'))).toEqual(['4MB true']);
    await simple("SET work_mem = '9MB'");
    await simple('RESET ALL');
    expect(await simple(setting('work_mem'))).toEqual(['4MB true']);
  });

  test('of the login hold there too', async () => {
    client = await WireClient.login(weir, { parameters: { options: '-c work_mem=11MB', application_name: 'told' } });
    expect(await simple(setting('work_mem'))).toEqual(['11MB true']);
    expect(await simple(setting('application_name'))).toEqual(['told true']);
  });

  test('that failed, or were local, change nothing there', async () => {
    await login();
    expect(await simple("SET work_mem = 'much'")).toEqual(['22023']);
    await simple("BEGIN; SET LOCAL work_mem = '8MB'; COMMIT");
    expect(await simple(setting('work_mem'))).toEqual(['4MB true']);
    for (const undone of [
      [frontend.query("BEGIN; SET work_mem = '8MB'; ROLLBACK")],
      [frontend.query("SET work_mem = '8MB'; SELECT 1/0")],
      [frontend.query('BEGIN'), frontend.query("SET work_mem = '8MB'"), frontend.query('ROLLBACK')],
      [frontend.extendedQuery("SET work_mem = '8MB'"), frontend.extendedQuery('SELECT 1/0'), frontend.sync()],
    ]) {
      const units = undone.filter((message) => 'QS'.includes(message.toString('latin1', 0, 1))).length;
      client.send(...undone, frontend.query(setting('work_mem')));
      expect(valuesOf(await client.readUntilReady(units + 1)).at(-1)).toMatch(/^4MB/);
    }
  });

  test('that cannot be repeated keep the session on the primary, until DISCARD ALL', async () => {
    for (const make of ["BEGIN; SET work_mem = '12MB'; COMMIT", "SELECT set_config('work_mem', '12MB', false)"]) {
      await login();
      await simple(make);
      const [answer] = await simple(setting('work_mem'));
      expect(answer, make).toBe('12MB false');
      await simple('DISCARD ALL');
      expect(await simple(setting('work_mem')), make).toEqual(['4MB true']);
      await client.end();
    }
    await login();
  });

  test('made by other code than SET keep the session on the primary, as far as they can be seen', async () => {
    await postgres.query(
      "CREATE OR REPLACE FUNCTION move_to(text) RETURNS text LANGUAGE sql AS $$ SELECT set_config('TimeZone', $1, false) $$",
    );
    for (const make of [
      "DO $$ BEGIN PERFORM set_config('TimeZone', 'Asia/Tokyo', false); END $$",
      "INSERT INTO routed SELECT 1 WHERE set_config('TimeZone', 'Asia/Tokyo', false) = ''",
      "COPY (SELECT set_config('TimeZone', 'Asia/Tokyo', false)) TO STDOUT",
      "SELECT move_to('Asia/Tokyo') /* stay */",
    ]) {
      await login();
      expect(codesOf(await client.query(make)), make).toEqual([]);
      expect(await simple(setting('TimeZone')), make).toEqual(['Asia/Tokyo false']);
      await simple('DISCARD ALL');
      expect(await simple(setting('TimeZone')), make).toEqual(['Etc/UTC true']);
      await client.end();
    }
    await login();
    await simple('BEGIN');
    await simple("SET LOCAL TimeZone = 'Asia/Tokyo'");
    await simple('COMMIT');
    await simple("SET DateStyle = 'German'");
    expect(await simple(setting('DateStyle'))).toEqual(['German, DMY true']);
  });

  test('with other letters than ASCII mean there what the client meant, in its encoding', async () => {
    client = await WireClient.login(weir, { parameters: { client_encoding: 'LATIN1' } });
    client.send(frontend.message('Q', Buffer.from("SET routed.name = '\xe9'\0", 'latin1')));
    expect(codesOf(await client.readUntilReady())).toEqual([]);
    expect(await simple("SELECT length(current_setting('routed.name'))")).toEqual(['1']);
  });

  test('that the replica does not take keep the session on the primary: nothing runs there without them', async () => {
    await login();
    expect(await simple(WHERE)).toEqual(['t']);
    const standby = await WireClient.login({ host: postgres.host, port: postgres.standbyPort });
    await standby.rows('SELECT pg_wal_replay_pause()');
    try {
      await postgres.query('DROP ROLE IF EXISTS routed_late; CREATE ROLE routed_late');
      await simple('SET ROLE routed_late');
      const who = "SELECT current_user || ' ' || pg_is_in_recovery()";
      expect(await simple(who)).toEqual(['routed_late false']);
      expect(await extended(who)).toEqual(['routed_late false']);
      await simple('RESET ROLE');
    } finally {
      await standby.rows('SELECT pg_wal_replay_resume()');
      await standby.end();
    }
    await waitFor(
      async () => (await simple(WHERE))[0] === 't',
      10_000,
      () => 'the replica is never tried again',
      100,
    );
  });

  test.each([
    "SET default_transaction_isolation = 'serializable'",
    'SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE',
  ])('under which a standby refuses everything keep the session on the primary: %s', async (sql) => {
    await login();
    expect(await simple(WHERE)).toEqual(['t']);
    await simple(sql);
    expect([await simple(WHERE), await extended(WHERE)]).toEqual([['f'], ['f']]);
    await simple('DISCARD ALL');
    expect(await simple(WHERE)).toEqual(['t']);
    await simple("SET default_transaction_isolation = 'repeatable read'");
    expect(await simple(WHERE)).toEqual(['t']);
  });

  test('reported by the server are told to the client once, by the primary', async () => {
    await login();
    await simple(WHERE);
    client.send(frontend.query("SET application_name = 'renamed'"), frontend.query(WHERE), frontend.query(WHERE));
    const reported = (await client.readUntilReady(3)).filter(({ type }) => type === 'S');
    expect(reported).toHaveLength(1);
    expect(client.parameters.get('application_name')).toBe('renamed');
  });
});

describe('temporary tables, locks and listening', () => {
  test.each([
    [['LISTEN heard'], 'SELECT pg_listening_channels()', 'heard'],
    [['PREPARE by_sql AS SELECT 1'], 'SELECT name FROM pg_prepared_statements', 'by_sql'],
    [
      ['BEGIN', 'DECLARE kept CURSOR WITH HOLD FOR SELECT 1', 'COMMIT'],
      'SELECT name FROM pg_catalog.pg_cursors',
      'kept',
    ],
  ])('%j shows where PostgreSQL lists it', async (statements, question, name) => {
    await login();
    expect(await simple(WHERE)).toEqual(['t']);
    for (const sql of statements) await simple(sql);
    expect(await simple(question)).toEqual([name]);
    // There is a portal, too.
    expect((await extended(question))[0]).toBe(name);
    expect(await simple(WHERE)).toEqual(['t']);
  });

  test('are not looked for on the replica', async () => {
    await login();
    expect(await simple(WHERE)).toEqual(['t']);
    for (const make of [
      'CREATE TEMP TABLE mine AS SELECT 42 AS a',
      'CREATE TEMPORARY TABLE mine (a) AS VALUES (42)',
      'SELECT 42 AS a INTO TEMP mine',
      'CREATE TABLE pg_temp.mine AS SELECT 42 AS a',
      'CREATE TEMP VIEW mine AS SELECT 42 AS a',
      'CREATE TEMP TABLE mine (a int DEFAULT 42); INSERT INTO mine VALUES (DEFAULT)',
    ]) {
      await simple(make);
      expect(await simple('SELECT a FROM mine'), make).toEqual(['42']);
      await simple('DISCARD ALL');
      expect(await simple(WHERE), make).toEqual(['t']);
    }
  });
});

describe('prepared statements', () => {
  test('prepared on one server are used on the other, by protocol and under the meaning that the client gave them', async () => {
    await login();
    await prepare('where', WHERE);
    expect(await use('where')).toEqual(['t']);
    await simple('BEGIN');
    expect(await use('where')).toEqual(['f']);
    await simple('COMMIT');
    expect(await use('where')).toEqual(['t']);
    await send(frontend.closeStatement('where'), frontend.sync());
    expect(await use('where')).toEqual(['26000']);
    await prepare('where', `SELECT 'new ' || pg_is_in_recovery()`);
    expect(await use('where')).toEqual(['new true']);
    await simple('BEGIN');
    expect(await use('where')).toEqual(['new false']);
    await simple('ROLLBACK');
    expect(await prepare('where', 'SELECT 1')).toEqual(['42P05']);
    expect(await use('where')).toEqual(['new true']);
  });

  test('prepared and run in one unit on the replica are there for the primary too', async () => {
    await login();
    expect(
      await send(
        frontend.parse(WHERE, 'unit'),
        frontend.bind({ statement: 'unit' }),
        frontend.execute(),
        frontend.sync(),
      ),
    ).toEqual(['t']);
    await simple('BEGIN');
    expect(await use('unit')).toEqual(['f']);
    await simple('COMMIT');
    expect(await simple('DEALLOCATE unit')).toEqual([]);
    expect(await use('unit')).toEqual(['26000']);
    await simple('BEGIN');
    expect(await use('unit')).toEqual(['26000']);
    await simple('ROLLBACK');
  });

  test('without a name live on between units, on whichever server they run', async () => {
    await login();
    await prepare('', WHERE);
    expect(await use('')).toEqual(['t']);
    await send(frontend.query('BEGIN'));
    expect(await use('')).toEqual(['26000']);
    await simple('ROLLBACK');
    expect(await extended(WHERE)).toEqual(['t']);
    expect(await use('')).toEqual(['t']);
  });

  test('of SQL PREPARE stay where they are', async () => {
    await login();
    await simple(`PREPARE by_sql AS ${WHERE}`);
    expect(await simple('EXECUTE by_sql')).toEqual(['f']);
    expect(await use('by_sql')).toEqual(['f']);
    expect(await simple(WHERE)).toEqual(['t']);
  });

  test('are all gone after DEALLOCATE ALL and DISCARD ALL, on both servers', async () => {
    for (const forget of ['DEALLOCATE ALL', 'DISCARD ALL']) {
      await login();
      await prepare('where', WHERE);
      expect(await use('where')).toEqual(['t']);
      await simple(forget);
      expect(await use('where'), forget).toEqual(['26000']);
      await prepare('where', WHERE);
      expect(await use('where'), forget).toEqual(['t']);
      await client.end();
    }
    await login();
  });
});
