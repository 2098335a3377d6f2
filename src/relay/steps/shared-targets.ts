// Which target a unit of work runs on where server connections are shared: a rule's replica, for what leaves nothing behind
// in its session, or else the primary.

import type { Endpoint } from '../../config/settings.ts';
import type { LoginClass } from '../../pool/login-class.ts';
import { isOfSession } from '../../pool/opener.ts';
import type { Belongings } from '../../session/belongings.ts';
import type { TextFacts } from '../../sql/facts.ts';
import { traceOf } from '../../sql/traces.ts';
import type { Connection } from '../connection.ts';
import type { RelayContext } from '../context.ts';
import type { Run } from '../run.ts';
import type { ServerSide } from '../server-side.ts';
import { wantsReplica } from './look-ahead.ts';
import { mayRunElsewhere } from './route.ts';

/** A replica that did not take this client is not tried again by it for so long. */
const REST_MS = 2_000;

export class SharedTargets {
  readonly primary: LoginClass<ServerSide>;
  readonly #connection: Connection;
  readonly #context: RelayContext;
  readonly #classOf: (endpoint: Endpoint) => LoginClass<ServerSide>;
  readonly #classes = new Map<Endpoint, LoginClass<ServerSide>>();
  /** Replicas that did not take this client, and until when it does not try them again. */
  readonly #restUntilMs = new Map<Endpoint, number>();

  constructor(
    connection: Connection,
    context: RelayContext,
    primary: LoginClass<ServerSide>,
    classOf: (endpoint: Endpoint) => LoginClass<ServerSide>,
  ) {
    this.#connection = connection;
    this.#context = context;
    this.primary = primary;
    this.#classOf = classOf;
  }

  forQuery({ verdict, facts }: Run, belongings: Belongings): LoginClass<ServerSide> {
    if (verdict?.route?.target !== 'replica' || !this.#isRoutable(facts, belongings)) return this.primary;
    return this.#pickReplica();
  }

  forUnit(belongings: Belongings): LoginClass<ServerSide> {
    if (this.#replicas.length === 0 || !this.#connection.view().ruleset.hasRoutes) return this.primary;
    const isForReplica = wantsReplica(this.#connection, this.#context, (facts) => this.#isRoutable(facts, belongings));
    return isForReplica ? this.#pickReplica() : this.primary;
  }

  /** Nothing came of that one. Where the reason is this client's own, others need not stay away from it. */
  rest({ endpoint }: LoginClass<ServerSide>, error: unknown): void {
    const { clock, pool } = this.#context;
    if (isOfSession(error)) this.#restUntilMs.set(endpoint, clock.monotonicMs() + REST_MS);
    else pool.rest(endpoint);
  }

  leave(): void {
    this.primary.users--;
    for (const loginClass of this.#classes.values()) loginClass.users--;
  }

  get #replicas(): readonly Endpoint[] {
    return this.#context.settings.targets.replicas;
  }

  #isRoutable(facts: TextFacts, { settings }: Belongings): boolean {
    const { catalog } = this.primary.pool;
    let isFree =
      this.#replicas.length > 0 &&
      // A standby refuses all that runs so.
      settings.get('default_transaction_isolation') !== 'serializable' &&
      !this.#connection.session.isTransactionAhead &&
      facts.every((statement) => mayRunElsewhere(statement.shape));
    if (isFree) {
      catalog.need();
      isFree = facts.every((statement) => traceOf(statement, catalog.knowledge) === 0);
    }
    if (!isFree) this.#context.counters.unroutable++;
    return isFree;
  }

  /** Starting from one that the client's number picks, the first that is not known to be down. */
  #pickReplica(): LoginClass<ServerSide> {
    const { pool, clock, counters } = this.#context;
    const count = this.#replicas.length;
    const nowMs = clock.monotonicMs();
    for (let attempt = 0; attempt < count; attempt++) {
      const endpoint = this.#replicas[(this.#connection.session.id + attempt) % count];
      if (endpoint === undefined || pool.isResting(endpoint, nowMs)) continue;
      if (nowMs < (this.#restUntilMs.get(endpoint) ?? 0)) continue;
      let loginClass = this.#classes.get(endpoint);
      if (loginClass === undefined) {
        loginClass = this.#classOf(endpoint);
        this.#classes.set(endpoint, loginClass);
      }
      return loginClass;
    }
    counters.unroutable++;
    return this.primary;
  }
}
