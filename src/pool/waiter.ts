// A client that waits for a server connection.

import type { Belongings } from '../session/belongings.ts';
import type { Guest } from './guest.ts';
import type { LoginClass } from './login-class.ts';
import type { Member } from './member.ts';
import type { Standing } from './waiting-line.ts';

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

export class Waiter<Side> implements Standing<Waiter<Side>> {
  readonly guest: Guest<Side>;
  readonly loginClass: LoginClass<Side>;
  wish: Wish;
  readonly sinceMs: number;
  // Copied from the guest, where it does not change meanwhile: of hundreds that wait each guest would be a cache miss.
  readonly belongings: Belongings;
  readonly applicationName: string;
  readonly generation: number;
  /** It has got what it waits for, or does not wait any more. */
  isDone = false;
  /** Its request is still being looked at: what it gets now is the answer to that, in `granted`. */
  isAsking = false;
  granted: Member<Side> | null = null;
  // The line's to change.
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
