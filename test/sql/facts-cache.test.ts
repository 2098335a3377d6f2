// The cache: what is shared, what is kept, and what is bounded.

import { beforeAll, describe, expect, test } from 'vitest';
import type { TextFacts } from '../../src/sql/facts.ts';
import { FactsCache } from '../../src/sql/facts-cache.ts';
import { GenerationMap } from '../../src/sql/generation-map.ts';
import { loadParser, parserStats } from '../../src/sql/parse.ts';
import { FUNCTION_CALL_FACTS, NOT_PREPARED_FACTS, tooLongFacts } from '../../src/sql/unparsed.ts';

beforeAll(loadParser);

const newCache = (maxEntries = 1000): FactsCache =>
  new FactsCache({ maxEntries, maxBytes: 1 << 23, maxAnalyzedBytes: 1 << 20 });
const read = (cache: FactsCache, text: string): TextFacts =>
  cache.read(Buffer.from(text).toString('latin1'), 'UTF8', true);
const shapeOf = (facts: TextFacts): object | undefined => facts[0]?.shape;

describe('identity', () => {
  test.each([
    'select a from t where b = $1',
    'begin',
    "select E'\\n'",
    'select 1; select 2',
    'selec',
    '',
    "select 'ü', $1",
  ])('known text has the same facts again: %s', (text) => {
    const cache = newCache();
    // A text with literals is kept when it comes again.
    read(cache, text);
    const first = read(cache, text);
    expect(read(cache, text)).toBe(first);
    expect(read(cache, text)).toBe(first);
  });

  test('texts of one shape share it and differ in text and tags', () => {
    const cache = newCache();
    const a = read(cache, "select a from t where b = 1 /*route='x'*/");
    const b = read(cache, "select a from t where b = 22 /*route='y'*/");
    expect(shapeOf(b)).toBe(shapeOf(a));
    expect([a[0]?.tags.route, b[0]?.tags.route]).toEqual(['x', 'y']);
    expect(b[0]?.text).toBe("select a from t where b = 22 /*route='y'*/");
    expect(cache.stats).toMatchObject({ misses: 1, shapeHits: 1 });
  });

  test.each([
    ["select a from t where b not/*route='x'*/in (1)", 'select a from t where b not in (2)'],
    ['select 1; select a from t order by b nulls/* é */first; delete from u', 'select a from t order by b nulls first'],
  ])('a comment where the grammar looks ahead by a token spoils nothing: %s', (commented, plain) => {
    const cache = newCache();
    const facts = read(cache, commented);
    const alike = facts.find(({ shape }) => shape.tables[0] === 't');
    expect(alike?.shape).toMatchObject({ unparsed: null, queryClass: 'read', columns: ['a', 'b'] });
    expect(facts.map(({ text }) => text)).toEqual(commented.split('; '));
    expect(shapeOf(read(cache, plain))).toEqual(alike?.shape);
    expect(alike?.shape.fingerprint).toMatch(/^[0-9a-f]{16}$/);
    expect(cache.stats.unparsed).toBe(0);
  });

  test('a shape is one object by whichever road its texts came', () => {
    const cache = newCache();
    expect(shapeOf(read(cache, "select E'\\n' from t"))).toBe(shapeOf(read(cache, "select E'\\t' from t")));
    expect(shapeOf(read(cache, "select 'a' from t"))).toBe(shapeOf(read(cache, "select E'b' from t")));
    expect(shapeOf(read(cache, "select 'a' from u"))).not.toBe(shapeOf(read(cache, "select E'b' from t")));
  });

  test('facts are frozen where they are shared', () => {
    const [facts] = read(newCache(), 'select a from t');
    expect(Object.isFrozen(facts?.shape)).toBe(true);
    expect(Object.isFrozen(facts?.shape.tables)).toBe(true);
  });
});

describe('bounds', () => {
  test('a new literal in each text neither parses nor is kept', () => {
    const cache = newCache();
    for (let aid = 0; aid < 50_000; aid++)
      cache.read(`SELECT abalance FROM pgbench_accounts WHERE aid = ${aid};`, 'UTF8', true);
    expect(cache.stats).toMatchObject({ misses: 1, shapeHits: 49_999 });
    expect(cache.occupancy()).toMatchObject({ texts: 0, shapes: 1, evictions: 0 });
  });

  test('a new trace id in each text does not parse either', () => {
    const cache = newCache();
    for (let id = 0; id < 1000; id++) cache.read(`select 1 /*traceparent='00-${id}-01'*/`, 'UTF8', true);
    expect(cache.stats.misses).toBe(1);
  });

  test('new shapes and exotic texts without end stay inside the bounds', () => {
    const cache = newCache(100);
    for (let n = 0; n < 3000; n++) {
      cache.read(`select a${n} from t`, 'UTF8', true);
      cache.read(`select E'${n}'`, 'UTF8', true);
      cache.read(`selec ${n}`, 'UTF8', true);
    }
    const { texts, shapes, evictions } = cache.occupancy();
    expect(texts).toBeLessThanOrEqual(100);
    expect(shapes).toBeLessThanOrEqual(100);
    expect(evictions).toBeGreaterThan(5000);
  });

  test('bytes are bounded, and a huge text is not kept', () => {
    const cache = new FactsCache({ maxEntries: 1e6, maxBytes: 100_000, maxAnalyzedBytes: 1 << 20 });
    for (let n = 0; n < 500; n++) {
      cache.read(`select E'${n}' from t`, 'UTF8', true);
      expect(cache.occupancy().bytes).toBeLessThanOrEqual(100_000);
    }
    const before = cache.occupancy().texts;
    cache.read(`select E'${'x'.repeat(200_000)}'`, 'UTF8', true);
    expect(cache.occupancy().texts).toBe(before);
  });

  test('a text over max_analyzed_bytes is unparsed as a whole, at once, and its text is all there', () => {
    const cache = newCache();
    const text = `delete from t where a in (${'1,'.repeat(5_000_000)}1)`;
    const startedAt = performance.now();
    const facts = cache.read(text, 'UTF8', true);
    expect(performance.now() - startedAt).toBeLessThan(500);
    expect(facts).toEqual([tooLongFacts(text)]);
    expect(facts[0]?.shape).toMatchObject({ unparsed: 'too_long', queryClass: 'unknown' });
    expect(read(cache, `select '${'x'.repeat(500_000)}'`)[0]?.shape.unparsed).toBeNull();
  });

  test('what is used is kept while the unused is forgotten', () => {
    const map = new GenerationMap<number>(10, 1e6);
    const size = (): number => 1;
    map.set('used', 1, size);
    for (let n = 0; n < 100; n++) {
      map.set(`n${n}`, n, size);
      expect(map.get('used', size)).toBe(1);
    }
    expect(map.get('n0', size)).toBeUndefined();
    expect(map.size).toBeLessThanOrEqual(10);
    expect(map.bytes).toBe(map.size);
  });
});

describe('statements of one message', () => {
  test('each has its own text, without its neighbours', () => {
    const facts = read(newCache(), " select 'ü;'; ;/* b */ delete from t where a = 1 ;\nbegin -- end\n");
    expect(facts.map((statement) => statement.text)).toEqual([
      "select 'ü;'",
      '/* b */ delete from t where a = 1',
      'begin -- end',
    ]);
    expect(facts.map((statement) => statement.shape.normalized)).toEqual([
      'select ?',
      'delete from t where a = ?',
      'begin',
    ]);
  });

  test('a single statement keeps its text as sent', () => {
    expect(read(newCache(), ' /* a */ select 1 ; ')[0]?.text).toBe(' /* a */ select 1 ; ');
  });

  test('one unreadable part makes one unreadable fact', () => {
    const facts = read(newCache(), "select 1; selec 'hunter2'; select 2");
    expect(facts).toHaveLength(1);
    expect(facts[0]).toMatchObject({ shape: { unparsed: 'syntax', normalized: 'select ?; selec …' }, effect: null });
  });
});

describe('effects', () => {
  test.each([
    ['prepare p as select 1', { type: 'prepare', name: 'p' }],
    ['execute p(1)', { type: 'execute', name: 'p' }],
    ['explain execute "P"', { type: 'execute', name: 'P' }],
    ['create table t as execute p', { type: 'execute', name: 'p' }],
    ['explain analyze create table t as execute p', { type: 'execute', name: 'p' }],
    ['deallocate p', { type: 'deallocate', name: 'p' }],
    ['deallocate all', { type: 'deallocate', name: null }],
    ['discard all', { type: 'discard_all' }],
    ['declare c cursor for select 1', { type: 'declare', name: 'c', isHeld: false }],
    ['declare c cursor with hold for select 1', { type: 'declare', name: 'c', isHeld: true }],
    ['fetch next from C', { type: 'fetch', name: 'c' }],
    ['move 3 in c', { type: 'fetch', name: 'c' }],
    ['close c', { type: 'close_cursor', name: 'c' }],
    ['close all', { type: 'close_cursor', name: null }],
    ['set Work_Mem = 1', { type: 'set', name: 'work_mem', isLocal: false }],
    ['set local a.B = 1', { type: 'set', name: 'a.b', isLocal: true }],
    ['set time zone utc', { type: 'set', name: 'timezone', isLocal: false }],
    ['reset a.b', { type: 'set', name: 'a.b', isLocal: false }],
    ['reset all', { type: 'set', name: null, isLocal: false }],
    ['set transaction read only', { type: 'set', name: 'transaction', isLocal: true }],
  ])('%s', (text, effect) => {
    expect(read(newCache(), text)[0]?.effect).toMatchObject(effect);
  });

  test.each(['select 1', 'explain select 1', 'discard plans', 'show all', 'begin', 'create table t as select 1'])(
    '%s has none',
    (text) => {
      expect(read(newCache(), text)[0]?.effect).toBeNull();
    },
  );

  test('PREPARE carries the facts of what it prepares', () => {
    const [facts] = read(newCache(), 'prepare "as" (int) as /* x */ delete from t where a = $1;');
    expect(facts?.shape).toMatchObject({ queryClass: 'write', kinds: ['prepare', 'delete'] });
    const effect = facts?.effect;
    if (effect?.type !== 'prepare') throw new Error('no prepare');
    expect(effect.inner).toMatchObject({
      text: '/* x */ delete from t where a = $1;',
      shape: { kinds: ['delete'], tables: ['t'] },
    });
    expect(effect.inner.shape).toEqual(shapeOf(read(newCache(), 'delete from t where a = $1')));
  });
});

test('messages without a text of their own are unknown, with their reason', () => {
  expect(FUNCTION_CALL_FACTS.shape).toMatchObject({
    queryClass: 'unknown',
    unparsed: 'function_call',
    kinds: ['function_call'],
  });
  expect(NOT_PREPARED_FACTS.shape).toMatchObject({ queryClass: 'unknown', unparsed: 'not_prepared', kinds: [] });
});

test('a long text that comes while the parser is worn is read when that has been replaced', async () => {
  const cache = newCache();
  const traps = Array.from({ length: 5 }, (_, index) => `select ${index}${' union all select 1'.repeat(20_000)}`);
  for (const trap of traps) expect(read(cache, trap)[0]?.shape.unparsed).toBe('too_deep');
  const long = (id: number): string => `delete from t where id in (${'1, '.repeat(5_000)}${id})`;
  const several = `${long(1)}; select 1`;
  for (const text of [long(1), several]) expect(read(cache, text)[0]?.shape.unparsed).toBe('too_deep');
  const before = parserStats().replacements;
  await expect.poll(() => parserStats().replacements, { timeout: 10_000 }).toBeGreaterThan(before);
  for (const text of [long(1), long(2), several]) expect(read(cache, text)[0]?.shape.kinds).toEqual(['delete']);
});
