// The corpus of evasions and look-alikes: what each text really is.

import { beforeAll, expect, test } from 'vitest';
import { QUERY_CLASSES, type QueryClass, type TextFacts } from '../../src/sql/facts.ts';
import { FactsCache } from '../../src/sql/facts-cache.ts';
import { loadParser } from '../../src/sql/parse.ts';
import { STATEMENT_KINDS } from '../../src/sql/statement-kinds.ts';
import { CORPUS, EMPTY_TEXTS } from './corpus.ts';

beforeAll(loadParser);

const STRENGTH: readonly QueryClass[] = [
  'read',
  'utility',
  'transaction',
  'session',
  'copy',
  'unknown',
  'write',
  'ddl',
];

function read(text: string): TextFacts {
  const cache = new FactsCache({ maxEntries: 100, maxBytes: 1 << 22, maxAnalyzedBytes: 1 << 20 });
  return cache.read(Buffer.from(text).toString('latin1'), 'UTF8', true);
}

test.each(CORPUS)('$class: $name', (expected) => {
  const facts = read(expected.sql);
  const shapes = facts.map((statement) => statement.shape);
  const strongest = shapes.map((shape) => STRENGTH.indexOf(shape.queryClass)).reduce((a, b) => Math.max(a, b), 0);
  const unparsed = shapes.map((shape) => shape.unparsed).find((reason) => reason !== null) ?? undefined;
  expect({ class: STRENGTH[strongest], unparsed }).toEqual({ class: expected.class, unparsed: expected.unparsed });
  const unique = (names: string[]): string[] => [...new Set(names)];
  if (expected.kinds !== undefined) expect(shapes.flatMap((shape) => [...shape.kinds])).toEqual(expected.kinds);
  if (expected.tables !== undefined) {
    const tables = unique(shapes.flatMap((shape) => [...shape.tables]));
    expect(tables.sort()).toEqual([...expected.tables].sort());
  }
  for (const name of expected.functions ?? []) expect(shapes.flatMap((shape) => [...shape.functions])).toContain(name);
  for (const name of expected.columns ?? []) expect(shapes.flatMap((shape) => [...shape.columns])).toContain(name);
  if (expected.isMissingWhere !== undefined) {
    expect(shapes.some((shape) => shape.isMissingWhere)).toBe(expected.isMissingWhere);
  }
  for (const kind of shapes.flatMap((shape) => [...shape.kinds])) expect(STATEMENT_KINDS).toContain(kind);
});

test('the corpus is large, its names are unique, and it has every class on both sides of the guardrail', () => {
  expect(CORPUS.length).toBeGreaterThanOrEqual(150);
  expect(new Set(CORPUS.map((one) => `${one.class} ${one.name}`)).size).toBe(CORPUS.length);
  // Commands of the replication protocol are no SQL: replication.test.ts has them.
  const ofSql = QUERY_CLASSES.filter((queryClass) => queryClass !== 'replication');
  expect(new Set(CORPUS.map((one) => one.class))).toEqual(new Set(ofSql));
  for (const one of CORPUS) expect(one.denied).toBe(['write', 'ddl', 'unknown'].includes(one.class));
});

test('a text without a statement has no facts', () => {
  for (const text of EMPTY_TEXTS) expect(read(text)).toEqual([]);
});

test('a text with a statement has facts, even an empty SELECT', () => {
  expect(read('select')).toHaveLength(1);
});
