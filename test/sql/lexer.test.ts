// The full scanner against PostgreSQL's own (libpg-query's scan), and redaction of text that nobody could read.

import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { hideOwnSetting, lexSql, redactSql } from '../../src/sql/lexer.ts';
import { loadParser, parseSql, scanSql } from '../../src/sql/parse.ts';
import { readStatements } from '../../src/sql/statement-reader.ts';
import { CORPUS } from './corpus.ts';
import { queries, tokenSoup } from './sql-soup.ts';

beforeAll(loadParser);

interface Token {
  readonly start: number;
  readonly end: number;
  readonly tokenName: string;
  readonly tokenType: number;
}

/** libpg-query copies a token's text into its JSON without escaping these. */
const CONTROL = /\p{Cc}/gu;
/** FCONST, SCONST, USCONST, BCONST, XCONST, ICONST: gram.y of PostgreSQL 18 (libpg-query leaves some names out). */
const LITERAL_TYPES = [260, 261, 262, 263, 264, 266];

/** libpg-query's scan ends a string at a comment behind which it goes on to PostgreSQL; test/relay/corpus.test.ts asks the server. */
const MAY_GO_ON = /'\s*--[^\n\r]*[\n\r]/;

/** The same text made from PostgreSQL's tokens, whose offsets are bytes. */
function normalizeByTokens(text: string): { normalized: string; comments: string[] } {
  const { tokens } = JSON.parse(scanSql(text).replace(CONTROL, ' ')) as { tokens: Token[] };
  const bytes = Buffer.from(text);
  let normalized = '';
  let end = 0;
  const comments: string[] = [];
  for (const token of tokens) {
    const source = bytes.toString('utf8', token.start, token.end);
    if (token.tokenName === 'SQL_COMMENT' || token.tokenName === 'C_COMMENT') {
      comments.push(source);
      continue;
    }
    if (source === ';' && normalized === '') {
      end = token.end;
      continue;
    }
    if (token.start > end && normalized !== '') normalized += ' ';
    normalized += LITERAL_TYPES.includes(token.tokenType) ? '?' : source;
    end = token.end;
  }
  return { normalized: normalized.replace(/[ ;]+$/, ''), comments };
}

function lexed(text: string): { normalized: string; comments: string[] } {
  const { normalized, commentRanges } = lexSql(text);
  const comments: string[] = [];
  for (let index = 0; index < commentRanges.length; index += 2) {
    comments.push(text.slice(commentRanges[index], commentRanges[index + 1]));
  }
  return { normalized, comments };
}

test('any text that the grammar accepts is read as PostgreSQL scans it', () => {
  let compared = 0;
  fc.assert(
    fc.property(fc.oneof(queries, tokenSoup), (text) => {
      // libpg-query's scan refuses an empty text.
      if (text === '' || MAY_GO_ON.test(text) || !parseSql(text).isParsed) return;
      expect(lexed(text)).toEqual(normalizeByTokens(text));
      compared++;
    }),
    { numRuns: 15_000 },
  );
  expect(compared).toBeGreaterThan(4000);
});

test('the corpus is read as PostgreSQL scans it', () => {
  const texts = CORPUS.filter((one) => one.unparsed === undefined && one.sql.length < 20_000).map((one) => one.sql);
  expect(texts.length).toBeGreaterThan(150);
  for (const text of texts) {
    if (!MAY_GO_ON.test(text)) expect(lexed(text), text).toEqual(normalizeByTokens(text));
  }
});

test('a string goes on behind line comments, with the escapes that it began with', () => {
  const text = "select E'a\\''--c\n \t-- d\r'\\'; delete from t --', 1";
  expect(lexed(text)).toEqual({ normalized: 'select ?, ?', comments: ['--c', '-- d'] });
});

test('no literal is left in a normalised text', () => {
  const secrets = [
    "'hunter2'",
    "E'hunter2\\''",
    "U&'hunter2'",
    '$$hunter2$$',
    "$x$hunter2' $x$",
    "'a'\n'hunter2'",
    "N'hunter2'",
  ];
  for (const secret of secrets) {
    expect(lexSql(`select ${secret}, 4711, 47.11, 0x4711, 4711e1 /* hunter2 */ -- 4711`).normalized).not.toMatch(
      /hunter2|4711|11/,
    );
  }
  expect(lexSql('select hunter2 from t4711').normalized).toBe('select hunter2 from t4711');
});

test('AS outside parentheses and quotes is found for PREPARE, others are not', () => {
  expect(lexSql('prepare p as select 1').asEnd).toBe(12);
  expect(lexSql('prepare "as" (int) /* as */ AS select 1').asEnd).toBe(30);
  expect(lexSql('prepare p (t.as) as select 1').asEnd).toBe(19);
  expect(lexSql('execute p').asEnd).toBe(-1);
});

test('unreadable text shows its words and no literal', () => {
  expect(redactSql('selec * from t where id = 42')).toBe('selec * from t where id = ?');
  expect(redactSql("replace into t values ('hunter2', 1)")).toBe('replace into t values ( …');
  expect(redactSql('delete from `hunter2`')).toBe('delete from …');
  expect(redactSql('select "it\'s hunter2')).toBe('select …');
  expect(redactSql('do $$ hunter2')).toBe('do …');
  expect(redactSql('select /* hunter2')).toBe('select …');
  expect(redactSql(`select ${'a'.repeat(5000)}`).length).toBeLessThan(1100);
});

test.each([
  ['SET my.token = hunter2', 'SET my.token = ?'],
  ['set local "My"."Token" to hunter2, hunter3', 'set local "My"."Token" to ?'],
  ['SET SESSION my . deep.token=hunter2', 'SET SESSION my . deep.token=?'],
  ['ALTER ROLE app IN DATABASE shop SET my.token TO hunter2', 'ALTER ROLE app IN DATABASE shop SET my.token TO ?'],
  ['alter system set my.token = hunter2', 'alter system set my.token = ?'],
  ['SET my.token TO DEFAULT', 'SET my.token TO DEFAULT'],
  ['SET search_path = app, public', 'SET search_path = app, public'],
  ['UPDATE t SET a = b.c', 'UPDATE t SET a = b.c'],
  ['SET my.token = hunter2 hunter3', 'SET my.token = ?'],
  ['ALTER FUNCTION f(int) SET my.token = hunter2 RESET a', 'ALTER FUNCTION f(int) SET my.token = ? RESET a'],
  [
    'create or replace procedure f() set my . token to hunter2, -7, hunter3 set a.b = hunter4 language sql as $$select 1$$',
    'create or replace procedure f() set my . token to ? set a.b = ? language sql as ?',
  ],
  ['ALTER ROUTINE f SET my.token TO DEFAULT', 'ALTER ROUTINE f SET my.token TO DEFAULT'],
  ['ALTER FUNCTION f SET search_path = app, public', 'ALTER FUNCTION f SET search_path = app, public'],
])('of %s is shown %s: the value of a setting that is not PostgreSQL’s own may be a secret', (text, shown) => {
  const [facts] = readStatements(text);
  expect(facts?.shape.normalized).toBe(shown);
});

test('a string that goes on for many lines is read in linear time', () => {
  const startedAt = performance.now();
  for (const line of ["'a'\n", "'a' --\n"]) lexSql(`select ${line.repeat(100_000)}`);
  expect(performance.now() - startedAt).toBeLessThan(2_000);
});

test('the value of a setting is looked for in linear time', () => {
  const startedAt = performance.now();
  for (const part of ['a.', 'a', '"" ', '. ', 'set ']) hideOwnSetting(`set ${part.repeat(200_000)}`);
  hideOwnSetting(`alter role ${'set a.'.repeat(200_000)}`);
  for (const part of [' set a.', ' set a. ', ' set a.b', ' set a.b =', ' set a.b = a ,', ' ,a'])
    hideOwnSetting(`alter function f set a.b = a${part.repeat(100_000)}`);
  expect(performance.now() - startedAt).toBeLessThan(2_000);
});

test('redaction never shows what stands behind a quote, whatever the text', () => {
  fc.assert(
    fc.property(
      fc.string({ maxLength: 20 }),
      fc.constantFrom("'", '"', '$$', '`', '\\', '/*', '--', 'ü', '\0'),
      (before, quote) => {
        expect(redactSql(`${before}${quote}SECRET99`)).not.toMatch(/SECRET|99/);
      },
    ),
  );
});

test('redaction takes linear time', () => {
  const startedAt = performance.now();
  for (const text of ['1.'.repeat(1e6), '.'.repeat(1e6), 'a1'.repeat(1e6), ' '.repeat(1e6)]) redactSql(text);
  expect(performance.now() - startedAt).toBeLessThan(500);
});
