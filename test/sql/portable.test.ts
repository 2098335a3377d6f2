// Suggestions for Oracle's constructs: each that is made gives Oracle's value on a real server, each doubt gives none.

import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { loadParser, parseSql } from '../../src/sql/parse.ts';
import { MAX_PORTABLE_CHARACTERS, suggestPortable } from '../../src/sql/portable.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { CORPUS } from './corpus.ts';
import { queries, tokenSoup } from './sql-soup.ts';

beforeAll(loadParser);

const textOf = (sql: string): string | null => suggestPortable(sql)?.text ?? null;

/** Text and what it becomes. */
const REWRITTEN: readonly (readonly [string, string])[] = [
  ['select 1 from dual', 'SELECT 1'],
  ['select 1 from SYS.DUAL d where 1 = 1', 'SELECT 1 WHERE (1 = 1)'],
  ['select (select 2 from dual) from t', 'SELECT (SELECT 2) FROM t'],
  ['select count(*) from dual', 'SELECT (count (*))'],
  ['select Nvl(a, b) from t', 'SELECT (coalesce(a, b)) FROM t'],
  ['select nvl2(a, b, c) from t', 'SELECT (CASE WHEN (a IS NOT NULL) THEN b ELSE c END) FROM t'],
  ["select decode(a, 1, 'x', 'y') from t", "SELECT (CASE a WHEN 1 THEN 'x' ELSE 'y' END) FROM t"],
  ['select decode(f(a), 1, 2) from t', 'SELECT (CASE (f (a)) WHEN 1 THEN 2 END) FROM t'],
  ['select decode(a, null, 1, 2) from t', 'SELECT (CASE WHEN (a IS NULL) THEN 1 ELSE 2 END) FROM t'],
  ['select decode(a, b, 1) from t', 'SELECT (CASE WHEN ((a = b) OR ((a IS NULL) AND (b IS NULL))) THEN 1 END) FROM t'],
  ['select systimestamp', 'SELECT (statement_timestamp()) AS systimestamp'],
  ['select s.nextval from dual', "SELECT (nextval('s'))"],
  ['select hr."S".currval', `SELECT (currval('hr."S"'))`],
  ['select a from t where rownum <= 10', 'SELECT a FROM t LIMIT 10'],
  ['select a from t where b = 1 and rownum < 10 and c = 2', 'SELECT a FROM t WHERE ((b = 1) AND (c = 2)) LIMIT 9'],
  ['select a from t where rownum = 1', 'SELECT a FROM t LIMIT 1'],
  ['select a from t where rownum <= $1', 'SELECT a FROM t LIMIT (greatest($1, 0))'],
  [
    'select * from (select a from t order by a) q where rownum <= 3',
    'SELECT * FROM (SELECT a FROM t ORDER BY a) AS q LIMIT 3',
  ],
  [
    'delete from t where a in (select a from u where rownum < 3)',
    'DELETE FROM t WHERE (a IN (SELECT a FROM u LIMIT 2))',
  ],
  ['update t set a = nvl(b, nvl(c, 1)) where d = 2', 'UPDATE t SET a = (coalesce(b, (coalesce(c, 1)))) WHERE (d = 2)'],
  [
    'with x as (select nvl(a, 1) v from t) select * from x',
    'WITH x AS (SELECT (coalesce(a, 1)) AS v FROM t) SELECT * FROM x',
  ],
  ['select nvl(a, 1) from t; select 2', 'SELECT (coalesce(a, 1)) FROM t; SELECT 2'],
  ['select nvl(a, 1) /* kept? */ from t -- no', 'SELECT (coalesce(a, 1)) FROM t'],
  ["select nvl(a, 'it''s (1)  , ( 2 ) nvl (x)') from t", "SELECT (coalesce(a, 'it''s (1)  , ( 2 ) nvl (x)')) FROM t"],
];

/** The refusing twins: they look like Oracle's, but the counterpart would not be the same, or it is not Oracle's at all. */
const LEFT_ALONE: readonly (readonly [string, string])[] = [
  ['a table of somebody, quoted', 'select 1 from "dual"'],
  ["Oracle's own spelling, quoted", 'select 1 from "DUAL"'],
  ['DUAL of another schema', 'select 1 from hr.dual'],
  ['a CTE called dual', 'with dual as (select 7 as x) select 1 from dual'],
  ['the column of DUAL', 'select dummy from dual'],
  ['all columns of DUAL', 'select * from dual'],
  ['DUAL by its alias', 'select d.dummy from dual d'],
  ['DUAL joined', 'select 1 from t, dual'],
  ['DUAL locked', 'select 1 from dual for update'],
  ['a quoted function', 'select "nvl"(a, b) from t'],
  ['a function of a schema', 'select hr.nvl(a, b) from t'],
  ['NVL of three', 'select nvl(a, b, c) from t'],
  ['NVL of a literal that is NULL in Oracle', "select nvl(a, '') from t"],
  ['NVL2 of two', 'select nvl2(a, b) from t'],
  ['NVL2 of a row', 'select nvl2((a, b), 1, 2) from t'],
  ['NVL in FROM', 'select x from nvl(1, 2) x'],
  ["PostgreSQL's decode()", "select decode(a, 'hex') from t"],
  ['DECODE for an empty literal', "select decode(a, '', 1, 2) from t"],
  ['DECODE that would call twice', 'select decode(f(a), null, 1, 2) from t'],
  ['DECODE for a call', 'select decode(a, f(b), 1, 2) from t'],
  ['DECODE for a parameter, which may be NULL', 'select decode(a, $1, 1, 2) from t'],
  ['SYSDATE minus: days in Oracle', 'select sysdate - hired from t'],
  ['SYSDATE in a subquery under arithmetic', 'select (select sysdate) - hired from t'],
  ['SYSDATE in a call that may want a date', 'select trunc(sysdate)'],
  ['SYSDATE cast: DATE has no time in PostgreSQL', 'select cast(sysdate as date)'],
  ['SYSDATE of a table', 'select t.sysdate from t'],
  ['a quoted column', 'select "sysdate" from t'],
  ['a column that is written to', 'insert into t (sysdate) select sysdate'],
  ['an alias called so', 'select a as sysdate from t order by sysdate'],
  ['a column of a table called nextval', 'select t.nextval from t'],
  ['a column of an alias called nextval', 'select x.nextval from t x'],
  ['NEXTVAL twice: one value in Oracle', 'insert into t values (s.nextval, s.nextval)'],
  ['NEXTVAL with CURRVAL', 'insert into t values (s.nextval, s.currval)'],
  ['ROWNUM before sorting', 'select a from t where rownum <= 5 order by a'],
  ['ROWNUM before DISTINCT', 'select distinct a from t where rownum <= 5'],
  ['ROWNUM before grouping', 'select a from t where rownum <= 5 group by a'],
  ['ROWNUM before an aggregate', 'select max(a) from t where rownum <= 5'],
  ['ROWNUM before what may be an aggregate', 'select my_fold(a) from t where rownum <= 5'],
  ['ROWNUM before a window', 'select abs(a) over (order by a) from t where rownum <= 5'],
  ['ROWNUM before many rows out of one', 'select generate_series(1, a) from t where rownum <= 5'],
  ['ROWNUM as an alternative', 'select a from t where b = 1 or rownum <= 5'],
  ['ROWNUM denied', 'select a from t where not (rownum <= 5)'],
  ['ROWNUM that finds nothing', 'select a from t where rownum > 1'],
  ['ROWNUM = 2, which finds nothing', 'select a from t where rownum = 2'],
  ['ROWNUM below zero', 'select a from t where rownum <= -1'],
  ['ROWNUM twice', 'select a from t where rownum <= 5 and rownum <= 4'],
  ['ROWNUM that is also asked for', 'select rownum from t where rownum <= 5'],
  ['ROWNUM next to a LIMIT', 'select a from t where rownum <= 5 limit 3'],
  ['ROWNUM of an UPDATE', 'update t set a = 1 where rownum <= 5'],
  ['ROWNUM of a DELETE', 'delete from t where rownum <= 5'],
  ['only a literal', "select 'select sysdate, nvl(a, b) from dual'"],
  ['only a comment', 'select 1 /* from dual */ -- rownum <= 1'],
  ['no SQL', 'select nvl(a, from dual'],
  ['no text', ''],
  [
    'what the second parser reads, but cannot print',
    "insert into t values/* it's */('-- x'/* it's */,nvl(a, 1)/* it's */,E'\\'')",
  ],
];

describe('what is rewritten', () => {
  test.each(REWRITTEN)('%s', (sql, expected) => {
    const suggestion = suggestPortable(sql);
    expect(suggestion?.text).toBe(expected);
    expect(suggestion?.changes.length).toBeGreaterThan(0);
    expect(parseSql(expected).isParsed).toBe(true);
  });

  test("a literal with a backslash keeps its value, at the price of the printer's own layout", () => {
    expect(textOf(String.raw`select nvl(a, 'C:\  (1)') from t`)).toContain(String.raw`E'C:\\  (1)'`);
  });

  test('what was changed is named once, in the order of its finding, and what was left is not named', () => {
    expect(suggestPortable('select nvl(a, 1), nvl(b, 2), sysdate - 1 from dual')?.changes).toEqual([
      'NVL → COALESCE',
      'FROM DUAL dropped',
    ]);
  });
});

describe('what is left alone', () => {
  test.each(LEFT_ALONE)('%s', (_, sql) => {
    expect(suggestPortable(sql)).toBeNull();
  });

  test('a text that the second parser would print with another meaning', () => {
    // It moves the ORDER BY into the second arm, rounds the number, and calls a function "any".
    for (const rest of ['union all select 2 from dual order by 1', '+ 12345678901234567890 from dual']) {
      expect(parseSql(`select 1 ${rest}`).isParsed).toBe(true);
      expect(suggestPortable(`select 1 ${rest}`)).toBeNull();
    }
    expect(suggestPortable('select nvl(a, 1) from t where a = any(b)')).toBeNull();
    expect(textOf('select 1 union all select 2 from dual')).toBe('(SELECT 1) UNION ALL (SELECT 2)');
  });

  test('a text that is too deep for the second parser, and not one that is merely deep', () => {
    const chain = (count: number): string => `select nvl(a, 1)${' + b'.repeat(count)} from t`;
    expect(suggestPortable(chain(4900))).toBeNull();
    expect(suggestPortable(chain(50))).not.toBeNull();
  });

  test('a text that is too long, and not one that just fits', () => {
    const padded = (length: number): string => 'select nvl(a, 1) from t'.padEnd(length);
    expect(suggestPortable(padded(MAX_PORTABLE_CHARACTERS))).not.toBeNull();
    expect(suggestPortable(padded(MAX_PORTABLE_CHARACTERS + 1))).toBeNull();
  });
});

describe('on a real server', () => {
  const server = sharedPostgres();
  const valuesOf = async (sql: string, values: readonly unknown[] = []): Promise<unknown[]> => {
    const text = textOf(sql);
    if (text === null) throw new Error(`no suggestion for ${sql}`);
    return (await server.query(text, values)).rows.map((row) => Object.values(row)[0]);
  };
  const rows =
    '(select 1 as id, null::int as a, null::int as b union all select 2, 5, null union all select 3, 5, 5 union all select 4, 6, 5) t';

  test('NULL is found, replaced and compared as Oracle does', async () => {
    expect(await valuesOf(`select nvl(a, 0) from ${rows}`)).toEqual([0, 5, 5, 6]);
    expect(await valuesOf(`select nvl2(a, 'set', 'none') from ${rows}`)).toEqual(['none', 'set', 'set', 'set']);
    expect(await valuesOf(`select decode(a, b, 'same', 'other') from ${rows}`)).toEqual([
      'same',
      'other',
      'same',
      'other',
    ]);
    expect(await valuesOf(`select decode(a, null, 'none', 5, 'five') from ${rows}`)).toEqual([
      'none',
      'five',
      'five',
      null,
    ]);
    expect(await valuesOf(`select decode(a, 5, 'five', 'else') from ${rows}`)).toEqual([
      'else',
      'five',
      'five',
      'else',
    ]);
  });

  test('a grouping and what is selected from it are rewritten alike', async () => {
    expect(
      await valuesOf(`select nvl(a, 5) from ${rows} group by nvl(a, 5) having count(*) > 2 order by nvl(a, 5)`),
    ).toEqual([5]);
  });

  test('ROWNUM bounds the rows, by a parameter too, where NULL and a negative one find none', async () => {
    expect(await valuesOf(`select id from ${rows} where rownum < 3 and a = 5`)).toEqual([2, 3]);
    const sql = 'select x from generate_series(1, 9) x where rownum <= $1';
    expect(await valuesOf(sql, [2])).toEqual([1, 2]);
    expect(await valuesOf(sql, [null])).toEqual([]);
    expect(await valuesOf(sql, [-1])).toEqual([]);
  });

  test('SYSDATE is the past second, keeps its column name, and compares with a timestamp', async () => {
    const text = textOf('select sysdate from dual') ?? '';
    const { rows: found } = await server.query(
      `select sysdate <= localtimestamp and sysdate > localtimestamp - interval '1 s' as is_past,
        extract(microseconds from sysdate)::int % 1000000 as fraction, pg_typeof(sysdate)::text as type from (${text}) q`,
    );
    expect(found).toEqual([{ is_past: true, fraction: 0, type: 'timestamp without time zone' }]);
    expect(await valuesOf("select 1 from dual where sysdate > date '2020-01-01'")).toEqual([1]);
    expect(await valuesOf('select systimestamp from dual')).toEqual([expect.any(Date)]);
  });

  test('a sequence with a name in mixed case is found', async () => {
    await server.query('create schema portable_test create sequence "Mixed"');
    try {
      expect(await valuesOf('select portable_test."Mixed".nextval from dual')).toEqual(['1']);
    } finally {
      await server.query('drop schema portable_test cascade');
    }
  });
});

describe('for any text', () => {
  const isFree = (sql: string): boolean => !/dual|nvl|decode|sysdate|systimestamp|nextval|currval|rownum/i.test(sql);

  test('without a construct of Oracle there is no suggestion', () => {
    fc.assert(
      fc.property(fc.oneof(queries, tokenSoup).filter(isFree), (sql) => suggestPortable(sql) === null),
      { numRuns: 500, verbose: 1 },
    );
    for (const { sql } of CORPUS) if (isFree(sql)) expect(suggestPortable(sql), sql).toBeNull();
  });

  test('with one, a suggestion is what PostgreSQL reads, needs no further one of its kind, and never throws', () => {
    const construct = fc.constantFrom(
      ...[
        'nvl(a, 1)',
        'nvl2(a, 1, 2)',
        'decode(a, 1, 2)',
        'sysdate',
        'systimestamp',
        's.nextval',
        '(select 1 from dual)',
      ],
    );
    let suggested = 0;
    fc.assert(
      fc.property(queries, tokenSoup, construct, fc.boolean(), (query, soup, oracle, isSoup) => {
        const sql = (isSoup ? soup : query).replace(/\ba\b/, () => oracle);
        const suggestion = suggestPortable(sql);
        if (suggestion === null) return;
        suggested++;
        expect(parseSql(suggestion.text).isParsed).toBe(true);
        const again = suggestPortable(suggestion.text);
        expect(again?.changes.filter((change) => suggestion.changes.includes(change)) ?? []).toEqual([]);
      }),
      { numRuns: 2000, verbose: 1 },
    );
    expect(suggested).toBeGreaterThan(20);
  });
});
