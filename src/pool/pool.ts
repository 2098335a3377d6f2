// Server connections, lent to sessions. Session mode: each lease is a connection of its own, opened for it and closed
// after it. Leases taken always equal leases returned plus leases held; the counters show it.

import type { Endpoint } from '../config/settings.ts';
import type { ServerLine } from '../tls/connector.ts';
import { type LoginRequest, logIn, type Welcome } from './login.ts';
import { type Dialer, Lease } from './server-connection.ts';

export interface PoolCounters {
  leasesTaken: number;
  leasesReturned: number;
  currentServerConnections: number;
}

export class SessionPool {
  readonly #counters: PoolCounters;
  readonly #held = new Map<Endpoint, number>();
  readonly #lastErrors = new Map<Endpoint, string>();
  readonly #restUntilMs = new Map<Endpoint, number>();
  readonly #dialer: Dialer;

  constructor(dialer: Dialer, counters: PoolCounters) {
    this.#dialer = dialer;
    this.#counters = counters;
  }

  held(endpoint: Endpoint): number {
    return this.#held.get(endpoint) ?? 0;
  }

  /** Why the last attempt to connect failed, or null when it did not. */
  lastError(endpoint: Endpoint): string | null {
    return this.#lastErrors.get(endpoint) ?? null;
  }

  /** It does not serve: until then nobody need wait for it again to find that out. */
  rest(endpoint: Endpoint, untilMs: number): void {
    this.#restUntilMs.set(endpoint, untilMs);
  }

  isResting(endpoint: Endpoint, nowMs: number): boolean {
    return nowMs < (this.#restUntilMs.get(endpoint) ?? 0);
  }

  /** As Dialer.cancel: on a line that is encrypted as the sessions' lines are. */
  cancel(endpoint: Endpoint, key: string): Promise<void> {
    return this.#dialer.cancel(endpoint, key);
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
