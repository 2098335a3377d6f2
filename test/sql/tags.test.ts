// sqlcommenter and marginalia tags, from whichever road a text took.

import { beforeAll, expect, test } from 'vitest';
import { FactsCache } from '../../src/sql/facts-cache.ts';
import { loadParser } from '../../src/sql/parse.ts';
import { readTags } from '../../src/sql/tags.ts';

beforeAll(loadParser);

const cache = new FactsCache({ maxEntries: 100, maxBytes: 1 << 20, maxAnalyzedBytes: 1 << 16 });
const tagsOf = (text: string): Record<string, string> => {
  const [first] = cache.read(Buffer.from(text).toString('latin1'), 'UTF8', true);
  return { ...first?.tags };
};

test.each([
  ['after the statement', "select 1 /*controller='x',route='%2Fusers'*/", { controller: 'x', route: '/users' }],
  ['before the statement', "/*route='a'*/ select 1", { route: 'a' }],
  ['after the semicolon', "select 1; /*route='a'*/", { route: 'a' }],
  ['of several comments', "/*a='1'*/ select 1 /*b='2'*/", { a: '1', b: '2' }],
  ['the later of two', "/*a='1'*/ select 1 /*a='2'*/", { a: '2' }],
  ['with white space', "select 1 /* a = '1' , b='2' */", { a: '1', b: '2' }],
  ['with an escaped quote', "select 1 /*name='O\\'Hara'*/", { name: "O'Hara" }],
  ['with an encoded comma and equals sign', "select 1 /*a='x%2Cy%3D%271%27'*/", { a: "x,y='1'" }],
  ['with an encoded key', "select 1 /*route%20name='a'*/", { 'route name': 'a' }],
  ['with bad URL encoding as written', "select 1 /*a='100%'*/", { a: '100%' }],
  ['on the exact-text road', "select E'\\'' /*a='1'*/", { a: '1' }],
  ['beside exotic text', "select 'ü' /*a='%C3%BC'*/", { a: 'ü' }],
  [
    'in the marginalia form',
    'select 1 /*application:Shop,controller:users*/',
    { application: 'Shop', controller: 'users' },
  ],
  ['named __proto__', "select 1 /*__proto__='a'*/", Object.fromEntries([['__proto__', 'a']])],
])('tags %s are read', (_name, text, expected) => {
  expect(tagsOf(text)).toEqual(expected);
  expect(Object.keys(tagsOf(text))).toEqual(Object.keys(expected));
});

test.each([
  ['a comment in a string', "select '/*a=''1''*/'"],
  ['a comment in a quoted name', `select "/*a='1'*/"`],
  ['a comment in a dollar string', "select $$/*a='1'*/$$"],
  ['a planner hint', "select /*+ a='1' */ 1"],
  ['a line comment', "select 1 -- a='1'"],
  ['prose', "select 1 /* it's a = b */"],
  ['prose with a colon', 'select 1 /* note: see below */'],
  ['an unclosed value', "select 1 /*a='1*/"],
  ['tags with rubbish behind them', "select 1 /*a='1' b*/"],
])('%s has no tags', (_name, text) => {
  expect(tagsOf(text)).toEqual({});
});

test('each statement of a message has the tags of its own comments', () => {
  const facts = cache.read("/*a='1'*/ select 1; /*a='2'*/ select 2 /*b='3'*/", 'UTF8', true);
  expect(facts.map((statement) => ({ ...statement.tags }))).toEqual([{ a: '1' }, { a: '2', b: '3' }]);
});

test('a hostile comment takes linear time', () => {
  const startedAt = performance.now();
  for (const inside of [
    "a='\\".repeat(50_000),
    `a='${'\\\\'.repeat(100_000)}`,
    'a:'.repeat(100_000),
    "a='1',".repeat(50_000),
  ]) {
    readTags(`/*${inside}*/`, [0, inside.length + 4]);
  }
  expect(performance.now() - startedAt).toBeLessThan(500);
});
