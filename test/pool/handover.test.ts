// A connection that took over a client's belongings against the one on which the client made them: they must look the same,
// and one that gave them up must look like a new one.

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isTainted, makeCleaning, makeHandover } from '../../src/pool/handover.ts';
import { makeSettlementQuery } from '../../src/pool/settlement.ts';
import { type Belongings, makeBelongings, NO_BELONGINGS, PERHAPS_EMPTY } from '../../src/session/belongings.ts';
import { TRACE } from '../../src/sql/traces.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { openLine, type ServerLine } from './server-line.ts';

const NAMES = ['hand.one', 'hand.two', 'Hand.Three'];
const SEED = 20_251;
const RUNS = Number(process.env.PGWEIR_HANDOVER_RUNS ?? 60);

let postgres: TestPostgres;
const opened: ServerLine[] = [];

beforeAll(async () => {
  postgres = await startPostgres({ standbys: 1 });
  for (const sql of [
    'CREATE ROLE "hand é"',
    'CREATE ROLE hand_user LOGIN',
    'CREATE ROLE hand_default LOGIN SUPERUSER',
    'GRANT "hand é" TO hand_user',
    "ALTER ROLE hand_default SET role = 'hand_user'",
    "ALTER ROLE hand_default SET work_mem = '9MB'",
    "ALTER ROLE hand_default SET hand.one = 'login'",
  ]) {
    await postgres.query(sql);
  }
  await postgres.waitForReplay();
});

afterAll(async () => {
  for (const line of opened) line.close();
  await postgres?.stop();
});

async function open(user = 'weir', port = postgres.port): Promise<ServerLine> {
  const line = await openLine(port, { user });
  opened.push(line);
  // The question itself loads it, and its settings show.
  await line.run('DO $$BEGIN END$$');
  return line;
}

const settle = async (line: ServerLine, previous: Belongings = NO_BELONGINGS): Promise<Belongings> =>
  (await line.settle({ customNames: NAMES, previous })).belongings;

describe('belongings', () => {
  test('of hidden code leave nothing behind but what the next client has, whatever their names', async () => {
    const line = await open();
    await line.run("SET hand.unknown = 'secret'; SET work_mem = '3MB'");
    const to = makeBelongings({ custom: new Map([['hand.one', '']]), settings: new Map([['seq_page_cost', '2']]) });
    expect(makeHandover(to, to)).toBeNull();
    await line.run(makeHandover(to, to, true) ?? '');
    expect(await line.value("SELECT current_setting('hand.unknown')")).toBe('');
    expect(await line.value("SELECT current_setting('work_mem')")).toBe('4MB');
    expect(
      await line.value("SELECT concat(current_setting('hand.one', true) = '', current_setting('seq_page_cost'))"),
    ).toBe('t2');
  });

  test('that may be there and empty are made where the next client has them, and taint where it has not', async () => {
    const line = await open();
    const perhaps = makeBelongings({ custom: new Map([['hand.one', PERHAPS_EMPTY]]) });
    const empty = makeBelongings({ custom: new Map([['hand.one', '']]) });
    expect(isTainted(perhaps, NO_BELONGINGS)).toBe(true);
    expect(isTainted(perhaps, empty)).toBe(false);
    await line.run(makeHandover(perhaps, empty) ?? '');
    expect(await line.value("SELECT current_setting('hand.one', true) = ''")).toBe('t');
  });

  test.each([
    ['settings', "SET work_mem = '5MB'; SET TIME ZONE INTERVAL '+02:30' HOUR TO MINUTE; SET DateStyle = 'SQL, DMY'"],
    ['lists', `SET search_path = "$user", "A ""b"", c", ''; SET temp_tablespaces = ''; SET DateStyle = postgres`],
    ['an empty list', "SET search_path = ''"],
    [
      'privileged settings',
      "SET log_statement = 'ddl'; SET session_replication_role = replica; SET log_parser_stats = on",
    ],
    ['settings that exclude each other', 'SET log_statement_stats = on'],
    ['numbers', "SET seq_page_cost = 1.5; SET vacuum_cost_delay = 2.5; SET geqo_seed = 0.25; SET temp_buffers = '2MB'"],
    ['encodings', "SET client_encoding = 'LATIN1'; SET bytea_output = escape; SET standard_conforming_strings = off"],
    [
      'defaults of transactions',
      'SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE',
    ],
    ['placeholders', `SET hand.one = 'a''b\\c"d'; SET hand.two = ''; SET "Hand.Three" = 'é ✓'`],
    ['a role', 'SET ROLE "hand é"'],
    ['another user', 'SET SESSION AUTHORIZATION hand_user'],
    ['another user with a role', 'SET SESSION AUTHORIZATION hand_user; SET ROLE "hand é"'],
    ['what code has set', "DO $$BEGIN PERFORM set_config('work_mem', '7MB', false); EXECUTE 'SET hand.one = 5'; END$$"],
    ['the value that is the default', 'SET work_mem = DEFAULT; SET enable_sort = on'],
    ['short timeouts', "SET statement_timeout = '10s'; SET lock_timeout = 10; SET idle_session_timeout = '1h'"],
  ])('with %s look the same on another connection, and are gone without a trace', async (_what, sql) => {
    const [home, other] = [await open(), await open()];
    const fresh = await other.view();
    await home.run(sql);
    const before = await home.view(NAMES);
    const belongings = await settle(home);
    expect(await home.view(NAMES)).toBe(before);
    await other.takeOver(NO_BELONGINGS, belongings);
    expect(await other.view(NAMES)).toBe(before);
    expect(await settle(other, belongings)).toBe(belongings);
    await other.takeOver(belongings, NO_BELONGINGS);
    expect(await other.view()).toBe(fresh);
    expect((await settle(other)).settings.size).toBe(0);
  });

  test('with every setting that a session can change look the same on another connection', async () => {
    const [home, other] = [await open(), await open()];
    const fresh = await other.view();
    // What ends statements or sessions is set high; of settings that exclude each other the first is taken.
    const refused = await home.run(`
      CREATE FUNCTION pg_temp.change(name text, value text) RETURNS text LANGUAGE plpgsql AS
        $$BEGIN PERFORM set_config(name, value, false); RETURN NULL; EXCEPTION WHEN OTHERS THEN RETURN name; END$$;
      SELECT refused FROM (
        SELECT pg_temp.change(name, CASE
          WHEN vartype = 'bool' THEN CASE setting WHEN 'on' THEN 'off' ELSE 'on' END
          WHEN vartype = 'enum' THEN enumvals[array_length(enumvals, 1)]
          WHEN name ~ 'timeout|delay|deadlock' THEN '3600000'
          WHEN vartype = 'integer' THEN (setting::bigint + 1)::text
          WHEN vartype = 'real' THEN (setting::numeric + 0.125)::text
          WHEN name = 'TimeZone' THEN 'Europe/Rome'
          WHEN name = 'DateStyle' THEN 'German'
          WHEN name LIKE 'lc%' THEN 'C'
          WHEN name LIKE '%tablespace%' THEN 'pg_default'
          WHEN name = 'search_path' THEN 'a, "B", pg_catalog'
          ELSE '' END) AS refused
        FROM pg_settings WHERE context IN ('user', 'superuser') AND name <> 'exit_on_error' AND name NOT LIKE 'transaction_%') c
      WHERE refused IS NOT NULL`);
    expect(refused.length).toBeLessThan(25);
    const before = await home.view();
    const belongings = await settle(home);
    expect(belongings.settings.size).toBeGreaterThan(150);
    await other.takeOver(NO_BELONGINGS, belongings);
    expect(await other.view()).toBe(before);
    await other.takeOver(belongings, NO_BELONGINGS);
    expect(await other.view()).toBe(fresh);
  });

  test('lead back to what the login gave, of role, setting and placeholder', async () => {
    const [home, other] = [await open('hand_default'), await open('hand_default')];
    const fresh = await other.view(NAMES);
    expect(await settle(home)).toBe(NO_BELONGINGS);
    for (const sql of [
      "SET ROLE NONE; SET log_statement = 'all'; SET work_mem = '1MB'; SET hand.one = 'mine'",
      'SET SESSION AUTHORIZATION "hand é"',
      'RESET SESSION AUTHORIZATION; SET ROLE hand_user; RESET work_mem',
    ]) {
      await home.run(sql);
      const belongings = await settle(home);
      await other.takeOver(NO_BELONGINGS, belongings);
      expect(await other.view(NAMES)).toBe(await home.view(NAMES));
      await other.takeOver(belongings, NO_BELONGINGS);
      expect(await other.view(NAMES)).toBe(fresh);
    }
  });

  test('are not subject to the time that the client gives its statements', async () => {
    const [home, other] = [await open(), await open()];
    await home.run('SET statement_timeout = 1500');
    const belongings = await settle(home);
    expect([...belongings.settings]).toEqual([['statement_timeout', '1500ms']]);
    const question = makeSettlementQuery(TRACE.settings, [], belongings);
    expect(question.indexOf('SET LOCAL statement_timeout = 0')).toBeLessThan(question.indexOf('pg_show_all_settings'));
    const more = makeBelongings({ ...belongings, role: 'hand_user' });
    expect(makeHandover(more, NO_BELONGINGS)).toMatch(/^SET TRANSACTION [^;]*; SET LOCAL statement_timeout = 0; /);
    await other.takeOver(NO_BELONGINGS, more);
    expect(await other.value('SHOW statement_timeout')).toBe('1500ms');
    await other.takeOver(more, NO_BELONGINGS);
    expect(await other.value('SHOW statement_timeout')).toBe('0');
  });

  test('are taken over on a standby', async () => {
    const [standby] = postgres.standbys;
    const line = await open('weir', standby?.port ?? 0);
    const serial = makeBelongings({
      settings: new Map([['default_transaction_isolation', 'serializable']]),
      role: 'hand_user',
    });
    await line.takeOver(NO_BELONGINGS, serial);
    await line.takeOver(serial, makeBelongings({ settings: new Map([['work_mem', '2048']]) }));
    expect(await line.value('SHOW work_mem')).toBe('2MB');
  });

  test('are the same object where they are the same', () => {
    const [one, two] = [
      { a: '1', b: '2' },
      { b: '2', a: '1' },
    ].map((settings) =>
      makeBelongings({ settings: new Map(Object.entries(settings)), custom: new Map([['x.y', '']]) }),
    );
    expect(one).toBe(two);
    expect(makeBelongings({})).toBe(NO_BELONGINGS);
    expect(makeBelongings({ role: 'none' })).not.toBe(NO_BELONGINGS);
  });
});

describe('a handover', () => {
  const some = makeBelongings({ settings: new Map([['work_mem', '1024']]), custom: new Map([['hand.one', '1']]) });

  test('says nothing where nothing differs', () => {
    expect(makeHandover(some, some)).toBeNull();
    expect(makeHandover(NO_BELONGINGS, NO_BELONGINGS)).toBeNull();
    expect(makeHandover(NO_BELONGINGS, some)).not.toBeNull();
  });

  test('leaves alone what stays', () => {
    const more = makeBelongings({ ...some, role: 'hand_user' });
    expect(makeHandover(some, more)).not.toContain('work_mem');
    expect(makeHandover(more, some)).not.toContain('work_mem');
  });

  test('is ASCII, whatever the values are', () => {
    const odd = makeBelongings({
      settings: new Map([['search_path', '\u00c3\u00a9 \\ \n']]),
      custom: new Map([['\u00e9.x', "'"]]),
    });
    expect(makeHandover(NO_BELONGINGS, odd)).toMatch(/^[ -~\n]*$/);
    expect(makeHandover(odd, NO_BELONGINGS)).toMatch(/^[ -~\n]*$/);
  });

  test('of more settings than a row has columns is done all the same', async () => {
    const line = await open();
    const many = makeBelongings({
      custom: new Map(Array.from({ length: 2_500 }, (_, at) => [`hand.n${at}`, `${at}`])),
    });
    await line.takeOver(NO_BELONGINGS, many);
    expect(await line.value("SELECT current_setting('hand.n2499')")).toBe('2499');
  });
});

describe('a taint', () => {
  const one = makeBelongings({ custom: new Map([['hand.one', '1']]) });

  test('is a placeholder that the next client has never made', () => {
    expect(isTainted(one, NO_BELONGINGS)).toBe(true);
    expect(isTainted(makeBelongings({ custom: new Map([['hand.one', '']]) }), NO_BELONGINGS)).toBe(true);
  });

  test('is not one that it has too, nor a setting', () => {
    expect(isTainted(one, makeBelongings({ custom: new Map([['hand.one', '2']]) }))).toBe(false);
    expect(isTainted(makeBelongings({ settings: new Map([['work_mem', '1']]) }), NO_BELONGINGS)).toBe(false);
    expect(isTainted(NO_BELONGINGS, one)).toBe(false);
  });
});

describe('cleaning', () => {
  test('is DISCARD ALL, which really takes all of it away', async () => {
    const line = await open();
    await line.run(
      `PREPARE a AS SELECT 1; LISTEN b; SELECT pg_advisory_lock(1); SET work_mem = '1MB'; SET ROLE hand_user; BEGIN;
        DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT`,
    );
    const cleaning = makeCleaning(TRACE.hidden | TRACE.settings | TRACE.listen | TRACE.sequence | TRACE.advisoryLock);
    await line.run(cleaning ?? '');
    expect(await line.settle()).toEqual({ belongings: NO_BELONGINGS, found: 0 });
  });

  test.each(['temporary', 'seed', 'library', 'extension', 'opaqueSetting'] as const)('is impossible of %s', (name) => {
    expect(makeCleaning(TRACE[name])).toBeNull();
    expect(makeCleaning(TRACE[name] | TRACE.settings)).toBeNull();
  });
});

/** A statement of the model: what it does is for the server to say. */
const statement = fc.oneof(
  fc.constantFrom(
    ...["SET work_mem = '1MB'", "SET LOCAL work_mem = '2MB'", 'RESET work_mem', 'RESET ALL', 'SET hand.one = 1'],
    ...["SET LOCAL hand.two = 'x'", 'RESET hand.one', "SET search_path = a, 'B'", 'SET ROLE hand_user', 'RESET ROLE'],
    ...[
      'SET LOCAL ROLE "hand é"',
      'SET SESSION AUTHORIZATION hand_user',
      'RESET SESSION AUTHORIZATION',
      'SET ROLE NONE',
    ],
    ...["SET TimeZone = 'Asia/Tokyo'", 'SET LOCAL TimeZone = DEFAULT', "SELECT set_config('hand.two', 'é', false)"],
    ...["DO $$BEGIN PERFORM set_config('enable_sort', 'off', true); SET enable_hashjoin = off; END$$"],
    ...["DO $$BEGIN BEGIN SET work_mem = '3MB'; RAISE 'x'; EXCEPTION WHEN OTHERS THEN NULL; END; END$$"],
    ...['SET default_transaction_read_only = on', 'SET client_encoding = SQL_ASCII', 'SET nonsense = 1'],
  ),
  fc.constantFrom(
    ...['BEGIN', 'COMMIT', 'ROLLBACK', 'SAVEPOINT s', 'ROLLBACK TO s', 'RELEASE s', 'COMMIT AND CHAIN', 'SELECT 1/0'],
  ),
);
const program = fc.array(statement, { minLength: 1, maxLength: 14 });

test('any session that statements can make looks the same on a connection that carried another', {
  timeout: 120_000,
}, async () => {
  const homes = [await open(), await open()] as const;
  const other = await open();
  let carried = NO_BELONGINGS;
  const known: [Belongings, Belongings] = [NO_BELONGINGS, NO_BELONGINGS];
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(0, 1), program, async (which, statements) => {
      const home = homes[which];
      for (const sql of statements) await home.step(sql);
      // What is still open is committed; outside a transaction that is only a warning.
      await home.step('COMMIT');
      known[which] = await settle(home, known[which]);
      await other.takeOver(carried, known[which]);
      carried = known[which];
      expect(await other.view()).toBe(await home.view());
      for (const [name, value] of carried.custom) {
        expect(await other.value(`SELECT encode(convert_to(current_setting('${name}'), 'UTF8'), 'hex')`)).toBe(
          Buffer.from(value, 'latin1').toString('hex'),
        );
      }
    }),
    { seed: SEED, numRuns: RUNS },
  );
});
