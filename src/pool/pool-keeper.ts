// What happens to shared server connections by the clock, and at an administrator's word.

import { setTimeout } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';
import { WeirError } from '../base/errors.ts';
import type { Member } from './member.ts';
import { covers } from './pauses.ts';
import type { PoolFilter, PoolSummary } from './pool-summary.ts';
import type { ServerPool } from './server-pool.ts';
import type { TransactionPool } from './transaction-pool.ts';

const TICK_MS = 50;
/** A client that was quiet for so long is asked what it has left on its connection, though nobody needs that. */
const LEISURE_MS = 100;
/** Longer than a server connection takes to be retired or given up. */
const STOP_MS = 10_000;
const STOP_LOOK_MS = 5;

export class PoolKeeper<Side> {
  readonly #pool: TransactionPool<Side>;
  readonly #clock: Clock;
  #timer: NodeJS.Timeout | null = null;
  /** Who waits for a pause to be complete. */
  readonly #pausing = new Set<{ readonly filter: PoolFilter; readonly resolve: () => void }>();

  constructor(pool: TransactionPool<Side>, clock: Clock) {
    this.#pool = pool;
    this.#clock = clock;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
  }

  /** Every client has gone: so do the server connections. Resolves when the servers have let go of them. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#pool.isStopping = true;
    for (const pool of this.#pool.pools.values())
      for (const member of pool.members) if (member.state === 'idle') this.#pool.close(member);
    const deadlineMs = this.#clock.monotonicMs() + STOP_MS;
    const isEmpty = (): boolean => [...this.#pool.pools.values()].every((pool) => pool.size === 0);
    while (!isEmpty() && this.#clock.monotonicMs() < deadlineMs) await setTimeout(STOP_LOOK_MS);
  }

  summarize(): PoolSummary[] {
    const nowMs = this.#clock.monotonicMs();
    return [...this.#pool.pools.values()].map((pool) => pool.summarize(nowMs));
  }

  /** Nothing is lent any more, of pools that come later neither. Resolves when nothing is, or at the resumption. */
  pause(filter: PoolFilter): Promise<void> {
    this.#pool.pauses.give(filter, true);
    for (const pool of this.#select(filter)) {
      pool.isPaused = true;
      for (const member of pool.members) if (member.isReclaimable) this.#pool.keep(member);
    }
    return new Promise((resolve) => {
      this.#pausing.add({ filter, resolve });
      this.#endPauses();
    });
  }

  resume(filter: PoolFilter): void {
    this.#pool.pauses.give(filter, false);
    for (const pause of this.#pausing) {
      if (!covers(filter, pause.filter)) continue;
      this.#pausing.delete(pause);
      pause.resolve();
    }
    for (const pool of this.#select(filter)) {
      pool.isPaused = false;
      this.#pool.dispatch(pool);
    }
  }

  /** Every server connection is replaced, as soon as nobody uses it. */
  reconnect(filter: PoolFilter): void {
    const pools = this.#select(filter);
    this.#pool.renewLoginsOf(pools);
    for (const pool of pools) for (const member of pool.members) this.#retire(member);
  }

  /** It is replaced as soon as nobody uses it. */
  #retire(member: Member<Side>): void {
    member.isRetiring = true;
    if (member.state === 'idle') this.#pool.close(member);
    else if (member.isReclaimable) this.#pool.keep(member);
  }

  #select(filter: PoolFilter): ServerPool<Side>[] {
    return [...this.#pool.pools.values()].filter((pool) => covers(filter, pool));
  }

  #tick(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#pool.catalogs.expire(nowMs);
    for (const [key, pool] of this.#pool.pools) {
      if (!pool.isBackingOff(nowMs)) this.#pool.forget(key);
      this.#endWaits(pool, nowMs);
      // A reserve that has opened, a retry that is due, a pinned connection that may be asked again.
      if (pool.waiters.size > 0) this.#pool.dispatch(pool);
      for (const member of pool.members) this.#look(member, nowMs);
      this.#keepSpares(pool, nowMs);
    }
    this.#endPauses();
  }

  #endWaits(pool: ServerPool<Side>, nowMs: number): void {
    for (let waiter = pool.waiters.first; waiter !== null; waiter = pool.waiters.first) {
      if (nowMs - waiter.sinceMs < this.#pool.settings.queryWaitMs) return;
      this.#pool.abandon(waiter);
      pool.ledger.waitTimeouts++;
      waiter.refuse(new WeirError('pool_exhausted'));
    }
  }

  #look(member: Member<Side>, nowMs: number): void {
    member.guest?.checkIdle(nowMs);
    // What a client keeps is asked for at leisure: then it is safe, whatever becomes of the connection.
    if (member.isReclaimable && nowMs - member.idleSinceMs >= LEISURE_MS && nowMs >= member.askAgainAtMs)
      this.#pool.reclaim(member);
    const { serverIdleMs, serverLifetimeMs, minIdle } = this.#pool.settings;
    if (!member.isRetiring && nowMs - member.openedAtMs > serverLifetimeMs) this.#retire(member);
    if (member.state !== 'idle') return;
    if (nowMs - member.idleSinceMs > serverIdleMs && member.loginClass.pool.members.size > minIdle)
      this.#pool.close(member);
  }

  #keepSpares(pool: ServerPool<Side>, nowMs: number): void {
    if (pool.size >= this.#pool.settings.minIdle || pool.isPaused) return;
    const loginClass = pool.newestClass();
    if (loginClass !== null && !loginClass.isBackingOff(nowMs)) this.#pool.openSpare(loginClass);
  }

  #endPauses(): void {
    for (const pause of this.#pausing) {
      const isBusy = (pool: ServerPool<Side>): boolean => pool.ledger.held > 0 || pool.opening > 0;
      if (this.#select(pause.filter).some((pool) => pool.isPaused && isBusy(pool))) continue;
      this.#pausing.delete(pause);
      pause.resolve();
    }
  }
}
