// A client's place in the queue for a shared server connection: what waits is the message at the head of what it has sent.

import { describeError, WeirError } from '../../base/errors.ts';
import type { Refusal } from '../../policy/verdict.ts';
import type { Guest } from '../../pool/guest.ts';
import { LoginRefused } from '../../pool/login.ts';
import type { LoginClass } from '../../pool/login-class.ts';
import type { Member } from '../../pool/member.ts';
import type { TransactionPool } from '../../pool/transaction-pool.ts';
import type { Waiter } from '../../pool/waiter.ts';
import type { Connection } from '../connection.ts';
import { GATE } from '../gate.ts';
import type { ServerSide } from '../server-side.ts';
import { refusalOf } from './refuse.ts';

export class QueuePlace {
  readonly #connection: Connection;
  readonly #pool: TransactionPool<ServerSide>;
  #waiter: Waiter<ServerSide> | null = null;
  #refusal: Refusal | null = null;

  constructor(connection: Connection, pool: TransactionPool<ServerSide>) {
    this.#connection = connection;
    this.#pool = pool;
  }

  get isWaiting(): boolean {
    return this.#waiter !== null;
  }

  /** A connection at once, or null: then the gate is closed until there is one. */
  ask(
    guest: Guest<ServerSide>,
    loginClass: LoginClass<ServerSide>,
    isPatient: boolean,
    isForNew: boolean,
  ): Member<ServerSide> | null {
    const answer = this.#pool.request(guest, loginClass, isPatient, isForNew);
    if ('lease' in answer) return answer;
    this.#waiter = answer;
    this.#connection.gate.close(GATE.seat);
    return null;
  }

  /** The wait is over; false where the client has left meanwhile. */
  end(): boolean {
    this.#waiter = null;
    return !this.#connection.isClosing;
  }

  /** The wait came to nothing. `hasOtherWay`: the message, offered again, will ask for a connection elsewhere. */
  refuse(error: unknown, hasOtherWay: boolean): void {
    this.#waiter = null;
    const connection = this.#connection;
    if (connection.isClosing) return;
    if (hasOtherWay) {
      connection.gate.open(GATE.seat);
    } else if (error instanceof LoginRefused) {
      connection.countError(error.sqlstate);
      connection.client.outlet.write(error.packet);
      connection.close();
    } else if (error instanceof WeirError && error.code === 'pool_exhausted') {
      this.#refusal = refusalOf('pool_exhausted', 'pool.query_wait_ms', null);
      connection.gate.open(GATE.seat);
    } else if (error instanceof WeirError) {
      connection.fail(error.code, error.detail);
    } else {
      connection.fail('internal', describeError(error));
    }
  }

  /** The client has cancelled what waits: 57014, and the connection lives. True where something waited. */
  abandon(): boolean {
    if (this.#waiter === null) return false;
    this.leave();
    this.#refusal = refusalOf('wait_cancelled', 'cancel', null);
    this.#connection.gate.open(GATE.seat);
    return true;
  }

  takeRefusal(): Refusal | null {
    const refusal = this.#refusal;
    this.#refusal = null;
    return refusal;
  }

  /** Nobody waits any more. */
  leave(): void {
    if (this.#waiter !== null) this.#pool.abandon(this.#waiter);
    this.#waiter = null;
  }
}
