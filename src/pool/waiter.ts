// A client that waits for a server connection, and the line that it stands in.

import type { Belongings } from '../session/belongings.ts';
import type { Guest } from './guest.ts';
import type { LoginClass } from './login-class.ts';
import type { Member } from './member.ts';

export interface Wish {
  /** Its own startup packet where it logs in just now. */
  readonly startup: Buffer | null;
  /** It takes only one that nobody has used. */
  readonly isForNew: boolean;
  /** It waits for a server that does not serve right now; else it has another way. */
  readonly isPatient: boolean;
}

const WISHES: readonly Wish[] = [0, 1, 2, 3].map((bits) =>
  Object.freeze({ startup: null, isForNew: (bits & 2) !== 0, isPatient: (bits & 1) !== 0 }),
);

/** What a client wants that has logged in. */
export function wishFor(isPatient: boolean, isForNew: boolean): Wish {
  return WISHES[(isPatient ? 1 : 0) + (isForNew ? 2 : 0)] as Wish;
}

export class Waiter<Side> {
  readonly guest: Guest<Side>;
  readonly loginClass: LoginClass<Side>;
  readonly wish: Wish;
  readonly sinceMs: number;
  // What the guest has does not change while it waits; among hundreds of them it is far from the processor by then.
  readonly belongings: Belongings;
  readonly applicationName: string;
  readonly generation: number;
  /** It has got what it waits for, or does not wait any more. */
  isDone = false;
  /** Its request is still being looked at: what it gets now is the answer to that, in `granted`. */
  isAsking = false;
  granted: Member<Side> | null = null;
  // Its neighbours in the line; the line's to change.
  before: Waiter<Side> | null = null;
  behind: Waiter<Side> | null = null;
  isInLine = false;

  constructor(guest: Guest<Side>, loginClass: LoginClass<Side>, wish: Wish, sinceMs: number) {
    this.guest = guest;
    this.loginClass = loginClass;
    this.wish = wish;
    this.sinceMs = sinceMs;
    this.belongings = guest.belongings;
    this.applicationName = guest.applicationName;
    this.generation = guest.generation;
  }

  /** The wait is over. */
  grant(member: Member<Side>): void {
    if (this.isAsking) this.granted = member;
    else this.guest.seat(member);
  }

  /** The wait came to nothing. */
  refuse(error: unknown): void {
    this.guest.refuse(error, this.loginClass);
  }
}

/** Who waits, in order. Whoever goes takes no time to find. */
export class WaitingLine<Side> {
  #first: Waiter<Side> | null = null;
  #last: Waiter<Side> | null = null;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Who has waited longest. */
  get first(): Waiter<Side> | null {
    return this.#first;
  }

  /** It must not stand in a line. */
  add(waiter: Waiter<Side>): void {
    const before = this.#last;
    waiter.before = before;
    if (before === null) this.#first = waiter;
    else before.behind = waiter;
    this.#last = waiter;
    waiter.isInLine = true;
    this.#size++;
  }

  /** The same in front of all others. */
  addFirst(waiter: Waiter<Side>): void {
    const behind = this.#first;
    waiter.behind = behind;
    if (behind === null) this.#last = waiter;
    else behind.before = waiter;
    this.#first = waiter;
    waiter.isInLine = true;
    this.#size++;
  }

  /** Nothing happens where it does not stand in it. */
  delete(waiter: Waiter<Side>): void {
    if (!waiter.isInLine) return;
    const { before, behind } = waiter;
    if (before === null) this.#first = behind;
    else before.behind = behind;
    if (behind === null) this.#last = before;
    else behind.before = before;
    waiter.before = null;
    waiter.behind = null;
    waiter.isInLine = false;
    this.#size--;
  }
}
