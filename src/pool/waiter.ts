// A client that waits for a server connection.

import type { Guest } from './guest.ts';
import type { LoginClass } from './login-class.ts';
import type { Member } from './member.ts';

export interface Waiter<Side> {
  readonly guest: Guest<Side>;
  readonly loginClass: LoginClass<Side>;
  /** Its own startup packet where it logs in just now. */
  readonly startup: Buffer | null;
  /** It takes only one that nobody has used. */
  readonly isForNew: boolean;
  /** It waits for a server that does not serve right now; else it has another way. */
  readonly isPatient: boolean;
  readonly sinceMs: number;
  grant(member: Member<Side>): void;
  refuse(error: unknown): void;
  /** It has got what it waits for, or does not wait any more. */
  isDone: boolean;
}
