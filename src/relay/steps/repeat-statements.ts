// Statements made again on another server connection: what there fits one that a client prepared, and what is to be said where
// none can any more.
//
// A server keeps of a prepared statement, beside its text, the types of its parameters and of its result as they were at its
// Parse, and fails each use when the result has changed since (RevalidateCachedQuery in plancache.c). So one made later may
// only stand for it where it is described alike. Where the definitions may have changed it is made on trial, and described.

import { lexingOf, type Preparation } from '../../session/preparation.ts';
import type { ServerNames, Slot } from '../../session/server-names.ts';
import type { PreparedStatement } from '../../session/statements.ts';
import { TRANSACTION } from '../../wire/codes.ts';
import type { Connection } from '../connection.ts';
import { CHANGED_RESULT, UNPLANNABLE, UNREADABLE_TEXT } from './failed-use.ts';
import type { OwnMessages } from './own-messages.ts';
import { makeStandIn, NOTHING } from './places.ts';
import type { Surroundings } from './surroundings.ts';

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

  constructor(connection: Connection, own: OwnMessages, surroundings: Surroundings) {
    this.#connection = connection;
    this.#own = own;
    this.#surroundings = surroundings;
  }

  /** Nothing has changed since its Parse that could change its description. */
  isUnchanged({ circumstances }: PreparedStatement): boolean {
    return circumstances?.isMoment === true && circumstances === this.#surroundings.now();
  }

  /** What the server has, and no name of the client's stands for, that the statement can be. */
  findFit(names: ServerNames, statement: PreparedStatement): Slot | null {
    const { preparation } = statement;
    if (preparation === null) return null;
    if (statement.name === '') return this.isFit(names.unnamed, statement) ? names.unnamed : null;
    for (const slot of names.with(preparation)) if (slot.isFree && this.isFit(slot, statement)) return slot;
    return null;
  }

  /** It means there what it means to the client. */
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

  /** It is not known for certain that it would still be described as it was to the client. */
  needsTrial(statement: PreparedStatement): boolean {
    const { preparation, description } = statement;
    if (!this.#surroundings.isShared || preparation === null || description === null) return false;
    const known = preparation.describedAt(this.#surroundings.now(), description.parameters);
    return description.signature !== known?.signature && !this.isUnchanged(statement);
  }

  /** Parse and, where its description is not known, Describe. */
  prepare(names: ServerNames, slot: Slot, statement: PreparedStatement): void {
    const { preparation, description } = statement;
    const now = this.#surroundings.now();
    this.#own.parse(names, slot, statement, now);
    if (!this.#surroundings.isShared || preparation === null) return;
    if (preparation.describedAt(now, description?.parameters ?? null) === null) this.#own.describe(slot);
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
    if (preparation === null || description === null) return false;
    const now = this.#surroundings.now();
    const slots = statement.name === '' ? [names.unnamed] : names.with(preparation);
    for (const slot of slots) {
      const { description: other } = slot;
      if (!slot.isThere || slot.preparation !== preparation || other === null) continue;
      // With other types of parameters another result is no wonder.
      if (other.signature === description.signature || !other.parameters.equals(description.parameters)) continue;
      const isTold = slot.isTrial && slot.statement === statement;
      if (isTold) slot.isTrial = false;
      if (isTold || (now?.isMoment === true && slot.circumstances === now)) return true;
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
  noteFailure(slot: Slot, error: Buffer): void {
    const awaited = this.#awaited;
    if (slot !== awaited?.slot) return;
    this.#awaited = null;
    this.#failed = { statement: awaited.statement, error };
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
    this.#own.parse(names, slot, makeStandIn(preparation, statement), null);
    slot.usedAt = 0;
    return slot;
  }
}
