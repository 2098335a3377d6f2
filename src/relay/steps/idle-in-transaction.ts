// A client that has begun a transaction and goes quiet keeps a connection that others share: it is let go after a while
// (`pool.idle_in_transaction_ms`).

import type { Clock } from '../../base/clock.ts';
import { TRANSACTION } from '../../wire/codes.ts';
import type { Connection } from '../connection.ts';

export class IdleInTransaction {
  readonly #connection: Connection;
  /** 0: there is no limit. */
  readonly #limitMs: number;
  #sinceMs = 0;

  constructor(connection: Connection, limitMs: number) {
    this.#connection = connection;
    this.#limitMs = limitMs;
  }

  /** The server has answered something. */
  note(clock: Clock): void {
    const { session } = this.#connection;
    if (session.isQuiet && session.status !== TRANSACTION.idle) this.#sinceMs = clock.monotonicMs();
  }

  check(nowMs: number): void {
    const { session } = this.#connection;
    if (this.#limitMs === 0 || !session.isQuiet || session.isUnitOpen) return;
    if (session.status === TRANSACTION.idle || session.phase !== 'ready') return;
    if (nowMs - this.#sinceMs >= this.#limitMs) this.#connection.fail('idle_in_transaction', null);
  }
}
