// What a session with servers of its own may have made by code that its statements only call: functions, procedures, DO, and
// definitions of what is temporary. Before a replica is used next the primary is asked for the outcome.

import { WeirError } from '../../base/errors.ts';
import { makeHandover } from '../../pool/handover.ts';
import { type Inquiry, inquire } from '../../pool/inquiry.ts';
import { nameText } from '../../pool/server-pool.ts';
import { makeSettlementQuery, readSettlement } from '../../pool/settlement.ts';
import { makeBelongings, NO_BELONGINGS } from '../../session/belongings.ts';
import { resolveStatements } from '../../session/statements.ts';
import { NO_KNOWLEDGE } from '../../sql/catalog-knowledge.ts';
import type { StatementFacts, StatementShape, TextFacts } from '../../sql/facts.ts';
import { customSettingsIn, isBuiltin, TRACE, traceOf } from '../../sql/traces.ts';
import { NOT_PREPARED_FACTS } from '../../sql/unparsed.ts';
import { makeParameterStatus } from '../../wire/writer.ts';
import type { Connection } from '../connection.ts';
import type { ServerSide } from '../server-side.ts';
import { MAX_CUSTOM_NAMES } from './leavings.ts';

/** The client's own statements have no deadline there. */
const ANSWER_MS = 60_000;
const CANCELLED = '57014';
/** Stands for whatever a replica has: a handover from here takes all of it back. */
const ANYTHING = makeBelongings({ role: 'none', settings: new Map([['statement_timeout', '0']]) });

/** It shows a set_config, or other code that sets something: in a DO, an INSERT, a COPY. */
export function makesState(statement: StatementFacts): boolean {
  const { queryClass, kinds } = statement.shape;
  if (queryClass === 'session' && kinds[0] === 'select') return true;
  return (traceOf(statement, NO_KNOWLEDGE) & TRACE.settings) !== 0;
}

/** Views, and the functions behind them, of what a session has on its own server only. */
const OF_SESSION = 'pg_prepared_statements pg_prepared_statement pg_cursors pg_cursor pg_listening_channels'.split(' ');

const shown = new WeakMap<StatementShape, boolean>();

/** What it shows is on the primary. */
export function showsSession(shape: StatementShape): boolean {
  let answer = shown.get(shape);
  if (answer === undefined) {
    const names = [...shape.tables, ...shape.functions];
    answer = names.some((name) => OF_SESSION.some((builtin) => isBuiltin(name, builtin)));
    shown.set(shape, answer);
  }
  return answer;
}

export class OwnLeavings {
  /** Something may have been made since the primary was asked. */
  isInDoubt = false;
  /** The primary reported a changed setting while it was asked: replicas were logged in to with the old one. */
  #isOtherwise = false;
  readonly #connection: Connection;
  readonly #customNames = new Set<string>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** These statements are about to run on the primary, and may make what their text does not show. */
  note(facts: TextFacts): void {
    const { statements, portals } = this.#connection.session;
    for (const statement of resolveStatements(facts, statements, portals, NOT_PREPARED_FACTS)) {
      const { queryClass } = statement.shape;
      this.isInDoubt ||= queryClass === 'unknown' || queryClass === 'ddl';
      for (const name of customSettingsIn(statement))
        if (this.#customNames.size <= MAX_CUSTOM_NAMES) this.#customNames.add(name);
    }
  }

  /**
   * Resolves with the text that gives another server the settings that the session has; null where it has what no text gives.
   * Nothing may be in flight. Rejects with WeirError where the primary does not answer: it is of no more use.
   */
  async ask(primary: ServerSide): Promise<string | null> {
    this.isInDoubt = false;
    const names = [...this.#customNames];
    this.#isOtherwise = false;
    if (names.length > MAX_CUSTOM_NAMES) return null;
    const question = makeSettlementQuery(TRACE.hidden, names, NO_BELONGINGS, false);
    let answer = await this.#say(primary, question);
    // A cancel that came late has hit it.
    if (answer.sqlstate === CANCELLED) answer = await this.#say(primary, question);
    if (answer.sqlstate !== null || this.#isOtherwise) return null;
    const { belongings, found } = readSettlement(answer.rows, TRACE.hidden, NO_BELONGINGS);
    const isRefused = belongings.settings.get('default_transaction_isolation') === 'serializable';
    if (isRefused || (found & (TRACE.temporary | TRACE.opaqueSetting)) !== 0) return null;
    return `${makeHandover(ANYTHING, belongings, true)}; ${nameText(this.#connection.session.subject.applicationName)}`;
  }

  /** Notices, notifications and changed settings that come meanwhile go on to the client. */
  async #say(primary: ServerSide, question: string): Promise<Inquiry> {
    primary.names.loseUnnamed();
    const answer = await inquire(primary.lease, question, ANSWER_MS);
    const { asides, parameters } = answer;
    const { session, client, isClosing } = this.#connection;
    if (isClosing) throw new WeirError('target_gone');
    client.outlet.write(asides);
    for (const [name, value] of new Map(parameters.map((each) => [each.name, each.value]))) {
      if (session.parameters.get(name) === value) continue;
      this.#isOtherwise = true;
      session.setParameter(name, value);
      client.outlet.write(makeParameterStatus(name, value));
    }
    client.outlet.flush();
    return answer;
  }
}
