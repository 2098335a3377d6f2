// Room for server connections: the limit of each pool, and those that pools share on a target. Under a shared limit a pool
// that has less may take from one that has more, until they are even (max-min fairness).

import type { Clock } from '../base/clock.ts';
import type { PoolSettings } from '../config/settings.ts';
import type { Member } from './member.ts';
import type { ServerPool } from './server-pool.ts';

/** A connection that was not used for so long may be taken from any pool, whatever its share. */
const UNUSED_MS = 1_000;
/** Where there are more pools than connections, one that has none gets one in its turn, after so long. */
const TURN_MS = 500;

export class Shares<Side> {
  readonly #pools: ReadonlyMap<string, ServerPool<Side>>;
  readonly #clock: Clock;
  readonly #maxPerTarget: number;
  readonly #maxPerDatabase: number;
  readonly #maxPerUser: number;
  /** Pools share nothing: each has only its own limit. */
  readonly #isApart: boolean;

  constructor(pools: ReadonlyMap<string, ServerPool<Side>>, settings: PoolSettings, clock: Clock) {
    this.#pools = pools;
    this.#clock = clock;
    const [target, database, user] = [settings.maxPerTarget, settings.maxPerDatabase, settings.maxPerUser];
    this.#maxPerTarget = target ?? Number.POSITIVE_INFINITY;
    this.#maxPerDatabase = database ?? Number.POSITIVE_INFINITY;
    this.#maxPerUser = user ?? Number.POSITIVE_INFINITY;
    this.#isApart = target === null && database === null && user === null;
  }

  /** One more connection may be opened. */
  hasRoom(pool: ServerPool<Side>): boolean {
    if (pool.size >= pool.limit(this.#clock)) return false;
    if (this.#isApart) return true;
    let [onTarget, inDatabase, ofUser] = [0, 0, 0];
    for (const other of this.#pools.values()) {
      if (other.endpoint !== pool.endpoint) continue;
      onTarget += other.size;
      if (other.database === pool.database) inDatabase += other.size;
      if (other.user === pool.user) ofUser += other.size;
    }
    return onTarget < this.#maxPerTarget && inDatabase < this.#maxPerDatabase && ofUser < this.#maxPerUser;
  }

  /** Pools with clients that wait for room which `pool` has left, the one with the smallest share first. */
  inTurn(pool: ServerPool<Side>): ServerPool<Side>[] {
    if (this.#isApart) return pool.waiters.size > 0 ? [pool] : [];
    return [pool, ...this.#rivalsOf(pool)]
      .filter(({ waiters }) => waiters.size > 0)
      .sort((left, right) => left.size - right.size || waitsSince(left) - waitsSince(right));
  }

  /** Somebody waits for room that this pool has more of than it should. */
  isRoomOwed(pool: ServerPool<Side>): boolean {
    if (this.#isApart) return false;
    const nowMs = this.#clock.monotonicMs();
    return this.#rivalsOf(pool).some(
      (other) =>
        other.waiters.first !== null &&
        // It is no help to whose login the server refuses.
        nowMs >= other.waiters.first.loginClass.backoff.untilMs &&
        !other.isPaused &&
        mayClaim(other, pool, nowMs) &&
        this.#isBelowOwnLimit(other) &&
        !this.hasRoom(other) &&
        !this.isRoomComing(other),
    );
  }

  /** The server is about to let go of a connection that takes room from this pool. */
  isRoomComing(pool: ServerPool<Side>): boolean {
    if (pool.closing > 0 || this.#isApart) return pool.closing > 0;
    return this.#rivalsOf(pool).some(({ closing }) => closing > 0);
  }

  /** A free connection elsewhere that could make room for this pool: of one that has more, or one that nobody has used lately. */
  findSpare(pool: ServerPool<Side>): Member<Side> | null {
    return this.#findAmongRivals(pool, (rival) => rival.findSpare());
  }

  /** The same of connections that clients only keep. */
  findReclaimable(pool: ServerPool<Side>): Member<Side> | null {
    const nowMs = this.#clock.monotonicMs();
    return this.#findAmongRivals(pool, (rival) => rival.findReclaimable(nowMs));
  }

  #findAmongRivals(
    pool: ServerPool<Side>,
    find: (rival: ServerPool<Side>) => Member<Side> | null,
  ): Member<Side> | null {
    if (this.#isApart || !this.#isBelowOwnLimit(pool)) return null;
    const nowMs = this.#clock.monotonicMs();
    for (const rival of this.#rivalsOf(pool).sort((left, right) => right.size - left.size)) {
      const member = find(rival);
      if (member !== null && (mayClaim(pool, rival, nowMs) || nowMs - member.idleSinceMs > UNUSED_MS)) return member;
    }
    return null;
  }

  #rivalsOf(pool: ServerPool<Side>): ServerPool<Side>[] {
    return [...this.#pools.values()].filter((other) => other !== pool && this.#sharesLimit(pool, other));
  }

  #isBelowOwnLimit(pool: ServerPool<Side>): boolean {
    return pool.size < pool.limit(this.#clock);
  }

  #sharesLimit(one: ServerPool<Side>, other: ServerPool<Side>): boolean {
    if (one.endpoint !== other.endpoint) return false;
    if (this.#maxPerTarget !== Number.POSITIVE_INFINITY) return true;
    if (this.#maxPerDatabase !== Number.POSITIVE_INFINITY && one.database === other.database) return true;
    return this.#maxPerUser !== Number.POSITIVE_INFINITY && one.user === other.user;
  }
}

/** Shares are more even with one less for `rich`; or it is `poor`'s turn. */
function mayClaim<Side>(poor: ServerPool<Side>, rich: ServerPool<Side>, nowMs: number): boolean {
  if (rich.size > poor.size + 1) return true;
  const since = waitsSince(poor);
  return poor.size === 0 && nowMs - since >= TURN_MS && since < waitsSince(rich);
}

function waitsSince<Side>({ waiters }: ServerPool<Side>): number {
  return waiters.first?.sinceMs ?? Number.POSITIVE_INFINITY;
}
