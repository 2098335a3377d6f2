// A text that differs from a known one in the digits of numbers only must mean the same, and nothing else may pass for that.

import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import type { TextFacts } from '../../src/sql/facts.ts';
import { FactsCache } from '../../src/sql/facts-cache.ts';
import { loadParser } from '../../src/sql/parse.ts';
import { readStatements } from '../../src/sql/statement-reader.ts';
import { queries, tokenSoup } from './sql-soup.ts';

beforeAll(loadParser);

const LIMITS = { maxEntries: 1_000, maxBytes: 1 << 22, maxAnalyzedBytes: 1 << 20 };

/** Reads it and the same with other numbers, as a client would say it: a shape is known from its second text on. */
function cacheThatKnows(...texts: readonly string[]): FactsCache {
  const cache = new FactsCache(LIMITS);
  for (const text of texts) {
    read(cache, text);
    read(
      cache,
      text.replace(/(?<!\w)\d+(?!\w)/g, (number) => number.replace(/\d/g, otherDigit)),
    );
  }
  return cache;
}

const otherDigit = (digit: string): string => String((Number(digit) + 1) % 10);

function read(cache: FactsCache, text: string, mayBeTwin = false): TextFacts {
  const bytes = Buffer.from(`<<<<<${text}>>`, 'latin1');
  return cache.readBytes(bytes, 5, 5 + text.length, 'UTF8', true, mayBeTwin);
}

/** The facts of a twin; null where it is none of what is known. */
function findKnown(cache: FactsCache, text: string, mayBeTwin = true): TextFacts | null {
  const facts = read(cache, text, mayBeTwin);
  const [first] = facts;
  return first !== undefined && first.text !== text && first.text.length === text.length ? facts : null;
}

const shapesOf = (facts: TextFacts): unknown[] => facts.map(({ shape, tags, effect }) => ({ shape, tags, effect }));

describe('texts that differ in numbers', () => {
  test.each([
    ['SELECT a FROM t WHERE id = 4711', 'SELECT a FROM t WHERE id = 1234'],
    ['select * from t where a=1 and b in (2, 3);', 'select * from t where a=9 and b in (8, 7);'],
    ["UPDATE t SET at = '2024-01-02 03:04:05', n = n + 1.50", "UPDATE t SET at = '1999-12-31 23:59:59', n = n + 2.75"],
    ['INSERT INTO t1 VALUES (1, 2), (3, 4)', 'INSERT INTO t1 VALUES (5, 6), (7, 8)'],
    ['SELECT 1', 'SELECT 7'],
  ])('%s stands for %s', (known, other) => {
    const facts = findKnown(cacheThatKnows(known), other);
    expect(facts).not.toBeNull();
    expect(Object.isFrozen(facts)).toBe(true);
    expect(shapesOf(facts ?? [])).toEqual(shapesOf(readStatements(other)));
  });

  test.each([
    ['another length', 'SELECT a FROM t WHERE id = 4711', 'SELECT a FROM t WHERE id = 471'],
    ['another word', 'SELECT a FROM t WHERE id = 4711', 'SELECT b FROM t WHERE id = 4711'],
    ['a letter for a digit', 'SELECT a FROM t WHERE id = 4711', 'SELECT a FROM t WHERE id = 471a'],
    ['a letter behind a digit', 'SELECT a FROM t WHERE id = 4711 ', 'SELECT a FROM t WHERE id = 4712b'],
    ['a sign for a digit', 'SELECT a FROM t WHERE id = 4711', 'SELECT a FROM t WHERE id = 47-1'],
    ['digits of a name', 'SELECT a FROM t1 WHERE id = 4711', 'SELECT a FROM t2 WHERE id = 4711'],
    ['digits of a quoted name', 'SELECT "a 1" FROM t WHERE id = 1', 'SELECT "a 2" FROM t WHERE id = 1'],
    ['digits of a parameter', 'SELECT $1, 5', 'SELECT $2, 5'],
    ['digits of a setting', "SELECT set_config('app.1', 'x', true)", "SELECT set_config('app.2', 'x', true)"],
    ['a comment', 'SELECT 5 /* trace 1 */', 'SELECT 5 /* trace 2 */'],
    ['more than nine digits', 'SELECT 2147483647', 'SELECT 2147483648'],
    ['the sign behind a number', 'SELECT 1;', 'SELECT 1,'],
    ['an exponent', 'SELECT 15, 5', 'SELECT 1e5, 5'],
  ])('%s is no number', (_what, known, other) => {
    expect(findKnown(cacheThatKnows(known), other)).toBeNull();
  });

  test('who needs the text itself gets its own', () => {
    const cache = cacheThatKnows('SELECT a FROM t WHERE id = 4711');
    expect(findKnown(cache, 'SELECT a FROM t WHERE id = 4713', false)).toBeNull();
    expect(findKnown(cache, 'SELECT a FROM t WHERE id = 4714', true)).not.toBeNull();
  });

  test('the same text is found by its bytes, whatever it says', () => {
    const cache = new FactsCache(LIMITS);
    for (const text of ['BEGIN', 'SELECT $1', 'SELECT "a 1"', 'not a statement', 'SET a.b = 1', '']) {
      const bytes = Buffer.from(text, 'latin1');
      const reads = [1, 2, 3, 4].map(() => cache.readBytes(bytes, 0, bytes.length, 'UTF8', true, false));
      expect(reads[3], text).toBe(reads[2]);
      expect(reads[3]?.map((facts) => facts.shape)).toEqual(readStatements(text).map((facts) => facts.shape));
    }
  });

  test('what reads otherwise under other settings is not taken for known', () => {
    const cache = new FactsCache(LIMITS);
    const text = Buffer.from("SELECT '\\'; DELETE FROM t; --'", 'latin1');
    const read = (areStringsConforming: boolean): number =>
      cache.readBytes(text, 0, text.length, 'UTF8', areStringsConforming, true).length;
    for (let round = 0; round < 4; round++) {
      const conforming = read(true);
      expect(read(false)).not.toBe(conforming);
    }
  });

  test('a text that nobody has sent has none', () => {
    expect(findKnown(new FactsCache(LIMITS), 'SELECT 1')).toBeNull();
    expect(findKnown(cacheThatKnows('SELECT 1'), '')).toBeNull();
  });

  test('whatever passes for a twin has the facts that the grammar gives', () => {
    let found = 0;
    fc.assert(
      fc.property(fc.oneof(queries, tokenSoup), fc.infiniteStream(fc.nat(9)), (text, digits) => {
        const cache = cacheThatKnows(text);
        const other = text.replace(/\d/g, () => String(digits.next().value));
        const facts = findKnown(cache, other);
        if (facts === null) return;
        found++;
        const wanted = readStatements(other);
        expect(shapesOf(facts), JSON.stringify([text, other])).toEqual(shapesOf(wanted));
      }),
      { numRuns: 4_000 },
    );
    expect(found).toBeGreaterThan(200);
  });

  test('one that is of use is not driven out by many that are not', () => {
    const cache = cacheThatKnows('SELECT a FROM t WHERE id = 4711');
    for (let number = 0; number < 20_000; number++) read(cache, `SELECT 'x${number.toString(36)}', ${number}`);
    expect(findKnown(cache, 'SELECT a FROM t WHERE id = 4712')).not.toBeNull();
  });
});
