// Prepared statements follow a client to other server connections. Before a message names one, the active server is made to
// have it: mostly it has, under that name or another, from this client or from one that prepared the same; else a Parse goes
// in front. The message is then reworded where the server's name is another one (relay/renaming.ts).
//
// What is made in front of a message may be skipped with it, when something before it fails. So nothing is decided while it
// depends on answers that are still to come: the message waits for them.

import { type ErrorSubstitute, endsWithReady, OWED, type OwedReply } from '../../session/owed.ts';
import { PassingSet } from '../../session/passing-set.ts';
import { internPreparation, lexingOf, type Preparation } from '../../session/preparation.ts';
import type { ServerNames, Slot } from '../../session/server-names.ts';
import type { PreparedStatement } from '../../session/statements.ts';
import type { TextFacts } from '../../sql/facts.ts';
import { TRANSACTION } from '../../wire/codes.ts';
import type { Connection } from '../connection.ts';
import type { Run } from '../run.ts';
import { awaitAnswers } from './await-answers.ts';
import { OwnMessages } from './own-messages.ts';
import { AS_SENT, FAILED, mayStand, NOBODY, NOTHING, TAKEN, TAKEN_STATEMENT } from './places.ts';
import {
  endsTransaction,
  type FailingPlace,
  isExecute,
  mayChangeNames,
  runsPrepared,
  StatementRepeater,
} from './repeat-statements.ts';
import { SqlNames } from './sql-names.ts';
import { OWN_SERVERS, type Surroundings } from './surroundings.ts';

/** A message waits once or twice. One that goes round in circles ends its connection. */
const MAX_WAITS = 1_000;

export class StatementCarrier {
  /** Parse messages are kept: another server may need them. */
  readonly isKept: boolean;
  readonly #connection: Connection;
  readonly #surroundings: Surroundings;
  readonly #own: OwnMessages;
  readonly #repeater: StatementRepeater;
  readonly #sql: SqlNames;
  #last: ServerNames | null = null;
  /** How often the message that waits has waited, and its number (`ClientSide.taken`). */
  #waits = 0;
  #waitsOf = 0;
  /** Names that must not be closed in this piece of work: a portal that is bound, or a Query, will look for them. */
  readonly needed: PassingSet<string>;

  /** @param surroundings null: one server connection for the client's whole life */
  constructor(connection: Connection, surroundings: Surroundings | null) {
    this.#connection = connection;
    this.isKept = surroundings !== null;
    this.needed = new PassingSet(() => connection.session.work);
    this.#surroundings = surroundings ?? OWN_SERVERS;
    this.#own = new OwnMessages(connection);
    this.#repeater = new StatementRepeater(connection, this.#own, this.#surroundings);
    this.#sql = new SqlNames(connection, this, this.#repeater, this.#own, this.#surroundings);
  }

  /** What a Parse in `message[start, end)` says besides its name; null where nobody will need it again. */
  read(facts: TextFacts, message: Buffer, start: number, textEnd: number, end: number): Preparation | null {
    if (!this.isKept) return null;
    const { session } = this.#connection;
    const lexing = lexingOf(session.clientEncoding, session.areStringsConforming);
    return internPreparation(facts, message, start, textEnd, end, lexing);
  }

  /** Where a Parse of that name goes; null: not now, the gate is closed until it may. `isPlain`: its facts are (sql/plain.ts). */
  forParse(name: string, facts: TextFacts, preparation: Preparation | null, isPlain: boolean): Slot | null {
    if (preparation === null) return AS_SENT;
    if (!isPlain && !this.#sql.isReadyToBegin(facts)) return null;
    // What the server makes of an EXECUTE depends on what it finds under the name.
    if (!isPlain && !this.#sql.isReady(facts, false, runsPrepared)) return null;
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
    if (slot !== null) names.bind(name, slot);
    return slot;
  }

  /** It has been sent. */
  afterParse(statement: PreparedStatement, slot: Slot, sequence: number): void {
    if (slot === AS_SENT) return;
    this.enter().rank(slot, sequence);
    const { preparation, facts } = statement;
    if (!this.#surroundings.isShared || preparation === null) return;
    if (isExecute(facts)) {
      this.#repeater.describeExecute(statement);
      return;
    }
    const circumstances = this.#surroundings.circumstances();
    statement.circumstances = circumstances;
    statement.description = preparation.describedAt(circumstances, null);
    if (statement.description === null) this.#own.describe(slot);
  }

  /** Where a Bind of that name goes, where that needs no more than a look; null: see `forUse`. */
  placeOf(name: string, statement: PreparedStatement | null): Slot | null {
    if (!this.isKept) return AS_SENT;
    const names = this.enter();
    const bound = names.of(name);
    if (this.#mayRunHidden()) return null;
    if (bound === undefined) return statement === null ? null : this.#findAgain(names, name, statement);
    if (bound.isDoubtful || this.#mayOutlive(bound)) return null;
    names.touch(bound);
    return bound;
  }

  /**
   * Where a Bind or Describe of that name goes; null: not now.
   *
   * @param tryValues of a Bind: sends it to a stand-in that only checks its values, whose answer nobody gets; null for a Describe
   */
  forUse(name: string, statement: PreparedStatement | null, tryValues: ((place: Slot) => void) | null): Slot | null {
    const isDescribe = tryValues === null;
    if (!this.isKept) return AS_SENT;
    if (statement !== null && !this.#sql.isReadyToBegin(statement.facts)) return null;
    if (isDescribe && statement !== null && !this.#sql.isReady(statement.facts, false, runsPrepared)) return null;
    const names = this.enter();
    const bound = names.of(name);
    if (bound !== undefined) {
      names.touch(bound);
      return this.#inTime(bound);
    }
    if (this.#connection.copyIn.isRunning) return NOBODY;
    if (statement !== null && this.#repeater.hasFailed(statement) && !this.#repeater.isUsable(names, statement))
      return FAILED;
    if (statement !== null && !statement.isConfirmed) return this.wait();
    if (statement === null || this.#isLost(statement, names)) return this.#forNobody(names, name);
    if (!this.isClear(name)) return this.wait();
    if (this.#isForParameters(statement, isDescribe)) return this.#repeater.standIn(names, statement, NOTHING);
    return statement.isSql ? this.#placeSql(names, statement) : this.#establish(names, name, statement, tryValues);
  }

  /** Mostly what a client comes back for is there under its own name, from itself or from another one. */
  #findAgain(names: ServerNames, name: string, statement: PreparedStatement): Slot | null {
    const there = name === '' || statement.isSql || !statement.isConfirmed ? null : names.at(name);
    if (there === null || !there.isFree || !this.#repeater.isFit(there, statement)) return null;
    const { session, copyIn } = this.#connection;
    if (!session.isQuiet || session.status === TRANSACTION.failed || copyIn.isRunning) return null;
    if (this.#repeater.hasFailed(statement)) return null;
    names.bind(name, there);
    return there;
  }

  /** A unit of work begins that may look for what SQL has prepared. */
  #mayRunHidden(): boolean {
    const { session } = this.#connection;
    return session.statements.hasSql && !session.isUnitOpen;
  }

  failingPlace(statement: PreparedStatement): FailingPlace {
    return this.#repeater.failingPlace(this.enter(), statement);
  }

  takeError(): Buffer {
    return this.#repeater.takeError();
  }

  noteFailure(slot: Slot, statement: PreparedStatement | null, error: Buffer): void {
    this.#repeater.noteFailure(slot, statement, error);
  }

  /** Where a Close of that name goes; null: not now. */
  forClose(name: string): Slot | null {
    if (!this.isKept) return AS_SENT;
    const names = this.enter();
    const bound = names.of(name);
    if (bound?.name !== name) this.#sql.closeBorrowed(names, name);
    if (bound !== undefined) return this.#inTime(bound);
    if (name === '') return this.#bindUnnamed(names);
    const held = this.#connection.session.statements.find(name);
    if (held !== null && !held.isConfirmed && !this.#connection.copyIn.isRunning) return this.wait();
    return names.at(name) === null ? AS_SENT : NOBODY;
  }

  /** May statements that name others by SQL, or look at all that is prepared, run now? False: not now. */
  isReadyToRun(facts: TextFacts, isQuery: boolean): boolean {
    return !this.isKept || this.#sql.isReady(facts, isQuery);
  }

  /** The failure that a Query is to be answered with, told once: what it needed could not be prepared. */
  takeFailure(): Buffer | null {
    return this.isKept ? this.#sql.takeFailure() : null;
  }

  /** A PREPARE has been sent, as all that its message runs: see `SqlNames`. */
  afterPrepare(statement: PreparedStatement, text: Buffer, owed: OwedReply<Run>): void {
    if (this.#surroundings.isShared) this.#sql.afterPrepare(statement, text, owed);
  }

  /** What errors of the Query or Execute that runs now are to the client, told once. */
  takeSubstitute(facts: TextFacts): ErrorSubstitute | null {
    return this.isKept ? this.#sql.takeSubstitute(facts) : null;
  }

  /** Closes what was used longest ago, down to the limit. */
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
    if (names.isEmpty) return;
    for (const slot of names.slots()) {
      if (!slot.isSql) continue;
      const held = isBack ? statements.find(slot.name) : null;
      if (held !== null && held === slot.statement) {
        // What was only made for code that may look for it can be another statement than the client's by now.
        if (this.#repeater.isFit(slot, held)) names.bind(slot.name, slot);
      } else if (this.#surroundings.isShared) this.#own.close(names, slot);
    }
  }

  /** The message is offered again when all that was sent has been answered. */
  wait(): null {
    if (this.#connection.session.isQuiet) throw new Error('there is no answer to wait for');
    const { taken } = this.#connection.client;
    if (taken !== this.#waitsOf) this.#waits = 0;
    this.#waitsOf = taken;
    if (++this.#waits > MAX_WAITS) throw new Error('a message waits for its statements without end');
    awaitAnswers(this.#connection);
    return null;
  }

  /** Nothing that is still unanswered bears on what the client has under that name, or on its transaction. */
  isClear(name: string): boolean {
    const { owed } = this.#connection.session;
    for (let entry = owed.head; entry !== null; entry = entry.next) {
      const { kind } = entry;
      if (endsWithReady(kind)) return false;
      if (kind === OWED.close && !entry.isSwallowed && !entry.isPortal && entry.closedName === name) return false;
      if (entry.run?.facts.some(mayChangeNames) === true) return false;
    }
    return true;
  }

  /** What waits for its own preparation may be skipped with it: a later unit of work waits until that is known. */
  #inTime(slot: Slot): Slot | null {
    const isSure = slot.isDoubtful ? this.isClear(slot.clientName ?? '') : !this.#mayOutlive(slot);
    return isSure ? slot : this.wait();
  }

  /** A DEALLOCATE that is still unanswered may end what the client means by its name, and leave what stands for it. */
  #mayOutlive({ name, clientName }: Slot): boolean {
    const { owed } = this.#connection.session;
    return owed.count > 0 && name !== clientName && owed.some((run) => run.facts.some(mayChangeNames));
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
  #choosePlace(names: ServerNames, name: string, preparation: Preparation): Slot | null {
    const there = names.at(name);
    if (there?.isClosing === true && this.needed.has(name)) return this.wait();
    if (this.#connection.session.isQuiet) {
      const isUseless = there?.isFree === true && (there.preparation === preparation || !this.#surroundings.isShared);
      const old = isUseless ? there : names.with(preparation).find((slot) => slot.isFree);
      if (old !== undefined) this.#own.close(names, old);
      if (old !== undefined && (old === there || there !== null)) return old;
      this.#makeRoom(names, 1);
    }
    return there === null && mayStand(name) ? names.add(name) : names.addAlias();
  }

  /**
   * The server looks at no more than the parameters: in a failed transaction nothing can be prepared, but what has been
   * prepared has parameters; and to describe a statement without a result it does not ask whether that could still be used.
   */
  #isForParameters(statement: PreparedStatement, isDescribe: boolean): boolean {
    const description = this.#repeater.descriptionOf(statement);
    if (description === null || (isDescribe && description.columns !== null)) return false;
    if (this.#connection.session.status !== TRANSACTION.failed)
      return isDescribe && this.#repeater.needsTrial(statement);
    return isDescribe || !endsTransaction(statement.facts);
  }

  /** For a statement of SQL PREPARE: its own name is in its text, so there is no other place. */
  #placeSql(names: ServerNames, statement: PreparedStatement): Slot | null {
    if (!this.#connection.session.isQuiet) return this.wait();
    if (!this.#repeater.isUsable(names, statement)) return FAILED;
    return this.#sql.prepare(names, statement, false) ? (names.of(statement.name) ?? NOBODY) : null;
  }

  #establish(
    names: ServerNames,
    name: string,
    statement: PreparedStatement,
    tryValues: ((place: Slot) => void) | null,
  ): Slot | null {
    const fit = this.#repeater.findFit(names, statement);
    if (fit !== null) {
      names.bind(name, fit);
      return fit;
    }
    if (isExecute(statement.facts) && !this.#connection.session.isQuiet) return this.wait();
    if (!this.#repeater.isUsable(names, statement)) return FAILED;
    if (name !== '' && this.#connection.session.isQuiet) this.#makeRoom(names, 1);
    const slot =
      name === '' ? names.unnamed : names.at(name) === null && mayStand(name) ? names.add(name) : names.addAlias();
    const { session } = this.#connection;
    // In a failed transaction there is no more to find out.
    const isTrial = session.status !== TRANSACTION.failed && this.#repeater.needsTrial(statement);
    // A trial that fails ends the client's transaction, as its use would: but what is wrong with the values comes first.
    if (isTrial && session.status === TRANSACTION.open) tryValues?.(this.#repeater.standIn(names, statement, NOTHING));
    this.#repeater.prepare(names, slot, statement);
    session.isUnitOpen = true;
    if (isTrial) {
      this.#repeater.await(slot, statement);
      return this.wait();
    }
    names.bind(name, slot);
    slot.isDoubtful = true;
    return slot;
  }

  /** Closes what was used longest ago until `more` names have room, but only while nothing is owed: a Close could be skipped. */
  #makeRoom(names: ServerNames, more: number): void {
    if (!this.#connection.session.isQuiet || this.#connection.session.owed.isSkipping) return;
    while (names.size + more > this.#surroundings.maxStatements) {
      const oldest = names.oldest(this.needed);
      if (oldest === null) return;
      this.#own.close(names, oldest);
    }
  }
}
