// Opens the server connections of a pool, and says what pgweir itself has to say on them.

import type { Clock } from '../base/clock.ts';
import { describeError, WeirError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { NO_BELONGINGS } from '../session/belongings.ts';
import { TRACE } from '../sql/trace-bits.ts';
import { TRANSACTION } from '../wire/codes.ts';
import { CATALOG_QUERY, readCatalog } from './catalog-reader.ts';
import type { Catalog } from './catalogs.ts';
import { type Inquiry, inquire } from './inquiry.ts';
import { LoginRefused } from './login.ts';
import type { LoginClass } from './login-class.ts';
import { Member } from './member.ts';
import type { SessionPool } from './pool.ts';
import { makeSettlementQuery, readSettlement } from './settlement.ts';

/** How long pgweir's own statements may take on a server connection. */
const OWN_STATEMENT_MS = 5_000;
/** SQLSTATEs of a server that may serve soon: too many connections, shutting down, starting up. */
const PASSING: ReadonlySet<string> = new Set(['53300', '57P01', '57P02', '57P03']);

export class Opener<Side> {
  readonly #dialing: SessionPool;
  readonly #loginTimeoutMs: number;
  readonly #loginRetryMs: number;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #never = new AbortController().signal;

  constructor(dialing: SessionPool, loginTimeoutMs: number, loginRetryMs: number, clock: Clock, log: Log) {
    this.#dialing = dialing;
    this.#loginTimeoutMs = loginTimeoutMs;
    this.#loginRetryMs = loginRetryMs;
    this.#clock = clock;
    this.#log = log;
  }

  /** A connection of that class, logged in and knowing what its database holds. Throws LoginRefused or WeirError. */
  async open(loginClass: LoginClass<Side>, startup: Buffer): Promise<Member<Side>> {
    const { pool } = loginClass;
    const { generation } = pool;
    pool.opening++;
    try {
      const { lease, welcome } = await this.#dialing.acquire(pool.endpoint, {
        startup,
        user: pool.user,
        secret: loginClass.secret,
        timeoutMs: this.#loginTimeoutMs,
        signal: this.#never,
      });
      const member = new Member(lease, loginClass, welcome, generation, this.#clock.monotonicMs());
      await this.#trySnapshot(member);
      await this.#learnFirst(member);
      if (pool.catalog.hasLoginTrigger) await this.#settleLogin(member);
      loginClass.welcome = welcome;
      loginClass.failure = null;
      loginClass.users++;
      pool.ledger.opened++;
      pool.members.add(member);
      pool.lastError = null;
      pool.backoff.succeed();
      loginClass.backoff.succeed();
      return member;
    } catch (error) {
      loginClass.failure = error instanceof LoginRefused || isOfSession(error) ? error : null;
      pool.lastError = describeError(error);
      (isOfSession(error) ? loginClass : pool).backoff.fail(this.#clock.monotonicMs(), this.#loginRetryMs);
      throw error;
    } finally {
      pool.opening--;
    }
  }

  /**
   * One Query of pgweir's own; its failure is an error here. Throws WeirError.
   *
   * @param status the transaction status in which the connection is and stays
   */
  async say(member: Member<Side>, text: string, status: number = TRANSACTION.idle): Promise<Inquiry> {
    const inquiry = await this.#ask(member, text, status);
    // A cancel that came late has hit the statement that was there to wait for it.
    if (inquiry.sqlstate !== null && text !== '')
      throw new WeirError('statement_refused', `${inquiry.sqlstate} ${inquiry.message}`);
    return inquiry;
  }

  async #ask(member: Member<Side>, text: string, status: number = TRANSACTION.idle): Promise<Inquiry> {
    member.wasAsked = true;
    const inquiry = await inquire(member.lease, text, OWN_STATEMENT_MS, status);
    for (const { name, value } of inquiry.parameters) member.reported.set(name, value);
    return inquiry;
  }

  /**
   * Asks what the definitions of the database are now; where the server refuses to tell, that stays as it is. Throws WeirError:
   * the connection is of no more use.
   */
  async learn(member: Member<Side>): Promise<void> {
    const { catalog } = member.loginClass.pool;
    if (catalog.reading !== null) return;
    const reading = this.#read(member, catalog);
    const end = (): void => {
      catalog.reading = null;
    };
    catalog.reading = reading.then(end, end);
    await reading;
  }

  async #read(member: Member<Side>, catalog: Catalog): Promise<void> {
    const { epoch } = catalog;
    const { rows, sqlstate, message } = await this.#ask(member, CATALOG_QUERY);
    const nowMs = this.#clock.monotonicMs();
    if (sqlstate === null) {
      catalog.learn(readCatalog(rows), epoch, nowMs);
    } else {
      this.#log.warn({ reason: `${sqlstate} ${message}` }, 'the definitions of a database cannot be read');
      catalog.fail(nowMs);
    }
  }

  /** A standby lets in who is serializable by role or options, and then refuses all that runs. */
  async #trySnapshot(member: Member<Side>): Promise<void> {
    if (member.reported.get('in_hot_standby') === 'off') return;
    try {
      await retireOnError(member, this.say(member, 'SELECT 1'));
    } catch (error) {
      if (!(error instanceof WeirError) || error.code !== 'statement_refused') throw error;
      throw new WeirError('session_not_moved', error.detail);
    }
  }

  /** No client's statement runs before it is known what its database's own code does, where that can be known. */
  async #learnFirst(member: Member<Side>): Promise<void> {
    const { catalog } = member.loginClass.pool;
    if (!catalog.isUnknown) return;
    if (catalog.reading !== null) await catalog.reading;
    if (!catalog.isWanted || !catalog.isUnknown) return;
    await retireOnError(member, this.learn(member));
  }

  /** What an event trigger has set or made is of the session, as if its client had done it. */
  async #settleLogin(member: Member<Side>): Promise<void> {
    const { catalog } = member.loginClass.pool;
    const traces = TRACE.settings | TRACE.temporary;
    const question = makeSettlementQuery(traces, [...catalog.customSettings], NO_BELONGINGS);
    const { rows } = await retireOnError(member, this.say(member, question));
    const { belongings, found } = readSettlement(rows, traces, NO_BELONGINGS);
    member.belongings = belongings;
    member.isSpoiled = (found & TRACE.temporary) !== 0;
  }
}

/** Nobody has it yet who would give it back. */
async function retireOnError<Side, Result>(member: Member<Side>, talk: Promise<Result>): Promise<Result> {
  try {
    return await talk;
  } catch (error) {
    void member.lease.retire(false);
    throw error;
  }
}

/** The server serves, but not a session like this one: others need not stay away from it. */
export function isOfSession(error: unknown): error is LoginRefused | WeirError {
  if (error instanceof LoginRefused) return !isPassing(error);
  return error instanceof WeirError && error.code === 'session_not_moved';
}

/** The server does not serve now, but may in a moment: who has waited may wait on. */
export function isPassing(error: unknown): boolean {
  if (error instanceof LoginRefused) return PASSING.has(error.sqlstate);
  return error instanceof WeirError && (error.code === 'target_unreachable' || error.code === 'target_gone');
}
