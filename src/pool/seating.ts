// Serves who waits for a server connection: with one that is free and made ready for it, with a new one where there is room,
// or by making room.

import { describeError, WeirError } from '../base/errors.ts';
import type { Histogram } from '../base/histogram.ts';
import type { Log } from '../base/log.ts';
import type { Guest } from './guest.ts';
import type { LoginClass } from './login-class.ts';
import type { Member } from './member.ts';
import { isPassing, type Opener } from './opener.ts';
import { handoverText, isReadyFor, needsNothing, type ServerPool } from './server-pool.ts';
import type { TransactionPool } from './transaction-pool.ts';
import { type Waiter, wishFor } from './waiter.ts';

export class Seating<Side> {
  readonly #pools: TransactionPool<Side>;
  readonly #opener: Opener<Side>;
  readonly #queueWaits: Histogram;
  readonly #log: Log;

  constructor(pools: TransactionPool<Side>, opener: Opener<Side>, queueWaits: Histogram, log: Log) {
    this.#pools = pools;
    this.#opener = opener;
    this.#queueWaits = queueWaits;
    this.#log = log;
  }

  /** False where it has to wait on. */
  serve(waiter: Waiter<Side>): boolean {
    const { guest, loginClass } = waiter;
    const { startup, isForNew, isPatient } = waiter.wish;
    const { pool } = loginClass;
    const nowMs = this.#pools.clock.monotonicMs();
    const isBackingOff = loginClass.isBackingOff(nowMs);
    if (startup !== null && loginClass.failure !== null && isBackingOff) {
      this.endWait(waiter);
      waiter.refuse(loginClass.failure);
      return true;
    }
    const hasRoom = this.#pools.shares.hasRoom(pool) && (startup !== null || !isBackingOff);
    const member = isForNew ? null : pool.pick(guest, loginClass, !hasRoom);
    // Who has another way need not wait for the next attempt.
    if (member === null && isBackingOff && startup === null && !isPatient) {
      this.endWait(waiter);
      const error = loginClass.failure ?? new WeirError('target_unreachable', pool.lastError);
      // Later: its own request may be what is being answered right now, and must return first.
      queueMicrotask(() => this.#giveUp(waiter, error));
      return true;
    }
    const isSameAgain = member?.home === guest && this.#pools.settings.affinity === 'avoid';
    if (member !== null && !(isSameAgain && hasRoom)) {
      this.endWait(waiter);
      this.#makeReady(member, waiter, false);
      return true;
    }
    if (hasRoom) {
      this.endWait(waiter);
      this.#openFor(waiter);
      return true;
    }
    // Room helps nobody whose login the server refuses, and none is there before the server has let go of what makes it.
    const isRefused = nowMs < loginClass.backoff.untilMs;
    const { shares } = this.#pools;
    const spare = shares.isRoomComing(pool) || isRefused ? null : (pool.findSpare() ?? shares.findSpare(pool));
    if (spare !== null) this.#pools.close(spare);
    else this.#askForOne(pool, isRefused);
    return false;
  }

  /** A free connection that is ready as it is, where nobody else waits; null: the guest has to wait, if only for it to be made ready. */
  seatAtOnce(guest: Guest<Side>, loginClass: LoginClass<Side>): Member<Side> | null {
    const { pool } = loginClass;
    if (pool.waiters.size > 0 || pool.isPaused || this.#pools.settings.affinity === 'avoid') return null;
    const member = pool.pick(guest, loginClass, !this.#hasRoom(loginClass));
    if (member === null || !needsNothing(member, guest)) return null;
    this.#queueWaits.observe(0);
    this.#pools.lend(member, guest);
    return member;
  }

  /** Gives what has just come back to who has waited longest, where it is ready for that client as it is. False where it is not. */
  passOn(member: Member<Side>): boolean {
    const { pool } = member.loginClass;
    const waiter = pool.waiters.first;
    if (waiter === null || pool.isPaused || this.#pools.settings.affinity === 'avoid') return false;
    if (waiter.wish.isForNew || !isReadyFor(member, waiter)) return false;
    this.endWait(waiter);
    this.#grant(member, waiter);
    return true;
  }

  /** Another connection may be opened, and the last one that could not be is long enough ago. */
  #hasRoom(loginClass: LoginClass<Side>): boolean {
    return this.#pools.shares.hasRoom(loginClass.pool) && !loginClass.isBackingOff(this.#pools.clock.monotonicMs());
  }

  /** It stands in line no more, for whatever reason. */
  endWait(waiter: Waiter<Side>): void {
    if (!waiter.isInLine) return;
    waiter.loginClass.pool.waiters.delete(waiter);
    this.#queueWaits.observe((this.#pools.clock.monotonicMs() - waiter.sinceMs) / 1000);
  }

  /** Asks a client for a connection that it only keeps; `isOfPool`: of this pool only, for room made elsewhere is of no help. */
  #askForOne(pool: ServerPool<Side>, isOfPool: boolean): void {
    const own = pool.findReclaimable(this.#pools.clock.monotonicMs());
    const member = own ?? (isOfPool ? null : this.#pools.shares.findReclaimable(pool));
    if (member === null) return;
    if (member !== own) member.isRetiring = true;
    this.#pools.reclaim(member);
  }

  #openFor(waiter: Waiter<Side>): void {
    const { loginClass, wish } = waiter;
    this.#opener.open(loginClass, wish.startup ?? loginClass.startup).then(
      (member) => {
        this.#pools.watch(member);
        // Its own login: what an event trigger has set there is the client's from now on.
        if (wish.startup !== null) waiter.guest.belongings = member.belongings;
        this.#makeReady(member, waiter, true);
      },
      (error: unknown) => {
        if (wish.isPatient && isPassing(error)) this.#waitAgain(waiter);
        else if (!waiter.isDone) waiter.refuse(error);
        this.#pools.dispatch(loginClass.pool);
      },
    );
  }

  /** Back to the front of the queue. */
  #waitAgain(waiter: Waiter<Side>): void {
    if (waiter.isDone) return;
    waiter.loginClass.pool.waiters.addFirst(waiter);
  }

  #giveUp(waiter: Waiter<Side>, error: Error): void {
    if (waiter.isDone) return;
    waiter.isDone = true;
    waiter.refuse(error);
  }

  #grant(member: Member<Side>, waiter: Waiter<Side>): void {
    if (waiter.isDone) {
      this.#pools.rest(member);
      return;
    }
    waiter.isDone = true;
    this.#pools.lend(member, waiter.guest);
    waiter.grant(member);
  }

  /** Turns what the connection carries into what its next client has. */
  #makeReady(member: Member<Side>, waiter: Waiter<Side>, isNew: boolean): void {
    const { guest } = waiter;
    const text = handoverText(member, guest);
    if (text === null || waiter.isDone) {
      this.#grant(member, waiter);
      return;
    }
    member.state = 'changing';
    member.loginClass.pool.ledger.handovers++;
    this.#opener.say(member, text).then(
      () => {
        // The server's last words may stand right behind its answer: then it has been closed already.
        if (member.state === 'closed') {
          this.#waitAgain(waiter);
          return;
        }
        member.belongings = guest.belongings;
        member.hasDrawn = false;
        member.ranHidden = false;
        this.#grant(member, waiter);
      },
      (error: unknown) => {
        this.#log.warn({ reason: describeError(error) }, 'a server connection could not be made ready and is closed');
        this.#pools.close(member);
        if (isNew && isRefusal(error)) this.#refuseMove(waiter, error);
        else this.#waitForNew(waiter);
      },
    );
  }

  /** Whatever stood in the way on a used connection, a new one has not. */
  #waitForNew(waiter: Waiter<Side>): void {
    if (waiter.wish.startup === null) waiter.wish = wishFor(waiter.wish.isPatient, true);
    this.#waitAgain(waiter);
  }

  /** The server would refuse it on every other one, too: the role is gone, say, or may not be taken on any more. */
  #refuseMove(waiter: Waiter<Side>, { detail }: WeirError): void {
    this.#giveUp(waiter, new WeirError('session_not_moved', detail));
    this.#pools.dispatch(waiter.loginClass.pool);
  }
}

function isRefusal(error: unknown): error is WeirError {
  return error instanceof WeirError && error.code === 'statement_refused';
}
