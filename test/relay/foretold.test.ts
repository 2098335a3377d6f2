// What `pgweir test` and `pgweir explain` say of a text is what the running pgweir does with it.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { openFacts } from '../../src/cli/sources.ts';
import { parseCases, runCases } from '../../src/policy/cases.ts';
import { loadRuleset } from '../../src/policy/compile.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { readFields } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

const RULES = `
traffic_control:
  on_unparsed: deny
  rules:
    - { name: deletes, match: { fingerprint_regex: '(?i)^delete' }, action: deny }
    - { name: inside, match: { functions: [version], in_transaction: false }, action: deny }
    - { name: outside, match: { functions: [now], in_transaction: true }, action: deny }
`;
const postgres = sharedPostgres();
let weir: TestWeir;

beforeAll(async () => {
  weir = await startTestWeir({ postgres, rules: RULES });
});
afterAll(() => weir.stop());

test.each([
  ['PREPARE foretold AS DELETE FROM pg_class', 'deletes'],
  ['EXPLAIN DELETE FROM pg_class', undefined],
  ['PREPARE foretold AS SELECT 1; EXECUTE foretold', undefined],
  ['EXECUTE foretold', 'on_unparsed'],
  ['FETCH foretold', 'on_unparsed'],
  ['SELECT version()', 'inside'],
  ['SELECT 1; SELECT version()', undefined],
  ['SELECT now()', undefined],
  ['SELECT 1; SELECT now()', 'outside'],
])('%s', async (sql, rule) => {
  const client = await WireClient.login(weir);
  const error = (await client.query(sql)).find(({ type }) => type === 'E');
  await client.end();
  const { D: detail } = error === undefined ? {} : readFields(error.body);
  expect(detail === undefined ? undefined : JSON.parse(detail).rule).toBe(rule);
  const expected = rule === undefined ? { action: 'allow' } : { action: 'deny', rule };
  const document = parseCases(JSON.stringify({ cases: [{ sql, expect: expected }] }), 'cases');
  const [result] = runCases(document, loadRuleset(RULES, 'rules', { epoch: 1 }), await openFacts());
  expect(result?.complaints).toEqual([]);
});
