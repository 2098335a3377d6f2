// The pool section: what it becomes, and which pools are refused at the start.

import { expect, test } from 'vitest';
import { loadSettings } from '../../src/config/load.ts';
import { problemsOf } from './problems-of.ts';

test('a pool section is read key by key', () => {
  const text = `auth: { mode: trust }
pool:
  mode: transaction
  size: 8
  min_idle: 2
  reserve_size: 3
  reserve_after_ms: 4
  max_per_database: 50
  max_per_user: 60
  max_per_target: null
  query_wait_ms: 7000
  server_lifetime_ms: 8000
  server_idle_ms: 9000
  idle_in_transaction_ms: 10000
  login_retry_ms: 11000
  max_prepared_statements: 12
  sequences: discard
  logins: own
  affinity: avoid
`;
  expect(loadSettings({ text }).pool).toEqual({
    mode: 'transaction',
    size: 8,
    minIdle: 2,
    reserveSize: 3,
    reserveAfterMs: 4,
    maxPerDatabase: 50,
    maxPerUser: 60,
    maxPerTarget: null,
    queryWaitMs: 7_000,
    serverLifetimeMs: 8_000,
    serverIdleMs: 9_000,
    idleInTransactionMs: 10_000,
    loginRetryMs: 11_000,
    maxPreparedStatements: 12,
    sequences: 'discard',
    logins: 'own',
    affinity: 'avoid',
  });
});

test('the pool is set by variables and flags too, an empty variable takes a limit away', () => {
  const environment = {
    PGWEIR_AUTH_MODE: 'trust',
    PGWEIR_POOL_MODE: 'transaction',
    PGWEIR_POOL_MAX_PER_TARGET: '',
    PGWEIR_POOL_MAX_PER_USER: '9',
  };
  const text = 'pool: { size: 3, max_per_target: 5 }\n';
  const { pool } = loadSettings({ text, environment, overrides: { 'pool.size': '4' } });
  expect([pool.mode, pool.size, pool.maxPerTarget, pool.maxPerUser]).toEqual(['transaction', 4, null, 9]);
});

test.each(['trust', 'scram', 'md5'])('transaction goes with %s', (mode) => {
  const text = `auth: { mode: ${mode}${mode === 'trust' ? '' : ', query: { user: asker }'} }\npool: { mode: transaction }\n`;
  expect(loadSettings({ text }).pool.mode).toBe('transaction');
});

test('transaction does not go with passthrough, the default of auth.mode; session does', () => {
  const refusal =
    "pool.mode transaction does not go with auth.mode passthrough: a client's own login is relayed once and cannot be repeated for another server connection; set auth.mode to scram, md5, certificate or trust";
  expect(problemsOf({ text: 'log: { level: warn }\npool:\n  size: 5\n  mode: transaction\n' })).toEqual([
    `settings:4:9 ${refusal}`,
  ]);
  expect(problemsOf({ environment: { PGWEIR_POOL_MODE: 'transaction' } })).toEqual([`PGWEIR_POOL_MODE:1:1 ${refusal}`]);
  expect(problemsOf({ text: 'auth: { mode: passthrough }\npool: { mode: session }\n' })).toEqual([]);
});

test.each<[string, string, string]>([
  ['more idle than there may be', '{ size: 2, min_idle: 3 }', 'settings:1:28 pool.min_idle 3 is above pool.size (2)'],
  ['no connection at all', '{ size: 0 }', '1:15 pool.size must be >= 1'],
  ['no connection to a database', '{ max_per_database: 0 }', 'pool.max_per_database must be >= 1'],
  ['no connection of a user', '{ max_per_user: 0 }', 'pool.max_per_user must be >= 1'],
  ['less than none to a target', '{ max_per_target: -1 }', 'pool.max_per_target must be >= 1'],
  [
    'a limit that one idle pool passes',
    '{ min_idle: 4, max_per_user: 3 }',
    'pool.max_per_user 3 is below pool.min_idle (4)',
  ],
  [
    'a reserve that comes too late',
    '{ reserve_size: 1, query_wait_ms: 500 }',
    'pool.reserve_after_ms 5000 is not below pool.query_wait_ms (500)',
  ],
  ['a wait without an end', '{ query_wait_ms: 0 }', 'pool.query_wait_ms must be >= 1'],
  ["PgBouncer's third mode", '{ mode: statement }', 'pool.mode "statement" is not one of session, transaction'],
  ['a limit as a word', '{ max_per_user: many }', 'pool.max_per_user must be a whole number or null'],
  ["PgBouncer's name", '{ default_pool_size: 5 }', 'pool.default_pool_size unknown key "default_pool_size"'],
])('%s is refused with its place', (_name, pool, expected) => {
  expect(problemsOf({ text: `pool: ${pool}\n` }).join('\n')).toContain(expected);
});

test('limits at the edge are taken', () => {
  const text =
    'pool: { size: 3, min_idle: 3, max_per_user: 3, max_per_target: 3, reserve_size: 1, reserve_after_ms: 4999, query_wait_ms: 5000 }\n';
  expect(problemsOf({ text })).toEqual([]);
  expect(problemsOf({ text: 'pool: { query_wait_ms: 500 }\n' })).toEqual([]);
});
