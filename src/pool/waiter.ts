// A client that waits for a server connection.

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

export class Waiter<Side> {
  readonly guest: Guest<Side>;
  readonly loginClass: LoginClass<Side>;
  readonly wish: Wish;
  readonly sinceMs: number;
  readonly grant: (member: Member<Side>) => void;
  readonly refuse: (error: unknown) => void;
  // What the guest has does not change while it waits; among hundreds of them it is far from the processor by then.
  readonly belongings: Belongings;
  readonly applicationName: string;
  readonly generation: number;
  /** It has got what it waits for, or does not wait any more. */
  isDone = false;

  constructor(
    guest: Guest<Side>,
    loginClass: LoginClass<Side>,
    wish: Wish,
    sinceMs: number,
    grant: (member: Member<Side>) => void,
    refuse: (error: unknown) => void,
  ) {
    this.guest = guest;
    this.loginClass = loginClass;
    this.wish = wish;
    this.sinceMs = sinceMs;
    this.grant = grant;
    this.refuse = refuse;
    this.belongings = guest.belongings;
    this.applicationName = guest.applicationName;
    this.generation = guest.generation;
  }
}
