// Bytes to text: a multi-byte character whose last byte is a quote or a backslash must not hide or make a statement.

import { beforeAll, expect, test } from 'vitest';
import { decodeSql } from '../../src/sql/encoding.ts';
import { FactsCache } from '../../src/sql/facts-cache.ts';
import { loadParser } from '../../src/sql/parse.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';

beforeAll(loadParser);

const newCache = (): FactsCache => new FactsCache({ maxEntries: 100, maxBytes: 1 << 20, maxAnalyzedBytes: 1 << 16 });

test.each([
  ['UTF8', '\xc3\xbc', 'ü'],
  ['UTF8', '\xef\xbb\xbf', '\ufeff'],
  ['LATIN1', '\xfc\x80', 'ü\u0080'],
  ['LATIN9', '\xa4', '€'],
  ['WIN1252', '\x80', '€'],
  ['WIN1251', '\xc0', 'А'],
  ['KOI8R', '\xc1', 'а'],
  ['SJIS', '\x95\x5c', '表'],
  ['EUC_JP', '\xc6\xfc', '日'],
  ['GBK', '\xd6\xd0', '中'],
  ['GB18030', '\x81\x30\x81\x30', '\u0080'],
  ['BIG5', '\xa5\x5c', '功'],
  ['UHC', '\xb0\xa1', '가'],
  ['UHC', '\x8c\x63', '똠'],
  ['UHC', '\xb0\xa1\x81\x41\xb0\xa1', '가갂가'],
  ['SQL_ASCII', '\xc3\xbc', 'ü'],
  ['SQL_ASCII', '\xfc', 'ü'],
])('%s decodes as the server does', (encoding, bytes, text) => {
  expect(decodeSql(`a${bytes}b`, encoding)).toBe(`a${text}b`);
});

test.each([
  ['UTF8', '\xfc'],
  ['UTF8', '\xc0\xa7'],
  ['UTF8', '\xed\xa0\x80'],
  ['SJIS', '\x95'],
  ['SJIS', '\x80'],
  ['GBK', "\x80'"],
  ['GB18030', '\x80'],
  ['BIG5', "\xa5'"],
  ['EUC_JP', "\xc6'"],
  ['UHC', '\xff\x41'],
  ['UHC', 'x\xb0'],
  ['UHC', "\x80'"],
  ['JOHAB', '\xd0\x5c'],
  ['EUC_TW', '\xc4\xa1'],
  ['NO_SUCH_ENCODING', '\xfc'],
])('%s does not decode what the server may read otherwise', (encoding, bytes) => {
  expect(decodeSql(`${bytes} x`, encoding)).toBeNull();
  expect(decodeSql('plain ASCII', encoding)).toBe('plain ASCII');
});

test('UHC has every syllable where the server has it', async () => {
  const { rows } = await sharedPostgres().query(
    "SELECT string_agg(chr(code), '' ORDER BY code) AS text, encode(string_agg(convert_to(chr(code), 'UHC'), '' ORDER BY code), 'hex') AS bytes FROM generate_series(44032, 55203) AS code",
  );
  const [row] = rows;
  expect(decodeSql(Buffer.from(String(row?.bytes), 'hex').toString('latin1'), 'UHC')).toBe(row?.text);
});

test('long UHC takes no longer than its length asks for', () => {
  const startedMs = performance.now();
  expect(decodeSql('\x81\x41'.repeat(1 << 23), 'UHC')).toHaveLength(1 << 23);
  expect(performance.now() - startedMs).toBeLessThan(2_000);
});

test('text that cannot be decoded is unparsed, not guessed', () => {
  const [facts] = newCache().read("select '\xfc'", 'UTF8', true);
  expect(facts?.shape).toMatchObject({ unparsed: 'encoding', queryClass: 'unknown', normalized: 'select …' });
  expect(newCache().read("select '\xfc'", 'LATIN1', true)[0]?.shape.unparsed).toBeNull();
});

test('a trail byte that is a backslash does not hide a second statement', () => {
  // 0x95 0x5c is one character in SJIS. Read byte by byte, E'…\' would go on and swallow the delete.
  const bytes = "select E'\x95\x5c'; delete from t; --'";
  expect(
    newCache()
      .read(bytes, 'SJIS', true)
      .map((statement) => statement.shape.kinds[0]),
  ).toEqual(['select', 'delete']);
  expect(
    newCache()
      .read(bytes, 'LATIN1', true)
      .map((statement) => statement.shape.kinds[0]),
  ).toEqual(['select']);
});

test('one text under two encodings has two readings, whatever was cached first', () => {
  const cache = newCache();
  const bytes = "select E'\x95\x5c'; delete from t; --'";
  for (const [encoding, count] of [
    ['SJIS', 2],
    ['LATIN1', 1],
    ['UTF8', 1],
    ['SJIS', 2],
    ['LATIN1', 1],
  ] as const) {
    expect(cache.read(bytes, encoding, true)).toHaveLength(count);
  }
  expect(cache.read(bytes, 'UTF8', true)[0]?.shape.unparsed).toBe('encoding');
});

test('with standard_conforming_strings off a backslash is unreadable, and plain text is not', () => {
  const cache = newCache();
  const evasion = "select '\\'; delete from t; --'";
  expect(cache.read(evasion, 'UTF8', true).map((statement) => statement.shape.kinds[0])).toEqual(['select', 'delete']);
  expect(cache.read(evasion, 'UTF8', false)[0]?.shape.unparsed).toBe('syntax');
  expect(cache.read(evasion, 'UTF8', true)).toHaveLength(2);
  expect(cache.read("select 'a'", 'UTF8', false)[0]?.shape.unparsed).toBeNull();
});
