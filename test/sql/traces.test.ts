// What a statement may leave behind in its session, judged from its text and from what is known of the database: for each
// bit the statements that leave it, and those next to them that do not.

import { beforeAll, describe, expect, test } from 'vitest';
import { type KnownObjects, makeDoubtful, makeKnowledge, NO_KNOWLEDGE } from '../../src/sql/catalog-knowledge.ts';
import type { StatementFacts } from '../../src/sql/facts.ts';
import { FactsCache } from '../../src/sql/facts-cache.ts';
import { loadParser } from '../../src/sql/parse.ts';
import {
  customSettingsIn,
  DISCARDED,
  definedSettings,
  definedTraces,
  discardedBy,
  nameTraces,
  showsOthersUse,
  TRACE,
  traceOf,
  UNASKABLE,
} from '../../src/sql/traces.ts';
import { FUNCTION_CALL_FACTS, NOT_PREPARED_FACTS } from '../../src/sql/unparsed.ts';

beforeAll(() => loadParser());

const RUNS_ARGUMENT = 1 << 20;
const OBJECTS: KnownObjects = {
  relations: new Map([
    ['t', 0],
    ['u', 0],
    ['numbered', 0],
    ['watched', TRACE.settings],
    ['seeded', TRACE.seed],
    ['dotted.name', TRACE.listen],
    ['pg_settings', 0],
  ]),
  drawing: new Set(['numbered']),
  functions: new Map([
    ['pure', 0],
    ['sets', TRACE.settings],
    ['runs', TRACE.hidden | RUNS_ARGUMENT],
    ['shadow', TRACE.hidden],
    ['lower', TRACE.advisoryLock],
    ['computed', TRACE.settings],
  ]),
  attributeFunctions: new Map([['computed', TRACE.settings]]),
  operatorTraces: 0,
  definitionTraces: 0,
  hiddenTraces: TRACE.seed,
  customSettings: [],
  hasLoginTrigger: false,
  hasPlpgsql: true,
};
const KNOWLEDGE = makeKnowledge(OBJECTS);
const cache = new FactsCache({ maxEntries: 1_000, maxBytes: 1 << 24, maxAnalyzedBytes: 10_000 });

const read = (sql: string): StatementFacts => {
  const [facts, more] = cache.read(sql, 'UTF8', true);
  if (facts === undefined || more !== undefined) throw new Error(`not one statement: ${sql}`);
  return facts;
};
const traces = (sql: string, knowledge = KNOWLEDGE): string => nameTraces(traceOf(read(sql), knowledge)).join(' ');

/** `|` stands before the statements of a line that leave just that. */
function statementsOf(table: string): [traces: string, sql: string][] {
  return table
    .trim()
    .split('\n')
    .map((line) => {
      const at = line.indexOf('|');
      return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
    });
}

describe('a statement', () => {
  test.each(
    statementsOf(`
    | SELECT * FROM t WHERE a = 1 FOR UPDATE
    | SELECT count(*), pg_catalog.upper('x'), now(), random() FROM t TABLESAMPLE bernoulli(3) JOIN u USING (id)
    | WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x
    | INSERT INTO t SELECT * FROM u
    | INSERT INTO u (a) SELECT id FROM numbered
    | UPDATE numbered SET a = 1 WHERE id = 2
    | DELETE FROM numbered
    | MERGE INTO numbered n USING t ON true WHEN MATCHED THEN DELETE
    | TRUNCATE t
    | COPY numbered TO STDOUT
    | COPY (SELECT * FROM numbered) TO STDOUT
    | VALUES (1)
    | SELECT pure(1), lo_creat(1), pg_advisory_xact_lock(1), pg_notify('a', 'b')
    | SELECT * FROM pg_settings
    | BEGIN
    | SET TRANSACTION ISOLATION LEVEL SERIALIZABLE
    | SET CONSTRAINTS ALL DEFERRED
    | SAVEPOINT a
    | COMMIT AND CHAIN
    | PREPARE TRANSACTION 'x'
    | COMMIT PREPARED 'x'
    | SHOW work_mem
    | NOTIFY a
    | LOCK t
    | FETCH 1 FROM c
    | MOVE c
    | EXECUTE p
    | EXECUTE p(1, pure(2))
    settings | EXECUTE p(sets(1))
    settings | EXECUTE p(set_config('work_mem', '1', false))
    sequence | EXECUTE p(nextval('s'))
    hidden | EXECUTE p(unknown_function(1))
    | EXPLAIN EXECUTE p
    | VACUUM t
    | ANALYZE t, u
    | DISCARD PLANS
    | ALTER SYSTEM SET work_mem = 1
    | GRANT SELECT ON t TO PUBLIC
    | DECLARE c CURSOR FOR SELECT * FROM t
    | DO $$DECLARE n int; BEGIN SELECT count(*) INTO n FROM t; UPDATE t SET a = n; PERFORM pure(n); END$$
    | DO LANGUAGE plpgsql 'BEGIN INSERT INTO u SELECT 1; END'
    settings | SET work_mem = 1
    settings | SET SESSION work_mem = 1
    settings | RESET work_mem
    settings | RESET ALL
    settings | SET ROLE x
    settings | SET SESSION AUTHORIZATION x
    settings | SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY
    settings | SELECT set_config('work_mem', '1', false)
    settings | SELECT set_config('work_mem', '1', $1)
    settings | SELECT set_config('app.person', '1', true)
    settings | UPDATE pg_settings SET setting = '1'
    settings | SELECT * FROM watched
    settings | SELECT sets(1)
    settings | CALL sets(1)
    settings | SELECT sets FROM (SELECT sets(1)) x
    settings | SELECT t.computed FROM t
    settings | SELECT (t).computed FROM t
    settings | SELECT t.U&"\\0063omputed" FROM t
    settings | SELECT (t).U&"\\0063omputed" FROM t
    settings | EXPLAIN SELECT * FROM watched
    settings | SET LOCAL app.person = 'x'
    settings | DO $$BEGIN PERFORM set_config('work_mem', '1', false); END$$
    settings | DO $$BEGIN IF true THEN SET work_mem = 1; END IF; END$$
    | SET LOCAL work_mem = 1
    | SELECT set_config('work_mem', $1, true)
    | SELECT set_config('work_mem'::text, '1', true), pg_catalog.set_config('role', 'x', true)
    | DO $$BEGIN SET LOCAL work_mem = 1; PERFORM set_config('DateStyle', 'ISO', true); END$$
    | EXPLAIN SELECT set_config('work_mem', '1', false)
    hidden | SELECT * FROM unknown_table
    hidden | SELECT unknown_function(1)
    hidden | SELECT other.unknown_function(1)
    hidden | SELECT shadow(1)
    hidden | VACUUM
    hidden | DISCARD SEQUENCES
    hidden | TRUNCATE t CASCADE
    hidden | DO $$BEGIN EXECUTE 'SELECT 1'; END$$
    hidden | SELECT query_to_xml('SELECT 1', true, true, '')
    hidden | SELECT runs('SELECT 1')
    temporary | CREATE TEMP TABLE x (a int)
    temporary | CREATE TEMPORARY SEQUENCE x
    hidden temporary | CREATE TEMP TABLE x AS SELECT pure(1) FROM t
    temporary | DISCARD TEMP
    temporary | SELECT pg_create_physical_replication_slot('a', true, true)
    settings hidden temporary | CREATE TEMP TABLE x AS SELECT sets(1)
    hidden temporary definition | DO $$BEGIN CREATE TEMP TABLE x (a int); END$$
    held_cursor | DECLARE c CURSOR WITH HOLD FOR SELECT 1
    held_cursor | CLOSE c
    settings held_cursor | DECLARE c CURSOR WITH HOLD FOR SELECT sets(1)
    settings | DECLARE c CURSOR FOR SELECT sets(1)
    advisory_lock | SELECT pg_advisory_lock(1)
    advisory_lock | SELECT * FROM t WHERE pg_try_advisory_lock_shared(id)
    advisory_lock | SELECT pg_advisory_unlock_all()
    advisory_lock | DO $$BEGIN PERFORM pg_advisory_lock(1); END$$
    advisory_lock | SELECT lower('x')
    | SELECT pg_catalog.upper('x'), pg_try_advisory_xact_lock(1)
    listen | LISTEN a
    listen | UNLISTEN *
    listen | SELECT * FROM "dotted.name"
    listen | SELECT * FROM public."dotted.name"
    prepared_sql | PREPARE p AS SELECT sets(1)
    prepared_sql | DEALLOCATE ALL
    hidden prepared_sql | DO $$BEGIN EXECUTE 'PREPARE p AS SELECT 1'; END$$
    sequence | SELECT nextval('s')
    sequence | SELECT currval('s')
    sequence | INSERT INTO numbered VALUES (DEFAULT)
    sequence | INSERT INTO public.numbered SELECT 1
    sequence | WITH x AS (INSERT INTO numbered VALUES (1)) SELECT 1
    sequence | MERGE INTO numbered USING t ON true WHEN NOT MATCHED THEN INSERT DEFAULT VALUES
    sequence | COPY numbered FROM STDIN
    sequence | UPDATE numbered SET id = DEFAULT
    sequence | EXPLAIN ANALYZE INSERT INTO numbered VALUES (1)
    sequence | DO $$BEGIN INSERT INTO numbered VALUES (1); END$$
    | EXPLAIN INSERT INTO numbered VALUES (nextval('s'))
    hidden sequence definition | ALTER TABLE t ADD COLUMN id serial
    seed | SELECT setseed(0.5)
    seed | SET seed = 0.5
    seed | SET LOCAL seed = 0.5
    seed | SELECT set_config('seed', '0.5', true)
    seed | SELECT * FROM seeded
    seed | DO $$BEGIN PERFORM setseed(0.1); END$$
    hidden seed | DO $$BEGIN EXECUTE 'SELECT setseed(0.1)'; END$$
    hidden seed | SELECT runs('SELECT setseed(0.1)')
    hidden seed | SELECT query_to_xml('SELECT setseed(0.1)', true, true, '')
    library | LOAD 'auto_explain'
    extension | SELECT pg_replication_origin_session_setup('x')
    extension | SELECT pg_backup_start('x')
    settings opaque_setting | SELECT set_config($1, $2, false)
    settings opaque_setting | SELECT set_config('app.' || 'x', 'y', true)
    settings opaque_setting | SELECT set_config(setting_name => 'app.x', new_value => 'y', is_local => true)
    settings hidden opaque_setting | DO $$BEGIN EXECUTE format('SET %I = 1', 'x'); END$$
    settings hidden opaque_setting | DO $$BEGIN EXECUTE 'SET ' || 'app.x = 1'; END$$
    hidden definition | CREATE TABLE x (a int DEFAULT nextval('s'))
    hidden definition | DROP TABLE t
    hidden seed definition | CREATE TABLE x AS SELECT setseed(0.5)
    settings temporary held_cursor advisory_lock listen prepared_sql | DISCARD ALL
    `),
  )('leaves "%s": %s', (expected, sql) => {
    expect(traces(sql)).toBe(expected);
  });

  test('is judged anew for each text where its text decides, though the shape is one', () => {
    expect(traces("SELECT set_config('work_mem', 'a', true)")).toBe('');
    expect(traces("SELECT set_config('app.x', 'a', true)")).toBe('settings');
    expect(traces("SELECT set_config('seed', 'a', true)")).toBe('seed');
    expect(traces("SELECT runs('SELECT 1')")).toBe('hidden');
    expect(traces("SELECT runs('LISTEN a')")).toBe('hidden listen');
  });

  test('that was not read at all may hide anything that can be asked for, and what its words say', () => {
    const long = (sql: string): string => traces(`SELECT '${'x'.repeat(10_000)}'; ${sql}`);
    expect(traces('SELEC 1')).toBe('hidden seed');
    expect(nameTraces(traceOf(FUNCTION_CALL_FACTS, KNOWLEDGE))).toEqual(['hidden']);
    expect(nameTraces(traceOf(NOT_PREPARED_FACTS, KNOWLEDGE))).toEqual(['hidden']);
    expect(long("LOAD 'x'")).toBe('hidden seed library');
    expect(long('CREATE OR REPLACE VIEW v AS SELECT 1')).toBe('hidden seed definition');
    expect(long('SELECT 1; -- x\n  alter table t add a int')).toBe('hidden seed definition');
    expect(long("DO 'BEGIN EXECUTE ''DROP TABLE t''; END'")).toBe('hidden seed definition');
    expect(long("INSERT INTO t VALUES ('how to create or drop a table')")).toBe('hidden seed');
    expect(long('SELECT dblink_connect($1)')).toBe('hidden seed extension');
    expect(long('SELECT set_config($1, $2, true)')).toBe('hidden seed opaque_setting');
  });
});

describe('without knowledge', () => {
  test.each([
    'SELECT * FROM t',
    'SELECT 1 + 1',
    'SELECT pure(1)',
    'CALL sets(1)',
    'DO $$BEGIN NULL; END$$',
    'TRUNCATE t',
  ])('every relation, function and operator may hide code: %s', (sql) =>
    expect(traces(sql, NO_KNOWLEDGE)).toContain('hidden'),
  );

  test('that code may leave what no question finds, settings of unknown names among it', () => {
    expect(traceOf(read('SELECT pure(1)'), NO_KNOWLEDGE) & UNASKABLE).toBe(UNASKABLE);
    expect(traceOf(read('SELECT pure(1)'), KNOWLEDGE) & UNASKABLE).toBe(0);
  });

  test.each(['BEGIN', 'COMMIT', 'SET LOCAL work_mem = 1', 'SHOW work_mem', 'FETCH c', 'EXECUTE p', 'LOCK t'])(
    'what runs no code leaves nothing all the same: %s',
    (sql) => expect(traces(sql, NO_KNOWLEDGE)).toBe(''),
  );
});

describe('knowledge in doubt', () => {
  const doubtful = makeDoubtful(KNOWLEDGE, TRACE.library);

  test('hides code everywhere, and may do what new definitions mention', () => {
    expect(traces('SELECT * FROM t', doubtful)).toBe('hidden library');
    expect(traces('SELECT * FROM u WHERE pure(1)', makeDoubtful(KNOWLEDGE, 0))).toBe('hidden');
    expect(traces('BEGIN', doubtful)).toBe('');
  });

  test('still knows who seeds, and who does not', () => {
    expect(traces('SELECT * FROM seeded', makeDoubtful(KNOWLEDGE, 0))).toBe('hidden seed');
    expect(traces('SELECT * FROM made_since', makeDoubtful(KNOWLEDGE, 0))).toBe('hidden');
  });

  test('takes no value for code that nobody could read', () => {
    const text = "SELECT set_config('app.greeting', 'it''s noon', false)";
    expect(traces(text, makeDoubtful(KNOWLEDGE, 0))).toBe('settings hidden');
  });

  test('is added to by definitions that mention what no question finds', () => {
    expect(nameTraces(definedTraces(read('CREATE FUNCTION f() RETURNS void RETURN setseed(0.5)')))).toEqual(['seed']);
    expect(definedTraces(read('CREATE FUNCTION f() RETURNS int RETURN 1'))).toBe(0);
    expect(definedTraces(read('SELECT setseed(0.5)'))).toBe(0);
  });

  test('is told of custom settings that definitions mention, and not of those that statements set', () => {
    const body = "CREATE FUNCTION f() RETURNS text RETURN set_config('app.a', 'x', false)";
    expect(definedSettings(read(body))).toEqual(['app.a']);
    expect(definedSettings(read("ALTER FUNCTION f SET app.b = 'x'"))).toEqual(['app.b']);
    expect(definedSettings(read("SET app.c = 'x'"))).toEqual([]);
  });
});

describe('operators and event triggers of users', () => {
  const hostile = makeKnowledge({ ...OBJECTS, operatorTraces: TRACE.listen, definitionTraces: TRACE.advisoryLock });

  test('may run in any statement that computes, and in no other', () => {
    expect(traces('SELECT 1 + 1', hostile)).toBe('listen');
    expect(traces('DO $$BEGIN NULL; END$$', hostile)).toBe('listen');
    expect(traces('SET LOCAL work_mem = 1', hostile)).toBe('');
  });

  test('may run in any definition', () => {
    expect(traces('COMMENT ON TABLE t IS $$x$$', hostile)).toBe('advisory_lock');
    expect(traces('CREATE TEMP TABLE x (a int)', hostile)).toBe('temporary advisory_lock');
    expect(traces('COMMENT ON TABLE t IS $$x$$')).toBe('');
    expect(traces('REINDEX TABLE t', hostile)).toBe('advisory_lock listen');
    expect(traces('REINDEX TABLE t')).toBe('');
  });
});

describe('the names of custom settings', () => {
  test.each<[string, readonly string[]]>([
    ['SET app.x = 1', ['app.x']],
    ['SET LOCAL "App.X" = 1', ['app.x']],
    ['RESET app.x', ['app.x']],
    ["SELECT set_config('App.One', 'x', true), set_config('app.two'::text, 'y', false)", ['app.one', 'app.two']],
    ["DO $$BEGIN SET app.x = 1; PERFORM set_config('app.y', '', true); END$$", ['app.x', 'app.y']],
    [
      "DO $$BEGIN EXECUTE 'SET app.x = 1'; EXECUTE $q$SELECT set_config('app.z', '', true)$q$; END$$",
      ['app.x', 'app.z'],
    ],
    ['SET work_mem = 1', []],
    ["SELECT set_config('work_mem', 'a.b', true)", []],
    ["SELECT 'set app.x = 1'", []],
    ["SELECT current_setting('app.x')", []],
  ])('are read in %s', (sql, names) => {
    expect(customSettingsIn(read(sql))).toEqual(names);
    expect(customSettingsIn(read(sql))).toEqual(names);
  });
});

describe('the bits', () => {
  test('have one name each, and are told apart from each other', () => {
    const all = Object.values(TRACE).reduce((sum, bit) => sum | bit, 0);
    expect(nameTraces(all)).toHaveLength(Object.keys(TRACE).length);
    expect(new Set(nameTraces(all)).size).toBe(Object.keys(TRACE).length);
    expect(nameTraces(0)).toEqual([]);
    expect(nameTraces(UNASKABLE)).toEqual(['sequence', 'seed', 'library', 'extension', 'opaque_setting']);
    expect(nameTraces(DISCARDED)).toEqual(['sequence']);
  });

  test('that end with the statement are those of sequences', () => {
    for (const sql of ['DISCARD ALL', 'DISCARD SEQUENCES']) expect(discardedBy(read(sql))).toBe(TRACE.sequence);
    for (const sql of ['DISCARD TEMP', 'DISCARD PLANS', 'RESET ALL']) expect(discardedBy(read(sql))).toBe(0);
  });

  test('apart, some statements show what others have loaded, and that they had temporary tables', () => {
    for (const sql of ["LOAD 'x'", 'SET plpgsql.extra_warnings = 1', "SELECT set_config('pg_trgm.x', '1', true)"]) {
      expect(showsOthersUse(read(sql))).toBe(true);
    }
    for (const sql of ['SET temp_buffers = 200', 'SET LOCAL Temp_Buffers TO 200'])
      expect(showsOthersUse(read(sql))).toBe(true);
    for (const sql of ['SET app.x = 1', 'SET work_mem = 1', 'SELECT 1']) expect(showsOthersUse(read(sql))).toBe(false);
  });
});
