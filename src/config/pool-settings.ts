// The pool section: into the form that the program uses, and what in it does not go together.

import type { DocumentProblem, ValuePath } from '../base/yaml-document.ts';
import type { RawPool, RawSettings } from './raw-settings.ts';
import type { PoolSettings } from './settings.ts';

type ProblemAt = (path: ValuePath, message: string) => DocumentProblem;

export function buildPoolSettings(raw: RawPool): PoolSettings {
  return {
    mode: raw.mode,
    size: raw.size,
    minIdle: raw.min_idle,
    reserveSize: raw.reserve_size,
    reserveAfterMs: raw.reserve_after_ms,
    maxPerDatabase: raw.max_per_database,
    maxPerUser: raw.max_per_user,
    maxPerTarget: raw.max_per_target,
    queryWaitMs: raw.query_wait_ms,
    serverLifetimeMs: raw.server_lifetime_ms,
    serverIdleMs: raw.server_idle_ms,
    idleInTransactionMs: raw.idle_in_transaction_ms,
    loginRetryMs: raw.login_retry_ms,
    maxPreparedStatements: raw.max_prepared_statements,
    sequences: raw.sequences,
    logins: raw.logins,
    affinity: raw.affinity,
  };
}

/** Every contradiction found; the numbers of mode session are checked too, so that switching over cannot uncover one. */
export function findPoolContradictions({ auth, pool }: RawSettings, problemAt: ProblemAt): DocumentProblem[] {
  const problems: DocumentProblem[] = [];
  const refuse = (key: keyof RawPool, message: string): void => {
    problems.push(problemAt(['pool', key], message));
  };
  if (pool.mode === 'transaction' && auth.mode === 'passthrough') {
    refuse(
      'mode',
      "transaction does not go with auth.mode passthrough: a client's own login is relayed once and cannot be repeated for another server connection; set auth.mode to scram, md5, certificate or trust",
    );
  }
  if (pool.min_idle > pool.size)
    refuse('min_idle', `${pool.min_idle} is above pool.size (${pool.size}), so it would never be reached`);
  for (const key of ['max_per_database', 'max_per_user', 'max_per_target'] as const) {
    const limit = pool[key];
    if (limit !== null && limit < pool.min_idle)
      refuse(key, `${limit} is below pool.min_idle (${pool.min_idle}): one pool alone would pass it`);
  }
  if (pool.reserve_size > 0 && pool.reserve_after_ms >= pool.query_wait_ms) {
    const message = `${pool.reserve_after_ms} is not below pool.query_wait_ms (${pool.query_wait_ms}): nobody waits long enough for the reserve`;
    refuse('reserve_after_ms', message);
  }
  return problems;
}
