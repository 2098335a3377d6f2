// What pgweir knows of a user's password: from the users file, and else from the database by auth.query, kept for a short
// while. A user who does not exist is kept too, so that both kinds cost the same.

import {
  makeMockVerifier,
  makeScramVerifier,
  parseVerifier,
  type ScramVerifier,
  type Verifier,
} from '../auth/verifier.ts';
import type { Clock } from '../base/clock.ts';
import { WeirError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { keepMockKey } from '../config/mock-key.ts';
import type { Secrets } from '../config/secrets.ts';
import type { Settings } from '../config/settings.ts';
import { askForVerifier } from './auth-query.ts';
import type { SessionPool } from './pool.ts';

/** Connections for auth.query at one time; who comes then waits. */
const MAX_QUERIES = 8;

interface Entry {
  readonly verifier: Verifier | null;
  readonly expiresAtMs: number;
}

export class UserLookup {
  readonly #settings: Settings;
  readonly #secrets: Secrets;
  readonly #pool: SessionPool;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #kept = new Map<string, Entry>();
  readonly #asked = new Map<string, Promise<Verifier | null>>();
  /** Verifiers of bare passwords, made when first used. */
  readonly #made = new WeakMap<Verifier, Promise<ScramVerifier>>();
  readonly #mockKey: Buffer;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(settings: Settings, secrets: Secrets, pool: SessionPool, clock: Clock, log: Log) {
    this.#settings = settings;
    this.#mockKey = keepMockKey(settings, log);
    this.#secrets = secrets;
    this.#pool = pool;
    this.#clock = clock;
    this.#log = log;
  }

  /** Null: no such user, no password, or an expired one. Throws WeirError where the database cannot be asked. */
  async find(user: string): Promise<Verifier | null> {
    const listed = this.#secrets.listedUser(user);
    if (listed !== undefined) return listed;
    if (this.#settings.auth.query === null) return null;
    const kept = this.#kept.get(user);
    if (kept !== undefined && this.#clock.monotonicMs() < kept.expiresAtMs) return kept.verifier;
    let asked = this.#asked.get(user);
    if (asked === undefined) {
      asked = this.#ask(user).finally(() => this.#asked.delete(user));
      this.#asked.set(user, asked);
    }
    return asked;
  }

  /** It did not fit: it may have been changed since it was read. */
  forget(user: string): void {
    this.#kept.delete(user);
  }

  /** The SCRAM verifier of a bare password. */
  scramOf(verifier: Verifier & { readonly type: 'plain' }): Promise<ScramVerifier> {
    let made = this.#made.get(verifier);
    if (made === undefined) {
      made = makeScramVerifier(verifier.password);
      this.#made.set(verifier, made);
    }
    return made;
  }

  /** Shown for a user who has none: the same each time, so that nobody can tell who exists. */
  mockOf(user: string): ScramVerifier {
    return makeMockVerifier(user, this.#mockKey);
  }

  async #ask(user: string): Promise<Verifier | null> {
    const { query } = this.#settings.auth;
    if (query === null) return null;
    while (this.#running >= MAX_QUERIES) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running++;
    try {
      const request = {
        pool: this.#pool,
        endpoint: this.#settings.targets.primary,
        query,
        secret: this.#secrets.credentialFor(query.user),
        timeoutMs: this.#settings.limits.loginTimeoutMs,
      };
      const text = await askForVerifier(request, user);
      const verifier = text === null || text === '' ? null : parseVerifier(text);
      if (verifier === null && text) this.#log.error({ user }, 'auth.query gave a SCRAM verifier that is not complete');
      this.#keep(user, verifier, query.cacheMs, query.maxCachedUsers);
      return verifier;
    } catch (error) {
      // Why it failed is the operator's business; whoever asks without a proof hears only that it did.
      if (!(error instanceof WeirError) || error.code !== 'auth_query_failed') throw error;
      this.#log.error({ reason: error.detail }, 'auth.query failed');
      throw new WeirError('auth_query_failed');
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  #keep(user: string, verifier: Verifier | null, cacheMs: number, maxUsers: number): void {
    if (cacheMs === 0) return;
    this.#kept.delete(user);
    if (this.#kept.size >= maxUsers) {
      const [oldest] = this.#kept.keys();
      if (oldest !== undefined) this.#kept.delete(oldest);
    }
    this.#kept.set(user, { verifier, expiresAtMs: this.#clock.monotonicMs() + cacheMs });
  }
}
