// The messages that name prepared statements: Parse, Bind, Describe, Close. Each method answers as those of the conduct do.

import { OWED, type OwedReply } from '../session/owed.ts';
import type { Slot } from '../session/server-names.ts';
import type { Session } from '../session/session.ts';
import { meaningsOf, type Portal, type PreparedStatement } from '../session/statements.ts';
import { NO_STATEMENTS, type TextFacts } from '../sql/facts.ts';
import { NOT_PREPARED_FACTS } from '../sql/unparsed.ts';
import type { StatementDescription } from '../wire/backend.ts';
import { NAMED, TRANSACTION } from '../wire/codes.ts';
import { findNul, findNulFar, readName } from '../wire/reader.ts';
import type { Connection } from './connection.ts';
import type { Run } from './run.ts';
import type { Sender } from './sender.ts';
import { type Decider, NOT_PREPARED } from './steps/decide.ts';
import { listDeclared } from './steps/effects.ts';
import { FAILED_DESCRIBE, failPlanWith, failWith, isOwnWord, makeParameterDescription } from './steps/failed-use.ts';
import { AS_SENT, FAILED } from './steps/places.ts';
import { makeRefusedExecute, makeRefusedParse } from './steps/refuse.ts';
import { runsPrepared } from './steps/repeat-statements.ts';

/** The text of a portal with its NUL; null where it is not kept. */
export function textOf({ statement }: Portal): Buffer | null {
  const preparation = statement?.preparation ?? null;
  return preparation === null ? null : preparation.body.subarray(0, preparation.typesAt);
}

/** Nothing but one PREPARE. */
export function isPrepare(facts: TextFacts): boolean {
  return facts.length === 1 && facts[0]?.effect?.type === 'prepare';
}

/** Clients send the same text again and again, and Object.freeze costs as much the second time. */
let lastFrozen: TextFacts = NO_STATEMENTS;

export class StatementMessages {
  readonly #connection: Connection;
  readonly #session: Session<Run>;
  readonly #sender: Sender;
  readonly #decider: Decider;

  constructor(connection: Connection, sender: Sender, decider: Decider) {
    this.#connection = connection;
    this.#session = connection.session;
    this.#sender = sender;
    this.#decider = decider;
  }

  /** A Parse that is shown whole, with its name in `buffer[start + 5, nameEnd)`. */
  parse(buffer: Buffer, start: number, end: number, name: string, nameEnd: number): boolean {
    const textEnd = nameEnd < 0 ? -1 : findNulFar(buffer, nameEnd + 1, end);
    if (textEnd < 0) return this.#sender.sendUnread(OWED.parse, buffer, start, end);
    const facts = this.#decider.read(buffer, nameEnd + 1, textEnd, true);
    if (facts === null || this.#decider.mustWait(null)) return false;
    const { router } = this.#connection;
    if (!router.isReadyForUnit()) return false;
    const isPlain = router.isPlain(facts);
    const verdict = this.#decider.judge(facts, facts.length > 1, isPlain);
    if (verdict.refusal !== null) {
      const run = this.#decider.refuse(facts, verdict);
      const declared =
        name === '' ? this.#session.statements.declare('', NO_STATEMENTS, this.#session.owed.sequence + 1, null) : null;
      const standIn = makeRefusedParse(name, verdict.refusal, run.decisionId);
      this.#sender.replace(OWED.parse, standIn, run).declared = declared;
      return true;
    }
    const { statements } = router;
    const preparation = statements.read(facts, buffer, nameEnd + 1, textEnd, end);
    const slot = statements.forParse(name, facts, preparation, isPlain);
    if (slot === null) return false;
    const owed = this.#sender.sendNamed(OWED.parse, buffer, start, end, 0, start + 5, nameEnd, slot);
    // The session keeps it, so verdicts on it may be kept too.
    if (facts !== lastFrozen) lastFrozen = Object.freeze(facts);
    const statement = this.#session.statements.declare(name, facts, owed.sequence, preparation);
    owed.declared = statement;
    if (slot !== AS_SENT) {
      owed.slot = slot;
      statements.afterParse(statement, slot, owed.sequence);
    }
    return true;
  }

  bind(buffer: Buffer, start: number, end: number, remaining: number): boolean {
    const portalEnd = findNul(buffer, start + 5, end);
    const nameEnd = portalEnd < 0 ? -1 : findNul(buffer, portalEnd + 1, end);
    if (nameEnd < 0 && remaining === 0) return this.#sender.sendUnread(OWED.bind, buffer, start, end);
    if (!this.#connection.router.isReadyForUnit()) return false;
    if (nameEnd < 0) return this.#refuseLongName();
    const again = this.#session.statements.findAgain(buffer, portalEnd + 1, nameEnd);
    const name = again?.name ?? readName(buffer, portalEnd + 1, nameEnd);
    const statement = again ?? this.#session.statements.find(name);
    const facts = this.#meanings(statement);
    const { router } = this.#connection;
    const { statements } = router;
    const isPlain = router.isPlain(facts);
    if (!isPlain && !statements.isReadyToRun(facts, false)) return false;
    const slot =
      statements.placeOf(name, statement) ??
      statements.forUse(name, statement, (place) => {
        if (remaining === 0) this.#tryValues(buffer, start, end, portalEnd, nameEnd, place);
      });
    if (slot === null) return false;
    if (slot === FAILED && statement !== null) {
      // What is wrong with the values is found before the statement is planned.
      const { place, error } = statements.failingPlace(statement);
      const owed = this.#sender.sendNamed(OWED.bind, buffer, start, end, remaining, portalEnd + 1, nameEnd, place);
      owed.substitute = failPlanWith(error);
      return true;
    }
    router.noteRun(facts, isPlain);
    const owed = this.#sender.sendNamed(OWED.bind, buffer, start, end, remaining, portalEnd + 1, nameEnd, slot);
    const portal = this.#session.portals.declare(readName(buffer, start + 5, portalEnd), facts, owed.sequence);
    owed.portal = portal;
    portal.statement = statement;
    if (!isPlain) portal.substitute = statements.takeSubstitute(facts);
    return true;
  }

  /** The facts of the statement that a Bind names in `buffer[nameStart, end)`; null unless it is plain and the Bind goes on as it is. */
  findPlain(buffer: Buffer, nameStart: number, end: number): TextFacts | null {
    const { router } = this.#connection;
    const nameEnd = findNul(buffer, nameStart, end);
    if (nameEnd < 0 || !router.isReadyForUnit()) return null;
    const { statements } = this.#session;
    const again = statements.findAgain(buffer, nameStart, nameEnd);
    const statement = again ?? statements.find(readName(buffer, nameStart, nameEnd));
    if (statement === null || statement.shadowed !== null || !router.isPlain(statement.facts)) return null;
    const slot = router.statements.placeOf(statement.name, statement);
    return slot === AS_SENT || slot?.isNamed(buffer, nameStart, nameEnd) === true ? statement.facts : null;
  }

  describe(buffer: Buffer, start: number, end: number): boolean {
    if (!this.#connection.router.isReadyForUnit()) return false;
    if (!isNaming(buffer, start, end) || buffer[start + 5] !== NAMED.statement) {
      this.#sender.send(OWED.describe, buffer, start, end, 0);
      return true;
    }
    const name = readName(buffer, start + 6, end - 1);
    const statement = this.#session.statements.find(name);
    const slot = this.#connection.router.statements.forUse(name, statement, null);
    if (slot === null) return false;
    if (slot === FAILED) return this.#failDescribe(statement?.description ?? null);
    const owed = this.#sender.sendNamed(OWED.describe, buffer, start, end, 0, start + 6, end - 1, slot);
    if (slot.isUndescribed) owed.slot = slot;
    return true;
  }

  close(buffer: Buffer, start: number, end: number): boolean {
    if (!this.#connection.router.isReadyForUnit()) return false;
    if (!isNaming(buffer, start, end)) return this.#sender.sendUnread(OWED.close, buffer, start, end);
    const name = readName(buffer, start + 6, end - 1);
    const isPortal = buffer[start + 5] !== NAMED.statement || findNul(buffer, start + 6, end) !== end - 1;
    const slot = isPortal ? AS_SENT : this.#connection.router.statements.forClose(name);
    if (slot === null) return false;
    const owed = this.#sender.sendNamed(OWED.close, buffer, start, end, 0, start + 6, end - 1, slot);
    owed.isPortal = isPortal;
    owed.closedName = name;
    if (slot !== AS_SENT) {
      owed.slot = slot;
      this.#connection.active.names.rank(slot, owed.sequence);
    }
    return true;
  }

  /**
   * A PREPARE alone has been sent, and where it is a Query no extended message is open before it: what it makes can follow the
   * client.
   */
  carryPrepare(owed: OwedReply<Run>, text: Buffer | null): void {
    const [made] = listDeclared(owed);
    if (made === undefined || text === null) return;
    // In a failed transaction an Execute can pass that has done nothing.
    const mayHaveFailed = this.#session.owed.owedReadies > 0 || this.#session.status === TRANSACTION.failed;
    if (owed.kind === OWED.execute && mayHaveFailed) return;
    // It may be skipped; in a COPY the Sync in front of it is lost. pgweir's own Sync would end that too early.
    if (owed.kind === OWED.query && (this.#session.isInUnit || this.#session.owed.some(mayCopy))) return;
    this.#connection.router.statements.afterPrepare(made, text, owed);
  }

  #refuseLongName(): true {
    const { run, refusal } = this.#decider.refuseLongName();
    this.#sender.replace(OWED.parse, makeRefusedExecute(refusal, run.decisionId), run);
    return true;
  }

  #meanings(statement: PreparedStatement | null): TextFacts {
    if (statement === null) return NOT_PREPARED;
    return statement.shadowed === null ? statement.facts : meaningsOf(statement, NOT_PREPARED_FACTS);
  }

  /** Sends the Bind to a stand-in that only checks its values. The answer goes to nobody, unless it is an error. */
  #tryValues(buffer: Buffer, start: number, end: number, portalEnd: number, nameEnd: number, place: Slot): void {
    const owed = this.#sender.sendNamed(OWED.bind, buffer, start, end, 0, portalEnd + 1, nameEnd, place);
    owed.isSwallowed = true;
    this.#sender.closePortal(buffer, start + 5, portalEnd);
  }

  /** No server can have the statement any more. A bare server would still describe its parameters, then fail at its result. */
  #failDescribe(description: StatementDescription | null): boolean {
    const { client, active, router } = this.#connection;
    if (!this.#session.isQuiet) return router.statements.wait() !== null;
    const error = router.statements.takeError();
    // In a failed transaction nothing is described that has a result, whatever has become of it: the server says so itself.
    const isFailed = this.#session.status === TRANSACTION.failed && isOwnWord(error);
    const isRefused = isFailed && (description?.columns ?? null) !== null;
    if (!isRefused && description !== null) client.outlet.write(makeParameterDescription(description.parameters));
    active.outlet.write(FAILED_DESCRIBE);
    this.#session.isUnitOpen = true;
    this.#session.owed.push(OWED.parse).substitute = isRefused ? null : failWith(error);
    return true;
  }
}

/** It is a COPY, or an EXECUTE that may be of one. */
function mayCopy({ facts }: Run): boolean {
  return facts.some((statement) => statement.shape.kinds[0] === 'copy' || runsPrepared(statement));
}

/** Of a Describe or Close: it has a kind and a whole name. */
function isNaming(buffer: Buffer, start: number, end: number): boolean {
  return end - start >= 7 && buffer[end - 1] === 0;
}
