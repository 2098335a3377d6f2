// Prepared statements follow a client to other server connections: before a name is used there, it is made to mean what it
// means to the client. Bytes of the client's stay as they are; what is missing is sent in front of them.

import { OWED } from '../../session/owed.ts';
import type { PreparedStatement } from '../../session/statements.ts';
import type { TextFacts } from '../../sql/facts.ts';
import { makeCloseStatement, SYNC } from '../../wire/writer.ts';
import type { Connection } from '../connection.ts';
import type { ServerSide } from '../server-side.ts';

export class StatementCarrier {
  /** Parse messages are kept: another server may need them. */
  readonly isKept: boolean;
  readonly #connection: Connection;

  constructor(connection: Connection, isKept: boolean) {
    this.#connection = connection;
    this.isKept = isKept;
  }

  /** A Parse of that name is about to go out: what this server still has under it, though the client closed it, goes first. */
  beforeParse(name: string): void {
    if (!this.isKept || name === '') return;
    const server = this.#connection.active;
    if (server.left.has(name)) this.#closeOn(server, name);
    const stale = server.known.get(name);
    if (stale === undefined) return;
    // A statement of SQL PREPARE that is still to be confirmed may hide the one that the client has kept.
    let kept = this.#connection.session.statements.find(name);
    while (kept !== null && kept !== stale) kept = kept.previous;
    if (kept === null) this.#closeOn(server, name);
  }

  afterParse(statement: PreparedStatement): void {
    if (!this.isKept) return;
    const server = this.#connection.active;
    server.left.delete(statement.name);
    server.noteParse(statement);
  }

  /** What the client calls `name` is about to be used: the active server must know it as the client does. */
  beforeUse(name: string, statement: PreparedStatement | null): void {
    if (!this.isKept) return;
    const server = this.#connection.active;
    const left = server.left.get(name);
    if (left !== undefined) {
      server.left.delete(name);
      if (statement?.isSameParse(left) === true) server.adopt(statement);
      else this.#closeOn(server, name);
    }
    const known = server.known.get(name) ?? null;
    if (known === statement || (statement !== null && statement.parseMessage === null)) return;
    // A Query whose answer is still to come has dropped it, perhaps: what the server has left is what the client has.
    if (name === '' && statement !== null && server.hasBeenSent(statement)) return;
    if (known !== null || (name !== '' && left === undefined)) this.#closeOn(server, name);
    if (statement === null || statement.parseMessage === null) return;
    server.outlet.write(statement.parseMessage);
    const owed = this.#connection.session.owed.push(OWED.parse);
    owed.isSwallowed = true;
    owed.closedName = name;
    server.noteParse(statement);
  }

  /**
   * SQL that names prepared statements is about to run. A Parse in front of a Query ends with a Sync: a server that refuses
   * it would pass over the Query, too. Within what the client has begun and not ended there can be none.
   */
  beforeRun(facts: TextFacts, isQuery: boolean): void {
    const { session, active } = this.#connection;
    const before = session.owed.sequence;
    for (const { effect } of facts) {
      if (effect === null) continue;
      if (effect.type === 'prepare') this.beforeParse(effect.name);
      else if ((effect.type === 'execute' || effect.type === 'deallocate') && effect.name !== null)
        this.beforeUse(effect.name, session.statements.find(effect.name));
    }
    if (!isQuery || session.isUnitOpen || session.owed.sequence === before) return;
    active.outlet.write(SYNC);
    session.owed.push(OWED.sync).isSwallowed = true;
  }

  /** A statement is about to look at what is prepared: it sees the client's own statements, and no others. */
  beforeLook(): void {
    const server = this.#connection.active;
    for (const name of [...server.left.keys()]) this.#closeOn(server, name);
    for (const statement of this.#connection.session.statements)
      if (statement.name !== '') this.beforeUse(statement.name, statement);
  }

  /** What was left longest ago goes, down to `max`. */
  trim(max: number): void {
    const server = this.#connection.active;
    for (const name of server.left.keys()) {
      if (server.left.size <= max) return;
      this.#closeOn(server, name);
    }
  }

  #closeOn(server: ServerSide, name: string): void {
    server.outlet.write(makeCloseStatement(name));
    const owed = this.#connection.session.owed.push(OWED.close);
    owed.isSwallowed = true;
    owed.closedName = name;
    server.known.delete(name);
    server.left.delete(name);
  }
}
