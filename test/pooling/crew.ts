// Who goes next in a long state test. Clients that hold a server connection (an open transaction, a pin) may use up the pool:
// then another one can only go on when one of them lets go, before its step or while it waits.

import type { Dice } from './dice.ts';
import type { LeaveStep, SendStep, Step } from './steps.ts';

/** What a model of one client's doings must be able to say. */
export interface Doings {
  /**
   * The next step of this client, which has `status` now (null: no session). `isAlone`: no other client has an open
   * transaction, so that no lock is waited for.
   */
  next(status: string | null, isAlone: boolean): Step;
  /** True where the client may hold a server connection although no transaction is open. */
  hasPins(): boolean;
  /** Steps after which it holds none. */
  letGo(status: string): (SendStep | LeaveStep)[];
  learn?(step: SendStep, isFailed: boolean): void;
  /** Clients of one pool compete for its connections. */
  readonly pool: string;
}

/** How often a client that holds a connection goes on at once: otherwise transactions would be two steps long. */
const PERSISTENCE = 0.75;
/** How often a client is sent to wait where it could have been let in first. */
const WAIT_SHARE = 0.3;
/** By its text, or it may by what has been prepared before. */
const MAY_OPEN_TRANSACTION = /\b(?:BEGIN|START|EXECUTE)\b|\bE\(/;

export class Crew {
  readonly #members: readonly Doings[];
  readonly #dice: Dice;
  /** Connections of each pool; null: as many as there are clients. */
  readonly #poolSize: number | null;
  readonly #due: Step[] = [];
  #last = 0;

  constructor(members: readonly Doings[], dice: Dice, poolSize: number | null) {
    this.#members = members;
    this.#dice = dice;
    this.#poolSize = poolSize;
  }

  next(statusOf: (client: number) => string | null): Step {
    const due = this.#due.shift();
    if (due !== undefined) return due;
    const isHolding = (client: number): boolean => {
      const status = statusOf(client);
      return status !== null && (status !== 'I' || this.#memberOf(client).hasPins());
    };
    if (!(isHolding(this.#last) && this.#dice.chance(PERSISTENCE))) this.#last = this.#dice.below(this.#members.length);
    const chosen = this.#last;
    const member = this.#memberOf(chosen);
    const isHolder = isHolding(chosen);
    const isAlone = this.#members.every((_, client) => client === chosen || (statusOf(client) ?? 'I') === 'I');
    const step = member.next(statusOf(chosen), isAlone);
    if (step.kind === 'meanwhile' || step.kind === 'leave' || isHolder) return step;
    const holders = this.#members.flatMap((other, client) =>
      other.pool === member.pool && client !== chosen && isHolding(client) ? [client] : [],
    );
    if (this.#poolSize === null || holders.length < this.#poolSize) return step;
    const giver = this.#dice.pick(holders);
    const letGo = this.#memberOf(giver).letGo(statusOf(giver) ?? 'I');
    const release = letGo.map((given) => ({ ...given, isRelease: true }));
    // What is let in on the way may not keep the connection that the giver needs: once more, or for the first time.
    const isNeeded = letGo.length > 1 || statusOf(giver) === 'I';
    const mayStay = isNeeded && (member.hasPins() || (step.kind === 'send' && MAY_OPEN_TRANSACTION.test(step.label)));
    if (step.kind === 'send' && !mayStay && this.#dice.chance(WAIT_SHARE))
      return { kind: 'meanwhile', waiter: step, others: release };
    this.#due.push(...release.slice(1), step);
    return release[0] ?? step;
  }

  learn(step: SendStep, isFailed: boolean): void {
    this.#memberOf(step.client).learn?.(step, isFailed);
  }

  #memberOf(client: number): Doings {
    const member = this.#members[client];
    if (member === undefined) throw new Error(`there is no client ${client}`);
    return member;
  }
}
