// What a client sees of a shared server's settings by ParameterStatus: each change of its own view once, and nothing of others'.

import type { Member } from '../../pool/member.ts';
import { nameText } from '../../pool/server-pool.ts';
import type { TransactionPool } from '../../pool/transaction-pool.ts';
import { resolveStatements } from '../../session/statements.ts';
import type { StatementFacts } from '../../sql/facts.ts';
import { isBuiltin, TRACE } from '../../sql/traces.ts';
import { NOT_PREPARED_FACTS } from '../../sql/unparsed.ts';
import { TRANSACTION } from '../../wire/codes.ts';
import { makeParameterStatus } from '../../wire/writer.ts';
import type { Connection } from '../connection.ts';
import type { ServerSide } from '../server-side.ts';
import type { Surroundings } from './surroundings.ts';

const TO_DEFAULT = /\bdefault$/i;
const NAMES_IT = /application_name/i;
/** In code, and as the value that set_config is given. */
const LEADS_BACK = /\b(?:reset|default|null)\b/i;
/**
 * A value that was given in the session has the source 'session', one that RESET led back to has not. As with a settlement
 * (pool/settlement.ts), the client's own defaults do not count.
 */
const ASK_WHETHER_GIVEN = `BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY NOT DEFERRABLE; SET LOCAL statement_timeout = 0;
SELECT source OPERATOR(pg_catalog.=) 'session' FROM pg_catalog.pg_show_all_settings()
  WHERE name OPERATOR(pg_catalog.=) 'application_name'; COMMIT`;

export class ClientView {
  readonly #connection: Connection;
  /** application_name to which RESET leads. Where the client brought none it is the server's, known once the login is through. */
  readonly #nameAtStartup: () => string;
  /** RESET has been done, and not undone, since the server was given a name. */
  #hasReset = false;
  /** By SET LOCAL ... TO DEFAULT. */
  #isLocal = false;
  /** It was committed, and the next transaction has begun with it. */
  #isCommitted = false;
  /** In that transaction the server was given the client's name again: what undoes it leads back to another's. */
  #isUndoForeign = false;
  /** Since the last ReadyForQuery code has run that may have done RESET. */
  #hasRunCode = false;
  /** It is by that alone that `#hasReset` is set: the code may have given that very name. */
  #isByCode = false;

  constructor(connection: Connection, nameAtStartup: () => string) {
    this.#connection = connection;
    this.#nameAtStartup = nameAtStartup;
  }

  get #startupName(): string {
    return this.#nameAtStartup();
  }

  get applicationName(): string {
    return this.#connection.session.parameters.applicationName ?? this.#startupName;
  }

  /** What a ParameterStatus of its server says to the client: RESET leads to the client's own name, not to another's. */
  word({ startupName }: Member<ServerSide>, name: string, value: string): string {
    const isForeign = name === 'application_name' && value === startupName && value !== this.#startupName;
    if (!isForeign) return value;
    if (this.#hasRunCode && !this.#hasReset) {
      this.#hasReset = true;
      this.#isLocal = false;
      this.#isByCode = true;
    }
    return this.#hasReset || this.#isUndoForeign || this.#isResetting() ? this.#startupName : value;
  }

  /** The client hears of what is otherwise on that server than it was where it came from. */
  show({ reported }: Member<ServerSide>): void {
    const { session, client } = this.#connection;
    if (reported.isSameAs(session.parameters)) return;
    for (const [name, value] of reported) {
      if (session.parameters.get(name) === value) continue;
      session.setParameter(name, value);
      client.outlet.write(makeParameterStatus(name, value));
    }
  }

  /** That statement has been completed, and what it ran by name; `surroundings` tell what it may have left, null: nothing. */
  noteDone(statement: StatementFacts, surroundings: Pick<Surroundings, 'tracesOf'> | null): void {
    this.#noteDone(statement, surroundings?.tracesOf(statement) ?? 0);
    const type = statement.effect?.type;
    if (type !== 'execute' && type !== 'fetch') return;
    const { statements, portals } = this.#connection.session;
    for (const named of resolveStatements([statement], statements, portals, NOT_PREPARED_FACTS))
      if (named !== statement) this.#noteDone(named, surroundings?.tracesOf(named) ?? 0);
  }

  #noteDone(statement: StatementFacts, traces: number): void {
    const { effect, shape } = statement;
    if (shape.kinds[0] === 'commit') {
      // COMMIT of a failed transaction undoes it.
      if (this.#connection.session.status === TRANSACTION.failed) return;
      this.#isCommitted = this.#hasReset;
      this.#isUndoForeign = false;
    } else if (shape.kinds[0] === 'rollback') {
      this.#undo();
    } else if (resetsName(statement)) {
      this.#hasReset = true;
      this.#isLocal = effect?.type === 'set' && effect.isLocal;
      // It has ended its transaction, too: no error behind it undoes it.
      this.#isCommitted ||= effect?.type === 'discard_all';
    } else if (effect?.type === 'set') {
      // What is said of other settings does nothing to it.
      if (effect.name !== 'application_name') return;
      this.#hasReset = false;
      this.#hasRunCode = false;
    } else this.#hasRunCode ||= mayReset(statement, traces);
  }

  /** A statement has failed. */
  noteError(): void {
    this.#undo();
  }

  /** What the transaction had reset is as it was. */
  #undo(): void {
    this.#hasReset = this.#isCommitted;
    this.#hasRunCode = false;
  }

  /** RESET led to the name of whoever opened the connection. The server reports nothing where it had that name already. */
  isWrong(member: Member<ServerSide>): boolean {
    const isWrong = member.applicationName !== this.applicationName;
    // What is right now is the client's own from here on, however it came about.
    this.#hasReset &&= isWrong;
    this.#isCommitted &&= isWrong;
    this.#isByCode &&= isWrong;
    if (this.#connection.session.status === TRANSACTION.idle) this.#isUndoForeign &&= isWrong;
    return isWrong;
  }

  /** In front of ReadyForQuery: the server had another client's name before RESET gave it that name, and says nothing. */
  noteReady(member: Member<ServerSide>, status: number): void {
    const { session, client } = this.#connection;
    this.#hasRunCode = false;
    if (status === TRANSACTION.idle) this.#isCommitted = this.#hasReset;
    const isReset = this.#hasReset && member.applicationName === member.startupName;
    if (!isReset || this.applicationName === this.#startupName) return;
    session.setParameter('application_name', this.#startupName);
    client.outlet.write(makeParameterStatus('application_name', this.#startupName));
  }

  /** Gives the server this client's name again, inside a transaction too; should that be rolled back, so is this. */
  async restore(pool: TransactionPool<ServerSide>, member: Member<ServerSide>): Promise<void> {
    const { session, client } = this.#connection;
    const isInTransaction = session.status !== TRANSACTION.idle;
    const isInDoubt = this.#isByCode && !isInTransaction;
    this.#isByCode = false;
    const isLocal = this.#hasReset && this.#isLocal && isInTransaction;
    const isOfTransaction = this.#hasReset && !this.#isCommitted && !this.#isUndoForeign;
    this.#isUndoForeign = isInTransaction && !isOfTransaction;
    this.#hasReset = false;
    this.#isCommitted = false;
    const isGiven = isInDoubt && (await pool.say(member, ASK_WHETHER_GIVEN)).rows[0]?.[0] === 't';
    // By SET: after a query the client could not set the transaction's isolation level any more.
    if (!isGiven) await pool.say(member, nameText(this.applicationName, isLocal), session.status);
    // A statement that the client has without a name is made again where it is used.
    member.side?.names.loseUnnamed();
    member.wasAsked = false;
    // As the server has it in the end: it drops what it cannot show.
    session.setParameter('application_name', member.applicationName);
    if (!isGiven || this.#connection.isClosing) return;
    client.outlet.write(makeParameterStatus('application_name', member.applicationName));
    client.outlet.flush();
  }

  /** The statement under way resets the name: old servers report the name before they complete it. */
  #isResetting(): boolean {
    return this.#connection.lastRun?.facts.some(resetsName) === true;
  }
}

function resetsName({ effect, shape }: StatementFacts): boolean {
  if (effect?.type === 'discard_all') return true;
  if (effect?.type !== 'set' || (effect.name !== null && effect.name !== 'application_name')) return false;
  return shape.kinds[0] === 'reset' || TO_DEFAULT.test(shape.normalized);
}

/** Code that it runs may do RESET: what names it and none of those words gives it a value. */
function mayReset({ shape, text }: StatementFacts, traces: number): boolean {
  if ((traces & (TRACE.settings | TRACE.hidden)) === 0) return false;
  if (NAMES_IT.test(text)) return LEADS_BACK.test(text);
  return (traces & TRACE.hidden) !== 0 || !shape.functions.some((name) => isBuiltin(name, 'set_config'));
}
