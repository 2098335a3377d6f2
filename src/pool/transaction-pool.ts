// Server connections that many clients share. A client is lent one for a unit of work, or for a transaction, and comes back
// to the same one while nobody else needs it; below the limits each has one of its own. At the limits who waits is served
// in order, by what is given back, by what makes room, and by asking clients for what they only keep.
//
// A connection is handed over only when it carries what its next client left behind on its last one, and nothing else.

import type { LoginSecret } from '../auth/verifier.ts';
import type { Clock } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { Histogram } from '../base/histogram.ts';
import type { Log } from '../base/log.ts';
import type { Endpoint, PoolSettings } from '../config/settings.ts';
import { TRACE } from '../sql/trace-bits.ts';
import { Catalogs } from './catalogs.ts';
import type { Guest } from './guest.ts';
import type { Inquiry } from './inquiry.ts';
import type { LoginClass } from './login-class.ts';
import type { Member } from './member.ts';
import { Opener } from './opener.ts';
import { Pauses } from './pauses.ts';
import type { SessionPool } from './pool.ts';
import { Seating } from './seating.ts';
import { ServerPool } from './server-pool.ts';
import { Shares } from './shares.ts';
import { Waiter, wishFor } from './waiter.ts';

/** A connection that was found pinned is not asked again before that. */
const ASK_AGAIN_MS = 50;

export interface TransactionPoolParts {
  readonly settings: PoolSettings;
  readonly loginTimeoutMs: number;
  readonly dialing: SessionPool;
  readonly clock: Clock;
  readonly log: Log;
  readonly queueWaits: Histogram;
}

export class TransactionPool<Side> {
  readonly settings: PoolSettings;
  readonly catalogs = new Catalogs();
  readonly pauses = new Pauses();
  readonly clock: Clock;
  /** What is given back is closed. */
  isStopping = false;
  readonly #parts: TransactionPoolParts;
  readonly #pools = new Map<string, ServerPool<Side>>();
  readonly shares: Shares<Side>;
  readonly #opener: Opener<Side>;
  readonly #seating: Seating<Side>;
  #generation = 0;

  constructor(parts: TransactionPoolParts) {
    this.#parts = parts;
    this.settings = parts.settings;
    this.clock = parts.clock;
    this.shares = new Shares(this.#pools, parts.settings, parts.clock);
    this.#opener = new Opener(parts.dialing, parts.loginTimeoutMs, parts.settings.loginRetryMs, parts.clock, parts.log);
    this.#seating = new Seating(this, this.#opener, parts.queueWaits, parts.log);
  }

  get pools(): ReadonlyMap<string, ServerPool<Side>> {
    return this.#pools;
  }

  /** A pool in which nobody ever got a connection, and nobody is, need not be remembered: anybody can make up names. */
  forget(key: string): void {
    const pool = this.#pools.get(key);
    if (pool === undefined || pool.ledger.opened > 0 || pool.size > 0 || pool.hasClients) return;
    this.#pools.delete(key);
    if (![...this.#pools.values()].some((other) => other.catalog === pool.catalog))
      this.catalogs.forget(pool.endpoint.name, pool.database);
  }

  /** The class of a client that has proved who it is; when it goes, `loginClass.users` goes down. */
  classFor(
    endpoint: Endpoint,
    user: string,
    database: string,
    startup: { readonly packet: Buffer; readonly minor: number; readonly parameters: ReadonlyMap<string, string> },
    secret: LoginSecret,
  ): LoginClass<Side> {
    const key = JSON.stringify([endpoint.name, database, user]);
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      pool = new ServerPool(
        endpoint,
        database,
        user,
        this.catalogs.of(endpoint.name, database),
        this.settings,
        this.#generation,
      );
      pool.isPaused = this.pauses.isPaused(pool);
      this.#pools.set(key, pool);
    }
    return pool.classOf(startup.minor, startup.parameters, startup.packet, secret);
  }

  /** A connection at once, made ready for the client; or a place in the queue: `guest.seat` or `guest.refuse` follows. */
  request(
    guest: Guest<Side>,
    loginClass: LoginClass<Side>,
    isPatient: boolean,
    isForNew: boolean,
  ): Member<Side> | Waiter<Side> {
    const { home } = guest;
    if (home !== null && !(isForNew && home.isMixedFor(guest)) && this.#isAsLeft(home, guest, loginClass)) {
      this.lend(home, guest);
      return home;
    }
    const free = isForNew ? null : this.#seating.seatAtOnce(guest, loginClass);
    if (free !== null) return free;
    const waiter = new Waiter(guest, loginClass, wishFor(isPatient, isForNew), this.clock.monotonicMs());
    waiter.isAsking = true;
    this.enqueue(waiter);
    waiter.isAsking = false;
    return waiter.granted ?? waiter;
  }

  /** Only the first of a queue has to be looked at: whatever lets it go on serves the rest of the queue too. */
  enqueue(waiter: Waiter<Side>): void {
    const { pool } = waiter.loginClass;
    const isFirst = pool.waiters.size === 0;
    pool.waiters.add(waiter);
    if (isFirst) this.dispatch(pool);
  }

  /** The client comes back to that one, while nobody else takes it. */
  settleHome(member: Member<Side>, guest: Guest<Side>): void {
    if (member.home === guest) return;
    if (guest.home?.home === guest) guest.home.home = null;
    guest.home = member;
    // The guest whose home it was notices when it comes back: the connection does not name it any more.
    member.home = guest;
  }

  /** Nobody waits for that any more. */
  abandon(waiter: Waiter<Side>): void {
    waiter.isDone = true;
    this.#seating.endWait(waiter);
  }

  /** The client is through, and left nothing but its belongings. `mayLearn`: there is time to read the database's definitions on it. */
  giveBack(member: Member<Side>, mayLearn = true): void {
    this.#endLease(member);
    if (member.wasCancelled) this.#sayThenRest(member, '');
    else this.rest(member, mayLearn);
  }

  /** The client is quiet, and keeps the connection until somebody needs it. */
  keep(member: Member<Side>): void {
    const { pool } = member.loginClass;
    member.isReclaimable = true;
    member.idleSinceMs = this.clock.monotonicMs();
    if (member.idleSinceMs < member.askAgainAtMs && !member.isRetiring) return;
    const isWanted = pool.waiters.size > 0 || this.settings.affinity === 'avoid' || pool.isPaused || member.isRetiring;
    if (isWanted || pool.catalog.isOverdue || this.shares.isRoomOwed(pool)) this.reclaim(member);
  }

  /** Why the connection stays with its client, bits of TRACE. */
  setPins(member: Member<Side>, pins: number): void {
    if (pins === member.pins) return;
    if ((pins & TRACE.temporary) !== 0) member.isSpoiled = true;
    member.loginClass.pool.ledger.changePins(member.pins, pins, this.clock.monotonicMs());
    member.pins = pins;
  }

  /** It has been asked, and these keep it with its client. */
  pin(member: Member<Side>, pins: number): void {
    this.setPins(member, pins);
    member.askAgainAtMs = this.clock.monotonicMs() + ASK_AGAIN_MS;
  }

  /** One Query of pgweir's own on a connection that is at rest. Throws WeirError where that fails. */
  say(member: Member<Side>, text: string, status?: number): Promise<Inquiry> {
    return this.#opener.say(member, text, status);
  }

  /** The client has left; `cleaning` makes the connection as good as new, null says that nothing can. */
  cleanUp(member: Member<Side>, cleaning: string | null): void {
    this.#endLease(member);
    this.#leaveHome(member);
    member.isMixed = true;
    // Where each login opens a connection of its own, only a client that waits would take this one over.
    const isWanted = this.settings.logins === 'shared' || member.loginClass.pool.waiters.size > 0;
    if (cleaning === null || member.isSpoiled || !isWanted) this.close(member);
    else this.#sayThenRest(member, cleaning);
  }

  /** The client has left in the middle of something: what runs is cancelled, and the connection ends. */
  abort(member: Member<Side>, isMidMessage: boolean): void {
    const { lease } = member;
    const isRunning = !lease.socket.destroyed;
    this.close(member, isMidMessage);
    if (!isRunning) return;
    this.#parts.dialing
      .cancelOn(lease)
      .catch((error: unknown) => this.#parts.log.debug({ reason: describeError(error) }, 'a cancel was not delivered'));
  }

  /** Its socket has ended, or it is of no more use. Its room is free when the server has let go of it. */
  close(member: Member<Side>, isMidMessage = false): void {
    if (member.state !== 'closed') void this.#retire(member, isMidMessage);
  }

  /**
   * The server takes no more: a free connection of the pool that is of no use to who waits is closed. Null where there is none;
   * else it resolves when the server has let go of it.
   */
  makeRoom(pool: ServerPool<Side>): Promise<void> | null {
    const spare = pool.findSpare();
    if (spare === null) return null;
    // A login that was refused for want of room says nothing about the next attempt.
    pool.backoff.succeed();
    return this.#retire(spare, false);
  }

  /** Resolves when the server has let go of it. */
  #retire(member: Member<Side>, isMidMessage: boolean): Promise<void> {
    const { pool } = member.loginClass;
    if (member.state === 'held') this.#endLease(member);
    member.state = 'closed';
    this.#leaveHome(member);
    pool.members.delete(member);
    pool.closing++;
    pool.ledger.closed++;
    member.loginClass.users--;
    return member.lease.retire(isMidMessage).then(() => {
      pool.closing--;
      for (const next of this.shares.inTurn(pool)) this.dispatch(next);
    });
  }

  /**
   * What logins depend on has changed: clients that come from now on get connections that were opened after that.
   *
   * @param triggersIn the database whose event triggers have changed; null for none
   */
  renewLogins(triggersIn: string | null): void {
    for (const { database, catalog } of this.#pools.values())
      if (database === triggersIn) catalog.hasLoginTrigger = true;
    this.renewLoginsOf([...this.#pools.values()]);
  }

  renewLoginsOf(pools: readonly ServerPool<Side>[]): void {
    this.#generation++;
    for (const pool of pools) pool.renewLogins(this.#generation);
  }

  /**
   * Closes the connections to databases in which there are no clients any more: DROP DATABASE and its kin want them gone. Null
   * where there are none; else it resolves when the server has let go of them.
   */
  closeDeserted(): Promise<unknown> | null {
    const inhabited = new Set([...this.#pools.values()].filter((pool) => pool.hasGuests).map((pool) => pool.catalog));
    const closing: Promise<void>[] = [];
    for (const pool of this.#pools.values())
      for (const member of pool.members)
        if (!inhabited.has(pool.catalog) && member.state === 'idle') closing.push(this.#retire(member, false));
    return closing.length === 0 ? null : Promise.all(closing);
  }

  /** Serves who waits, as far as that goes now. */
  dispatch(pool: ServerPool<Side>): void {
    if (pool.isPaused) return;
    for (let { first } = pool.waiters; first !== null; { first } = pool.waiters)
      if (!this.#seating.serve(first)) return;
  }

  /** Keeps a pool at `minIdle` connections. */
  openSpare(loginClass: LoginClass<Side>): void {
    if (!this.shares.hasRoom(loginClass.pool)) return;
    this.#opener.open(loginClass, loginClass.startup).then(
      (member) => this.#begin(member),
      (error: unknown) =>
        this.#parts.log.warn({ reason: describeError(error) }, 'no spare server connection could be opened'),
    );
  }

  #isAsLeft(home: Member<Side>, guest: Guest<Side>, loginClass: LoginClass<Side>): boolean {
    return (
      home.state === 'idle' &&
      home.home === guest &&
      home.loginClass === loginClass &&
      home.belongings === guest.belongings &&
      home.isAtMessageBoundary &&
      home.applicationName === guest.applicationName &&
      this.settings.affinity === 'prefer' &&
      !loginClass.pool.isPaused
    );
  }

  reclaim(member: Member<Side>): void {
    if (!member.isReclaimable || member.guest === null) return;
    member.isReclaimable = false;
    member.loginClass.pool.ledger.settlements++;
    member.guest.reclaim(member);
  }

  #begin(member: Member<Side>): void {
    this.watch(member);
    this.rest(member);
  }

  /** While a client holds it, the relay hears of its end. */
  watch(member: Member<Side>): void {
    member.watch(() => this.close(member));
  }

  lend(member: Member<Side>, guest: Guest<Side>): void {
    if (member.isMixedFor(guest)) member.isMixed = true;
    this.settleHome(member, guest);
    member.state = 'held';
    member.guest = guest;
    member.loginClass.pool.ledger.acquires++;
  }

  #endLease(member: Member<Side>): void {
    member.loginClass.pool.ledger.releases++;
    member.guest = null;
    member.isReclaimable = false;
    member.state = 'changing';
    this.setPins(member, 0);
  }

  #leaveHome(member: Member<Side>): void {
    if (member.home?.home === member) member.home.home = null;
    member.home = null;
  }

  /** Nobody has it: it is closed where it is not wanted any more, and else free for who waits. */
  rest(member: Member<Side>, mayLearn = true): void {
    const { pool } = member.loginClass;
    if (member.state === 'closed') return;
    // A client that left in the middle of a message has ended its input.
    if (!member.lease.socket.writable || this.#isOver(member)) {
      this.close(member);
      return;
    }
    const { catalog } = pool;
    const isNeeded = pool.waiters.size > 0 || this.settings.affinity === 'avoid' || catalog.isOverdue;
    if (mayLearn && isNeeded && catalog.isWanted) {
      member.state = 'changing';
      this.#opener.learn(member).then(
        () => this.rest(member, false),
        () => this.close(member),
      );
      return;
    }
    member.state = 'idle';
    if (this.#seating.passOn(member)) return;
    member.idleSinceMs = this.clock.monotonicMs();
    this.dispatch(pool);
    if (member.state === 'idle') member.listen();
  }

  #isOver(member: Member<Side>): boolean {
    const { pool } = member.loginClass;
    return this.isStopping || member.isRetiring || this.shares.isRoomOwed(pool);
  }

  #sayThenRest(member: Member<Side>, text: string): void {
    this.say(member, text).then(
      () => {
        member.wasCancelled = false;
        this.rest(member);
      },
      () => this.close(member),
    );
  }
}
