// The rule documents that users start from do what their cases say, and have nothing that lint would complain about.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { parseCases, runCases } from '../../src/policy/cases.ts';
import { loadRuleset } from '../../src/policy/compile.ts';
import { findLint } from '../../src/policy/lint.ts';
import { FactsCache } from '../../src/sql/facts-cache.ts';
import { loadParser } from '../../src/sql/parse.ts';

const folder = join(import.meta.dirname, '../../rules');
const read = (path: string): string => readFileSync(path, 'utf8');
const documents = readdirSync(folder).filter((name) => name.endsWith('.yaml'));

beforeAll(loadParser);

test('every rule document has cases', () => {
  const cases = readdirSync(join(folder, 'tests'));
  expect(documents.length).toBeGreaterThanOrEqual(4);
  expect(documents.filter((name) => !cases.includes(name))).toEqual([]);
});

describe.each(documents)('%s', (name) => {
  const casesPath = join(folder, 'tests', name);
  const facts = new FactsCache({ maxEntries: 1_000, maxBytes: 16_000_000, maxAnalyzedBytes: 1_000_000 });

  test('does what its cases say', () => {
    const document = parseCases(read(casesPath), name);
    expect(document.rules).toBe(`../${name}`);
    const ruleset = loadRuleset(read(join(dirname(casesPath), document.rules ?? '')), name, { epoch: 1 });
    const failed = runCases(document, ruleset, facts).filter((result) => !result.isPassed);
    expect(
      failed.map((result) => `${result.source}:${result.line} ${result.name}: ${result.complaints.join('; ')}`),
    ).toEqual([]);
  });

  test('has a case that names each rule', () => {
    const ruleset = loadRuleset(read(join(folder, name)), name, { epoch: 1 });
    const named = parseCases(read(casesPath), name).cases.flatMap((entry) =>
      [entry.expect.rule, entry.expect.observed].flat(),
    );
    expect(ruleset.rules.map((rule) => rule.name).filter((rule) => !named.includes(rule))).toEqual([]);
  });

  test('has the schema named for editors and no lint', () => {
    expect(read(join(folder, name)).split('\n')[0]).toBe(
      '# yaml-language-server: $schema=../schemas/rules.schema.json',
    );
    const lint = findLint(loadRuleset(read(join(folder, name)), name, { epoch: 1 }));
    // The example came from elsewhere and must load unchanged; its DELETE pattern is what lint warns of.
    const isExcused = (line: string): boolean => name === 'example.yaml' && line.includes('block_unbounded_delete');
    expect(lint.filter((line) => !isExcused(line))).toEqual([]);
  });

  test('fails a case that expects the opposite', () => {
    const text = read(casesPath);
    const ruleset = loadRuleset(read(join(folder, name)), name, { epoch: 1 });
    const inverted = parseCases(
      text
        .replaceAll('action: allow', 'action: DENY')
        .replaceAll('action: deny', 'action: allow')
        .replaceAll('action: DENY', 'action: deny'),
      name,
    );
    const judged = inverted.cases.map((entry) => entry.expect.action === 'allow' || entry.expect.action === 'deny');
    const results = runCases(inverted, ruleset, facts);
    expect(results.filter((result, index) => judged[index] === true && result.isPassed)).toEqual([]);
  });
});
