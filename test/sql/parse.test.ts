// The parser under hostile input: every answer is a value, and the next statement is read as if nothing had happened.

import { beforeAll, describe, expect, test } from 'vitest';
import { fingerprintSql, loadParser, parserStats, parseSql } from '../../src/sql/parse.ts';

beforeAll(loadParser);

const reasonFor = (text: string): string | null => {
  const outcome = parseSql(text);
  return outcome.isParsed ? null : outcome.reason;
};
const sum = (terms: number): string => `select 1${'+1'.repeat(terms)}`;

describe('hostile text', () => {
  test.each([
    ['100,000 open parentheses', `select ${'('.repeat(100_000)}`, 'too_deep'],
    ['a sum of 100,000 terms', sum(100_000), 'too_deep'],
    ['20,000 casts', `select 1${'::int'.repeat(20_000)}`, 'too_deep'],
    ['a UNION of 20,000', `select 1${' union all select 1'.repeat(20_000)}`, 'too_deep'],
    ['a NUL', 'select 1\0', 'nul_byte'],
    ['a syntax error', 'selec 1', 'syntax'],
  ])('%s has its reason, and the parser goes on', (_name, text, reason) => {
    expect(reasonFor(text)).toBe(reason);
    expect(reasonFor('select 1')).toBeNull();
    expect(fingerprintSql('select 1')).toBe('50fde20626009aba');
  });

  test('a text that is read without its comments counts as read, a syntax error with comments once as one', () => {
    const { failures } = parserStats();
    expect(reasonFor('select 1 where 1 not/**/in (2)')).toBeNull();
    expect(parserStats().failures).toBe(failures);
    expect(reasonFor('selec/**/ 1')).toBe('syntax');
    expect(parserStats().failures).toBe(failures + 1);
  });

  test('wide text is read: a 10,000-element IN list and a sum of 500 terms', () => {
    expect(reasonFor(`select 1 where 1 in (${'1,'.repeat(10_000)}1)`)).toBeNull();
    expect(reasonFor(sum(500))).toBeNull();
  });

  test('an instance that trapped is replaced, and traps in a row do not break the parser', async () => {
    const before = parserStats().replacements;
    for (let round = 0; round < 20; round++) expect(reasonFor(sum(30_000))).toBe('too_deep');
    await expect.poll(() => parserStats().replacements, { timeout: 10_000 }).toBeGreaterThan(before);
    expect(reasonFor('select 1')).toBeNull();
  });

  test('however many traps come before the replacement does, what others send is read', async () => {
    const union = `select 1${' union all select 1'.repeat(20_000)}`;
    for (let round = 0; round < 60; round++) {
      expect(reasonFor(union)).toBe('too_deep');
      expect(reasonFor(`select ${round} from t`)).toBeNull();
    }
    const before = parserStats().replacements;
    await expect.poll(() => parserStats().replacements, { timeout: 10_000 }).toBeGreaterThan(before);
    expect(reasonFor(`select 1 /* ${' '.repeat(100_000)} */`)).toBeNull();
  });

  test('no replacement without a trap', async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const before = parserStats().replacements;
    for (let round = 0; round < 1000; round++) expect(reasonFor('selec 1')).toBe('syntax');
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(parserStats().replacements).toBe(before);
  });
});

test('parsing in a loop never makes the process large: neither errors nor the optimising compiler', () => {
  const before = process.memoryUsage().rss;
  let peak = before;
  for (let round = 0; round < 60_000; round++) {
    parseSql(`selec ${round}`);
    parseSql(`select a from t where b = ${round}`);
    if (round % 500 === 0) peak = Math.max(peak, process.memoryUsage().rss);
  }
  expect(peak - before).toBeLessThan(100 * 1024 * 1024);
});

test('statements end where their bytes end, not their characters', () => {
  const outcome = parseSql("select 'ü€😀'; select 2");
  if (!outcome.isParsed) throw new Error(outcome.reason);
  expect(outcome.statements.map((statement) => statement.endByte)).toEqual([18, 28]);
});

test('the fingerprint is the public one, and an error message is never taken for one', () => {
  expect(fingerprintSql('SELECT  1')).toBe(fingerprintSql('select $1'));
  expect(fingerprintSql('select a in (1, 2)')).toBe(fingerprintSql('select a in (1, 2, 3)'));
  expect(fingerprintSql('select a')).not.toBe(fingerprintSql('select b'));
  for (const text of ['selec 1', 'select 1\0', `select ${'('.repeat(100_000)}`, "select '"])
    expect(fingerprintSql(text)).toBe('');
});

test('a text with many comments is read in linear time', () => {
  const startedAt = performance.now();
  for (const comment of ['/**/', '--\n']) {
    const text = `SELECT 'a--', b${comment.repeat(16_000)} FROM t`;
    expect(parseSql(text).isParsed).toBe(true);
    expect(fingerprintSql(text)).toBe(fingerprintSql("SELECT 'a--', b FROM t"));
  }
  expect(performance.now() - startedAt).toBeLessThan(1_000);
});
