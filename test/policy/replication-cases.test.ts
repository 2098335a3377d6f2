// Rule cases on replication connections: what a rule on class, kind or database does there, and what it does not elsewhere.

import { beforeAll, expect, test } from 'vitest';
import { parseCases, runCases } from '../../src/policy/cases.ts';
import { loadRuleset } from '../../src/policy/compile.ts';
import { FactsCache } from '../../src/sql/facts-cache.ts';
import { loadParser } from '../../src/sql/parse.ts';

beforeAll(loadParser);

const RULES = `traffic_control:
  default_action: deny
  on_unparsed: deny
  rules:
    - { name: no_backups, priority: 3, match: { statement: [base_backup, upload_manifest] }, action: deny }
    - { name: standbys, priority: 2, match: { query_class: replication, database: replication, user: standby }, action: allow }
    - { name: reads, priority: 1, match: { query_class: read }, action: allow }
`;

const CASES = `defaults: { user: standby }
cases:
  - { sql: IDENTIFY_SYSTEM, replication: physical, expect: { action: allow, rule: standbys } }
  - { sql: START_REPLICATION 0/3000000, replication: physical, expect: { action: allow, rule: standbys } }
  - { sql: START_REPLICATION 0/3000000, replication: physical, user: app, expect: { action: deny, rule: default_action } }
  - { sql: BASE_BACKUP, replication: physical, expect: { action: deny, rule: no_backups } }
  - { sql: IDENTIFY_SYSTEM, replication: logical, expect: { action: deny, rule: default_action } }
  - { sql: IDENTIFY_SYSTEM, expect: { action: deny, rule: on_unparsed } }
  - { sql: BASE_BACKUP, replication: none, expect: { action: deny, rule: on_unparsed } }
  - { sql: SHOW wal_level, replication: physical, expect: { action: allow, rule: reads } }
  - { sql: SELECT 1, replication: logical, expect: { action: allow, rule: reads } }
`;

test('a replication command is one on a replication connection alone, whatever its mode', () => {
  const facts = new FactsCache({ maxEntries: 100, maxBytes: 1 << 22, maxAnalyzedBytes: 1 << 20 });
  const results = runCases(parseCases(CASES, 'cases'), loadRuleset(RULES, 'rules', { epoch: 1 }), facts);
  expect(results.filter((result) => !result.isPassed).map(({ name, complaints }) => ({ name, complaints }))).toEqual(
    [],
  );
  expect(results).toHaveLength(9);
});

test('a case with a mode that there is not is refused', () => {
  expect(() => parseCases(CASES.replace('replication: none', 'replication: maybe'), 'cases')).toThrow('replication');
});
