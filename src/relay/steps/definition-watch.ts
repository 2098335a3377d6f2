// Statements of one client that change definitions, or what logins depend on: others are told when they go out, and when
// their transaction has ended.

import type { Catalog } from '../../pool/catalogs.ts';
import type { StatementFacts, TextFacts } from '../../sql/facts.ts';

/** What logins depend on: who comes after such a statement gets a connection that was opened after it. */
const CHANGES_LOGINS = /^(?:alter|create|drop)_(?:role|database|event_trigger)$|^alter_system$/;

export class DefinitionWatch {
  readonly #catalog: Catalog;
  readonly #renewLogins: () => void;
  #isChanging = false;
  #hasChangedLogins = false;

  constructor(catalog: Catalog, renewLogins: () => void) {
    this.#catalog = catalog;
    this.#renewLogins = renewLogins;
  }

  /** These go to the server now. */
  begin(statements: TextFacts): void {
    if (!this.#isChanging) this.#catalog.beginChange();
    this.#isChanging = true;
    for (const statement of statements) this.#catalog.noteChange(statement);
  }

  complete({ shape }: StatementFacts): void {
    if (shape.queryClass === 'ddl' && CHANGES_LOGINS.test(shape.kinds[0] ?? '')) this.#hasChangedLogins = true;
  }

  /** The transaction is over, or the client has gone. */
  end(): void {
    if (this.#isChanging) this.#catalog.endChange();
    this.#isChanging = false;
    if (this.#hasChangedLogins) this.#renewLogins();
    this.#hasChangedLogins = false;
  }
}
