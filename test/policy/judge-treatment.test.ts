// Whether a swap changes what happens to a statement: told to whoever posts rules.

import { expect, test } from 'vitest';
import { loadRuleset } from '../../src/policy/compile.ts';
import { isSameTreatment } from '../../src/policy/verdict.ts';
import { FactsCache } from '../../src/sql/facts-cache.ts';
import { loadParser } from '../../src/sql/parse.ts';

const subject = { user: 'u', database: 'd', applicationName: 'a', clientIp: '127.0.0.1' };

async function judge(rules: string) {
  await loadParser();
  const facts = new FactsCache({ maxEntries: 10, maxBytes: 10_000, maxAnalyzedBytes: 10_000 });
  const ruleset = loadRuleset(`traffic_control:\n  rules: [${rules}]`, 'test', { epoch: 1 });
  return ruleset.viewFor(subject).judge(facts.read('delete from t', 'UTF8', true), false);
}

test('rules that only count treat a statement as no rules do', async () => {
  const counting = await judge('{name: r, mode: observe, match: {missing_where: true}, action: deny}');
  expect(isSameTreatment(await judge(''), counting)).toBe(true);
});

test.each([
  ['a refusal', '{name: r, match: {missing_where: true}, action: deny}'],
  ['a kill', '{name: r, action: kill_after_ms, timeout_ms: 5}'],
  ['a route', '{name: r, action: route, target: replica}'],
  ['a limit', '{name: r, action: rate_limit, rate_per_sec: 5}'],
])('%s is another treatment', async (_name, rule) => {
  expect(isSameTreatment(await judge(''), await judge(rule))).toBe(false);
});
