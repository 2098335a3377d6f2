// Server connections, lent to sessions. Session mode: each lease is a connection of its own, opened for it and closed
// after it. Leases taken always equal leases returned plus leases held; the counters show it.

import type { Clock } from '../base/clock.ts';
import type { Endpoint } from '../config/settings.ts';
import type { ServerLine } from '../tls/connector.ts';
import { type LoginRequest, logIn, type Welcome } from './login.ts';
import { type Dialer, Lease } from './server-connection.ts';

/** For how long a target that did not serve is not tried again: at least, and at most. */
const MIN_REST_MS = 2_000;
const MAX_REST_MS = 60_000;
/** Between those, so many times as long as the last attempt took: where a target hangs, each attempt costs seconds. */
const REST_PER_COST = 6;

/** A target that did not serve when it was last tried. */
interface Trouble {
  restUntilMs: number;
  /** Logins that are under way to see whether it does again. */
  trials: number;
}

export interface PoolCounters {
  leasesTaken: number;
  leasesReturned: number;
  currentServerConnections: number;
}

export class SessionPool {
  readonly #counters: PoolCounters;
  readonly #held = new Map<Endpoint, number>();
  readonly #lastErrors = new Map<Endpoint, string>();
  readonly #troubles = new Map<Endpoint, Trouble>();
  /** How long the last login took that failed. */
  readonly #costsMs = new Map<Endpoint, number>();
  readonly #dialer: Dialer;
  readonly #clock: Clock;

  constructor(dialer: Dialer, counters: PoolCounters, clock: Clock) {
    this.#dialer = dialer;
    this.#counters = counters;
    this.#clock = clock;
  }

  held(endpoint: Endpoint): number {
    return this.#held.get(endpoint) ?? 0;
  }

  /** Why the last attempt to connect failed, or null when it did not. */
  lastError(endpoint: Endpoint): string | null {
    return this.#lastErrors.get(endpoint) ?? null;
  }

  /** It does not serve: for a while nobody need wait for it again to find that out. */
  rest(endpoint: Endpoint): void {
    const costMs = this.#costsMs.get(endpoint) ?? 0;
    const restMs = Math.min(Math.max(MIN_REST_MS, costMs * REST_PER_COST), MAX_REST_MS);
    const restUntilMs = this.#clock.monotonicMs() + restMs;
    const trouble = this.#troubles.get(endpoint);
    if (trouble === undefined) this.#troubles.set(endpoint, { restUntilMs, trials: 0 });
    else trouble.restUntilMs = restUntilMs;
  }

  /** After its rest one login tries it; all others need not wait for what comes of that. */
  isResting(endpoint: Endpoint, nowMs: number): boolean {
    const trouble = this.#troubles.get(endpoint);
    return trouble !== undefined && (nowMs < trouble.restUntilMs || trouble.trials > 0);
  }

  /** As `Dialer.cancel`, for a statement that runs on no lease of this pgweir. */
  cancel(endpoint: Endpoint, key: string): Promise<void> {
    return this.#dialer.cancel(endpoint, key);
  }

  /** The same for what runs on that lease, at the very address that it leads to. Resolves at once where the server gave no key. */
  async cancelOn({ endpoint, host, key }: Lease): Promise<void> {
    if (key !== null) await this.#dialer.cancel(endpoint, key, host);
  }

  /** A connection on which nothing has been said yet: the client's own login is relayed over it. */
  async open(endpoint: Endpoint): Promise<Lease> {
    let line: ServerLine;
    try {
      line = await this.#dialer.open(endpoint);
    } catch (error) {
      this.#lastErrors.set(endpoint, error instanceof Error ? error.message : String(error));
      throw error;
    }
    this.#lastErrors.delete(endpoint);
    this.#counters.leasesTaken++;
    this.#counters.currentServerConnections++;
    this.#held.set(endpoint, this.held(endpoint) + 1);
    return new Lease(line.socket, line.inlet, endpoint, line.transport, () => {
      this.#counters.leasesReturned++;
      this.#counters.currentServerConnections--;
      this.#held.set(endpoint, this.held(endpoint) - 1);
    });
  }

  /** A connection that is logged in and ready. Throws LoginRefused or WeirError. */
  async acquire(endpoint: Endpoint, login: LoginRequest): Promise<{ lease: Lease; welcome: Welcome }> {
    const startedMs = this.#clock.monotonicMs();
    const trouble = this.#troubles.get(endpoint);
    if (trouble !== undefined) trouble.trials++;
    try {
      const acquired = await this.#logIn(endpoint, login);
      this.#troubles.delete(endpoint);
      return acquired;
    } catch (error) {
      this.#costsMs.set(endpoint, this.#clock.monotonicMs() - startedMs);
      throw error;
    } finally {
      if (trouble !== undefined) trouble.trials--;
    }
  }

  async #logIn(endpoint: Endpoint, login: LoginRequest): Promise<{ lease: Lease; welcome: Welcome }> {
    const lease = await this.open(endpoint);
    try {
      const welcome = await logIn(lease, login);
      lease.key = welcome.key;
      return { lease, welcome };
    } catch (error) {
      lease.release();
      throw error;
    }
  }
}
