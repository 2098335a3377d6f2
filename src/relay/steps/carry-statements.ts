// Prepared statements follow a client to other server connections. Before a message names one, the active server is made to
// have it: mostly it has, under that name or another, from this client or from one that prepared the same; else a Parse goes
// in front. The message is then reworded where the server's name is another one (relay/renaming.ts).
//
// What is made in front of a message may be skipped with it, when something before it fails. So nothing is decided while it
// depends on answers that are still to come: the message waits for them.

import { type ErrorSubstitute, OWED } from '../../session/owed.ts';
import { type Circumstances, internPreparation, lexingOf, type Preparation } from '../../session/preparation.ts';
import type { ServerNames, Slot } from '../../session/server-names.ts';
import type { PreparedStatement } from '../../session/statements.ts';
import type { StatementFacts, TextFacts } from '../../sql/facts.ts';
import { TRACE } from '../../sql/traces.ts';
import { TRANSACTION } from '../../wire/codes.ts';
import type { Connection } from '../connection.ts';
import { GATE } from '../gate.ts';
import { UNPLANNABLE } from './failed-use.ts';
import { OwnMessages } from './own-messages.ts';
import { AS_SENT, CHANGED, makeStandIn, NOBODY, NOTHING, TAKEN, TAKEN_STATEMENT, UNREADABLE } from './places.ts';
import { SqlNames } from './sql-names.ts';

/** They can be run, and prepared, in a failed transaction. */
const ENDS_TRANSACTION = /^(?:commit|rollback|rollback_to|prepare_transaction)$/;

/** What a client's routing knows of the servers that its statements go to. */
export interface Surroundings {
  /** Other clients use the same server connections. */
  readonly isShared: boolean;
  /** Named statements that are kept on each of them. */
  readonly maxStatements: number;
  /** Null where it is not certain. */
  now(): Circumstances | null;
}

export class StatementCarrier {
  /** Parse messages are kept: another server may need them. */
  readonly isKept: boolean;
  readonly #connection: Connection;
  readonly #surroundings: Surroundings;
  readonly #own: OwnMessages;
  readonly #sql: SqlNames;
  #last: ServerNames | null = null;
  readonly #stationary = new Set<PreparedStatement>();
  /** What the message needs that is being looked at. */
  needed: Slot | null = null;

  /** @param surroundings null: one server connection for the client's whole life */
  constructor(connection: Connection, surroundings: Surroundings | null) {
    this.#connection = connection;
    this.isKept = surroundings !== null;
    this.#surroundings = surroundings ?? { isShared: false, maxStatements: Number.POSITIVE_INFINITY, now: () => null };
    this.#own = new OwnMessages(connection);
    this.#sql = new SqlNames(connection, this, this.#own);
  }

  /** What a Parse in `message[start, end)` says besides its name; null where nobody will need it again. */
  read(facts: TextFacts, message: Buffer, start: number, textEnd: number, end: number): Preparation | null {
    if (!this.isKept) return null;
    const { session } = this.#connection;
    const lexing = lexingOf(session.clientEncoding, session.areStringsConforming);
    return internPreparation(facts, message, start, textEnd, end, lexing);
  }

  /** Where a Parse of that name goes; null: not now, the gate is closed until it may. */
  forParse(name: string, facts: TextFacts, preparation: Preparation | null): Slot | null {
    if (preparation === null) return AS_SENT;
    this.needed = null;
    // What the server makes of an EXECUTE depends on what it finds under the name.
    if (!this.#sql.isReady(facts, false, isExecute)) return null;
    const names = this.enter();
    const bound = names.of(name);
    if (bound !== undefined) return this.#inTime(bound);
    if (this.#connection.copyIn.isRunning) return this.#bindAlias(names, name);
    if (name === '') return this.#bindUnnamed(names);
    const held = this.#connection.session.statements.find(name);
    if (held !== null && !this.#isLost(held, names)) {
      if (!held.isConfirmed || !this.isClear(name)) return this.wait();
      return this.#taken(names);
    }
    const slot = this.#choosePlace(names, name, preparation);
    names.bind(name, slot);
    return slot;
  }

  /** It has been sent. */
  afterParse(statement: PreparedStatement, slot: Slot, sequence: number): void {
    if (slot === AS_SENT) return;
    this.enter().rank(slot, sequence);
    const { preparation, facts, name } = statement;
    if (!this.#surroundings.isShared || preparation === null) return;
    if (facts.some(isExecute)) {
      // What it is, the server has found out by what the client has now under the name in it.
      statement.isStationary = true;
      this.#stationary.add(statement);
      return;
    }
    const circumstances = this.#surroundings.now();
    statement.circumstances = circumstances;
    statement.description = preparation.describedAt(circumstances);
    // The description of a statement without a name is mostly never needed.
    if (statement.description !== null || (name === '' && circumstances?.isMoment !== true)) return;
    this.#own.describe(slot);
  }

  /** Where a Bind or Describe of that name goes; null: not now. */
  forUse(name: string, statement: PreparedStatement | null, isDescribe: boolean): Slot | null {
    if (!this.isKept) return AS_SENT;
    if (isDescribe && statement?.isStationary === true && !this.#sql.isReady(statement.facts, false, isExecute))
      return null;
    const names = this.enter();
    const bound = names.of(name);
    if (bound !== undefined) {
      names.touch(bound);
      return this.#inTime(bound);
    }
    if (this.#connection.copyIn.isRunning) return NOBODY;
    if (statement !== null && !statement.isConfirmed) return this.wait();
    if (statement === null || this.#isLost(statement, names)) return this.#forNobody(names, name);
    if (!this.isClear(name)) return this.wait();
    return this.#fail(statement, isDescribe) ?? this.#establish(names, name, statement);
  }

  /** What fails when it is planned, with the parameters of that statement. */
  unplannable(statement: PreparedStatement): Slot {
    return this.#standIn(statement, UNPLANNABLE);
  }

  /** Where a Close of that name goes; null: not now. */
  forClose(name: string): Slot | null {
    if (!this.isKept) return AS_SENT;
    const names = this.enter();
    const bound = names.of(name);
    if (bound !== undefined) return this.#inTime(bound);
    if (name === '') return this.#bindUnnamed(names);
    const held = this.#connection.session.statements.find(name);
    if (held !== null && !held.isConfirmed && !this.#connection.copyIn.isRunning) return this.wait();
    return names.at(name) === null ? AS_SENT : NOBODY;
  }

  /** May statements that name others by SQL, or look at all that is prepared, run now? False: not now. */
  isReadyToRun(facts: TextFacts, isQuery: boolean): boolean {
    this.needed = null;
    return !this.isKept || this.#sql.isReady(facts, isQuery);
  }

  /** pgweir's own Parse has failed where the client is not to hear of it; `error` is the server's ErrorResponse. */
  noteFailure(slot: Slot, error: Buffer): void {
    this.#sql.noteFailure(slot, error);
  }

  /** The failure that a Query is to be answered with, told once: what it needed could not be prepared. */
  takeFailure(): Buffer | null {
    return this.isKept ? this.#sql.takeFailure() : null;
  }

  /** What errors of the Query or Execute that runs now are to the client, told once. */
  takeSubstitute(): ErrorSubstitute | null {
    return this.isKept ? this.#sql.takeSubstitute() : null;
  }

  /** Bits of TRACE: the client has what can be on no other server connection, and no question to the server shows it. */
  get ties(): number {
    if (this.#stationary.size === 0) return 0;
    const { statements } = this.#connection.session;
    for (const statement of this.#stationary) if (!statements.has(statement)) this.#stationary.delete(statement);
    return this.#stationary.size === 0 ? 0 : TRACE.preparedSql;
  }

  /** What was used longest ago goes, down to the limit. */
  trim(): void {
    const names = this.enter();
    this.#makeRoom(names, 0);
  }

  // What sql-names.ts needs too.

  /** The names of the active server, which are this client's from now on. */
  enter(): ServerNames {
    const { names } = this.#connection.active;
    if (names.owner !== this || this.#last !== names) this.#moveTo(names);
    return names;
  }

  /** Nothing is in flight. */
  #moveTo(names: ServerNames): void {
    const { statements } = this.#connection.session;
    const isBack = names.owner === this;
    names.changeOwner(this);
    this.#last = names;
    for (const slot of names.slots()) {
      if (!slot.isStationary) continue;
      if (isBack && statements.find(slot.name) === slot.statement) names.bind(slot.name, slot);
      else if (this.#surroundings.isShared) this.#own.close(names, slot);
    }
  }

  /** The message is offered again when all that was sent has been answered. */
  wait(): null {
    if (this.#connection.session.isQuiet) throw new Error('there is no answer to wait for');
    this.#own.flush();
    this.#connection.gate.close(GATE.names);
    return null;
  }

  /** Nothing that is still unanswered bears on what the client has under that name, or on its transaction. */
  isClear(name: string): boolean {
    const { owed } = this.#connection.session;
    for (let index = owed.count - 1; index >= 0; index--) {
      const entry = owed.at(index);
      if (entry === null) continue;
      const { kind } = entry;
      if (kind === OWED.sync || kind === OWED.query || kind === OWED.functionCall) return false;
      if (kind === OWED.close && !entry.isSwallowed && !entry.isPortal && entry.closedName === name) return false;
      if (entry.run?.facts.some(mayChangeNames) === true) return false;
    }
    return true;
  }

  /** Nothing has changed since its Parse that could change its description. */
  isUnchanged({ circumstances }: PreparedStatement): boolean {
    return circumstances?.isMoment === true && circumstances === this.#surroundings.now();
  }

  /** What the server has, and no name of the client's stands for, that the statement can be. */
  #findFit(names: ServerNames, statement: PreparedStatement): Slot | null {
    const { preparation } = statement;
    if (preparation === null) return null;
    if (statement.name === '') return this.isFit(names.unnamed, statement) ? names.unnamed : null;
    for (const slot of names.with(preparation)) if (slot.isFree && this.isFit(slot, statement)) return slot;
    return null;
  }

  /** A trial has shown that the statement is not described any more as it was. */
  hasChanged(names: ServerNames, statement: PreparedStatement): boolean {
    const { preparation, description } = statement;
    if (preparation === null || description === null) return false;
    const now = this.#surroundings.now();
    const slots = statement.name === '' ? [names.unnamed] : names.with(preparation);
    for (const slot of slots) {
      const { description: other } = slot;
      if (
        !slot.isThere ||
        slot.preparation !== preparation ||
        other === null ||
        other.signature === description.signature
      )
        continue;
      const isTold = slot.isTrial && slot.statement === statement;
      if (isTold) slot.isTrial = false;
      if (isTold || (now?.isMoment === true && slot.circumstances === now)) return true;
    }
    return false;
  }

  /** The text says now what it said when it was judged. */
  isReadable({ preparation }: PreparedStatement): boolean {
    const { session } = this.#connection;
    const lexing = preparation?.lexing ?? null;
    return lexing === null || lexing === lexingOf(session.clientEncoding, session.areStringsConforming);
  }

  /** Parse and, where it is not known, Describe. True where its description is the client's for certain. */
  prepare(names: ServerNames, slot: Slot, statement: PreparedStatement): boolean {
    const { preparation, description } = statement;
    const now = this.#surroundings.now();
    this.#own.parse(names, slot, statement, now);
    if (!this.#surroundings.isShared || preparation === null) return true;
    const known = preparation.describedAt(now);
    if (known === null) this.#own.describe(slot);
    if (description === null || description.signature === known?.signature) return true;
    return this.isUnchanged(statement);
  }

  // The places of names.

  /** What waits for its own preparation may be skipped with it: a later unit of work waits until that is known. */
  #inTime(slot: Slot): Slot | null {
    if (!slot.isDoubtful || this.isClear(slot.clientName ?? '')) return slot;
    return this.wait();
  }

  #bindAlias(names: ServerNames, name: string): Slot {
    const slot = name === '' ? names.unnamed : names.addAlias();
    names.bind(name, slot);
    return slot;
  }

  #bindUnnamed(names: ServerNames): Slot {
    const { unnamed } = names;
    names.bind('', unnamed);
    unnamed.isDoubtful = !this.#connection.session.isQuiet;
    return unnamed;
  }

  /** SQL PREPARE made it on another server connection, and it was gone before the client came here. */
  #isLost(statement: PreparedStatement, names: ServerNames): boolean {
    return statement.preparation === null && statement.isConfirmed && names.of(statement.name) === undefined;
  }

  /** The client has nothing by that name. */
  #forNobody(names: ServerNames, name: string): Slot {
    if (name !== '') return names.at(name) === null ? AS_SENT : NOBODY;
    this.#own.close(names, names.unnamed);
    return this.#bindUnnamed(names);
  }

  #taken(names: ServerNames): Slot | null {
    const taken = names.at(TAKEN);
    if (taken !== null && !taken.isClosing) return this.#inTime(taken);
    if (taken !== null) return this.wait();
    const slot = names.add(TAKEN);
    this.#own.parse(names, slot, TAKEN_STATEMENT, null);
    return slot;
  }

  /**
   * A name for what the client has not had so far: its own, where that is free. What another client left of the same text
   * gives way to it, so that there is one for all; the next to come finds this one.
   */
  #choosePlace(names: ServerNames, name: string, preparation: Preparation): Slot {
    const there = names.at(name);
    if (this.#connection.session.isQuiet) {
      const isUseless = there?.isFree === true && (there.preparation === preparation || !this.#surroundings.isShared);
      const old = isUseless ? there : names.with(preparation).find((slot) => slot.isFree);
      if (old !== undefined) this.#own.close(names, old);
      if (old !== undefined && (old === there || there !== null)) return old;
      this.#makeRoom(names, 1);
    }
    return there === null && name !== NOBODY.name && name !== TAKEN ? names.add(name) : names.addAlias();
  }

  /**
   * Another text with the parameters of that statement: what the server says to their number and values, it says before it
   * looks at the statement.
   */
  #standIn(statement: PreparedStatement, preparation: Preparation): Slot {
    const names = this.enter();
    const slot = names.addAlias();
    this.#own.parse(names, slot, makeStandIn(preparation, statement), null);
    slot.usedAt = 0;
    return slot;
  }

  /** In a failed transaction nothing can be prepared, but what has been prepared has parameters. */
  #fail(statement: PreparedStatement, isDescribe: boolean): Slot | null {
    const { facts, description } = statement;
    if (this.#connection.session.status !== TRANSACTION.failed || description === null) return null;
    if (isDescribe ? description.hasColumns : ENDS_TRANSACTION.test(facts[0]?.shape.kinds[0] ?? '')) return null;
    return this.#standIn(statement, NOTHING);
  }

  #establish(names: ServerNames, name: string, statement: PreparedStatement): Slot | null {
    const fit = this.#findFit(names, statement);
    if (fit !== null) {
      names.bind(name, fit);
      return fit;
    }
    if (this.hasChanged(names, statement)) return CHANGED;
    if (!this.isReadable(statement)) return UNREADABLE;
    if (name !== '' && this.#connection.session.isQuiet) this.#makeRoom(names, 1);
    const slot = name === '' ? names.unnamed : names.at(name) === null ? names.add(name) : names.addAlias();
    const isSure = this.prepare(names, slot, statement);
    this.#connection.session.isUnitOpen = true;
    if (!isSure) {
      slot.isTrial = true;
      return this.wait();
    }
    names.bind(name, slot);
    slot.isDoubtful = true;
    return slot;
  }

  isFit(slot: Slot, statement: PreparedStatement): boolean {
    if (!slot.isThere || slot.preparation !== statement.preparation) return false;
    const { circumstances, description } = slot;
    const isOwn = slot.statement === statement;
    const isAlike = circumstances !== null && circumstances.reading === statement.circumstances?.reading;
    if (!isOwn && !isAlike) return false;
    if (description !== null && statement.description !== null)
      return description.signature === statement.description.signature;
    return isOwn || (circumstances?.isMoment === true && circumstances === statement.circumstances);
  }

  /** Only while nothing is owed is it sure that a Close is not skipped. */
  #makeRoom(names: ServerNames, needed: number): void {
    if (!this.#connection.session.isQuiet || this.#connection.session.owed.isSkipping) return;
    while (names.size + needed > this.#surroundings.maxStatements) {
      const oldest = names.oldest(this.needed);
      if (oldest === null) return;
      this.#own.close(names, oldest);
    }
  }
}

function isExecute({ effect }: StatementFacts): boolean {
  return effect?.type === 'execute';
}

/** EXECUTE may be of such a statement. */
function mayChangeNames({ effect }: StatementFacts): boolean {
  const type = effect?.type;
  return type === 'prepare' || type === 'execute' || type === 'deallocate' || type === 'discard_all';
}
