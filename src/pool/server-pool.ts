// The server connections that one user has in one database of one target, and who waits for them.

import type { LoginSecret } from '../auth/verifier.ts';
import type { Clock } from '../base/clock.ts';
import type { Endpoint, PoolSettings } from '../config/settings.ts';
import { NO_BELONGINGS } from '../session/belongings.ts';
import { Backoff } from './backoff.ts';
import type { Catalog } from './catalogs.ts';
import type { Guest } from './guest.ts';
import { isTainted, makeHandover } from './handover.ts';
import { Ledger } from './ledger.ts';
import { classKeyOf, LoginClass } from './login-class.ts';
import type { Member } from './member.ts';
import type { PoolSummary } from './pool-summary.ts';
import type { Waiter } from './waiter.ts';
import { WaitingLine } from './waiting-line.ts';

export class ServerPool<Side> {
  readonly endpoint: Endpoint;
  readonly database: string;
  readonly user: string;
  readonly catalog: Catalog;
  readonly ledger = new Ledger();
  readonly members = new Set<Member<Side>>();
  /** In the order in which they came. */
  readonly waiters = new WaitingLine<Waiter<Side>>();
  /** Connections that are being opened, or that the server has not let go of yet. */
  opening = 0;
  closing = 0;
  isPaused = false;
  /** Raised when what a login depends on has changed; counted over all pools, for a client has one number for all of them. */
  generation: number;
  lastError: string | null = null;
  /** After logins that failed for a reason that is not their class's own. */
  readonly backoff = new Backoff();
  readonly #settings: PoolSettings;
  readonly #classes = new Map<string, LoginClass<Side>>();

  constructor(
    endpoint: Endpoint,
    database: string,
    user: string,
    catalog: Catalog,
    settings: PoolSettings,
    generation: number,
  ) {
    this.endpoint = endpoint;
    this.database = database;
    this.user = user;
    this.catalog = catalog;
    this.#settings = settings;
    this.generation = generation;
  }

  /** Server connections that it has, or will have in a moment. */
  get size(): number {
    return this.members.size + this.opening + this.closing;
  }

  /** Clients, or connections, are of one of its classes. */
  get hasClients(): boolean {
    for (const { users } of this.#classes.values()) if (users > 0) return true;
    return false;
  }

  /** A client is in it, whether it has a connection or not. */
  get hasGuests(): boolean {
    let users = 0;
    for (const loginClass of this.#classes.values()) users += loginClass.users;
    return users > this.members.size;
  }

  /** How many connections it may have now. The reserve counts once somebody has waited for `reserveAfterMs`. */
  limit(clock: Clock): number {
    const { size, reserveSize, reserveAfterMs } = this.#settings;
    const waiter = reserveSize > 0 ? this.waiters.first : null;
    return waiter !== null && clock.monotonicMs() - waiter.sinceMs >= reserveAfterMs ? size + reserveSize : size;
  }

  classOf(
    minor: number,
    parameters: ReadonlyMap<string, string>,
    startup: Buffer,
    secret: LoginSecret,
  ): LoginClass<Side> {
    const key = classKeyOf(minor, parameters);
    let loginClass = this.#classes.get(key);
    if (loginClass === undefined) {
      for (const [other, { users }] of this.#classes) if (users === 0) this.#classes.delete(other);
      loginClass = new LoginClass(key, this, startup, secret);
      this.#classes.set(key, loginClass);
    }
    loginClass.useSecret(secret);
    loginClass.users++;
    return loginClass;
  }

  /** The class of the connection that was opened last. */
  newestClass(): LoginClass<Side> | null {
    let newest: LoginClass<Side> | null = null;
    for (const { loginClass } of this.members) newest = loginClass;
    return newest;
  }

  renewLogins(generation: number): void {
    this.generation = generation;
    for (const loginClass of this.#classes.values()) {
      loginClass.welcome = null;
      loginClass.defaultName = null;
    }
  }

  /** There is a free connection that no client comes back to. */
  get hasHomeless(): boolean {
    for (const { state, home } of this.members) if (state === 'idle' && home === null) return true;
    return false;
  }

  /** There are connections of its class, free or not. */
  serves(loginClass: LoginClass<Side>, generation: number): boolean {
    for (const member of this.members) if (isOf(member, loginClass, generation)) return true;
    return false;
  }

  /** A connection of its class that is free and that no client comes back to. */
  findHomeless(loginClass: LoginClass<Side>, generation: number): Member<Side> | null {
    for (const member of this.members) {
      const isFree = member.state === 'idle' && member.home === null && isOf(member, loginClass, generation);
      if (isFree && !member.isSpoiled && !isTainted(member.belongings, NO_BELONGINGS)) return member;
    }
    return null;
  }

  /**
   * The free connection that costs least to make ready: the client's own, then one that carries the same, then one that
   * nobody comes back to, then the one that has been idle longest. `mayTakeHomes`: another client's own one, too.
   */
  pick(guest: Guest<Side>, loginClass: LoginClass<Side>, mayTakeHomes: boolean): Member<Side> | null {
    let best: Member<Side> | null = null;
    let bestScore = -1;
    const isRotating = this.#settings.affinity === 'avoid';
    for (const member of this.members) {
      if (member.state !== 'idle' || !isOf(member, loginClass, guest.generation)) continue;
      const isOwn = member.home === guest;
      if (!isOwn && (member.isSpoiled || (member.home !== null && !mayTakeHomes))) continue;
      if (member.belongings !== guest.belongings && isTainted(member.belongings, guest.belongings)) continue;
      let score = 0;
      if (isOwn) score = isRotating ? 0 : 8;
      else score = 1 + (carriesSame(member, guest) ? 4 : 0) + (member.home === null ? 2 : 0);
      if (score > bestScore || (score === bestScore && member.idleSinceMs < (best?.idleSinceMs ?? 0))) {
        best = member;
        bestScore = score;
      }
    }
    return best;
  }

  /** A free connection to close for room, of no use to who waits: first one that nobody comes back to, then the longest idle. */
  findSpare(): Member<Side> | null {
    let best: Member<Side> | null = null;
    for (const member of this.members) {
      if (member.state !== 'idle') continue;
      const isBetter = best === null || (best.home !== null && member.home === null) || isIdler(member, best);
      if (isBetter) best = member;
    }
    return best;
  }

  /** A connection that its client keeps only until somebody needs it. */
  findReclaimable(nowMs: number): Member<Side> | null {
    let best: Member<Side> | null = null;
    for (const member of this.members) {
      if (!member.isReclaimable || member.askAgainAtMs > nowMs) continue;
      if (best === null || member.idleSinceMs < best.idleSinceMs) best = member;
    }
    return best;
  }

  /** A login of some class may be tried again only later. */
  isBackingOff(nowMs: number): boolean {
    if (nowMs < this.backoff.untilMs) return true;
    for (const { backoff } of this.#classes.values()) if (nowMs < backoff.untilMs) return true;
    return false;
  }

  summarize(nowMs: number): PoolSummary {
    const { ledger } = this;
    const connections = { idle: 0, active: 0, reclaimable: 0, pinned: 0, opening: this.opening };
    for (const { state, isReclaimable, pins } of this.members) {
      if (state === 'idle') connections.idle++;
      else if (pins !== 0) connections.pinned++;
      else if (isReclaimable) connections.reclaimable++;
      else connections.active++;
    }
    const waiter = this.waiters.first;
    return {
      target: this.endpoint.name,
      database: this.database,
      user: this.user,
      isPaused: this.isPaused,
      limit: this.#settings.size,
      connections,
      waiting: this.waiters.size,
      longestWaitMs: waiter === null ? 0 : Math.round(nowMs - waiter.sinceMs),
      acquires: ledger.acquires,
      releases: ledger.releases,
      held: ledger.held,
      handovers: ledger.handovers,
      settlements: ledger.settlements,
      opened: ledger.opened,
      closed: ledger.closed,
      waitTimeouts: ledger.waitTimeouts,
      statements: { shared: ledger.sharedStatements, pinned: ledger.pinnedStatements },
      pins: ledger.pins(nowMs),
      lastError: this.lastError,
    };
  }
}

/** What has to be said on a connection before that client may use it; null: nothing. */
export function handoverText<Side>(member: Member<Side>, guest: Guest<Side>): string | null {
  const texts: string[] = [];
  const isOwn = member.home === guest;
  const isThorough = member.ranHidden && !isOwn;
  const change = makeHandover(member.belongings, guest.belongings, isThorough);
  if (change !== null) texts.push(change);
  if (member.hasDrawn && !isOwn) texts.push('DISCARD SEQUENCES');
  const name = isThorough ? member.startupName : member.applicationName;
  if (name !== guest.applicationName) texts.push(nameText(guest.applicationName));
  return texts.length === 0 ? null : texts.join('; ');
}

/** True where `handoverText` would be null, for a connection that `pick` has found: cheaper than putting that text together. */
export function needsNothing<Side>(member: Member<Side>, guest: Guest<Side>): boolean {
  return carriesSame(member, guest) && (member.home === guest || !(member.hasDrawn || member.ranHidden));
}

/** Nothing has to be said on it before who waits may use it. */
export function isReadyFor<Side>(member: Member<Side>, waiter: Waiter<Side>): boolean {
  if (!isOf(member, waiter.loginClass, waiter.generation) || !carriesSame(member, waiter)) return false;
  return !member.isSpoiled && !member.hasDrawn && !member.ranHidden;
}

/** Of two that are both somebody's home, or both nobody's, the one that has been idle longer. */
function isIdler<Side>(one: Member<Side>, other: Member<Side>): boolean {
  return (one.home === null) === (other.home === null) && one.idleSinceMs < other.idleSinceMs;
}

/** Sets application_name. */
export function nameText(name: string, isLocal = false): string {
  const literal = name.replaceAll("'", "''").replaceAll('\\', '\\\\');
  return `SET ${isLocal ? 'LOCAL' : 'SESSION'} application_name = E'${literal}'`;
}

function carriesSame<Side>(
  member: Member<Side>,
  { belongings, applicationName }: Pick<Guest<Side>, 'belongings' | 'applicationName'>,
): boolean {
  return member.belongings === belongings && member.applicationName === applicationName;
}

function isOf<Side>(member: Member<Side>, loginClass: LoginClass<Side>, generation: number): boolean {
  return member.loginClass === loginClass && member.generation >= generation && member.isAtMessageBoundary;
}
