// Bind, Describe, Execute and Sync that come in one piece are taken in one step. With a Flush among them they are taken one by
// one: the client must hear the same either way, which is what the bare server says, and the rules must count the same.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { transcribe } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { type WireAddress, WireClient } from '../support/wire-client.ts';

const postgres = sharedPostgres();
const bare: WireAddress = { host: postgres.host, port: postgres.primaryPort };
const POOL_SIZE = 3;
const RULES = `
traffic_control:
  rules:
    - { name: reads, mode: observe, match: { query_class: read }, action: deny }
    - { name: writes, mode: observe, match: { query_class: write }, action: deny }
    - { name: no_secrets, match: { query_regex: unit_secret }, action: deny }
    - { name: three_at_once, match: { query_regex: unit_limited }, action: rate_limit, rate_per_sec: 0.001, burst: 3 }
    - { name: not_for_long, match: { query_regex: unit_killed }, action: kill_after_ms, timeout_ms: 100 }
    - { name: all, mode: observe, match: {}, action: deny }
`;

const { parse, bind, execute, describePortal, flush, sync, query, copyData, copyDone } = frontend;
const LONG_NAME = 'n'.repeat(70);

/** What is sent at once, and how many ReadyForQuery come of it: one, where nothing is said. */
type Turn = Buffer | { readonly bytes: Buffer; readonly readies: number };
const turn = (readies: number, ...parts: readonly Buffer[]): Turn => ({ bytes: Buffer.concat(parts), readies });

/** `sqlstates`: of the errors, where they are pgweir's. */
type Program = readonly [name: string, turns: readonly Turn[], sqlstates?: readonly string[]];

const prepare = (name: string, sql: string): Buffer => Buffer.concat([parse(sql, name), sync()]);

/** `between`: stands among the messages of each usual end of a unit. */
function makePrograms(...between: readonly Buffer[]): readonly Program[] {
  const run = (statement: string, ...values: readonly (string | null)[]): Buffer =>
    Buffer.concat([bind({ statement, values }), ...between, describePortal(), execute(), sync()]);
  const once = (sql: string, ...values: readonly (string | null)[]): Buffer =>
    Buffer.concat([parse(sql), run('', ...values)]);
  return [
    ['a statement that is run again and again', [prepare('s', 'SELECT $1::int + 1'), run('s', '1'), run('s', '2')]],
    ['a statement that is prepared and run at once', [once('SELECT $1::text', 'a'), once('SELECT $1::text', 'b')]],
    ['a unit without Describe', [prepare('s', 'SELECT 7'), turn(1, bind({ statement: 's' }), execute(), sync())]],
    ['a statement of another name', [prepare('s', 'SELECT 1'), prepare('t', 'SELECT 2'), run('s'), run('t'), run('s')]],
    [
      'a name longer than the server keeps',
      [prepare(LONG_NAME, 'SELECT 1'), run(LONG_NAME), run(LONG_NAME.slice(0, 63))],
    ],
    ['a write', [prepare('s', 'INSERT INTO unit_items VALUES ($1)'), run('s', '5'), once('TABLE unit_items')]],
    ['a value that cannot be read', [prepare('s', 'SELECT $1::int'), run('s', 'x'), run('s', '3')]],
    ['a wrong number of values', [prepare('s', 'SELECT $1::int'), run('s'), run('s', '3')]],
    ['a statement that fails as it runs', [prepare('s', 'SELECT 1 / $1::int'), run('s', '0'), run('s', '1')]],
    [
      'a statement that fails after its first rows',
      [once('SELECT 1 / (3 - n) FROM generate_series(1, 9) n'), once('SELECT 1')],
    ],
    ['a name that nobody has', [run('nobody'), prepare('s', 'SELECT 1'), run('s')]],
    ['a Parse that fails in front of it', [once('SELEC 1'), once('SELECT 1'), run('')]],
    [
      'a name that is taken in front of it',
      [prepare('s', 'SELECT 1'), turn(1, parse('SELECT 2', 's'), run('s')), run('s')],
    ],
    [
      'a constraint that fails at its Sync',
      [prepare('s', 'INSERT INTO unit_children VALUES ($1)'), run('s', '9'), run('s', null)],
    ],
    [
      'several units at once',
      [prepare('s', 'SELECT 1 / $1::int'), turn(4, run('s', '1'), run('s', '0'), run('s', '2'), run('nobody'))],
    ],
    [
      'a unit behind a Query and before one',
      [prepare('s', 'SELECT 2'), turn(3, query('SELECT 1'), run('s'), query('SELECT 3'))],
    ],
    ['a unit behind a Query that fails', [prepare('s', 'SELECT 2'), turn(2, query('SELECT 1 / 0'), run('s'))]],
    [
      'an Execute before it in the same unit',
      [prepare('s', 'SELECT $1::int'), turn(1, bind({ statement: 's', values: ['1'] }), execute(), run('s', '2'))],
    ],
    [
      'a failed Execute before it in the same unit',
      [prepare('s', 'SELECT 1 / $1::int'), turn(1, bind({ statement: 's', values: ['0'] }), execute(), run('s', '2'))],
    ],
    [
      'a part of the rows',
      [prepare('s', 'SELECT generate_series(1, 3)'), turn(1, bind({ statement: 's' }), execute('', 2), sync())],
    ],
    [
      'a portal with a name',
      [
        prepare('s', 'SELECT 1'),
        turn(1, bind({ statement: 's', portal: 'p' }), describePortal('p'), execute('p'), sync()),
      ],
    ],
    [
      'a portal that is executed again in its transaction, and after it',
      [
        query('BEGIN'),
        prepare('s', 'SELECT generate_series(1, 2)'),
        run('s'),
        turn(1, execute(), sync()),
        query('COMMIT'),
        turn(1, execute(), sync()),
      ],
    ],
    [
      'a portal that is executed again outside of a transaction',
      [prepare('s', 'SELECT 1'), run('s'), turn(1, execute(), sync())],
    ],
    [
      'a transaction that a unit breaks',
      [
        prepare('s', 'SELECT 1 / $1::int'),
        query('BEGIN'),
        run('s', '1'),
        run('s', '0'),
        run('s', '1'),
        query('ROLLBACK'),
        run('s', '1'),
      ],
    ],
    [
      'a transaction in one piece',
      [prepare('s', 'SELECT 1 / $1::int'), turn(4, query('BEGIN'), run('s', '1'), run('s', '0'), query('COMMIT'))],
    ],
    [
      'a COPY before it that the client ends',
      [prepare('s', 'SELECT 1'), turn(2, query('COPY unit_items FROM STDIN'), copyDone(), run('s'))],
    ],
    [
      'a DEALLOCATE before it',
      [prepare('s', 'SELECT 1'), turn(2, query('DEALLOCATE s'), run('s')), prepare('s', 'SELECT 2'), run('s')],
    ],
    ['a statement that SQL prepared', [query('PREPARE s AS SELECT 1'), run('s'), query('DEALLOCATE s')]],
    ['statements that are no queries', [once('BEGIN'), once('SET LOCAL work_mem = 1000'), once('COMMIT'), once('')]],
    [
      'a COPY in it, with its data behind',
      [
        prepare('s', 'COPY unit_items FROM STDIN'),
        turn(1, run('s'), copyData(Buffer.from('7\n')), copyDone(), sync()),
        turn(2, run('s'), copyData(Buffer.from('x\n')), copyDone(), sync(), query('TABLE unit_items')),
      ],
    ],
    [
      'a COPY in it that is prepared at once',
      [turn(1, once('COPY unit_items FROM STDIN'), copyData(Buffer.from('7\n')), copyDone(), sync())],
    ],
    [
      'a unit that fails before one that takes its time',
      [
        prepare('s', 'SELECT 1 / $1::int, pg_sleep($2)'),
        // On every server connection.
        ...Array.from({ length: POOL_SIZE }, () => run('s', '1', '0')),
        turn(3, run('s', '0', '0'), run('s', '1', '0.2'), run('s', '2', '0')),
      ],
    ],
    [
      'a refused statement',
      [prepare('s', 'SELECT 1'), once('SELECT 1 AS unit_secret'), prepare('t', 'SELECT 2 AS unit_secret'), run('s')],
      ['42501', '42501'],
    ],
    [
      'a statement over its limit',
      [prepare('s', 'SELECT 1 AS unit_limited'), run('s'), turn(3, run('s'), run('s'), run('s')), run('s')],
      ['53400', '53400'],
    ],
    [
      'a statement under a kill rule',
      [prepare('s', 'SELECT pg_sleep(20) AS unit_killed'), run('s'), turn(2, run('s'), query('SELECT 1'))],
      ['57014', '57014'],
    ],
  ];
}

const AT_ONCE = makePrograms();
const ONE_BY_ONE = makePrograms(flush());

/** Everything that is said to the program, as lines. */
async function converse(address: WireAddress, turns: readonly Turn[]): Promise<string[]> {
  const client = await WireClient.login(address, {}, 10_000);
  const said: string[] = [];
  try {
    for (const next of turns) {
      const { bytes, readies } = Buffer.isBuffer(next) ? { bytes: next, readies: 1 } : next;
      client.send(bytes);
      said.push(...transcribe(await client.readUntilReady(readies)));
    }
    return said.map((line) => line.replace(/(decision_id|Try again in )\S+/g, '$1'));
  } finally {
    await client.end();
  }
}

/** What the rules have counted, by rule and fingerprint. */
async function readCounts(weir: TestWeir): Promise<string[]> {
  const answer = await fetch(`${weir.adminUrl}/observations?format=json&top=100000`);
  const { rows } = (await answer.json()) as { rows: Record<string, unknown>[] };
  return rows
    .map((row) => JSON.stringify([row.rule, row.fingerprint, row.matched, row.would_refuse, row.in_transaction]))
    .sort();
}

beforeAll(async () => {
  await postgres.query(`
    CREATE TABLE unit_items (id int);
    CREATE TABLE unit_parents (id int PRIMARY KEY);
    CREATE TABLE unit_children (parent int REFERENCES unit_parents DEFERRABLE INITIALLY DEFERRED);
  `);
});

afterAll(() => postgres.query('DROP TABLE unit_items, unit_children, unit_parents'));

describe.each(['session', 'transaction'] as const)('in %s mode', (mode) => {
  let atOnce: TestWeir;
  let oneByOne: TestWeir;

  beforeAll(async () => {
    const pool = mode === 'session' ? {} : { mode, size: POOL_SIZE, affinity: 'avoid' as const };
    const start = (): Promise<TestWeir> => startTestWeir({ postgres, rules: RULES, settings: { pool } });
    [atOnce, oneByOne] = await Promise.all([start(), start()]);
  });

  afterAll(() => Promise.all([atOnce?.stop(), oneByOne?.stop()]));

  const run = async (address: WireAddress, [, turns]: Program): Promise<string[]> => {
    await postgres.query('TRUNCATE unit_items, unit_children');
    return converse(address, turns);
  };

  const pairs = AT_ONCE.map((program, index) => [program[0], program, ONE_BY_ONE[index] as Program] as const);

  test.each(pairs)('%s is answered alike, at once or one by one', async (_name, whole, apart) => {
    const said = await run(atOnce, whole);
    expect(await run(oneByOne, apart)).toEqual(said);
    const [, , sqlstates] = whole;
    if (sqlstates === undefined) expect(said).toEqual(await run(bare, whole));
    else expect(said.flatMap((line) => /^ErrorResponse.* C="(\w+)"/.exec(line)?.[1] ?? [])).toEqual(sqlstates);
  });

  test('the rules have counted the same after all of it', async () => {
    const counts = await readCounts(atOnce);
    expect(counts.length).toBeGreaterThan(10);
    expect(counts).toEqual(await readCounts(oneByOne));
  });
});
