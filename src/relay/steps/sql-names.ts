// SQL that names prepared statements (EXECUTE, DEALLOCATE, PREPARE) cannot be reworded: the server must have them under the
// client's own names. And who looks at all that is prepared sees the client's statements, and no others.

import type { ErrorSubstitute } from '../../session/owed.ts';
import type { ServerNames } from '../../session/server-names.ts';
import { type PreparedStatement, resolveStatements } from '../../session/statements.ts';
import type { StatementEffect, StatementFacts, StatementShape, TextFacts } from '../../sql/facts.ts';
import { NOT_PREPARED_FACTS } from '../../sql/unparsed.ts';
import { TRANSACTION } from '../../wire/codes.ts';
import type { Connection } from '../connection.ts';
import type { StatementCarrier } from './carry-statements.ts';
import { failPlanWith, UNPLANNABLE } from './failed-use.ts';
import type { OwnMessages } from './own-messages.ts';
import { makeStandIn, TAKEN_STATEMENT } from './places.ts';
import type { StatementRepeater } from './repeat-statements.ts';
import type { Surroundings } from './surroundings.ts';

/** The views of what is prepared, and the function behind them. */
const LOOKS_AT_PREPARED = /^(?:pg_catalog\.)?pg_prepared_statements?$/;

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
  #facts: TextFacts = [];
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
  }

  /** It has names of statements in it, or shows what is prepared, or runs code that may do either. */
  readonly #bearsOnNames = (statement: StatementFacts): boolean => isNaming(statement.effect) || this.#looks(statement);

  readonly #looks = (statement: StatementFacts): boolean => {
    if (looksAtPrepared(statement.shape)) return true;
    return statement.effect === null && this.#surroundings.mayNameStatements(statement);
  };

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
      this.#placeAll(names, all, isQuery, isWanted) && (!all.some(this.#looks) || this.#show(names, isQuery));
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
      if (!isWanted(statement) || !isNaming(effect) || effect.name === null || placed.has(effect.name)) continue;
      placed.add(effect.name);
      if (!this.#place(names, effect.name, effect.type, isQuery)) return false;
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
      this.#carrier.needed = bound;
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
      if (there !== null) this.#own.close(names, there);
      return true;
    }
    if (type === 'execute') return this.prepare(names, held, isQuery);
    // That it is taken is all that matters.
    if (there === null) this.#own.parse(names, names.add(name), TAKEN_STATEMENT, null);
    return true;
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
      this.#carrier.needed = there;
      return true;
    }
    const failure = this.#repeater.failureOf(names, statement);
    if (failure !== null && session.status === TRANSACTION.failed) {
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
    const isTrial = isQuery || (session.status !== TRANSACTION.failed && this.#repeater.needsTrial(statement));
    this.#repeater.prepare(names, slot, statement);
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

  /** The server is to have the client's statements under their own names, and no others. False: not now. */
  #show(names: ServerNames, isQuery: boolean): boolean {
    const { session } = this.#connection;
    if (!session.isQuiet) return this.#carrier.wait() !== null;
    if (session.status === TRANSACTION.failed) return true;
    for (const slot of [...names.slots()])
      if (slot.clientName !== slot.name && !slot.isClosing) this.#own.close(names, slot);
    const isAlone = isQuery && !session.isUnitOpen;
    const isSheltered = session.status === TRANSACTION.open;
    for (const statement of session.statements) {
      const { name, preparation } = statement;
      if (name === '' || preparation === null || names.of(name) !== undefined) continue;
      // Where it fails it must not take the client's transaction with it.
      if (!isAlone && !this.#repeater.isUnchanged(statement)) continue;
      if (isAlone && isSheltered) this.#own.run('SAVEPOINT pgweir_show');
      const slot = names.at(name) ?? names.add(name);
      this.#repeater.prepare(names, slot, statement);
      slot.isSilent = true;
      names.bind(name, slot);
      slot.isDoubtful = true;
      if (!isAlone) continue;
      this.#own.sync();
      if (!isSheltered) continue;
      // What has been prepared stays.
      this.#own.run('ROLLBACK TO SAVEPOINT pgweir_show');
      this.#own.run('RELEASE SAVEPOINT pgweir_show');
      this.#own.sync();
    }
    return true;
  }
}

function isNaming(effect: StatementEffect | null): effect is Naming {
  return effect?.type === 'prepare' || effect?.type === 'execute' || effect?.type === 'deallocate';
}

/** Remembered by shape. */
function looksAtPrepared(shape: StatementShape): boolean {
  let doesLook = lookers.get(shape);
  if (doesLook === undefined) {
    const isNamed = (name: string): boolean => LOOKS_AT_PREPARED.test(name);
    doesLook = shape.tables.some(isNamed) || shape.functions.some(isNamed);
    lookers.set(shape, doesLook);
  }
  return doesLook;
}

const lookers = new WeakMap<StatementShape, boolean>();
