// The fast road must never say anything that the grammar would not: properties of the shape scanner.

import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import type { StatementShape, TextFacts } from '../../src/sql/facts.ts';
import { lexSql } from '../../src/sql/lexer.ts';
import { loadParser } from '../../src/sql/parse.ts';
import { normalizedFromKey, ShapeScanner } from '../../src/sql/shape.ts';
import { readStatements } from '../../src/sql/statement-reader.ts';
import { CORPUS } from './corpus.ts';
import { otherLiterals, queries, tokenSoup } from './sql-soup.ts';

beforeAll(loadParser);

const RUNS = { numRuns: 15_000 };
const scanner = new ShapeScanner();
const scanned = (text: string): string | null => (scanner.scan(text) ? scanner.key : null);

/** What texts of one shape must agree in. Unread text has no common normalised form: it shows what it can. */
function comparable(facts: TextFacts): Partial<StatementShape>[] {
  return facts.map(({ shape }) => (shape.unparsed === null ? shape : { ...shape, normalized: '' }));
}

describe('texts with one key', () => {
  test.each([
    ['anything', tokenSoup],
    ['queries', queries],
  ])('have one shape by the grammar: %s', (_name, texts) => {
    const seen = new Map<string, { text: string; shape: Partial<StatementShape>[] }>();
    let collisions = 0;
    fc.assert(
      fc.property(texts, (text) => {
        const key = scanned(text);
        if (key === null) return;
        const shape = comparable(readStatements(text));
        const known = seen.get(key);
        if (known === undefined) seen.set(key, { text, shape });
        else {
          collisions++;
          expect(shape, `${JSON.stringify(text)} and ${JSON.stringify(known.text)}`).toEqual(known.shape);
        }
      }),
      RUNS,
    );
    expect(collisions).toBeGreaterThan(50);
  });

  test('stay one shape when every literal is replaced by another of its kind', () => {
    let compared = 0;
    fc.assert(
      fc.property(fc.oneof(queries, tokenSoup), fc.integer(), (text, seed) => {
        const key = scanned(text);
        if (key === null) return;
        const draw = (kind: 'string' | 'integer' | 'number'): string =>
          fc.sample(otherLiterals(kind), { numRuns: 1, seed })[0] ?? '0';
        const other = key
          .replaceAll('\u00a1', () => draw('string'))
          .replaceAll('\u00a2', () => draw('integer'))
          .replaceAll('\u00a3', () => draw('number'));
        expect(scanned(other)).toBe(key);
        expect(comparable(readStatements(other)), `${JSON.stringify(text)} as ${JSON.stringify(other)}`).toEqual(
          comparable(readStatements(text)),
        );
        compared++;
      }),
      { numRuns: 4000 },
    );
    expect(compared).toBeGreaterThan(1000);
  });

  test('have the normalised text of the full scanner, one statement and no effect', () => {
    let compared = 0;
    fc.assert(
      fc.property(fc.oneof(queries, tokenSoup), (text) => {
        const key = scanned(text);
        if (key === null) return;
        expect(normalizedFromKey(key)).toBe(lexSql(text).normalized);
        const facts = readStatements(text);
        expect(facts).toHaveLength(1);
        expect(facts[0]?.effect).toBeNull();
        compared++;
      }),
      RUNS,
    );
    expect(compared).toBeGreaterThan(3000);
  });
});

test('the scanner and the full scanner find the same comments', () => {
  fc.assert(
    fc.property(fc.oneof(queries, tokenSoup), (text) => {
      if (scanned(text) !== null) expect([...scanner.commentRanges]).toEqual(lexSql(text).commentRanges);
    }),
    RUNS,
  );
});

test('what the corpus calls by one key has one shape', () => {
  const texts = CORPUS.map((one) => one.sql).filter((sql) => sql.length < 10_000);
  const byKey = new Map<string, string[]>();
  for (const text of texts) {
    const key = scanned(text);
    if (key !== null) byKey.set(key, [...(byKey.get(key) ?? []), text]);
  }
  expect(byKey.size).toBeGreaterThan(80);
  for (const group of byKey.values()) {
    const [first, ...rest] = group.map((text) => comparable(readStatements(text)));
    for (const other of rest) expect(other).toEqual(first);
  }
});

test('plain queries are taken', () => {
  for (const [text, normalized] of [
    ['SELECT abalance FROM pgbench_accounts WHERE aid = 1;', 'SELECT abalance FROM pgbench_accounts WHERE aid = ?'],
    ["select * from t where a = 'it''s' and b = 1.5", 'select * from t where a = ? and b = ?'],
    ['  select\n\t1  -- c\n , $1 ; ', 'select ? , $1'],
    ['select /* a /* b */ c */ 1', 'select ?'],
    ["insert into t values ('ü', -1)", 'insert into t values (?, -?)'],
    ['select "a b", \'x\'::text', 'select "a b", ?::text'],
    ['select current_timestamp, localtime - a, 1', 'select current_timestamp, localtime - a, ?'],
  ] as const) {
    expect(scanned(text), text).not.toBeNull();
    expect(normalizedFromKey(scanner.key)).toBe(normalized);
  }
});

test('what PostgreSQL might read differently is left to the grammar', () => {
  for (const text of [
    ...[
      "select E'a'",
      "select e'\\''",
      "select U&'a'",
      'select U&"a"',
      "select B'1'",
      "select X'F'",
      "select N'a'",
      'select $$a$$',
    ],
    ...[
      "select 'a\\'",
      "select 'a'\n'b'",
      "select 'a' 'b'",
      "select 'a' -- c\n'b'",
      "select 'a",
      'select "a',
      'select /* a',
    ],
    ...[
      'select 1e5',
      'select 0x1F',
      'select 1_000',
      'select 1.',
      'select .5',
      'select t.5',
      'select 1..2',
      'select 1a',
      'select $1a',
    ],
    ...[
      'select 00000000001',
      'select float(3)',
      'select current_timestamp(3)',
      'select 1 > CURRENT_TIME (3)',
      'select localtime/**/(3)',
      'select localtimestamp -- n\n(3)',
      'select a ? b',
      'select ä',
      'select "ä"',
      'select 1; select 2',
      'select 1\0',
      'select \u0001',
    ],
    ...[
      'set a = 1',
      'explain select 1',
      'copy t to stdout',
      'begin',
      '(select 1)',
      '',
      ' ',
      ';',
      '-- c',
      'selects 1',
      "'a'",
      '1',
      '$1',
    ],
    `select ${'/**/'.repeat(9)}1`,
    `select '${'a'.repeat(70_000)}'`,
  ]) {
    expect(scanned(text), text.slice(0, 60)).toBeNull();
  }
});

test('integers, other numbers and strings have different keys, as the grammar tells them apart', () => {
  const keys = ['1', '2147483648', '1.5', "'1'"].map((literal) => scanned(`select a from t limit ${literal}`));
  expect(new Set([keys[0], keys[1], keys[3]]).size).toBe(3);
  expect(keys[1]).toBe(keys[2]);
  expect(scanned('select a from t limit 2147483647')).toBe(keys[0]);
});
