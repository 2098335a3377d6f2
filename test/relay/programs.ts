// Protocol programs written by hand: the cases in which proxies have differed from PostgreSQL. They use the tables that
// `FIXTURE` makes, and what they leave behind is the same each time.

import * as frontend from '../support/frontend-messages.ts';
import type { Program, Step } from './differential.ts';

export const FIXTURE = `
  CREATE TABLE secret (a int, n serial);
  CREATE TABLE items (id int PRIMARY KEY, label text, note text DEFAULT 'none');
  CREATE TABLE parents (id int PRIMARY KEY);
  CREATE TABLE children (id int, parent int REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
  CREATE FUNCTION complain(level text) RETURNS int LANGUAGE plpgsql AS $$
  BEGIN
    RAISE NOTICE 'level %', level USING HINT = 'a hint', DETAIL = 'a detail';
    RAISE WARNING 'again';
    IF level = 'error' THEN RAISE EXCEPTION 'no' USING ERRCODE = 'P0042', TABLE = 'items', COLUMN = 'id'; END IF;
    RETURN length(level);
  END $$;
`;
/** Before each run. */
export const RESET = `
  TRUNCATE items, parents, children, secret RESTART IDENTITY;
  INSERT INTO items VALUES (1, 'one'), (2, NULL), (3, 'drei ✓');
  SELECT lo_unlink(oid) FROM pg_largeobject_metadata WHERE oid = 424242;
`;

const q = (sql: string): Step => ({ send: frontend.query(sql), until: 1 });
const send = (until: number | string | null, ...parts: readonly Buffer[]): Step => ({
  send: Buffer.concat(parts),
  until,
});
/** Extended messages, a Sync, and its ReadyForQuery. */
const batch = (...parts: readonly Buffer[]): Step => send(1, ...parts, frontend.sync());
const ext = frontend.extendedQuery;
const { parse, bind, execute, describeStatement, describePortal, closeStatement, closePortal, flush, sync } = frontend;
const { copyData, copyDone, copyFail, query, functionCall, message } = frontend;
const rows = (text: string): Buffer => copyData(Buffer.from(text));
const MALFORMED_BODIES: readonly (readonly [string, Buffer])[] = [
  ['Query without its NUL', message('Q', Buffer.from('SELECT 1'))],
  ['Query with a NUL inside', message('Q', Buffer.from('SELECT 1\0SELECT 2\0'))],
  ['Query with no body', message('Q')],
  ['Parse without its NUL', message('P', Buffer.from('name'))],
  ['Parse without a count', message('P', Buffer.from('\0SELECT 1\0'))],
  ['Parse with bytes behind its end', message('P', Buffer.from('\0SELECT 1\0\0\0\0\0'))],
  ['Bind without names', message('B', Buffer.from('x'))],
  ['Bind with a count and no values', message('B', Buffer.from('\0\0\0\0\0\x05'))],
  ['Bind with a value longer than itself', message('B', Buffer.from('\0\0\0\0\0\x01\0\0\xff\xff', 'latin1'))],
  ['Describe of an unknown kind', message('D', Buffer.from('X\0'))],
  ['Describe without a body', message('D')],
  ['Close of an unknown kind', message('C', Buffer.from('X\0'))],
  ['Close without its NUL', message('C', Buffer.from('Sname'))],
  ['Execute without its NUL', message('E', Buffer.from('name'))],
  ['Execute without a count', message('E', Buffer.from('\0'))],
  ['FunctionCall without a body', message('F')],
  ['Sync with a body', message('S', Buffer.from('x'))],
];

export const PROGRAMS: readonly Program[] = [
  {
    name: 'values of all kinds in a simple query',
    steps: [q("SELECT id, label, note, true, 1.5, '{1,2}'::int[], '\\x00ff'::bytea, NULL FROM items ORDER BY id")],
  },
  {
    name: 'several statements in one query',
    steps: [
      q("SELECT 1; INSERT INTO items VALUES (9, 'n'); UPDATE items SET note = 'x'; SELECT count(*) FROM items;;"),
    ],
  },
  {
    name: 'an error among several statements takes all of them back',
    steps: [q("INSERT INTO items VALUES (9, 'n'); SELECT 1/0; SELECT 2"), q('SELECT count(*) FROM items')],
  },
  { name: 'empty queries', steps: [q(''), q('   '), q(';;'), q('-- only a comment'), q('/* a /* nested */ one */')] },
  {
    name: 'empty queries in the extended protocol',
    steps: [
      batch(ext('')),
      batch(ext('-- c')),
      batch(parse('', 'e'), describeStatement('e'), bind({ statement: 'e' }), describePortal(), execute(), execute()),
    ],
  },
  {
    name: 'a SELECT of no columns',
    steps: [
      q('SELECT'),
      q('SELECT FROM items'),
      batch(parse('SELECT FROM items', 'z'), describeStatement('z')),
      batch(ext('SELECT FROM items')),
    ],
  },
  {
    name: 'parameters as text and binary, results as text and binary',
    steps: [
      batch(
        parse('SELECT $1::int + 1, $2::text, $3::bytea', 's', [23, 0, 17]),
        describeStatement('s'),
        bind({ statement: 's', values: ['41', null, '\\x0001'] }),
        describePortal(),
        execute(),
        bind({
          statement: 's',
          values: [frontend.int32(41), 'ü', Buffer.from([0, 1, 255])],
          valueFormats: [1, 0, 1],
          resultFormats: [1],
        }),
        describePortal(),
        execute(),
      ),
      batch(bind({ statement: 's', values: ['x', 'y', 'z'] }), execute()),
    ],
  },
  {
    name: 'a named statement over several transactions, then closed',
    steps: [
      batch(parse('SELECT label FROM items WHERE id = $1', 'by_id')),
      batch(bind({ statement: 'by_id', values: ['1'] }), execute()),
      q('BEGIN'),
      batch(bind({ statement: 'by_id', values: ['3'] }), describePortal(), execute()),
      q('ROLLBACK'),
      batch(closeStatement('by_id'), bind({ statement: 'by_id', values: ['1'] })),
    ],
  },
  {
    name: 'a name that is taken, and its statement afterwards',
    steps: [
      batch(parse('SELECT 1', 'n')),
      batch(parse('SELECT 2', 'n')),
      batch(bind({ statement: 'n' }), execute()),
      batch(closeStatement('n'), parse('SELECT 3', 'n'), parse('SELECT 4', 'n'), bind({ statement: 'n' })),
      batch(bind({ statement: 'n' }), execute()),
      q('BEGIN'),
      batch(parse('SELECT 5', 'n')),
      batch(bind({ statement: 'n' }), execute()),
      q('ROLLBACK'),
      q('EXECUTE n'),
    ],
  },
  {
    name: 'wrong numbers of parameters',
    steps: [
      batch(parse('SELECT $1::int', 'p')),
      batch(bind({ statement: 'p' }), execute()),
      batch(bind({ statement: 'p', values: ['1', '2'] }), execute()),
      batch(bind({ statement: 'p', values: ['1'], valueFormats: [0, 0] }), execute()),
    ],
  },
  {
    name: 'forty thousand parameters',
    steps: [
      batch(
        parse(`SELECT ${Array.from({ length: 40_000 }, (_, index) => `$${index + 1}::int`).join('+')} IS NULL`),
        bind({ values: Array.from({ length: 40_000 }, () => null) }),
        execute(),
      ),
    ],
  },
  {
    name: 'a portal that is suspended and resumed in a transaction',
    steps: [
      q('BEGIN'),
      batch(parse('SELECT generate_series(1, 7)'), bind({ portal: 'c' }), execute('c', 3)),
      batch(execute('c', 3)),
      batch(describePortal('c'), execute('c', 3), execute('c', 3)),
      batch(closePortal('c'), execute('c', 1)),
      q('COMMIT'),
    ],
  },
  {
    name: 'a suspended portal ends with its implicit transaction',
    steps: [
      batch(parse('SELECT generate_series(1, 5)'), bind({ portal: 'c' }), execute('c', 2), execute('c', 2)),
      batch(execute('c', 2)),
    ],
  },
  {
    name: 'the unnamed portal is replaced by the next Bind',
    steps: [
      batch(parse('SELECT generate_series(1, 5)'), bind(), execute('', 2), bind(), execute('', 2), execute('', 0)),
      batch(parse('SELECT 1', 'k'), bind({ portal: 'd', statement: 'k' }), bind({ portal: 'd', statement: 'k' })),
    ],
  },
  {
    name: 'a portal of an INSERT with a row limit',
    steps: [
      batch(
        parse("INSERT INTO items SELECT g, 'x' FROM generate_series(10, 14) g RETURNING id"),
        bind(),
        execute('', 2),
        execute('', 2),
        execute('', 2),
      ),
    ],
  },
  {
    name: 'Close of names that nobody has',
    steps: [batch(closeStatement('nobody'), closePortal('nobody'), closeStatement(), closePortal(), ext('SELECT 1'))],
  },
  {
    name: 'Describe and Execute of names that nobody has',
    steps: [
      batch(describeStatement('nobody'), ext('SELECT 1')),
      batch(describePortal('nobody')),
      batch(execute('nobody')),
      batch(bind({ statement: 'nobody' })),
    ],
  },
  {
    name: 'Close of a portal leaves the statement of the same name',
    steps: [
      batch(parse('SELECT 5', 'x'), bind({ portal: 'x', statement: 'x' }), closePortal('x')),
      batch(bind({ statement: 'x' }), execute(), closeStatement('x')),
      batch(describeStatement('x')),
    ],
  },
  {
    name: 'a pipeline of many Syncs with errors in it',
    steps: [
      send(
        6,
        ext('SELECT 1'),
        sync(),
        ext('SELECT 1/0'),
        ext('SELECT 2'),
        sync(),
        sync(),
        ext("INSERT INTO items VALUES (8, 'p')"),
        parse('nonsense'),
        ext('SELECT 3'),
        sync(),
        ext('SELECT count(*) FROM items'),
        sync(),
        query('SELECT 4'),
      ),
    ],
  },
  {
    name: 'what comes after an error that the client has seen is skipped up to Sync',
    steps: [
      send('E', parse('nonsense'), flush()),
      send(null, bind(), describePortal(), execute()),
      send(null, parse('SELECT 1', 'late'), query('SELECT 2'), functionCall(1598, []), closeStatement('late')),
      send(1, sync()),
      batch(bind({ statement: 'late' })),
      q('SELECT 3'),
      batch(ext('SELECT 4')),
    ],
  },
  {
    name: 'Flush makes the server answer, and Sync follows later',
    steps: [
      send('t', parse('SELECT label FROM items WHERE id = $1', 'f'), describeStatement('f'), flush()),
      send('T', flush()),
      send('C', bind({ statement: 'f', values: ['1'] }), execute(), flush()),
      send(1, sync()),
      send(2, flush(), sync(), flush(), flush(), sync()),
    ],
  },
  {
    name: 'simple queries between extended messages',
    steps: [
      send(2, parse('SELECT 1'), query('SELECT 2'), bind(), execute(), sync()),
      send(2, parse('SELECT 1', 'k'), bind({ portal: 'p', statement: 'k' }), query('SELECT 2'), execute('p'), sync()),
    ],
  },
  {
    name: 'a simple query drops the unnamed statement',
    steps: [batch(parse('SELECT 1')), q('SELECT 2'), batch(bind(), execute()), batch(parse('x y')), batch(bind())],
  },
  {
    name: 'the unnamed statement behind a Parse that was skipped, and behind one that failed',
    steps: [
      batch(ext('BEGIN'), bind({ statement: 'nobody' }), parse('SELECT 1')),
      batch(bind(), execute()),
      q('ROLLBACK'),
      batch(parse('SELECT 2')),
      batch(parse('nonsense')),
      batch(bind(), execute()),
    ],
  },
  {
    name: 'a transaction that failed',
    steps: [
      q('BEGIN'),
      q('SELECT 1/0'),
      q('SELECT 1'),
      batch(ext('SELECT 2')),
      batch(ext('SELECT 3'), ext('ROLLBACK')),
      q(''),
      q('COMMIT'),
      q('SELECT 4'),
    ],
  },
  {
    name: 'savepoints',
    steps: [
      q('BEGIN'),
      q("SAVEPOINT a; INSERT INTO items VALUES (7, 'x')"),
      q('SELECT 1/0'),
      batch(ext('ROLLBACK TO a')),
      q('RELEASE a'),
      send(1, ext('SAVEPOINT b'), ext("INSERT INTO items VALUES (6, 'y')"), ext('ROLLBACK TO b'), sync()),
      q('COMMIT'),
      q('ROLLBACK TO a'),
      q('SELECT count(*) FROM items'),
    ],
  },
  {
    name: 'COMMIT and ROLLBACK AND CHAIN',
    steps: [
      q('BEGIN ISOLATION LEVEL SERIALIZABLE'),
      q('COMMIT AND CHAIN'),
      q('SHOW transaction_isolation'),
      q('SELECT 1/0'),
      q('ROLLBACK AND CHAIN'),
      q('SHOW transaction_isolation'),
      q('COMMIT'),
      q('COMMIT AND CHAIN'),
    ],
  },
  {
    name: 'a deferred constraint that fails at COMMIT',
    steps: [
      q('BEGIN; INSERT INTO children VALUES (1, 99)'),
      q('COMMIT'),
      q('INSERT INTO children VALUES (1, 99)'),
      batch(ext('INSERT INTO children VALUES (1, 99)'), ext('SELECT 1')),
      q('SELECT count(*) FROM children'),
    ],
  },
  {
    name: 'a transaction in two phases',
    steps: [
      q("BEGIN; INSERT INTO items VALUES (20, 'two'); PREPARE TRANSACTION 'differential'"),
      q("COMMIT PREPARED 'differential'"),
      q("COMMIT PREPARED 'differential'"),
      q('SELECT count(*) FROM items'),
    ],
  },
  { name: 'warnings of transaction commands', steps: [q('COMMIT'), q('BEGIN; BEGIN'), q('ROLLBACK'), q('ROLLBACK')] },
  {
    name: 'COPY out in both protocols and in binary',
    steps: [
      q('COPY items TO STDOUT'),
      q('COPY (SELECT * FROM items ORDER BY id) TO STDOUT (FORMAT csv, HEADER); SELECT 1'),
      batch(ext('COPY items TO STDOUT (FORMAT binary)')),
      q('COPY (SELECT 1/(3-id) FROM items ORDER BY id) TO STDOUT'),
    ],
  },
  {
    name: 'COPY in with rows cut anywhere',
    steps: [
      send('G', query('COPY items FROM STDIN')),
      send(1, rows('30\tdrei'), rows('ßig\tx\n31\t\\N'), rows('\ty\n'), rows(''), rows('\\.\n'), copyDone()),
      q('SELECT * FROM items ORDER BY id'),
    ],
  },
  {
    name: 'COPY in, all of it sent ahead',
    steps: [
      send(2, query('COPY items FROM STDIN'), rows('30\ta\tb\n'), copyDone(), query('SELECT count(*) FROM items')),
    ],
  },
  {
    name: 'COPY in that the client gives up',
    steps: [
      send('G', query('COPY items FROM STDIN')),
      send(1, rows('30\ta\tb\n'), copyFail('changed my mind ✓')),
      q('BEGIN'),
      send(1, query('COPY items FROM STDIN'), copyFail('')),
      q('ROLLBACK'),
    ],
  },
  {
    name: 'COPY in that fails early, with data still coming',
    steps: [
      send('G', query('COPY items FROM STDIN')),
      send(1, rows('not a number\n')),
      send(null, rows('31\ta\tb\n'), rows('32\ta\tb\n'), copyDone()),
      q('SELECT count(*) FROM items'),
      send(1, query('COPY items FROM STDIN'), rows('1\ttaken\tx\n'), rows('33\ta\tb\n'), copyDone()),
      q('SELECT count(*) FROM items'),
    ],
  },
  {
    name: 'COPY in in the extended protocol',
    steps: [
      batch(ext('COPY items FROM STDIN'), rows('30\ta\tb\n'), copyDone()),
      send('G', ext('COPY items FROM STDIN'), flush()),
      send(1, rows('31\ta\tb\n'), copyDone(), ext('SELECT count(*) FROM items'), sync()),
      send(1, ext('COPY items FROM STDIN'), copyFail('no'), ext('SELECT 1'), sync()),
      send(1, ext('COPY items FROM STDIN'), rows('x\n'), rows('40\ta\tb\n'), copyDone(), ext('SELECT 1'), sync()),
      q('SELECT count(*) FROM items'),
    ],
  },
  {
    name: 'Flush and Sync among COPY data are ignored',
    steps: [
      send(1, query('COPY items FROM STDIN'), flush(), rows('30\ta\tb\n'), sync(), rows('31\ta\tb\n'), copyDone()),
      send('G', ext('COPY items FROM STDIN'), sync()),
      send(1, rows('32\ta\tb\n'), sync(), flush(), copyDone(), sync()),
      send('G', ext('COPY items FROM STDIN'), flush()),
      send(2, rows('33\ta\tb\n'), sync(), copyDone(), sync(), query('SELECT count(*) FROM items')),
    ],
  },
  {
    name: 'Syncs behind COPY data that fails are answered',
    steps: [
      send('G', ext('COPY items FROM STDIN'), flush()),
      send(3, rows('bad\n'), sync(), sync(), query('SELECT 1')),
      send('G', query('COPY items FROM STDIN')),
      send(4, rows('50\ta\tb\n'), sync(), rows('bad\n'), sync(), ext('SELECT 2'), sync(), query('SELECT 3')),
      q('SELECT 4'),
    ],
  },
  {
    name: 'a query in the middle of COPY data ends the COPY and is lost',
    steps: [
      send('G', query('COPY items FROM STDIN')),
      send(1, rows('30\ta\tb\n'), query('SELECT 1')),
      send(1, query('COPY items FROM STDIN'), query('SELECT 2')),
      q('SELECT 3'),
      batch(ext('SELECT 4')),
    ],
  },
  {
    name: 'extended messages in the middle of COPY data end the COPY',
    steps: [
      send('G', ext('COPY items FROM STDIN'), flush()),
      send(1, parse('SELECT 1', 'lost'), bind({ statement: 'lost' }), execute(), sync()),
      batch(bind({ statement: 'lost' })),
      send('G', query('COPY items FROM STDIN')),
      send(2, parse('SELECT 1', 'lost'), parse('SELECT 2', 'kept'), sync()),
      batch(bind({ statement: 'kept' }), execute(), bind({ statement: 'lost' })),
      q('SELECT 3'),
    ],
  },
  {
    name: 'COPY messages where there is no COPY are ignored',
    steps: [
      send(1, rows('x'), copyDone(), copyFail('y'), query('SELECT 1'), copyDone()),
      send(1, copyDone(), ext('SELECT 2'), copyFail('z'), sync()),
      q('SELECT 3'),
    ],
  },
  {
    name: 'COPY in and out in one query',
    steps: [
      send('G', query('SELECT 1; COPY items FROM STDIN; COPY items TO STDOUT; COPY items (id) FROM STDIN; SELECT 2')),
      send('G', rows('30\ta\tb\n'), copyDone()),
      send(1, rows('31\n'), copyDone()),
    ],
  },
  {
    name: 'notices and warnings with all their fields',
    steps: [
      q("SELECT complain('notice')"),
      batch(ext("SELECT complain('error')"), ext('SELECT 1')),
      q("SET client_min_messages = debug1; SELECT complain('debug')"),
      q("DO $$ BEGIN RAISE INFO 'from %', 'DO'; END $$"),
      q('DROP TABLE IF EXISTS nothing_of_that_name'),
    ],
  },
  {
    name: 'an error message of 100,000 characters',
    steps: [q("DO $$ BEGIN RAISE EXCEPTION '%', repeat('long ', 20000); END $$"), q('SELECT 1')],
  },
  {
    name: 'LISTEN and NOTIFY to oneself',
    steps: [
      q('LISTEN news'),
      q("NOTIFY news, 'first'"),
      q("BEGIN; NOTIFY news, 'second'; NOTIFY news; SELECT 1"),
      batch(ext('COMMIT')),
      q("BEGIN; NOTIFY news, 'never'; ROLLBACK"),
      send(1, ext("SELECT pg_notify('news', 'third ✓')"), ext('SELECT 1'), sync()),
      q('UNLISTEN *'),
      q('NOTIFY news'),
    ],
  },
  {
    name: 'a large object by function calls',
    steps: [
      q('BEGIN'),
      send(1, functionCall(715, ['424242'])),
      send(1, functionCall(952, ['424242', '393216'])),
      send(1, functionCall(955, ['0', '\\x00ff10'])),
      send(1, functionCall(956, ['0', '0', '0'])),
      send(1, functionCall(954, ['0', '100'])),
      send(1, functionCall(953, ['0'])),
      q('COMMIT'),
      send(1, functionCall(964, ['424242'])),
      send(1, functionCall(964, ['424242'])),
    ],
  },
  {
    name: 'function calls that fail, alone, in a transaction, in a pipeline',
    steps: [
      send(1, functionCall(999_999_999, [])),
      send(1, functionCall(964, [])),
      q('BEGIN'),
      send(1, functionCall(999_999_999, [])),
      send(1, functionCall(1598, [])),
      q('ROLLBACK'),
      send(2, parse('SELECT 1'), functionCall(999_999_999, []), bind(), execute(), sync()),
      send(1, parse('nonsense'), functionCall(1598, []), sync()),
      send(2, functionCall(89, []), query('SELECT 1')),
    ],
  },
  {
    name: 'DISCARD ALL',
    steps: [
      q('PREPARE gone AS SELECT 1; SET TimeZone = UTC; LISTEN gone'),
      batch(parse('SELECT 1', 'gone2')),
      q('DISCARD ALL'),
      q('EXECUTE gone'),
      batch(bind({ statement: 'gone2' })),
      q('BEGIN'),
      q('DISCARD ALL'),
      q('ROLLBACK'),
      batch(ext('SELECT 1'), ext('DISCARD ALL')),
      q('SELECT 1; DISCARD ALL'),
      batch(parse('SELECT 2', 'again'), ext('DEALLOCATE ALL'), bind({ statement: 'again' })),
      batch(ext('DEALLOCATE ALL')),
      batch(bind(), execute()),
    ],
  },
  {
    name: 'SQL PREPARE and protocol Parse share their names',
    steps: [
      q('PREPARE both AS SELECT $1::int + 1'),
      batch(parse('SELECT 1', 'both')),
      batch(describeStatement('both'), bind({ statement: 'both', values: ['4'] }), execute()),
      q('EXECUTE both(5)'),
      batch(closeStatement('both')),
      q('EXECUTE both(5)'),
      batch(parse('SELECT 7', 'both')),
      q('EXECUTE both'),
      q('DEALLOCATE both; PREPARE both AS SELECT 8; EXECUTE both; DEALLOCATE both'),
      q('DEALLOCATE both'),
      send(3, parse('SELECT 1', 'hid'), sync(), query('PREPARE hid AS SELECT 2'), parse('SELECT 3', 'hid'), sync()),
      q('EXECUTE hid'),
      send(
        1,
        ext('PREPARE piped AS SELECT 9'),
        ext('EXECUTE piped'),
        ext('DEALLOCATE piped'),
        ext('EXECUTE piped'),
        sync(),
      ),
    ],
  },
  {
    name: 'cursors',
    steps: [
      q('DECLARE c CURSOR FOR SELECT 1'),
      q('BEGIN; DECLARE c SCROLL CURSOR FOR SELECT generate_series(1, 5); DECLARE h CURSOR WITH HOLD FOR SELECT 9'),
      q('FETCH 2 c; MOVE 1 c; FETCH ALL c; FETCH PRIOR c'),
      batch(execute('c', 1)),
      batch(describePortal('c'), ext('FETCH FIRST c'), closePortal('c'), ext('FETCH c')),
      q('ROLLBACK'),
      q('FETCH h'),
      q('BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT 9; COMMIT'),
      batch(describePortal('h'), execute('h')),
      q('CLOSE h; FETCH h'),
    ],
  },
  {
    name: 'settings that the server reports',
    steps: [
      q("SET application_name = 'ünicode'"),
      q("BEGIN; SET LOCAL TimeZone = 'Asia/Tokyo'; SET DateStyle = German"),
      q('SELECT 1/0'),
      q('ROLLBACK'),
      batch(ext("SET IntervalStyle = 'iso_8601'"), ext('SELECT interval $$1 day$$')),
      q("DO $$ BEGIN PERFORM set_config('application_name', 'from DO', false); END $$"),
      q('SET standard_conforming_strings = off'),
      q(String.raw`SELECT 'a\'b'`),
      q('RESET ALL'),
      q('SET no_such_setting = 1'),
    ],
  },
  {
    name: 'a reported setting of more than a megabyte',
    steps: [q(`SET search_path = public, "${'x'.repeat(1_200_000)}"`), q('SELECT 1'), q('RESET search_path')],
  },
  {
    name: 'text in another encoding',
    parameters: { client_encoding: 'LATIN1' },
    steps: [
      send(1, message('Q', Buffer.from("SELECT 'caf\xe9', length('\xe9')\0", 'latin1'))),
      q('SELECT label FROM items WHERE id = 3'),
      batch(
        message('P', Buffer.from("\xe9\0SELECT '\xff'\0\0\0", 'latin1')),
        message('B', Buffer.from('\0\xe9\0\0\0\0\0\0\0', 'latin1')),
        execute(),
      ),
      send(1, message('Q', Buffer.from('EXECUTE "\xe9"\0', 'latin1'))),
      q('SET client_encoding = UTF8'),
      send(1, message('Q', Buffer.from("SELECT '\xff'\0", 'latin1'))),
    ],
  },
  {
    name: 'names of 63 bytes and more',
    steps: [
      batch(parse('SELECT 63', 'a'.repeat(63))),
      batch(parse('SELECT 64', 'a'.repeat(64))),
      batch(bind({ statement: `${'a'.repeat(63)}b`, portal: 'p'.repeat(100) }), execute('p'.repeat(64))),
      q(`EXECUTE ${'a'.repeat(80)}`),
      batch(closeStatement('a'.repeat(70)), bind({ statement: 'a'.repeat(63) })),
      batch(parse('SELECT 1', 'é'.repeat(32)), bind({ statement: 'é'.repeat(40) }), execute()),
    ],
  },
  {
    name: 'a plan whose result changed',
    steps: [
      q('CREATE TEMP TABLE changing (a int); INSERT INTO changing VALUES (1)'),
      batch(parse('SELECT * FROM changing', 'plan'), bind({ statement: 'plan' }), execute()),
      q('ALTER TABLE changing ADD b int'),
      batch(bind({ statement: 'plan' }), execute()),
      batch(ext('SELECT * FROM changing')),
    ],
  },
  {
    name: 'rows and parameters of a megabyte',
    steps: [
      q("SELECT repeat('x', 1000000), repeat('y', 70000) FROM items"),
      batch(parse('SELECT length($1), md5($1)'), bind({ values: ['z'.repeat(1_000_000)] }), execute()),
      q(`SELECT length('${'q'.repeat(300_000)}')`),
    ],
  },
  {
    name: 'ten thousand small rows, and a thousand statements in a pipeline',
    steps: [
      q('SELECT generate_series(1, 10000)'),
      batch(...Array.from({ length: 1_000 }, (_, index) => ext('SELECT $1::int', [String(index)]))),
    ],
  },
  {
    name: 'only Sync and Flush',
    steps: [send(5, sync(), flush(), sync(), sync(), flush(), sync(), sync()), q('SELECT 1')],
  },
  {
    name: 'EXPLAIN, SHOW, VACUUM and other statements that are no queries',
    steps: [
      q('EXPLAIN (COSTS off) SELECT * FROM items WHERE id = 1'),
      q('SHOW server_encoding'),
      q('VACUUM items'),
      q('BEGIN; VACUUM items'),
      q('ROLLBACK'),
      batch(ext('SHOW TimeZone'), ext('TABLE items ORDER BY id'), ext('VALUES (1), (2)')),
      q('LOCK TABLE items'),
    ],
  },
  {
    name: 'startup with options of its own',
    parameters: {
      options: '-c search_path=pg_catalog,public -c work_mem=1MB',
      TimeZone: 'Asia/Tokyo',
      DateStyle: 'German',
    },
    steps: [q('SHOW search_path'), q("SELECT '2020-01-02'::date"), q('RESET TimeZone; SHOW TimeZone')],
  },
  ...MALFORMED_BODIES.map(
    ([name, bytes]): Program => ({
      name: `${name} is an error, and the connection goes on`,
      steps: [
        // Query and FunctionCall answer with ReadyForQuery of their own; a second Sync shows that nothing else did.
        send(/^[QF]/.test(name) ? 2 : 1, bytes, sync()),
        q('SELECT 1'),
        batch(ext('SELECT 2')),
      ],
    }),
  ),
];
