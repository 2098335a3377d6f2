// One server connection as the relay sees it: frames what the server says, tells by the queue of owed replies what each
// message answers, and forwards, swallows or rewords it. Rows stream by undecoded.

import { describeError } from '../base/errors.ts';
import type { Histogram } from '../base/histogram.ts';
import type { Lease } from '../pool/server-connection.ts';
import { OWED, type OwedReply } from '../session/owed.ts';
import type { Session } from '../session/session.ts';
import type { PreparedStatement } from '../session/statements.ts';
import { readErrorField, readParameterStatus } from '../wire/backend.ts';
import { BACKEND, BACKEND_TABLE } from '../wire/codes.ts';
import { Framer, type FrameSink } from '../wire/framer.ts';
import { makeParameterStatus, SYNC } from '../wire/writer.ts';
import type { Connection } from './connection.ts';
import { Outlet } from './outlet.ts';
import type { Run } from './run.ts';
import { confirmEffect, listDeclared, undoDeclared } from './steps/effects.ts';
import { isStandInError, wordRefusal } from './steps/refuse.ts';

/** Server messages that are read whole are small; an error is shown by its head. */
const WHOLE_LIMIT_BYTES = 1 << 20;

export class ServerSide implements FrameSink {
  readonly lease: Lease;
  readonly isPrimary: boolean;
  /** What goes to the server. */
  readonly outlet: Outlet;
  /** Prepared statements that this server has by name; only kept where there is more than one target. */
  readonly known = new Map<string, PreparedStatement>();
  /** What this server had under a name when a Parse was sent under it: where that one fails or is skipped, it still has this. */
  readonly #replaced = new WeakMap<PreparedStatement, PreparedStatement>();
  /** What clients before this one have left here under a name. */
  readonly left = new Map<string, PreparedStatement>();
  #sent = new WeakSet<PreparedStatement>();
  /** How many of the session's settings have been repeated here. */
  settingsSeen = 0;
  #connection: Connection;
  #session: Session<Run>;
  #isBound = true;
  readonly #framer: Framer;
  readonly #durations: Histogram;
  #isRestForwarded = false;
  #isOutOfStep = false;
  /** The server said why it goes. */
  hasSaidFatal = false;

  constructor(connection: Connection, lease: Lease, isPrimary: boolean, durations: Histogram) {
    this.lease = lease;
    this.isPrimary = isPrimary;
    this.outlet = new Outlet(lease.socket, () => this.#connection.resumeClient());
    this.#connection = connection;
    this.#session = connection.session;
    this.#durations = durations;
    this.#framer = new Framer(BACKEND_TABLE, this, WHOLE_LIMIT_BYTES);
    lease.inlet.receive = this.#receive;
    const onEnd = (): void => {
      if (this.#isBound) this.#connection.serverEnded(this);
    };
    lease.socket.on('end', onEnd).on('close', onEnd);
  }

  /** A client takes it over, `isAgain` the one that had it last. */
  bind(connection: Connection, isAgain: boolean): void {
    this.#isBound = true;
    this.#connection = connection;
    this.#session = connection.session;
    this.lease.inlet.receive = this.#receive;
    if (isAgain) return;
    for (const [name, statement] of this.known) this.left.set(name, statement);
    this.known.clear();
    this.#sent = new WeakSet();
  }

  /** Nobody's for now: what the server says goes to the pool. */
  unbind(): void {
    this.#isBound = false;
  }

  /** Everything but what clients believe of it is as after the login. */
  forgetAll(): void {
    this.left.clear();
    this.known.clear();
  }

  readonly #receive = (buffer: Buffer, length: number): void => this.#take(buffer, length);

  /** Part of a message has gone to the client: nothing else may be said before the rest of it. */
  get isMidMessage(): boolean {
    return this.#framer.isMidMessage;
  }

  /** A Parse of the client's has been sent here, by the client or once more by pgweir. */
  noteParse(statement: PreparedStatement): void {
    this.#sent.add(statement);
    const before = this.known.get(statement.name);
    if (before !== undefined) this.#replaced.set(statement, before);
    this.known.set(statement.name, statement);
  }

  /** What another client left here is what this one calls by that name. */
  adopt(statement: PreparedStatement): void {
    this.#sent.add(statement);
    this.known.set(statement.name, statement);
  }

  /** Its Parse has been sent here once: if it is gone, it went by the server's own rules. */
  hasBeenSent(statement: PreparedStatement): boolean {
    return this.#sent.has(statement);
  }

  get isCongested(): boolean {
    return this.outlet.isCongested;
  }

  pause(): void {
    this.lease.socket.pause();
  }

  resume(): void {
    this.lease.socket.resume();
  }

  #take(buffer: Buffer, length: number): void {
    if (this.#connection.isClosing) return;
    this.#connection.beginServerTurn();
    try {
      this.#framer.consume(buffer, 0, length);
      this.#connection.endServerTurn(this, length, this.#framer.broken);
    } catch (error) {
      // A mistake of pgweir's own ends this connection, not the process with all the others.
      this.#connection.fail('internal', describeError(error));
    }
    // From here on nobody but the server knows which message its next answer belongs to.
    if (this.#isOutOfStep) this.#connection.fail('protocol_violation', 'Sync among the data of a COPY that failed');
  }

  rest(buffer: Buffer, start: number, end: number): void {
    if (this.#isRestForwarded) this.#connection.client.outlet.append(buffer, start, end);
  }

  frame(type: number, buffer: Buffer, start: number, end: number, remaining: number): boolean {
    const isForwarded = this.#answer(type, buffer, start, end);
    if (isForwarded) this.#connection.client.outlet.append(buffer, start, end);
    this.#isRestForwarded = isForwarded;
    return remaining >= 0;
  }

  /** True where the message goes on to the client. */
  #answer(type: number, buffer: Buffer, start: number, end: number): boolean {
    switch (type) {
      case BACKEND.dataRow:
      case BACKEND.copyData:
      case BACKEND.copyDone:
      case BACKEND.copyOutResponse:
      case BACKEND.notice:
      case BACKEND.functionCallResponse:
      case BACKEND.negotiateProtocolVersion:
      case BACKEND.parameterDescription:
        return !this.#isHeadSwallowed;
      case BACKEND.notification:
        return this.isPrimary;
      case BACKEND.rowDescription:
      case BACKEND.noData:
        return this.#shift(OWED.describe);
      case BACKEND.parseComplete:
        return this.#completeParse();
      case BACKEND.bindComplete:
        return this.#shift(OWED.bind);
      case BACKEND.closeComplete:
        return this.#completeClose();
      case BACKEND.commandComplete:
      case BACKEND.emptyQuery:
        return this.#completeStatement();
      case BACKEND.portalSuspended:
        return this.#endExecute();
      case BACKEND.readyForQuery:
        return this.#ready(buffer[start + 5] as number);
      case BACKEND.error:
        return this.#fail(buffer, start, end);
      case BACKEND.parameterStatus:
        return this.#setParameter(buffer, start, end);
      case BACKEND.copyInResponse:
      case BACKEND.copyBothResponse:
        this.#connection.beginCopyIn(type === BACKEND.copyBothResponse);
        return true;
      case BACKEND.authentication:
      case BACKEND.backendKeyData:
        return this.#connection.answerLogin(this, type, buffer, start, end);
      default:
        return true;
    }
  }

  get #isHeadSwallowed(): boolean {
    return this.#session.owed.head?.isSwallowed === true;
  }

  /** The head is answered in full when it is of that kind; messages inside a Query answer no entry of their own. */
  #shift(kind: number): boolean {
    const { owed } = this.#session;
    const { head } = owed;
    if (head === null || head.kind !== kind) return !this.#isHeadSwallowed;
    const isForwarded = !head.isSwallowed;
    owed.shift();
    return isForwarded;
  }

  #completeParse(): boolean {
    const { head } = this.#session.owed;
    if (head?.kind === OWED.parse)
      for (const statement of listDeclared(head)) this.#session.statements.confirm(statement);
    return this.#shift(OWED.parse);
  }

  #completeClose(): boolean {
    const { head } = this.#session.owed;
    if (head?.kind !== OWED.close) return true;
    if (head.isSwallowed) {
      this.#connection.probeAnswered(head.closedName);
    } else if (head.isPortal) {
      this.#session.portals.forget(head.closedName, head.sequence);
    } else {
      this.#session.statements.forget(head.closedName, head.sequence);
      this.#forgetKnown(head.closedName, head.sequence);
    }
    return this.#shift(OWED.close);
  }

  /** CommandComplete or EmptyQueryResponse: one statement of a Query, or the end of an Execute. */
  #completeStatement(): boolean {
    const { head } = this.#session.owed;
    if (head === null) return true;
    const { run } = head;
    if (run !== null) {
      const statement = run.facts[run.completed];
      run.completed++;
      if (statement !== undefined) {
        if (statement.effect !== null) {
          confirmEffect(statement, head, this.#session);
          if (statement.effect.type === 'deallocate') this.#forgetKnown(statement.effect.name, head.sequence);
          else if (statement.effect.type === 'discard_all') this.#forgetKnown(null, head.sequence);
        }
        this.#connection.router.noteStatement(statement);
      }
    }
    return head.kind === OWED.execute ? this.#endExecute() : !head.isSwallowed;
  }

  #endExecute(): boolean {
    const { head } = this.#session.owed;
    if (head?.kind !== OWED.execute) return true;
    this.#finish(head);
    return this.#shift(OWED.execute);
  }

  #ready(status: number): boolean {
    const { owed } = this.#session;
    const { head } = owed;
    owed.isSkipping = false;
    if (head === null || (head.kind !== OWED.sync && head.kind !== OWED.query && head.kind !== OWED.functionCall)) {
      this.#session.settle(status, owed.sequence);
      return this.#connection.becomeReady();
    }
    const { sequence, isSwallowed } = head;
    if (isSwallowed && this.#session.isReplication) this.#connection.probeAnswered(head.closedName);
    // A simple Query drops the unnamed statement, whatever comes of it.
    if (head.kind === OWED.query && !isSwallowed) {
      this.#session.statements.forget('', sequence);
      this.#forgetKnown('', sequence);
    }
    if (head.run !== null) this.#finish(head);
    owed.shift();
    if (!isSwallowed) this.#connection.router.noteReady(status);
    this.#session.settle(status, sequence);
    return !isSwallowed;
  }

  /** What ran has ended, well or not. */
  #finish(head: OwedReply<Run>): void {
    const { run } = head;
    if (run === null) return;
    head.run = null;
    const ranMs = this.#connection.finishRun(run);
    if (run.refusal === null) this.#durations.observe(ranMs / 1000);
  }

  #fail(buffer: Buffer, start: number, end: number): boolean {
    const { owed } = this.#session;
    const sqlstate = readErrorField(buffer, start, end, 'C') ?? 'XX000';
    const severity = readErrorField(buffer, start, end, 'V') ?? readErrorField(buffer, start, end, 'S') ?? 'ERROR';
    if (severity === 'FATAL' || severity === 'PANIC') this.hasSaidFatal = true;
    const { head } = owed;
    if (head === null || this.hasSaidFatal) return true;
    const { run, isSwallowed } = head;
    const isQuery = head.kind === OWED.query;
    const refusal = run !== null && isStandInError(sqlstate) ? run.refusal : null;
    if (run !== null) run.sqlstate = sqlstate;
    if (!isSwallowed) this.#connection.router.noteError();
    const keptSyncs = this.#connection.copyIn.fail();
    this.#isOutOfStep = head.hasUncertainSyncs;
    if (isQuery || head.kind === OWED.functionCall) undoDeclared(listDeclared(head), this.#session);
    else if (head.kind !== OWED.sync) this.#skipToSync();
    for (let left = keptSyncs; left > 0; left--) {
      this.outlet.write(SYNC);
      owed.push(OWED.sync);
    }
    // Of pgweir's own messages a failing Parse is the client's business: what it sent behind it is skipped.
    if (refusal === null || run === null) return !isSwallowed || !isQuery;
    this.#connection.client.outlet.write(wordRefusal(refusal, run.decisionId, this.#session.clientEncoding === 'UTF8'));
    this.#connection.countError(refusal.sqlstate);
    return false;
  }

  /** After an error in an extended message the server answers nothing before the next Sync. */
  #skipToSync(): void {
    const { owed } = this.#session;
    const failed = owed.head === null ? [] : listDeclared(owed.head);
    const skipped: PreparedStatement[] = [];
    for (let { head } = owed; head !== null && head.kind !== OWED.sync; head = owed.head) {
      skipped.push(...listDeclared(head));
      if (head.isSwallowed) this.#forgetRepeated(head);
      if (head.isSwallowed && head.kind === OWED.close) this.#connection.probeAnswered(head.closedName);
      this.#finish(head);
      owed.shift();
    }
    owed.isSkipping = owed.head === null;
    for (const statement of skipped.toReversed()) this.#forgetParse(statement, !failed.includes(statement));
    undoDeclared(skipped.slice(failed.length), this.#session, true);
    undoDeclared(failed, this.#session);
  }

  /** This server has dropped a statement that it had before that message; null: all that have a name. */
  #forgetKnown(name: string | null, sequence: number): void {
    if (name === null) {
      for (const known of [...this.known.keys(), ...this.left.keys()])
        if (known !== '') this.#forgetKnown(known, sequence);
      return;
    }
    const statement = this.known.get(name);
    if (statement === undefined) {
      this.left.delete(name);
      return;
    }
    if (statement.sequence < sequence) this.known.delete(name);
    else this.#forgetReplaced(statement, sequence);
  }

  /** A message of pgweir's own was skipped: a statement that it was to repeat here is not there. */
  #forgetRepeated({ kind, closedName }: OwedReply<Run>): void {
    const statement = this.known.get(closedName);
    if (statement === undefined) return;
    this.known.delete(closedName);
    if (kind === OWED.parse) this.#sent.delete(statement);
  }

  /** Nor does what such a statement had replaced come back when a Parse sent behind that message fails. */
  #forgetReplaced(statement: PreparedStatement, sequence: number): void {
    let above = statement;
    let before = this.#replaced.get(above);
    while (before !== undefined && before.sequence >= sequence) {
      above = before;
      before = this.#replaced.get(above);
    }
    if (before !== undefined) this.#replaced.delete(above);
  }

  /** A Parse sent here came to nothing; one sent behind it may have taken its name over already, and must not give it back. */
  #forgetParse(statement: PreparedStatement, isSkipped: boolean): void {
    const { name } = statement;
    const before = name === '' && !isSkipped ? undefined : this.#replaced.get(statement);
    let above = this.known.get(name);
    if (above === statement) {
      if (before === undefined) this.known.delete(name);
      else this.known.set(name, before);
      return;
    }
    while (above !== undefined && this.#replaced.get(above) !== statement) above = this.#replaced.get(above);
    if (above === undefined) return;
    if (before === undefined) this.#replaced.delete(above);
    else this.#replaced.set(above, before);
  }

  #setParameter(buffer: Buffer, start: number, end: number): boolean {
    const parameter = readParameterStatus(buffer, start, end);
    if (parameter === null) return this.isPrimary;
    const { name, value } = parameter;
    const shown = this.#connection.router.wordParameter(this, name, value);
    if (shown === null) return false;
    this.#session.setParameter(name, shown);
    if (shown === value) return true;
    this.#connection.client.outlet.write(makeParameterStatus(name, shown));
    return false;
  }
}
