// One server connection as the relay sees it: frames what the server says, tells by the queue of owed replies what each
// message answers, and forwards, swallows or rewords it. Rows stream by undecoded.

import { describeError } from '../base/errors.ts';
import type { Histogram } from '../base/histogram.ts';
import type { Lease } from '../pool/server-connection.ts';
import { endsWithReady, OWED, type OwedReply } from '../session/owed.ts';
import { ServerNames } from '../session/server-names.ts';
import type { Session } from '../session/session.ts';
import type { PreparedStatement } from '../session/statements.ts';
import { readErrorField, readParameterStatus } from '../wire/backend.ts';
import { BACKEND, BACKEND_TABLE } from '../wire/codes.ts';
import { Framer, type FrameSink } from '../wire/framer.ts';
import { makeParameterStatus, SYNC } from '../wire/writer.ts';
import { Asides } from './asides.ts';
import type { Connection } from './connection.ts';
import { Outlet } from './outlet.ts';
import { restoreName } from './renaming.ts';
import type { Run } from './run.ts';
import { confirmEffect, listDeclared, noteEffect, takeCompleted, undoDeclared } from './steps/effects.ts';
import { isStandInError, wordRefusal } from './steps/refuse.ts';

/** The server messages that are read whole are smaller than this; of an error only the head is read. */
const WHOLE_LIMIT_BYTES = 1 << 20;
/** In the place of an error that the client is not to hear of. */
const SILENCE = Buffer.alloc(0);

export class ServerSide implements FrameSink {
  readonly lease: Lease;
  readonly isPrimary: boolean;
  /** What goes to the server. */
  readonly outlet: Outlet;
  /** Its prepared statements; only kept where a client may use more than one server connection. */
  readonly names = new ServerNames();
  /** How many of the session's settings have been repeated here. */
  settingsSeen = 0;
  readonly asides = new Asides();
  #connection: Connection;
  #session: Session<Run>;
  #isBound = true;
  readonly #framer: Framer;
  readonly #durations: Histogram;
  #isForwarded = false;
  #isOutOfStep = false;
  /** The server said why it goes. */
  hasSaidFatal = false;

  constructor(connection: Connection, lease: Lease, isPrimary: boolean, durations: Histogram) {
    this.lease = lease;
    this.isPrimary = isPrimary;
    this.outlet = new Outlet(lease.socket, () => this.#connection.resumeClient(), true);
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

  /** A client takes it over. */
  bind(connection: Connection): void {
    this.#isBound = true;
    this.#connection = connection;
    this.#session = connection.session;
    this.lease.inlet.receive = this.#receive;
  }

  /** Nobody's for now: what the server says goes to the pool. */
  unbind(): void {
    this.#isBound = false;
  }

  readonly #receive = (buffer: Buffer, length: number): void => this.#take(buffer, length);

  /** Part of a message has gone to the client: nothing else may be said before the rest of it. */
  get isMidMessage(): boolean {
    return this.#framer.isMidMessage;
  }

  get isAtBoundary(): boolean {
    return this.#framer.isAtBoundary;
  }

  get isCongested(): boolean {
    return this.outlet.isCongested;
  }

  pause(): void {
    this.lease.socket.pause();
  }

  resume(): void {
    const { socket } = this.lease;
    if (socket.readableFlowing !== true && !this.asides.isHeldBack) socket.resume();
  }

  #take(buffer: Buffer, length: number): void {
    if (this.#connection.isClosing) return;
    this.#connection.beginServerTurn();
    try {
      this.asides.begin(this, this.#connection);
      this.#framer.consume(buffer, 0, length);
      if (this.asides.isOn) this.asides.passOn(this, this.#connection);
      this.#connection.endServerTurn(this, length, this.#framer.broken);
    } catch (error) {
      // A mistake of pgweir's own ends this connection, not the process with all the others.
      this.#connection.fail('internal', describeError(error));
    }
    // From here on nobody but the server knows which message its next answer belongs to.
    if (this.#isOutOfStep) this.#connection.fail('protocol_violation', 'Sync among the data of a COPY that failed');
  }

  rest(buffer: Buffer, start: number, end: number): void {
    if (!this.#isForwarded) return;
    if (this.asides.isOn) this.asides.keep(buffer, start, end);
    else this.#connection.client.outlet.append(buffer, start, end);
  }

  frame(type: number, buffer: Buffer, start: number, end: number): number {
    this.#isForwarded = this.asides.isOn
      ? this.asides.isHeard(this, type, buffer, start, end)
      : this.#answer(type, buffer, start, end);
    this.rest(buffer, start, end);
    return end;
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
        return !this.#isHeadSwallowed();
      case BACKEND.parameterDescription:
        return this.#takeParameters(buffer, start, end);
      case BACKEND.notification:
        return this.isPrimary;
      case BACKEND.rowDescription:
      case BACKEND.noData:
        return this.#takeColumns(buffer, start, end);
      case BACKEND.parseComplete:
        return this.#completeParse();
      case BACKEND.bindComplete:
        this.#session.portals.confirm(this.#session.owed.head?.portal ?? null);
        return this.#shift(OWED.bind);
      case BACKEND.closeComplete:
        return this.#completeClose();
      case BACKEND.commandComplete:
      case BACKEND.emptyQuery:
        return this.#completeStatement();
      case BACKEND.portalSuspended:
        return this.#endExecute();
      case BACKEND.readyForQuery:
        return this.#ready(this.#session.statusBehind(buffer[start + 5] as number));
      case BACKEND.error:
        return this.#fail(buffer, start, end);
      case BACKEND.parameterStatus:
        return this.setParameter(buffer, start, end);
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

  #isHeadSwallowed(): boolean {
    return this.#session.owed.head?.isSwallowed === true;
  }

  /** The head is answered in full when it is of that kind; messages inside a Query answer no entry of their own. */
  #shift(kind: number): boolean {
    const { owed } = this.#session;
    const { head } = owed;
    if (head === null || head.kind !== kind) return !this.#isHeadSwallowed();
    const isForwarded = !head.isSwallowed;
    owed.shift();
    return isForwarded;
  }

  #completeParse(): boolean {
    const { head } = this.#session.owed;
    if (head?.kind === OWED.parse) {
      // One statement, of a Parse.
      const statement = head.declared as PreparedStatement | null;
      if (statement !== null && !head.isSwallowed) this.#session.statements.confirm(statement);
      if (statement !== null && head.slot !== null)
        this.names.fill(head.slot, statement, (head.isSwallowed ? head.slot : statement).circumstances);
    }
    return this.#shift(OWED.parse);
  }

  #takeParameters(buffer: Buffer, start: number, end: number): boolean {
    const { head } = this.#session.owed;
    if (head?.kind === OWED.describe) this.names.takeParameters(head.slot, buffer, start, end);
    return !this.#isHeadSwallowed();
  }

  /** RowDescription or NoData. */
  #takeColumns(buffer: Buffer, start: number, end: number): boolean {
    const { head } = this.#session.owed;
    if (head?.kind === OWED.describe) this.names.takeColumns(head.slot, buffer, start, end);
    return this.#shift(OWED.describe);
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
    }
    if (head.slot !== null) this.names.empty(head.slot, head.sequence);
    return this.#shift(OWED.close);
  }

  /** CommandComplete or EmptyQueryResponse: one statement of a Query, or the end of an Execute. */
  #completeStatement(): boolean {
    const { head } = this.#session.owed;
    if (head === null) return true;
    if (head.run?.isPlain === false) this.#noteCompleted(head.run, head);
    return head.kind === OWED.execute ? this.#endExecute() : !head.isSwallowed;
  }

  #noteCompleted(run: Run, head: OwedReply<Run>): void {
    const completed = takeCompleted(run, this.#session);
    if (completed === null) return;
    const { statement, effect } = completed;
    if (effect !== null) {
      const made = confirmEffect(effect, head, this.#session);
      if (this.names.owner !== null) noteEffect(effect, made, head, this.names);
    }
    this.#connection.router.noteStatement(statement);
  }

  #endExecute(): boolean {
    const { head } = this.#session.owed;
    if (head?.kind !== OWED.execute) return true;
    // pgweir's own PREPARE.
    if (head.isSwallowed && head.slot !== null)
      for (const statement of listDeclared(head)) this.names.fill(head.slot, statement, head.slot.circumstances);
    this.#finish(head);
    return this.#shift(OWED.execute);
  }

  #ready(status: number): boolean {
    const { owed } = this.#session;
    const { head } = owed;
    if (owed.count <= 1) owed.isSkipping = false;
    if (head === null || !endsWithReady(head.kind)) {
      this.#session.settle(status, owed.sequence);
      return this.#connection.becomeReady();
    }
    const { sequence, isSwallowed } = head;
    if (isSwallowed && this.#session.isReplication) this.#connection.probeAnswered(head.closedName);
    // A simple Query drops the unnamed statement, whatever comes of it.
    if (head.kind === OWED.query) {
      if (isSwallowed) this.names.loseUnnamed();
      else {
        this.#session.statements.forget('', sequence);
        this.names.empty(this.names.unnamed, sequence);
      }
    }
    if (head.run !== null) this.#finish(head);
    owed.shift();
    if (!isSwallowed) this.#connection.router.noteReady(status);
    this.#session.settle(status, sequence);
    return !isSwallowed;
  }

  /** What ran has ended, well or not; what was skipped has not run. */
  #finish(head: OwedReply<Run>, isSkipped = false): void {
    const { run } = head;
    if (run === null) return;
    this.#session.portals.confirm(head.portal);
    head.run = null;
    const ranMs = this.#connection.finishRun(run);
    if (run.refusal === null && !isSkipped) this.#durations.observe(ranMs / 1000);
  }

  #fail(buffer: Buffer, start: number, end: number): boolean {
    const { owed } = this.#session;
    const sqlstate = readErrorField(buffer, start, end, 'C') ?? 'XX000';
    const severity = readErrorField(buffer, start, end, 'V') ?? readErrorField(buffer, start, end, 'S') ?? 'ERROR';
    if (severity === 'FATAL' || severity === 'PANIC') this.hasSaidFatal = true;
    const { head } = owed;
    // The end of a connection that nobody uses, and on which nothing was left, is nobody's business.
    if (head === null && this.hasSaidFatal && this.#connection.router.canLose(this)) return false;
    if (head === null || this.hasSaidFatal) return true;
    owed.hasBegun = true;
    const { run, isSwallowed } = head;
    const isQuery = head.kind === OWED.query;
    const refusal = run !== null && isStandInError(sqlstate) ? run.refusal : null;
    if (run !== null) run.sqlstate = sqlstate;
    if (!isSwallowed || isQuery) this.#connection.router.noteError(isSwallowed);
    const keptSyncs = this.#connection.failCopyIn();
    this.#isOutOfStep = head.hasUncertainSyncs;
    const said = this.#wordError(head, sqlstate, buffer, start, end);
    if (isQuery || head.kind === OWED.functionCall) {
      undoDeclared(listDeclared(head), this.#session);
      this.#session.portals.undo(head.portal);
      this.names.sweep(head.sequence);
    }
    if (!isQuery && head.kind !== OWED.functionCall && head.kind !== OWED.sync) this.#skipToSync();
    // The unit of work was pgweir's own: no Sync of the client's will end it.
    if (said === SILENCE && owed.head === null) {
      this.outlet.write(SYNC);
      owed.push(OWED.sync).isSwallowed = true;
    }
    for (let left = keptSyncs; left > 0; left--) {
      this.outlet.write(SYNC);
      owed.push(OWED.sync);
    }
    if (refusal !== null && run !== null) {
      const isUtf8 = this.#session.clientEncoding === 'UTF8';
      this.#connection.client.outlet.write(wordRefusal(refusal, run.decisionId, isUtf8));
      this.#connection.countError(refusal.sqlstate);
      return false;
    }
    if (said !== null) {
      if (said !== SILENCE) this.#connection.client.outlet.write(said);
      return false;
    }
    // Of pgweir's own messages a failing Parse is the client's business: what it sent behind it is skipped.
    return !isSwallowed || !isQuery;
  }

  /** What the client hears of an error about a prepared statement, where that is not what the server said; null: just that. */
  #wordError(head: OwedReply<Run>, sqlstate: string, buffer: Buffer, start: number, end: number): Buffer | null {
    const { slot, clientName, substitute } = head;
    if (substitute?.sqlstates?.has(sqlstate) === true || substitute?.sqlstates === null) return substitute.error;
    if (head.kind === OWED.parse && listDeclared(head)[0]?.name === '') {
      // A Parse without a name has dropped the statement that had none.
      if (head.isSwallowed) this.names.loseUnnamed();
      else this.names.empty(this.names.unnamed, head.sequence);
    }
    if (slot === null) return null;
    // A longer one goes on in parts, as it is.
    if (end - start <= buffer.readInt32BE(start + 1)) return null;
    const error = Buffer.from(buffer.subarray(start, end));
    // A client whose messages are skipped for it must hear why.
    if (head.isSwallowed && slot.isSilent && !this.#session.owed.isClientBehind) {
      this.#connection.router.statements.noteFailure(slot, listDeclared(head)[0] ?? null, error);
      return SILENCE;
    }
    return clientName === null ? null : restoreName(error, sqlstate, slot.name, clientName);
  }

  /** After an error in an extended message the server answers nothing before the next Sync. */
  #skipToSync(): void {
    const { owed } = this.#session;
    const failed = owed.head === null ? [] : listDeclared(owed.head);
    const skipped: PreparedStatement[] = [];
    for (let { head } = owed; head !== null && head.kind !== OWED.sync; head = owed.head) {
      skipped.push(...listDeclared(head));
      this.#session.portals.undo(head.portal);
      if (head.isSwallowed && head.kind === OWED.close) {
        this.#connection.probeAnswered(head.closedName);
        if (head.slot !== null) this.names.stopClosing(head.slot);
      }
      head.run?.fail();
      this.#finish(head, head.run?.sqlstate === null);
      if (head.kind === OWED.unit) head.kind = OWED.sync;
      else owed.shift();
    }
    owed.isSkipping ||= owed.head === null;
    this.names.parameters = null;
    this.names.sweep(owed.head === null ? owed.sequence : owed.head.sequence - 1);
    undoDeclared(skipped.slice(failed.length), this.#session, true);
    undoDeclared(failed, this.#session);
  }

  setParameter(buffer: Buffer, start: number, end: number): boolean {
    const parameter = readParameterStatus(buffer, start, end);
    if (parameter === null) return this.isPrimary;
    const { name, value } = parameter;
    const shown = this.#connection.router.wordParameter(this, name, value);
    if (shown === null) return false;
    // The client has been told that value already, whatever the server's is.
    const isKnown = shown !== value && this.#session.parameters.get(name) === shown;
    this.#session.setParameter(name, shown);
    if (shown === value || isKnown) return !isKnown;
    this.#connection.client.outlet.write(makeParameterStatus(name, shown));
    return false;
  }
}
