// SQL that names prepared statements (EXECUTE, DEALLOCATE, PREPARE) cannot be reworded: the server must have them under the
// client's own names. And who looks at all that is prepared sees the client's statements, and no others.

import { type ErrorSubstitute, OWED, type OwedReply } from '../../session/owed.ts';
import { PassingSet } from '../../session/passing-set.ts';
import { lexingOf, prepareText } from '../../session/preparation.ts';
import type { ServerNames } from '../../session/server-names.ts';
import { type PreparedStatement, resolveStatements } from '../../session/statements.ts';
import type { StatementEffect, StatementFacts, TextFacts } from '../../sql/facts.ts';
import { looksAtPrepared } from '../../sql/plain.ts';
import { TRACE } from '../../sql/traces.ts';
import { NOT_PREPARED_FACTS } from '../../sql/unparsed.ts';
import { TRANSACTION } from '../../wire/codes.ts';
import { isAscii, keepName } from '../../wire/reader.ts';
import type { Connection } from '../connection.ts';
import type { Run } from '../run.ts';
import type { StatementCarrier } from './carry-statements.ts';
import { failPlanWith, UNPLANNABLE } from './failed-use.ts';
import type { OwnMessages } from './own-messages.ts';
import { makeStandIn, TAKEN_STATEMENT } from './places.ts';
import { endsTransaction, type StatementRepeater } from './repeat-statements.ts';
import type { Surroundings } from './surroundings.ts';

/** Goes in front of what may fail in a client's transaction. */
const SHELTER = 'SAVEPOINT pgweir_trial';

/** An effect with a name. */
type Naming = Extract<StatementEffect, { readonly type: 'prepare' | 'execute' | 'deallocate' }>;

export class SqlNames {
  readonly #connection: Connection;
  readonly #carrier: StatementCarrier;
  readonly #repeater: StatementRepeater;
  readonly #own: OwnMessages;
  readonly #surroundings: Surroundings;
  /** The unit of work in front of a Query is pgweir's own. */
  #isOwnUnit = false;
  /** Of the message that is being looked at. */
  #facts: TextFacts = [];
  /** Names that DEALLOCATE is to find, whatever stands under them. */
  readonly #borrowed: PassingSet<string>;
  #failure: Buffer | null = null;
  /** What stands in the place of a statement that cannot be used, for the message that is being looked at. */
  #standIn: { readonly facts: TextFacts; readonly for: PreparedStatement; readonly error: ErrorSubstitute } | null =
    null;

  constructor(
    connection: Connection,
    carrier: StatementCarrier,
    repeater: StatementRepeater,
    own: OwnMessages,
    surroundings: Surroundings,
  ) {
    this.#connection = connection;
    this.#repeater = repeater;
    this.#surroundings = surroundings;
    this.#carrier = carrier;
    this.#own = own;
    this.#borrowed = new PassingSet(() => connection.session.work);
  }

  /** It has names of statements in it, or shows what is prepared, or runs code that may do either. */
  readonly #bearsOnNames = (statement: StatementFacts): boolean =>
    isNaming(statement.effect) || this.#looks(statement) || this.#mayExecute(statement);

  readonly #looks = (statement: StatementFacts): boolean =>
    looksAtPrepared(statement.shape) || this.#runs(statement, TRACE.preparedSql);

  /** Code that does not show may EXECUTE what the client has made by SQL. */
  readonly #mayExecute = (statement: StatementFacts): boolean =>
    this.#connection.session.statements.hasSql && this.#runs(statement, TRACE.hidden);

  #runs(statement: StatementFacts, traces: number): boolean {
    return runsCode(statement.effect) && (this.#surroundings.tracesOf(statement) & traces) !== 0;
  }

  /**
   * The active server has by name what these statements will look for. False: not now, the gate is closed until it may. What
   * cannot be prepared in front of a Query is no error of its own: `takeFailure` has the Query's.
   *
   * @param isWanted which of the statements matter
   */
  isReady(facts: TextFacts, isQuery: boolean, isWanted = this.#bearsOnNames): boolean {
    let isConcerned = false;
    for (const statement of facts) if (isWanted(statement)) isConcerned = true;
    return !isConcerned || this.#failure !== null || this.#makeReady(facts, isQuery, isWanted);
  }

  #makeReady(facts: TextFacts, isQuery: boolean, isWanted: (statement: StatementFacts) => boolean): boolean {
    const { session, copyIn } = this.#connection;
    if (copyIn.isRunning) return true;
    if (this.#standIn?.facts !== facts) this.#standIn = null;
    this.#facts = facts;
    const names = this.#carrier.enter();
    const sentBefore = session.owed.sequence;
    const wasUnitOpen = session.isUnitOpen;
    const { statements, portals } = session;
    const all = resolveStatements(facts, statements, portals, NOT_PREPARED_FACTS);
    const isReady =
      this.#placeAll(names, all, isQuery, isWanted) &&
      // What fails for what its text names runs no code.
      (this.#failure !== null || this.#standIn !== null || this.#placeHidden(names, all, isQuery));
    const isOwnUnit = this.#isOwnUnit || (!wasUnitOpen && session.owed.sequence !== sentBefore);
    if (!isReady) {
      // What has been made ready so far is of use on this server alone: it must not be given back meanwhile.
      session.isUnitOpen ||= isOwnUnit;
      if (isQuery) this.#isOwnUnit = isOwnUnit;
      return false;
    }
    if (isQuery && isOwnUnit && (session.isUnitOpen || !session.isQuiet)) this.#own.sync();
    if (isQuery) this.#isOwnUnit = false;
    return true;
  }

  /** The first statement that names another one decides how it has to be: it ends the rest, or leaves it as it is. */
  #placeAll(
    names: ServerNames,
    all: TextFacts,
    isQuery: boolean,
    isWanted: (statement: StatementFacts) => boolean,
  ): boolean {
    const placed = new Set<string>();
    for (const statement of all) {
      const { effect } = statement;
      if (!isWanted(statement) || !isNaming(effect) || effect.name === null) continue;
      const name = keepName(effect.name);
      if (placed.has(name)) continue;
      placed.add(name);
      if (!this.#place(names, name, effect.type, isQuery)) return false;
    }
    return true;
  }

  takeFailure(): Buffer | null {
    const failure = this.#failure;
    this.#failure = null;
    return failure;
  }

  /** `facts`: of the message that runs. */
  takeSubstitute(facts: TextFacts): ErrorSubstitute | null {
    const standIn = this.#standIn;
    this.#standIn = null;
    return standIn?.facts === facts ? standIn.error : null;
  }

  /** The client's name is to stand for itself on the server, with what the statement needs under it. False: not now. */
  #place(names: ServerNames, name: string, type: Naming['type'], isQuery: boolean): boolean {
    const { session } = this.#connection;
    const bound = names.of(name);
    if (bound?.name === name && (!bound.isDoubtful || this.#carrier.isClear(name))) {
      this.#carrier.needed.add(name);
      return true;
    }
    const held = session.statements.find(name);
    const there = names.at(name);
    const isHeld = held !== null && !(held.isConfirmed && held.preparation === null);
    if (bound === undefined && there === null) {
      if (!isHeld) return true;
      // Of a PREPARE that is still to be answered.
      if (!held.isConfirmed && held.isSql && held.previous === null) return true;
    }
    if (!session.isQuiet) return this.#carrier.wait() !== null;
    if (bound !== undefined) names.unbind(bound);
    if (!isHeld) {
      // Another client's; what this one prepares meanwhile is to be found.
      if (there !== null) this.#own.close(names, there);
      this.#carrier.needed.add(name);
      return true;
    }
    if (type === 'execute') return this.prepare(names, held, isQuery);
    // That it is taken is all that matters.
    this.#borrowed.add(name);
    const slot = there ?? names.add(name);
    if (there === null) this.#own.parse(names, slot, TAKEN_STATEMENT, null);
    this.#carrier.needed.add(name);
    return true;
  }

  /** The client closes the statement, which has another name on the server or none: a DEALLOCATE behind that finds nothing. */
  closeBorrowed(names: ServerNames, name: string): void {
    const there = this.#borrowed.delete(name) ? names.at(name) : null;
    if (there !== null && !there.isClosing) this.#own.close(names, there);
  }

  /**
   * A PREPARE has been sent by the message that `owed` is for, as all that this runs: it can be repeated elsewhere. `text` is
   * that of the message, with its NUL. The server tells what it has made: at once, or under kill_after_ms when it has ended,
   * for a late cancel must not find the question.
   */
  afterPrepare(statement: PreparedStatement, text: Buffer, owed: OwedReply<Run>): void {
    const names = this.#carrier.enter();
    if (names.at(statement.name) !== null) return;
    const { session } = this.#connection;
    // What the server calls it then, the name does not tell.
    if (session.clientEncoding !== 'UTF8' && !isAscii(statement.name)) return;
    statement.preparation = prepareText(text, lexingOf(session.clientEncoding, session.areStringsConforming));
    statement.circumstances = this.#surroundings.circumstances();
    if (owed.run?.kill) {
      owed.run.onEnded = () => this.#describeMade(statement);
      return;
    }
    const slot = names.add(statement.name);
    names.rank(slot, owed.sequence);
    names.bind(statement.name, slot);
    slot.isDoubtful = true;
    slot.isSilent = true;
    this.#own.describe(slot);
    // Behind an extended message the client goes on in the same unit of work.
    if (owed.kind === OWED.query) this.#own.sync();
  }

  #describeMade(statement: PreparedStatement): void {
    const slot = this.#carrier.enter().of(statement.name);
    if (slot?.statement !== statement || statement.description !== null) return;
    const { isInUnit } = this.#connection.session;
    this.#own.describe(slot);
    if (!isInUnit) this.#own.sync();
  }

  /** The client's own name stands for the statement. False: not now. */
  prepare(names: ServerNames, statement: PreparedStatement, isQuery: boolean): boolean {
    const { session } = this.#connection;
    const { name } = statement;
    const there = names.at(name);
    if (this.#standIn?.for === statement && there?.isThere === true) return true;
    const isHere = there?.statement === statement && there.isThere && there.clientName === null && !there.isClosing;
    if (there !== null && isHere && this.#repeater.isFit(there, statement)) {
      names.bind(name, there);
      this.#carrier.needed.add(name);
      return true;
    }
    const isFailed = session.status === TRANSACTION.failed;
    // There nothing can be prepared; the server says that itself, and its words are those for what the client has sent.
    if (isFailed && isQuery && !endsTransaction(this.#facts)) return true;
    const failure = this.#repeater.failureOf(names, statement);
    if (failure !== null && isFailed) {
      if (isQuery) this.#failure = failure;
      return true;
    }
    if (there !== null) this.#own.close(names, there);
    const slot = there ?? names.add(name);
    if (failure !== null) {
      this.#own.parse(names, slot, makeStandIn(UNPLANNABLE, statement, statement.description), null);
      this.#standIn = { facts: this.#facts, for: statement, error: failPlanWith(failure) };
      return true;
    }
    const mayFail = !isFailed && this.#repeater.needsTrial(statement);
    const isTrial = isQuery || mayFail;
    const isSheltered = isQuery && mayFail && session.status === TRANSACTION.open && !session.isUnitOpen;
    if (isSheltered) this.#own.run(SHELTER);
    this.#repeater.prepare(names, slot, statement);
    // What the server has to say to the values comes before what is wrong with the statement, if the transaction lives.
    if (isSheltered) this.#endShelter();
    if (isQuery && !session.isUnitOpen) this.#isOwnUnit = true;
    session.isUnitOpen = true;
    if (isTrial) {
      this.#repeater.await(slot, statement);
      return this.#carrier.wait() !== null;
    }
    names.bind(name, slot);
    slot.isDoubtful = true;
    return true;
  }

  /**
   * The same for code that does not show, before the unit of work begins whose first message says so: what has to be
   * prepared may fail then, and nobody hears of it. False: not now.
   */
  isReadyToBegin(facts: TextFacts): boolean {
    const { session, copyIn } = this.#connection;
    if (session.isUnitOpen || copyIn.isRunning || !facts.some(this.#bearsOnNames)) return true;
    const all = resolveStatements(facts, session.statements, session.portals, NOT_PREPARED_FACTS);
    return this.#placeHidden(this.#carrier.enter(), all, true);
  }

  /** What code may look for that does not show. False: not now. */
  #placeHidden(names: ServerNames, all: TextFacts, isQuery: boolean): boolean {
    const { session } = this.#connection;
    const isLooking = all.some(this.#looks);
    if (!isLooking && !all.some(this.#mayExecute)) return true;
    const wanted = [...session.statements].filter((statement) => isLooking || statement.isSql);
    const missing = wanted.filter(
      (statement) => statement.name !== '' && !isShown(names, statement) && !this.#repeater.isHopeless(statement),
    );
    if (!isLooking && missing.length === 0) return true;
    if (!session.isQuiet) return this.#carrier.wait() !== null;
    if (session.status === TRANSACTION.failed) return true;
    if (isLooking) this.#hideOthers(names);
    this.#show(names, missing, isQuery);
    return true;
  }

  #hideOthers(names: ServerNames): void {
    const { statements } = this.#connection.session;
    this.#own.hideRuns(names);
    for (const slot of [...names.slots()]) {
      const held = statements.find(slot.name);
      if ((held === null || !isShown(names, held)) && !slot.isClosing) this.#own.close(names, slot);
    }
  }

  /** The server is to have these statements under their own names. One that cannot be prepared any more is not there. */
  #show(names: ServerNames, missing: readonly PreparedStatement[], isQuery: boolean): void {
    const { session } = this.#connection;
    const isAlone = isQuery && !session.isUnitOpen;
    const isSheltered = session.status === TRANSACTION.open;
    for (const statement of missing) {
      const { name, preparation } = statement;
      if (preparation === null) continue;
      // Where it fails it must not take the client's unit of work with it.
      if (!isAlone && !this.#repeater.isUnchanged(statement)) continue;
      const there = names.at(name);
      if (there !== null && !there.isClosing) this.#own.close(names, there);
      if (isAlone && isSheltered) this.#own.run(SHELTER);
      const slot = there ?? names.add(name);
      const isTrial = this.#repeater.needsTrial(statement);
      this.#repeater.prepare(names, slot, statement);
      slot.isSilent = true;
      // Whether it is for the client's own use, too, is seen when it is used.
      if (!isTrial) names.bind(name, slot);
      slot.isDoubtful = !isTrial;
      if (!isAlone) continue;
      if (isSheltered) this.#endShelter();
      else this.#own.sync();
    }
    if (isAlone) this.#own.hideRuns(names);
  }

  /** What was to be prepared behind `SHELTER` has failed without harm to the client's transaction, or it stays. */
  #endShelter(): void {
    this.#own.sync();
    this.#own.run('ROLLBACK TO SAVEPOINT pgweir_trial');
    this.#own.run('RELEASE SAVEPOINT pgweir_trial');
    this.#own.sync();
  }
}

/** It stands under its own name. */
function isShown(names: ServerNames, statement: PreparedStatement): boolean {
  const { name } = statement;
  if (names.of(name)?.name === name) return true;
  const there = names.at(name);
  return there?.statement === statement && there.isThere && !there.isClosing;
}

/** What it does shows in its text otherwise. */
function runsCode(effect: StatementEffect | null): boolean {
  return effect === null || effect.type === 'declare' || effect.type === 'create_temporary';
}

function isNaming(effect: StatementEffect | null): effect is Naming {
  return effect?.type === 'prepare' || effect?.type === 'execute' || effect?.type === 'deallocate';
}
