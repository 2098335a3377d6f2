// A client as a pool sees it.

import type { Belongings } from '../session/belongings.ts';
import type { LoginClass } from './login-class.ts';
import type { Member } from './member.ts';

export interface Guest<Side> {
  /** The generation of logins at which it came in. */
  readonly generation: number;
  /** The state that follows it, as of its last statement that was asked about. The pool's to change at its login. */
  belongings: Belongings;
  /** application_name as the client sees it. */
  readonly applicationName: string;
  /** The connection that it used last, which is its home while that one says so too. The pool's to change. */
  home: Member<Side> | null;
  /** Its wait is over. */
  seat(member: Member<Side>): void;
  /** Its wait for one of that class came to nothing: LoginRefused or WeirError. */
  refuse(error: unknown, loginClass: LoginClass<Side>): void;
  /** Somebody needs what it holds: it is to ask the connection what is there, and give it back or pin it. */
  reclaim(member: Member<Side>): void;
  /** Called now and then while it holds one. */
  checkIdle(nowMs: number): void;
}
