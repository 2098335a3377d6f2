// Statements made again on another server connection: what there fits one that a client prepared, and what is to be said where
// none can any more.
//
// A server keeps of a prepared statement, beside its text, the types of its parameters and of its result as they were at its
// Parse, and fails each use when the result has changed since (RevalidateCachedQuery in plancache.c). So one made later may
// only stand for it where it is described alike. Where the definitions may have changed it is made on trial, and described.

import { PassingSet } from '../../session/passing-set.ts';
import { lexingOf, type Preparation } from '../../session/preparation.ts';
import type { ServerNames, Slot } from '../../session/server-names.ts';
import type { PreparedStatement } from '../../session/statements.ts';
import type { StatementFacts, TextFacts } from '../../sql/facts.ts';
import { type ColumnDescription, makeDescription, type StatementDescription } from '../../wire/backend.ts';
import { TRANSACTION } from '../../wire/codes.ts';
import { keepName } from '../../wire/reader.ts';
import type { Connection } from '../connection.ts';
import { CHANGED_RESULT, UNPLANNABLE, UNREADABLE_TEXT } from './failed-use.ts';
import type { OwnMessages } from './own-messages.ts';
import { makeResult, makeStandIn, NOTHING } from './places.ts';
import type { Surroundings } from './surroundings.ts';

const ENDS_TRANSACTION = /^(?:commit|rollback|rollback_to|prepare_transaction)$/;

/** A text that begins so can be run, and prepared, in a failed transaction; all others the server refuses there. */
export function endsTransaction(facts: TextFacts): boolean {
  return ENDS_TRANSACTION.test(facts[0]?.shape.kinds[0] ?? '');
}

/** EXECUTE, EXPLAIN EXECUTE, CREATE TABLE AS EXECUTE. */
export function runsPrepared({ effect }: StatementFacts): boolean {
  return effect?.type === 'execute';
}

/** EXECUTE alone, which returns what another statement returns. */
export function isExecute(facts: TextFacts): boolean {
  const only = facts[0];
  return only !== undefined && facts.length === 1 && runsPrepared(only) && only.shape.kinds[0] === 'execute';
}

/** EXECUTE may be of such a statement. */
export function mayChangeNames({ effect }: StatementFacts): boolean {
  const type = effect?.type;
  return type === 'prepare' || type === 'execute' || type === 'deallocate' || type === 'discard_all';
}

/** Where a Bind goes that must fail, and the ErrorResponse that it fails with. */
export interface FailingPlace {
  readonly place: Slot;
  readonly error: Buffer;
}

export class StatementRepeater {
  readonly #connection: Connection;
  readonly #own: OwnMessages;
  readonly #surroundings: Surroundings;
  /** What a message waits for, and how that failed. */
  #awaited: { readonly slot: Slot; readonly statement: PreparedStatement } | null = null;
  #failed: { readonly statement: PreparedStatement; readonly error: Buffer } | null = null;
  #error: Buffer | null = null;
  /** What could not be prepared in front of the message that waits: it is not tried again for that one. */
  readonly #hopeless: PassingSet<PreparedStatement>;

  constructor(connection: Connection, own: OwnMessages, surroundings: Surroundings) {
    this.#connection = connection;
    this.#own = own;
    this.#surroundings = surroundings;
    this.#hopeless = new PassingSet(() => connection.client.taken);
  }

  /** Nothing has changed since its Parse that could change its description. */
  isUnchanged({ circumstances }: PreparedStatement): boolean {
    return circumstances?.isMoment === true && circumstances === this.#surroundings.circumstances();
  }

  /** What the server has, without a name of the client's standing for it, and what can serve as the statement. */
  findFit(names: ServerNames, statement: PreparedStatement): Slot | null {
    const { preparation } = statement;
    if (preparation === null) return null;
    if (statement.name === '') return this.isFit(names.unnamed, statement) ? names.unnamed : null;
    if (statement.isSql) {
      const own = names.at(statement.name);
      return own?.clientName === null && !own.isClosing && this.isFit(own, statement) ? own : null;
    }
    for (const slot of names.with(preparation)) if (slot.isFree && this.isFit(slot, statement)) return slot;
    return null;
  }

  /** It means there what it means to the client. */
  isFit(slot: Slot, statement: PreparedStatement): boolean {
    if (!slot.isThere || slot.preparation !== statement.preparation) return false;
    const { circumstances, description } = slot;
    const isOwn = slot.statement === statement;
    if (isExecute(statement.facts)) return isOwn;
    const isAlike = circumstances !== null && circumstances.reading === statement.circumstances?.reading;
    if (!isOwn && !isAlike) return false;
    if (description !== null && statement.description !== null)
      return description.signature === statement.description.signature;
    return isOwn || (circumstances?.isMoment === true && circumstances === statement.circumstances);
  }

  /** It is not known for certain that it would still be described as it was to the client. */
  needsTrial(statement: PreparedStatement): boolean {
    const { preparation, description } = statement;
    if (!this.#surroundings.isShared || preparation === null || description === null) return false;
    if (isExecute(statement.facts)) return false;
    const known = preparation.describedAt(this.#surroundings.circumstances(), description.parameters);
    return description.signature !== known?.signature && !this.isUnchanged(statement);
  }

  /** Parse and, where its description is not known, Describe. */
  prepare(names: ServerNames, slot: Slot, statement: PreparedStatement): void {
    const { preparation, description } = statement;
    if (isExecute(statement.facts)) {
      this.#prepareExecute(names, slot, statement);
      return;
    }
    const now = this.#surroundings.circumstances();
    this.#own.parse(names, slot, statement, now);
    if (!this.#surroundings.isShared || preparation === null) return;
    if (preparation.describedAt(now, description?.parameters ?? null) === null) this.#own.describe(slot);
  }

  /** What an EXECUTE returns is what the statement returned that the client has now under the name in it. */
  describeExecute(statement: PreparedStatement): void {
    const found = this.#connection.session.statements.find(nameIn(statement.facts));
    const held = found === statement ? statement.previous : found;
    // One EXECUTE behind another is not followed.
    if (held !== null && isExecute(held.facts) && held.description === null) return;
    statement.behind = held;
    this.descriptionOf(statement);
  }

  /** What was not known of the statement behind an EXECUTE at its Parse may be known by now. */
  descriptionOf(statement: PreparedStatement): StatementDescription | null {
    const { description, preparation, behind } = statement;
    if (description !== null || preparation === null || !isExecute(statement.facts)) return description;
    if (behind !== null && behind.description === null) return null;
    const parameters = preparation.body.subarray(preparation.typesAt);
    statement.description = makeDescription(parameters, behind?.description?.columns ?? null);
    statement.behind = null;
    return statement.description;
  }

  /**
   * What an EXECUTE returns the server finds out at its Parse, by what it has then under the name in it, and it stays so
   * whatever becomes of that. Where the client has something else there now, the name is made over for the while. Nothing
   * may be in flight but what makes it.
   */
  #prepareExecute(names: ServerNames, slot: Slot, statement: PreparedStatement): void {
    const { facts } = statement;
    const description = this.descriptionOf(statement);
    const name = nameIn(facts);
    const there = names.at(name);
    const held = this.#connection.session.statements.find(name);
    const columns = there === null ? null : (held?.description?.columns ?? null);
    const isAsWas = description === null || isSameResult(columns, description.columns) || name === statement.name;
    const bound = names.of(name);
    if (!isAsWas && there !== null) this.#own.close(names, there);
    const stand = isAsWas || description.columns === null ? null : (there ?? names.add(name));
    if (stand !== null && description?.columns)
      this.#own.parse(names, stand, makeStandIn(makeResult(description.columns), statement, null), null);
    this.#own.parse(names, slot, statement, null);
    if (stand !== null) this.#own.close(names, stand);
    if (isAsWas || held === null || bound === undefined) return;
    this.#own.parse(names, bound, held, this.#surroundings.circumstances());
    names.bind(name, bound);
  }

  /** It is prepared to see how that goes, and whether it is still described as it was. */
  await(slot: Slot, statement: PreparedStatement): void {
    slot.isTrial = true;
    slot.isSilent = true;
    this.#awaited = { slot, statement };
  }

  /** Why the statement cannot be used any more, an ErrorResponse; null where it can, as far as is known. */
  failureOf(names: ServerNames, statement: PreparedStatement): Buffer | null {
    const failed = this.#failed;
    if (failed?.statement === statement) {
      this.#failed = null;
      return failed.error;
    }
    if (this.#hasChanged(names, statement)) return CHANGED_RESULT;
    return this.#isReadable(statement) ? null : UNREADABLE_TEXT;
  }

  /** A trial has shown that the statement is not described any more as it was. */
  #hasChanged(names: ServerNames, statement: PreparedStatement): boolean {
    const { preparation, description } = statement;
    if (preparation === null || description === null || isExecute(statement.facts)) return false;
    const now = this.#surroundings.circumstances();
    const slots = statement.name === '' ? [names.unnamed] : names.with(preparation);
    for (const slot of slots) {
      const { description: other } = slot;
      if (!slot.isThere || slot.preparation !== preparation || other === null) continue;
      if (other.signature === description.signature) continue;
      const isTold = slot.isTrial && slot.statement === statement;
      if (isTold) slot.isTrial = false;
      // With other types of parameters another result is no wonder.
      const isAlike = other.parameters.equals(description.parameters);
      if (isTold || (isAlike && now?.isMoment === true && slot.circumstances === now)) return true;
    }
    return false;
  }

  /** The text says now what it said when it was judged. */
  #isReadable({ preparation }: PreparedStatement): boolean {
    const { session } = this.#connection;
    const lexing = preparation?.lexing ?? null;
    return lexing === null || lexing === lexingOf(session.clientEncoding, session.areStringsConforming);
  }

  /** pgweir's own Parse has failed where the client is not to hear of it; `error` is the server's ErrorResponse. */
  noteFailure(slot: Slot, statement: PreparedStatement | null, error: Buffer): void {
    if (statement !== null) this.#hopeless.add(statement);
    const awaited = this.#awaited;
    if (slot !== awaited?.slot) return;
    this.#awaited = null;
    this.#failed = { statement: awaited.statement, error };
  }

  /** It has been tried in front of the same message, and could not be prepared. */
  isHopeless(statement: PreparedStatement): boolean {
    return this.#hopeless.has(statement);
  }

  /** Its trial has failed: the message that waited for it has to hear of it. */
  hasFailed(statement: PreparedStatement): boolean {
    return this.#failed?.statement === statement;
  }

  /** False where the statement has no place any more; `takeError` says why. */
  isUsable(names: ServerNames, statement: PreparedStatement): boolean {
    this.#error = this.failureOf(names, statement);
    return this.#error === null;
  }

  /** Where the Bind of a statement goes that has no place: there it fails when it is planned, which `error` stands for. */
  failingPlace(names: ServerNames, statement: PreparedStatement): FailingPlace {
    const isFailed = this.#connection.session.status === TRANSACTION.failed;
    return { place: this.standIn(names, statement, isFailed ? NOTHING : UNPLANNABLE), error: this.takeError() };
  }

  /** Why a statement has no place, told once: an ErrorResponse. */
  takeError(): Buffer {
    const error = this.#error ?? CHANGED_RESULT;
    this.#error = null;
    return error;
  }

  /**
   * Another text with the parameters of that statement: what the server says to their number and values, it says before it
   * looks at the statement.
   */
  standIn(names: ServerNames, statement: PreparedStatement, preparation: Preparation): Slot {
    const slot = names.addAlias();
    this.#own.parse(names, slot, makeStandIn(preparation, statement, statement.description), null);
    slot.usedAt = 0;
    return slot;
  }
}

/** The name of the statement that an EXECUTE is of. */
function nameIn(facts: TextFacts): string {
  const effect = facts[0]?.effect;
  return effect?.type === 'execute' ? keepName(effect.name) : '';
}

function isSameResult(one: readonly ColumnDescription[] | null, other: readonly ColumnDescription[] | null): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
