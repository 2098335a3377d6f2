// The road of a statement, as a recipe: read its facts, judge it, then refuse it or let its original bytes go on. One
// method for each message that a client may send once it is logged in. Each answers whether it took the message; `false`
// leaves it where it is, to be offered again when the gate opens.

import type { Refusal } from '../policy/verdict.ts';
import { OWED, type OwedReply } from '../session/owed.ts';
import type { Session } from '../session/session.ts';
import { isInDoubt, type Portal, resolveStatements } from '../session/statements.ts';
import { NO_STATEMENTS, type TextFacts } from '../sql/facts.ts';
import { FUNCTION_CALL_FACTS, NOT_PREPARED_FACTS } from '../sql/unparsed.ts';
import { FRONTEND, HEADER_BYTES } from '../wire/codes.ts';
import { findNul, readName } from '../wire/reader.ts';
import { findUsualEnd } from '../wire/usual-unit.ts';
import { FLUSH, makeImpossibleFunctionCall, READY, SYNC } from '../wire/writer.ts';
import type { Connection } from './connection.ts';
import type { RelayContext } from './context.ts';
import { GATE } from './gate.ts';
import type { Run } from './run.ts';
import { Sender } from './sender.ts';
import { isPrepare, StatementMessages, textOf } from './statement-messages.ts';
import { awaitAnswers } from './steps/await-answers.ts';
import { Decider, NOT_PREPARED } from './steps/decide.ts';
import { announceEffects } from './steps/effects.ts';
import { FAILED_QUERY, failWith } from './steps/failed-use.ts';
import { WaitingRoom } from './steps/limit.ts';
import { mayChangeReading } from './steps/reading.ts';
import { makeRefusedExecute, makeRefusedParse, makeRefusedQuery, wordRefusal } from './steps/refuse.ts';

const FUNCTION_CALL: TextFacts = Object.freeze([FUNCTION_CALL_FACTS]);

export class Conduct {
  readonly #connection: Connection;
  readonly #context: RelayContext;
  readonly #session: Session<Run>;
  readonly #waiting: WaitingRoom;
  readonly #decider: Decider;
  readonly #maxStatementBytes: number;
  readonly #sender: Sender;
  readonly #statements: StatementMessages;

  constructor(connection: Connection, context: RelayContext) {
    this.#connection = connection;
    this.#context = context;
    this.#session = connection.session;
    this.#waiting = new WaitingRoom(connection, context);
    this.#decider = new Decider(connection, context, this.#waiting);
    this.#sender = new Sender(connection, context.clock);
    this.#statements = new StatementMessages(connection, this.#sender, this.#decider);
    this.#maxStatementBytes = context.settings.limits.maxStatementBytes;
  }

  /** Where the rest of a message goes that is longer than what was shown; null: nowhere, it was refused. */
  get rest(): Sender['rest'] {
    return this.#sender.rest;
  }

  set rest(rest: Sender['rest']) {
    this.#sender.rest = rest;
  }

  get isWaiting(): boolean {
    return this.#waiting.isOccupied;
  }

  /** A statement that waits for a limit is given up: its client has cancelled it, or has gone. True where one waited. */
  abandonWait(): boolean {
    return this.#waiting.abandon();
  }

  /** The connection closes: what waits or is kept will not run. */
  giveUp(): void {
    this.#waiting.abandon();
    this.#waiting.drop();
  }

  /**
   * A message came while no server is at hand. What needs none is answered here, what is extended takes one first; null:
   * it goes the usual way. Bytes of a COPY that nobody has begun are passed over, as the server does.
   */
  arrive(type: number, bytes: number): boolean | null {
    const { router, client } = this.#connection;
    const { owed } = this.#session;
    this.#sender.rest = null;
    // A server has something to say to a Sync or Flush with a body.
    const isEmpty = bytes === HEADER_BYTES;
    switch (isEmpty || (type !== FRONTEND.sync && type !== FRONTEND.flush) ? type : FRONTEND.close) {
      case FRONTEND.terminate:
        return null;
      case FRONTEND.sync:
        owed.isSkipping = false;
        client.outlet.write(READY);
        return true;
      case FRONTEND.flush:
      case FRONTEND.copyData:
      case FRONTEND.copyDone:
      case FRONTEND.copyFail:
        return true;
      default:
    }
    if (owed.isSkipping) return true;
    if (type === FRONTEND.query || type === FRONTEND.functionCall) return null;
    const refusal = router.takeRefusal();
    if (refusal === null) return router.isReadyForUnit() ? null : false;
    this.#sayRefusal(refusal, '');
    owed.isSkipping = true;
    return true;
  }

  query(buffer: Buffer, start: number, end: number, remaining: number): boolean {
    if (this.#isTooLong(start, end, remaining)) return this.#isReadyToFail() && this.#refuseLong(OWED.query, '');
    const kept = this.#waiting.take();
    const isOutdated = kept !== null && this.#decider.isOutdated(kept);
    // What was read under other rules may be the text of a twin.
    const facts =
      kept !== null && !isOutdated ? kept.facts : this.#decider.read(buffer, start + 5, end - 1, isOutdated);
    if (facts === null) return this.#waiting.keep(kept);
    if (kept === null && this.#isPortalInDoubt(null, facts)) return false;
    if (this.#decider.mustWait(kept)) return this.#waiting.keep(kept);
    const run = this.#stillDecided(kept, facts) ?? this.#decider.decide(facts, facts.length > 1);
    if (this.#isRefusedHere(run)) {
      this.#session.statements.forget('', Number.POSITIVE_INFINITY);
      return true;
    }
    if (run.refusal === null && (!this.#isCleared(run) || !this.#isRouted(run))) return this.#waiting.keep(run);
    if (run.refusal !== null) {
      if (!this.#isReadyToFail()) return this.#waiting.keep(run);
      this.#sender.replace(OWED.query, makeRefusedQuery(run.refusal, run.decisionId), run);
      return true;
    }
    const { router } = this.#connection;
    // Definitions may have changed while it waited.
    run.isPlain &&= router.isPlain(facts);
    if (!run.isPlain) {
      if (!router.statements.isReadyToRun(facts, true)) return this.#waiting.keep(run);
      const failure = router.statements.takeFailure();
      if (failure !== null) {
        this.#sender.replace(OWED.query, FAILED_QUERY, run).substitute = failWith(failure);
        return true;
      }
    }
    router.noteRun(facts, run.isPlain);
    const owed = this.#sender.send(OWED.query, buffer, start, end, remaining);
    if (!run.isPlain) owed.substitute = router.statements.takeSubstitute(facts);
    this.#start(run, owed);
    if (isPrepare(facts)) this.#statements.carryPrepare(owed, Buffer.from(buffer.subarray(start + 5, end)));
    if (run.kill !== null) this.#connection.gate.close(GATE.killing);
    return true;
  }

  parse(buffer: Buffer, start: number, end: number, remaining: number): boolean {
    const nameEnd = findNul(buffer, start + 5, end);
    const name = nameEnd < 0 ? '' : readName(buffer, start + 5, nameEnd);
    if (this.#isTooLong(start, end, remaining)) return this.#refuseLong(OWED.parse, name);
    return this.#statements.parse(buffer, start, end, name, nameEnd);
  }

  bind(buffer: Buffer, start: number, end: number, remaining: number): boolean {
    return this.#statements.bind(buffer, start, end, remaining);
  }

  /**
   * A Bind, and behind it up to `limit` the usual end of a unit of work: all in one step, where it is plain and goes on as it is.
   * Returns where it ends; 0: it goes message by message, which has the same outcome, and nothing has been sent or recorded.
   */
  unit(buffer: Buffer, start: number, end: number, limit: number): number {
    const unitEnd = buffer[start + 5] === 0 ? findUsualEnd(buffer, end, limit) : 0;
    if (unitEnd === 0 || this.#connection.copyIn.isRunning || this.#decider.isTooEarly) return 0;
    const facts = this.#statements.findPlain(buffer, start + 6, end);
    const run = facts === null ? null : this.#decider.decidePlain(facts);
    if (run === null) return 0;
    const { router } = this.#connection;
    router.noteRun(run.facts, true);
    const owed = this.#sender.send(OWED.unit, buffer, start, unitEnd, 0);
    // Elsewhere the portal ends with the unit.
    if (this.#session.isTransactionAhead) {
      owed.portal = this.#session.portals.declare('', run.facts, owed.sequence);
      owed.portal.hasRun = true;
    }
    this.#start(run, owed);
    router.endUnit();
    return unitEnd;
  }

  describe(buffer: Buffer, start: number, end: number): boolean {
    return this.#statements.describe(buffer, start, end);
  }

  execute(buffer: Buffer, start: number, end: number): boolean {
    const nameEnd = findNul(buffer, start + 5, end);
    if (nameEnd < 0) return this.#sender.sendUnread(OWED.execute, buffer, start, end);
    if (!this.#connection.router.isReadyForUnit()) return false;
    const portal = this.#session.portals.find(readName(buffer, start + 5, nameEnd));
    if (portal !== null && this.#isPortalInDoubt(portal, portal.hasRun ? NO_STATEMENTS : portal.facts)) return false;
    const kept = this.#waiting.take();
    if (portal?.hasRun !== true && this.#decider.mustWait(kept)) return this.#waiting.keep(kept);
    const run =
      (portal?.hasRun ? kept : this.#stillDecided(kept, portal?.facts ?? NOT_PREPARED)) ??
      this.#decider.decideExecute(portal);
    if (run.refusal !== null) {
      this.#sender.replace(OWED.parse, makeRefusedExecute(run.refusal, run.decisionId), run);
      return true;
    }
    if (!this.#isCleared(run)) return this.#waiting.keep(run);
    const owed = this.#sender.send(OWED.execute, buffer, start, end, 0);
    run.portal = portal;
    if (portal !== null) {
      run.beginsPortal = !portal.hasRun;
      portal.hasRun = true;
      owed.substitute = portal.substitute;
    }
    this.#start(run, owed);
    if (portal !== null && isPrepare(portal.facts)) this.#statements.carryPrepare(owed, textOf(portal));
    if (run.kill !== null) this.#connection.gate.close(GATE.killingAfterSync);
    return true;
  }

  close(buffer: Buffer, start: number, end: number): boolean {
    return this.#statements.close(buffer, start, end);
  }

  functionCall(buffer: Buffer, start: number, end: number, remaining: number): boolean {
    const kept = this.#waiting.take();
    if (this.#decider.mustWait(kept)) return this.#waiting.keep(kept);
    const run = this.#stillDecided(kept, FUNCTION_CALL) ?? this.#decider.decide(FUNCTION_CALL, false);
    if (this.#isRefusedHere(run)) return true;
    if (run.refusal === null && (!this.#isCleared(run) || !this.#isRouted(run))) return this.#waiting.keep(run);
    if (run.refusal !== null) {
      if (!this.#isReadyToFail()) return this.#waiting.keep(run);
      this.#sender.replace(OWED.functionCall, makeImpossibleFunctionCall(), run);
      return true;
    }
    this.#connection.router.noteRun(FUNCTION_CALL, false);
    this.#start(run, this.#sender.send(OWED.functionCall, buffer, start, end, remaining));
    if (run.kill !== null) this.#connection.gate.close(GATE.killing);
    return true;
  }

  sync(buffer: Buffer, start: number, end: number): boolean {
    if (this.#connection.copyIn.isRunning) this.#connection.copyIn.keptSyncs++;
    else this.#sender.send(OWED.sync, buffer, start, end, 0);
    this.#connection.router.endUnit();
    this.#connection.gate.narrowToKilling();
    return true;
  }

  /** The client goes on as if the COPY were over. It has failed, then, and the Syncs kept back are answered before what follows. */
  sendKeptSyncs(): void {
    for (; this.#connection.copyIn.keptSyncs > 0; this.#connection.copyIn.keptSyncs--) {
      this.#connection.active.outlet.write(SYNC);
      this.#session.owed.push(OWED.sync);
    }
  }

  flush(buffer: Buffer, start: number, end: number): boolean {
    if (end - start === HEADER_BYTES) this.#sender.forward(buffer, start, end, 0);
    // Among COPY data it would be passed over; should that have failed, nobody could tell what the server says to it.
    else if (!this.#connection.copyIn.isRunning) this.#sender.sendUnread(OWED.flush, buffer, start, end);
    this.#connection.gate.narrowToKilling();
    return true;
  }

  copyData(buffer: Buffer, start: number, end: number, remaining: number): boolean {
    this.#connection.copyIn.keptSyncs = 0;
    if (!this.#connection.copyIn.isRunning) this.#session.owed.noteDataAhead();
    this.#sender.forward(buffer, start, end, remaining);
    return true;
  }

  /** The server skips all up to the next Sync: neither judged nor owed, and a statement that waited will not run. */
  skip(buffer: Buffer, start: number, end: number, remaining: number): boolean {
    this.#waiting.drop();
    this.#sender.forward(buffer, start, end, remaining);
    return true;
  }

  /** CopyDone or CopyFail: from here on the server works on what it was given, or fails. */
  copyEnd(buffer: Buffer, start: number, end: number): boolean {
    // A mark is only needed for the end of a copy that the server has not announced yet.
    if (!this.#connection.copyIn.isRunning && this.#session.owed.count > 0)
      this.#sender.send(OWED.copyEnd, buffer, start, end, 0);
    else this.#sender.forward(buffer, start, end, 0);
    this.#connection.endCopyIn();
    return true;
  }

  /** Something else is about to follow an Execute under kill_after_ms: the server must show when that one has ended. */
  flushBeforeGate(): void {
    this.#connection.active.outlet.write(FLUSH);
    this.#connection.gate.narrowToKilling();
  }

  // What the messages have in common.

  /** What would run is not known before the server has answered: the message is offered again then. */
  #isPortalInDoubt(portal: Portal | null, facts: TextFacts): boolean {
    const { statements, portals, owed } = this.#session;
    if (owed.count === 0 || this.#connection.copyIn.isRunning) return false;
    const all = resolveStatements(facts, statements, portals, NOT_PREPARED_FACTS);
    if (!isInDoubt(portal, all, portals, owed.syncedUpTo)) return false;
    awaitAnswers(this.#connection);
    return true;
  }

  /** What was decided about a message that had to wait; null where the rules of now decide otherwise. */
  #stillDecided(kept: Run | null, facts: TextFacts): Run | null {
    if (kept === null || !this.#decider.isOutdated(kept)) return kept;
    return this.#decider.takeBack(kept, facts, facts.length > 1) ? null : kept;
  }

  /** The limits let it through, and under kill_after_ms nothing sent before it is still at work: a cancel would hit that. */
  #isCleared(run: Run): boolean {
    if (!this.#waiting.isCleared(run)) return false;
    if (!run.verdict?.kill || !this.#session.owed.hasWork) return true;
    const { copyIn, gate } = this.#connection;
    if (copyIn.isRunning && copyIn.isGivenUp(() => gate.open(GATE.turn))) return true;
    this.#connection.active.outlet.write(FLUSH);
    gate.close(GATE.turn);
    return false;
  }

  /** A refused Query or FunctionCall needs no server to fail on where none is at hand: nothing is open that it could undo. */
  #isRefusedHere(run: Run): boolean {
    if (this.#connection.hasServer) return false;
    const denied = this.#connection.router.takeRefusal();
    if (denied !== null) {
      this.#waiting.undo(run);
      run.refusal = denied;
    }
    if (run.refusal === null) return false;
    // It drops the unnamed statement, and that is on a server.
    if (denied === null && this.#session.statements.find('') !== null) return false;
    this.#sayRefusal(run.refusal, run.decisionId);
    this.#connection.client.outlet.write(READY);
    return true;
  }

  /** There is a server that a refused message can fail on. False: not now, the gate is closed until there is one. */
  #isReadyToFail(): boolean {
    return this.#connection.hasServer || this.#connection.router.isReadyForUnit();
  }

  #sayRefusal(refusal: Refusal, decisionId: string): void {
    this.#connection.client.outlet.write(wordRefusal(refusal, decisionId, this.#session.clientEncoding === 'UTF8'));
    this.#connection.countError(refusal.sqlstate);
  }

  /**
   * The server that is to run it is active, and has taken the settings that were repeated there. It may have been refused now.
   */
  #isRouted(run: Run): boolean {
    const { router } = this.#connection;
    if (!router.isReadyForQuery(run)) {
      if (router.isShared) this.#waiting.giveBack(run);
      return false;
    }
    this.#waiting.askAgain(run);
    if (this.#isCleared(run)) return true;
    // Others can use the server meanwhile.
    this.#connection.endTurn();
    return false;
  }

  /** A message that was not shown whole is too long, and one that came in a single chunk may be. */
  #isTooLong(start: number, end: number, remaining: number): boolean {
    return remaining > 0 || end - start > this.#maxStatementBytes;
  }

  /** A Query or Parse over max_statement_bytes: nothing of it goes on, its bytes are passed over as they come. */
  #refuseLong(kind: typeof OWED.query | typeof OWED.parse, name: string): boolean {
    const { run, refusal } = this.#decider.refuseTooLong();
    const message =
      kind === OWED.query ? makeRefusedQuery(refusal, run.decisionId) : makeRefusedParse(name, refusal, run.decisionId);
    this.#sender.replace(kind, message, run);
    return true;
  }

  /** The statement is on its way to the server. */
  #start(run: Run, owed: OwedReply<Run>): void {
    const nowMs = this.#context.clock.monotonicMs();
    owed.run = run;
    run.sentAtMs = nowMs;
    this.#connection.lastRun = run;
    this.#connection.copyIn.forgetWait();
    if (!run.isPlain) {
      announceEffects(run, owed, this.#session);
      this.#session.isReadingInDoubt ||= owed.kind === OWED.execute && mayChangeReading(run);
    }
    if (run.verdict?.kill) this.#connection.watchRun(run, run.verdict.kill.timeoutMs, nowMs);
  }
}
