// What is known of a database's definitions, and from when to when.

import { describe, expect, test } from 'vitest';
import { Catalog } from '../../src/pool/catalogs.ts';
import { makeKnowledge, NO_KNOWLEDGE } from '../../src/sql/catalog-knowledge.ts';
import { FactsCache } from '../../src/sql/facts-cache.ts';
import { loadParser } from '../../src/sql/parse.ts';

await loadParser();
const cache = new FactsCache({ maxEntries: 10, maxBytes: 1 << 20, maxAnalyzedBytes: 1 << 20 });

const KNOWN = makeKnowledge({
  relations: new Map(),
  drawing: new Set(),
  functions: new Map(),
  attributeFunctions: new Map(),
  operatorTraces: 0,
  definitionTraces: 0,
  hiddenTraces: 0,
  customSettings: ['app.old'],
  hasLoginTrigger: false,
  hasPlpgsql: true,
});

function change(catalog: Catalog, sql: string): void {
  const [statement] = cache.read(sql, 'UTF8', true);
  if (statement === undefined) throw new Error('no statement');
  catalog.beginChange();
  catalog.noteChange(statement);
}

describe('knowledge of the definitions', () => {
  test('is none before they were read, and then holds until it is old', () => {
    const catalog = new Catalog();
    expect([catalog.isUnknown, catalog.isWanted]).toEqual([true, true]);
    expect(catalog.knowledge).toBe(NO_KNOWLEDGE);
    catalog.learn(KNOWN, catalog.epoch, 0);
    catalog.expire(10_000);
    expect([catalog.knowledge, catalog.isWanted]).toEqual([KNOWN, false]);
    catalog.expire(10_001);
    expect([catalog.knowledge, catalog.isWanted]).toEqual([KNOWN, true]);
    catalog.expire(20_001);
    expect(catalog.knowledge).not.toBe(KNOWN);
  });

  test('that has grown old is read again at the next opportunity, though nobody waits; what is only due is not', () => {
    const catalog = new Catalog();
    catalog.learn(KNOWN, catalog.epoch, 0);
    catalog.expire(10_001);
    expect([catalog.isWanted, catalog.isOverdue]).toEqual([true, false]);
    catalog.expire(20_001);
    expect([catalog.isWanted, catalog.isOverdue]).toEqual([true, true]);
    catalog.learn(KNOWN, catalog.epoch, 20_001);
    expect([catalog.knowledge, catalog.isWanted, catalog.isOverdue]).toEqual([KNOWN, false, false]);
  });

  test('is in doubt from the statement that changes a definition to the next reading after it', () => {
    const catalog = new Catalog();
    catalog.learn(KNOWN, catalog.epoch, 0);
    const { epoch } = catalog;
    change(catalog, 'CREATE TABLE t (a int)');
    catalog.learn(KNOWN, epoch, 0);
    expect([catalog.knowledge === KNOWN, catalog.isWanted]).toEqual([false, false]);
    catalog.endChange();
    expect(catalog.isWanted).toBe(true);
    catalog.learn(KNOWN, catalog.epoch, 0);
    expect(catalog.knowledge).toBe(KNOWN);
  });

  test('has the custom settings of new definitions at once, and no others', () => {
    const catalog = new Catalog();
    catalog.learn(KNOWN, catalog.epoch, 0);
    change(catalog, "CREATE FUNCTION f() RETURNS text RETURN set_config('app.new', 'x', false)");
    expect([...catalog.customSettings].sort()).toEqual(['app.new', 'app.old']);
    catalog.endChange();
    catalog.learn(KNOWN, catalog.epoch, 0);
    expect([...catalog.customSettings]).toEqual(['app.old']);
  });

  test('that a server refuses is asked for again after a while, not at once', () => {
    const catalog = new Catalog();
    catalog.fail(0);
    expect([catalog.isUnknown, catalog.isWanted]).toEqual([true, false]);
    catalog.expire(10_000);
    expect(catalog.isWanted).toBe(false);
    catalog.expire(10_001);
    expect(catalog.isWanted).toBe(true);
  });
});
