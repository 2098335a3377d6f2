// Statements of one client that change definitions, or what logins depend on: others are told when they go out, and when
// their transaction has ended.

import type { Catalog } from '../../pool/catalogs.ts';
import type { ServerPool } from '../../pool/server-pool.ts';
import type { TransactionPool } from '../../pool/transaction-pool.ts';
import type { StatementFacts, TextFacts } from '../../sql/facts.ts';
import { GATE, type Gate } from '../gate.ts';
import type { ServerSide } from '../server-side.ts';

/** What logins depend on: who comes after such a statement gets a connection that was opened after it. */
const CHANGES_LOGINS =
  /^(?:alter|create|drop)_(?:role|database|event_trigger)$|^alter_system$|^(?:drop|reassign)_owned$/;
const GRANTS = /^(?:grant|revoke)$/;
/** CONNECT, and membership in a role (it has no ON), which pg_hba.conf may ask for. */
const GRANTS_LOGINS = /\bon\s+database\b|^(?!.*\bon\b)/is;
/** The same in code, which may put it together out of strings. */
const CHANGES_IN_CODE =
  /\b(?:alter|create|drop)\s+(?:role|user|group|database|event\s+trigger)\b|\balter\s+system\b|\bon\s+database\b/i;
const TRIGGER = /\bevent\s+trigger\b/i;

/** They fail while anybody else is in the database that they are about. */
const NEEDS_DATABASE = /^(?:drop|alter|create)_database$/;

export function touchesDefinitions(statement: StatementFacts): boolean {
  return statement.shape.queryClass === 'ddl' || isCode(statement);
}

/** A text that runs code, or that is too long to be read. */
function isCode({ shape }: StatementFacts): boolean {
  return shape.kinds[0] === 'do' || shape.unparsed === 'too_long';
}

function changesLogins(statement: StatementFacts): boolean {
  const { shape, text } = statement;
  const [kind = ''] = shape.kinds;
  if (isCode(statement)) return CHANGES_IN_CODE.test(text);
  return GRANTS.test(kind) ? GRANTS_LOGINS.test(shape.normalized) : CHANGES_LOGINS.test(kind);
}

export class DefinitionWatch {
  readonly #catalog: Catalog;
  readonly #gate: Gate;
  readonly #pool: TransactionPool<ServerSide>;
  readonly #database: string;
  #isChanging = false;
  #hasChangedLogins = false;
  #hasChangedTriggers = false;

  constructor(gate: Gate, pool: TransactionPool<ServerSide>, { catalog, database }: ServerPool<ServerSide>) {
    this.#gate = gate;
    this.#pool = pool;
    this.#catalog = catalog;
    this.#database = database;
  }

  /** The gate is closed until connections to databases without clients have been closed, which begins now. */
  mustWait(facts: TextFacts): boolean {
    if (!facts.some(({ shape }) => NEEDS_DATABASE.test(shape.kinds[0] ?? ''))) return false;
    const closed = this.#pool.closeDeserted();
    if (closed === null) return false;
    this.#gate.close(GATE.route);
    void closed.then(() => this.#gate.open(GATE.route));
    return true;
  }

  /** These go to the server now. */
  begin(statements: TextFacts): void {
    if (!this.#isChanging) this.#catalog.beginChange();
    this.#isChanging = true;
    for (const statement of statements) this.#catalog.noteChange(statement);
  }

  complete(statement: StatementFacts): void {
    if (!changesLogins(statement)) return;
    this.#hasChangedLogins = true;
    const { shape, text } = statement;
    if (shape.kinds[0]?.endsWith('_event_trigger') === true || TRIGGER.test(text)) this.#hasChangedTriggers = true;
  }

  /** The transaction is over, or the client has gone. */
  end(): void {
    if (this.#isChanging) this.#catalog.endChange();
    this.#isChanging = false;
    if (this.#hasChangedLogins) this.#pool.renewLogins(this.#hasChangedTriggers ? this.#database : null);
    // Until it is known what became of them, each login opens a connection.
    if (this.#hasChangedTriggers) this.#catalog.need();
    this.#hasChangedLogins = false;
    this.#hasChangedTriggers = false;
  }
}
