// Statements of one client that change definitions, or what logins depend on: others are told when they go out, and when
// their transaction has ended.

import type { Catalog } from '../../pool/catalogs.ts';
import type { ServerPool } from '../../pool/server-pool.ts';
import type { TransactionPool } from '../../pool/transaction-pool.ts';
import type { StatementFacts, TextFacts } from '../../sql/facts.ts';
import { GATE, type Gate } from '../gate.ts';
import type { ServerSide } from '../server-side.ts';

/** What logins depend on: who comes after such a statement gets a connection that was opened after it. */
const CHANGES_LOGINS = /^(?:alter|create|drop)_(?:role|database|event_trigger)$|^alter_system$/;

/** They fail while anybody else is in the database that they are about. */
const NEEDS_DATABASE = /^(?:drop|alter|create)_database$/;

export function touchesDefinitions({ shape }: StatementFacts): boolean {
  return shape.queryClass === 'ddl';
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

  /** Connections to databases without clients are being closed first; the gate opens when they are. */
  isWaiting(facts: TextFacts): boolean {
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

  complete({ shape }: StatementFacts): void {
    const kind = shape.kinds[0] ?? '';
    if (CHANGES_LOGINS.test(kind)) this.#hasChangedLogins = true;
    if (kind.endsWith('_event_trigger')) this.#hasChangedTriggers = true;
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
