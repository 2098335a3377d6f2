// What a settlement finds in a session of a real server: everything that is there, whoever asks and under whatever settings,
// and nothing that is not there.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { makeSettlementQuery, readSettlement } from '../../src/pool/settlement.ts';
import { makeBelongings, NO_BELONGINGS } from '../../src/session/belongings.ts';
import { nameTraces, TRACE } from '../../src/sql/traces.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { openLine, type ServerLine, type SettleOptions } from './server-line.ts';

/** A server of its own: these tests make roles and databases, and read the server's log. */
let postgres: TestPostgres;
let server: ServerLine;

beforeAll(async () => {
  postgres = await startPostgres({ standbys: 1 });
  for (const sql of [
    'CREATE ROLE settle_member',
    'CREATE ROLE settle_user LOGIN',
    'GRANT settle_member TO settle_user',
    'CREATE ROLE settle_default LOGIN',
    'GRANT settle_member TO settle_default',
    "ALTER ROLE settle_default SET role = 'settle_member'",
    "ALTER ROLE settle_default SET settle.tenant = 'none'",
    'CREATE SEQUENCE settle_sequence',
    'GRANT ALL ON SEQUENCE settle_sequence TO PUBLIC',
    `CREATE FUNCTION settle_raise() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
      $$BEGIN PERFORM set_config('log_min_duration_statement', '77000', false); END$$`,
    'CREATE DATABASE settle_bare',
    "CREATE DATABASE settle_latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
  ]) {
    await postgres.query(sql);
  }
  await postgres.waitForReplay();
});

afterAll(() => postgres?.stop());

beforeEach(async () => {
  server = await openLine(postgres.port);
});

afterEach(() => server.close());

const found = async (options: SettleOptions = {}, line = server): Promise<string[]> =>
  nameTraces((await line.settle(options)).found);
const entries = (map: ReadonlyMap<string, string>): Record<string, string> => Object.fromEntries(map);

describe('a fresh session', () => {
  test('has nothing, whatever is asked for', async () => {
    for (const traces of [TRACE.hidden, TRACE.settings, TRACE.temporary | TRACE.listen, 0]) {
      expect(await server.settle({ traces, customNames: ['settle.x'] })).toEqual({
        belongings: NO_BELONGINGS,
        found: 0,
      });
    }
  });

  test('still has nothing after it was asked, and knows no setting that it was asked for', async () => {
    await server.run("LOAD 'plpgsql'");
    const before = await server.view(['settle.x']);
    await server.settle({ customNames: ['settle.x'] });
    expect(await server.view(['settle.x'])).toBe(before);
  });
});

describe('settings', () => {
  test('are those that the session has set, with the value that was last', async () => {
    await server.run(
      "SET work_mem = '5MB'; SET search_path = 'a', \"B c\", pg_temp; SET work_mem = '6MB'; RESET work_mem",
    );
    await server.run('BEGIN; SET statement_timeout = 1000; ROLLBACK; BEGIN; SET LOCAL lock_timeout = 5; COMMIT');
    await server.run("DO $$BEGIN PERFORM set_config('DateStyle', 'german', false); END$$");
    const { belongings, found: bits } = await server.settle();
    expect(entries(belongings.settings)).toEqual({ search_path: 'a, "B c", pg_temp', datestyle: 'German, DMY' });
    expect([belongings.role, belongings.sessionUser, bits]).toEqual([null, null, 0]);
  });

  test('leave out application_name, which the pool keeps, and what belongs to a transaction', async () => {
    await server.run(
      "SET application_name = 'x'; SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    );
    const { belongings } = await server.settle();
    expect(entries(belongings.settings)).toEqual({ default_transaction_isolation: 'serializable' });
  });

  test('of the startup packet are the login’s, not the session’s', async () => {
    const line = await openLine(postgres.port, { parameters: { options: '-c work_mem=7MB -c settle.y=1' } });
    expect((await line.settle({ customNames: ['settle.y'] })).belongings).toBe(NO_BELONGINGS);
    line.close();
  });

  test('that nobody asked for are as they were before', async () => {
    const previous = makeBelongings({ settings: new Map([['work_mem', '1024']]) });
    expect((await server.settle({ traces: TRACE.listen, previous })).belongings).toBe(previous);
  });

  test('that the login user could not set again pin, and those that it could do not', async () => {
    const user = await openLine(postgres.port, { user: 'settle_user' });
    await user.run("SET work_mem = '5MB'");
    expect(await found({}, user)).toEqual([]);
    await user.run('SELECT settle_raise()');
    expect(await found({}, user)).toEqual(['opaque_setting']);
    user.close();
    await server.run('SELECT settle_raise()');
    expect(await found()).toEqual([]);
  });
});

describe('placeholders', () => {
  test('are found by name, from the statements or from before, and unknown names are left unknown', async () => {
    await server.run("SET settle.one = 'é'; SET settle.two = ''");
    const previous = makeBelongings({ custom: new Map([['settle.two', 'old']]) });
    const { belongings } = await server.settle({ customNames: ['Settle.One', 'settle.three'], previous });
    expect([...belongings.custom.keys()]).toEqual(['settle.one', 'settle.two']);
    expect(Buffer.from(belongings.custom.get('settle.one') ?? '', 'latin1').toString()).toBe('é');
    expect(await server.value("SELECT current_setting('settle.three', true) IS NULL")).toBe('t');
  });

  test('that were local, or rolled back, are there as empty ones', async () => {
    await server.run("BEGIN; SET LOCAL settle.one = '1'; COMMIT; BEGIN; SET settle.two = '1'; ROLLBACK");
    const { belongings } = await server.settle({ customNames: ['settle.one', 'settle.two'] });
    expect(entries(belongings.custom)).toEqual({ 'settle.one': '', 'settle.two': '' });
  });

  test('that the login gives a value are settings that RESET leads back', async () => {
    const line = await openLine(postgres.port, { user: 'settle_default' });
    expect((await line.settle({ customNames: ['settle.tenant'] })).belongings).toBe(NO_BELONGINGS);
    await line.run("SET settle.tenant = 'one'");
    const { belongings } = await line.settle({ customNames: ['settle.tenant'] });
    expect([entries(belongings.settings), belongings.custom.size]).toEqual([{ 'settle.tenant': 'one' }, 0]);
    line.close();
  });

  test('of a library are settings once it is loaded', async () => {
    await server.run("SET plpgsql.extra_warnings = 'all'");
    const before = await server.settle({ traces: TRACE.settings, customNames: ['plpgsql.extra_warnings'] });
    expect(entries(before.belongings.custom)).toEqual({ 'plpgsql.extra_warnings': 'all' });
    await server.run("LOAD 'plpgsql'");
    const { belongings } = await server.settle({ previous: before.belongings });
    expect([entries(belongings.settings), belongings.custom.size]).toEqual([{ 'plpgsql.extra_warnings': 'all' }, 0]);
  });
});

describe('role and user', () => {
  test('are found apart from each other', async () => {
    await server.run('SET ROLE settle_member');
    expect((await server.settle()).belongings).toMatchObject({ role: 'settle_member', sessionUser: null });
    await server.run('SET SESSION AUTHORIZATION settle_user; SET ROLE settle_member');
    expect((await server.settle()).belongings).toMatchObject({ role: 'settle_member', sessionUser: 'settle_user' });
    await server.run('RESET ROLE');
    expect((await server.settle()).belongings).toMatchObject({ role: 'none', sessionUser: 'settle_user' });
    expect(await server.value('SELECT session_user')).toBe('settle_user');
  });

  test('of the login are none of the session’s, and no role is one where the login has one', async () => {
    const line = await openLine(postgres.port, { user: 'settle_default' });
    expect((await line.settle()).belongings).toBe(NO_BELONGINGS);
    await line.run('SET ROLE NONE');
    expect((await line.settle()).belongings.role).toBe('none');
    expect(await line.value('SELECT current_user')).toBe('settle_default');
    line.close();
  });
});

const HOLDINGS: readonly (readonly [name: string, bit: number, make: string, end: string])[] = [
  ['temporary', TRACE.temporary, 'CREATE TEMP TABLE x ()', 'DROP TABLE x'],
  ['temporary', TRACE.temporary, 'CREATE TEMP VIEW y AS SELECT 1', 'DISCARD TEMP'],
  ['temporary', TRACE.temporary, 'CREATE FUNCTION pg_temp.f() RETURNS int RETURN 1', 'DROP FUNCTION pg_temp.f'],
  ['temporary', TRACE.temporary, 'CREATE TYPE pg_temp.t AS (a int)', 'DROP TYPE pg_temp.t'],
  [
    'temporary',
    TRACE.temporary,
    "SELECT pg_create_physical_replication_slot('settle', false, true)",
    "SELECT pg_drop_replication_slot('settle')",
  ],
  ['held_cursor', TRACE.heldCursor, 'BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT', 'CLOSE c'],
  ['advisory_lock', TRACE.advisoryLock, 'SELECT pg_advisory_lock(7)', 'SELECT pg_advisory_unlock(7)'],
  ['advisory_lock', TRACE.advisoryLock, 'SELECT pg_try_advisory_lock_shared(1, 2)', 'SELECT pg_advisory_unlock_all()'],
  ['listen', TRACE.listen, 'LISTEN a', 'UNLISTEN a'],
  ['prepared_sql', TRACE.preparedSql, 'PREPARE a AS SELECT 1', 'DEALLOCATE a'],
];

describe('what cannot be carried', () => {
  test.each(HOLDINGS)('is found (%s: %i, %s) until it is gone', async (name, bit, make, end) => {
    await server.run(make);
    for (const traces of [bit, TRACE.hidden, TRACE.hidden | bit]) expect(await found({ traces })).toEqual([name]);
    expect(await found({ traces: TRACE.settings })).toEqual([]);
    await server.run(end);
    for (const traces of [bit, TRACE.hidden]) expect(await found({ traces })).toEqual([]);
  });

  test('is not somebody else’s', async () => {
    const other = await openLine(postgres.port);
    for (const [, , make] of HOLDINGS) await other.run(make);
    expect(await found()).toEqual([]);
    other.close();
  });

  test('is found when hidden code has made it, all at once', async () => {
    await server.run(
      `DO $$BEGIN EXECUTE 'CREATE TEMP TABLE x ()'; PERFORM pg_advisory_lock(3); EXECUTE 'PREPARE a AS SELECT 1';
        EXECUTE 'LISTEN b'; PERFORM nextval('settle_sequence'); END$$`,
    );
    expect(await found()).toEqual(['temporary', 'advisory_lock', 'listen', 'prepared_sql', 'sequence']);
  });

  test('ends with its transaction where it does', async () => {
    await server.run(
      'BEGIN; DECLARE c CURSOR FOR SELECT 1; SELECT pg_advisory_xact_lock(1); CREATE TEMP TABLE x () ON COMMIT DROP; COMMIT',
    );
    expect(await found()).toEqual([]);
  });
});

describe('a sequence', () => {
  test('is asked for in a session that ends on any error, and the session lives', async () => {
    await server.run('SET exit_on_error = on');
    const { belongings, found } = await server.settle();
    expect([[...belongings.settings], found]).toEqual([[['exit_on_error', 'on']], 0]);
    await expect(server.ask('SELECT 1/0')).rejects.toThrow(/division by zero/);
  });

  test('that was drawn from is found, and nothing is written to the server’s log where none was', async () => {
    expect(await found()).toEqual([]);
    await server.run("SELECT nextval('settle_sequence')");
    expect(await found()).toEqual(['sequence']);
    await server.run('DISCARD SEQUENCES');
    expect(await found()).toEqual([]);
    expect(postgres.logTail()).not.toContain('lastval');
  });

  test('counts as drawn from where DO is not possible', async () => {
    const bare = await openLine(postgres.port, { database: 'settle_bare' });
    await bare.run('DROP EXTENSION plpgsql');
    const rows = await bare.run(makeSettlementQuery(TRACE.hidden, [], NO_BELONGINGS, false));
    expect(nameTraces(readSettlement(rows, TRACE.hidden, NO_BELONGINGS).found)).toEqual(['sequence']);
    await bare.run('CREATE EXTENSION plpgsql');
    bare.close();
  });
});

describe('the question', () => {
  const hostile = `CREATE SCHEMA IF NOT EXISTS hostile;
    CREATE FUNCTION hostile.no(text, text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'called'; END$$;
    CREATE OPERATOR hostile.= (FUNCTION = hostile.no, LEFTARG = text, RIGHTARG = text);
    CREATE FUNCTION hostile.lower(text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'called'; END$$;
    CREATE TYPE hostile.text AS (a int)`;

  test('is answered alike under settings that change how statements run or are read', async () => {
    await server.run(hostile);
    await server.run('CREATE TEMP TABLE pg_depend (); CREATE TEMP TABLE pg_settings ()');
    await server.run("SET settle.o = 'a''b\\c'; SET search_path = hostile, pg_catalog");
    await server.run('SET default_transaction_read_only = on; SET default_transaction_isolation = serializable');
    await server.run(
      "SET default_transaction_deferrable = on; SET standard_conforming_strings = off; SET client_encoding = 'LATIN1'",
    );
    await server.run(
      'SET bytea_output = escape; SET backslash_quote = off; SET quote_all_identifiers = on; SET row_security = off',
    );
    await server.run('SET SESSION AUTHORIZATION settle_user');
    const { belongings, found: bits } = await server.settle({ customNames: ['settle.o'] });
    expect(nameTraces(bits)).toEqual(['temporary']);
    expect(belongings.sessionUser).toBe('settle_user');
    expect(entries(belongings.custom)).toEqual({ 'settle.o': "a'b\\c" });
    expect(Object.keys(entries(belongings.settings)).sort()).toEqual([
      'backslash_quote',
      'bytea_output',
      'client_encoding',
      'default_transaction_deferrable',
      'default_transaction_isolation',
      'default_transaction_read_only',
      'quote_all_identifiers',
      'row_security',
      'search_path',
      'standard_conforming_strings',
    ]);
  });

  test('is answered by a standby', async () => {
    const [standby] = postgres.standbys;
    const line = await openLine(standby?.port ?? 0);
    await line.run("SELECT pg_advisory_lock(1); SET settle.s = '1'; SET default_transaction_isolation = serializable");
    const { belongings, found: bits } = await line.settle({ customNames: ['settle.s'] });
    expect(belongings.settings.get('default_transaction_isolation')).toBe('serializable');
    expect([nameTraces(bits), entries(belongings.custom)]).toEqual([['advisory_lock'], { 'settle.s': '1' }]);
    line.close();
  });

  test('gives bytes of the database’s own encoding', async () => {
    const line = await openLine(postgres.port, { database: 'settle_latin', parameters: { client_encoding: 'UTF8' } });
    await line.run("SET settle.l = 'é'");
    const { belongings } = await line.settle({ customNames: ['settle.l'] });
    expect(belongings.custom.get('settle.l')).toBe('é');
    line.close();
  });

  test('does not change what the client is told of its parameters', async () => {
    await server.run(
      "SET SESSION AUTHORIZATION settle_user; SET TimeZone = 'Asia/Tokyo'; SET client_encoding = 'SQL_ASCII'",
    );
    const answer = await server.ask(makeSettlementQuery(TRACE.hidden, ['settle.x'], NO_BELONGINGS));
    expect([answer.sqlstate, answer.parameters, answer.asides.length]).toEqual([null, [], 0]);
  });
});
