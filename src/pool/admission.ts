// Lets a client that has proved who it is into a pool.

import { WeirError } from '../base/errors.ts';
import type { Guest } from './guest.ts';
import { LoginRefused, type Welcome } from './login.ts';
import type { LoginClass } from './login-class.ts';
import type { Member } from './member.ts';
import type { TransactionPool } from './transaction-pool.ts';
import { Waiter } from './waiter.ts';

/** What a client is told when it has logged in. */
export interface Admission {
  readonly welcome: Welcome;
  /** The welcome is a new connection's, made for this client: notices in it are for it too. */
  readonly isFresh: boolean;
}

/**
 * Lets a client in: by a login of its own where there is room for a connection, else with what the server said at an earlier login of
 * the same class. Throws LoginRefused with the server's words, or WeirError, also when `signal` says that nobody waits any more.
 *
 * @param startup the client's own startup packet, for a connection that is opened for it
 * @param isNamed the client brings an application_name; which one the server gives to others is learned from a login without one
 */
export async function admit<Side>(
  pools: TransactionPool<Side>,
  guest: Guest<Side>,
  loginClass: LoginClass<Side>,
  startup: Buffer,
  isNamed: boolean,
  signal: AbortSignal,
): Promise<Admission> {
  const { pool } = loginClass;
  const welcome = knownWelcome(loginClass, isNamed);
  if (welcome !== null) {
    const free = pool.findHomeless(loginClass, guest.generation);
    if (free !== null && pools.settings.logins === 'shared') {
      pools.settleHome(free, guest);
      return { welcome, isFresh: false };
    }
    const hasRoom = pools.shares.hasRoom(pool) || (pools.settings.logins === 'own' && pool.hasHomeless);
    if (pool.waiters.size > 0 || pool.isPaused || !hasRoom) return { welcome, isFresh: false };
  }
  for (;;) {
    try {
      const member = await awaitNew(pools, guest, loginClass, startup, signal);
      // Nothing is asked on it now: its client speaks in a moment, and would have to take another one.
      pools.giveBack(member, false);
      if (!isNamed) loginClass.defaultName = member.welcome.parameters.get('application_name') ?? '';
      return { welcome: member.welcome, isFresh: true };
    } catch (error) {
      if (!isFull(error)) throw error;
      const known = pool.serves(loginClass, guest.generation) ? knownWelcome(loginClass, isNamed) : null;
      if (known !== null) return { welcome: known, isFresh: false };
      const room = pools.makeRoom(pool);
      if (room === null) throw error;
      await room;
      if (signal.aborted) throw error;
    }
  }
}

/** What a login of that class is told; null where only a new connection can tell. */
function knownWelcome<Side>({ welcome, defaultName, pool }: LoginClass<Side>, isNamed: boolean): Welcome | null {
  return (isNamed || defaultName !== null) && !pool.catalog.hasLoginTrigger ? welcome : null;
}

/** too_many_connections: the server or the role has as many as it may have. A client can be let in all the same. */
function isFull(error: unknown): boolean {
  return error instanceof LoginRefused && error.sqlstate === '53300';
}

function awaitNew<Side>(
  pools: TransactionPool<Side>,
  guest: Guest<Side>,
  loginClass: LoginClass<Side>,
  startup: Buffer,
  signal: AbortSignal,
): Promise<Member<Side>> {
  return new Promise((resolve, reject) => {
    const arrival = new Arrival(guest, loginClass, startup, pools.clock.monotonicMs(), resolve, reject);
    signal.addEventListener('abort', () => {
      pools.abandon(arrival);
      reject(new WeirError('target_login_failed', 'the client has left'));
    });
    pools.enqueue(arrival);
  });
}

/** A client that logs in, and waits for a connection that is opened for it. */
class Arrival<Side> extends Waiter<Side> {
  readonly #resolve: (member: Member<Side>) => void;
  readonly #reject: (error: unknown) => void;

  constructor(
    guest: Guest<Side>,
    loginClass: LoginClass<Side>,
    startup: Buffer,
    sinceMs: number,
    resolve: (member: Member<Side>) => void,
    reject: (error: unknown) => void,
  ) {
    super(guest, loginClass, { startup, isForNew: true, isPatient: false }, sinceMs);
    this.#resolve = resolve;
    this.#reject = reject;
  }

  override grant(member: Member<Side>): void {
    this.#resolve(member);
  }

  override refuse(error: unknown): void {
    this.#reject(error);
  }
}
