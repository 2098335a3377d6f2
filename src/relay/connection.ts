// One client's connection: both sides, the session between them, and the gate that says whether the client's next message
// may be looked at. It opens with a login, and closes once, by one door.

import type { Socket } from 'node:net';
import { endSocket } from '../base/end-socket.ts';
import { ERRORS, type ErrorCode, wordError } from '../base/errors.ts';
import type { Transport } from '../base/transport.ts';
import type { SubjectView } from '../policy/ruleset.ts';
import type { Lease } from '../pool/server-connection.ts';
import { Session } from '../session/session.ts';
import { type Broken, describeBroken } from '../wire/framer.ts';
import { makeErrorResponse, TERMINATE } from '../wire/writer.ts';
import { CancelLane, cancelRunning } from './cancels.ts';
import { ClientLogin } from './client-login.ts';
import { ClientSide } from './client-side.ts';
import { Conduct } from './conduct.ts';
import type { RelayContext } from './context.ts';
import { CopyIn } from './copy-in.ts';
import { countError } from './counters.ts';
import { GATE, Gate } from './gate.ts';
import type { Routing } from './routing.ts';
import { RulesView } from './rules-view.ts';
import type { Run } from './run.ts';
import { ServerSide } from './server-side.ts';
import { describeSession } from './steps/describe.ts';
import { breakInput, closeAnswered, endInput, isDoneWithShared, loseClient } from './steps/end-input.ts';
import { KillGuard } from './steps/kill-guard.ts';
import { answerLoginMessage } from './steps/login.ts';
import { OwnServers } from './steps/route.ts';
import type { SessionSummary } from './summary.ts';

/** Owed replies at which a client is no longer read, and at which it is read again. */
const MAX_OWED = 65_536;
const RESUME_OWED = 32_768;
/** How much a server may still send for a client that has gone. Then its connection is closed, and its next write fails. */
const MAX_UNHEARD_BYTES = 65_536;

export class Connection {
  readonly session: Session<Run>;
  /** How the client is connected. */
  readonly transport: Transport;
  readonly client: ClientSide;
  readonly conduct: Conduct;
  /** Servers of its own, until the login says otherwise. */
  readonly ownServers: OwnServers;
  #router: Routing;
  /** Whether the client's next message may be looked at. */
  readonly gate: Gate;
  readonly copyIn: CopyIn;
  readonly login = new ClientLogin();
  readonly #context: RelayContext;
  /** Null until something is cancelled, by a rule or at the client's wish. */
  #killGuard: KillGuard | null = null;
  #cancelLane: CancelLane | null = null;
  readonly #rulesView: RulesView;
  readonly #onClosed: () => void;
  #active: ServerSide | null = null;
  isClosing = false;
  /** The client has said goodbye, closed its half or broken the protocol: the server's last answers still go out. */
  isClientDone = false;
  /** Unknown message type by which the client broke the protocol on a shared server: pgweir reports it behind the last answers. */
  brokenType: number | null = null;
  #unheardBytes = 0;
  /** Close as soon as the session is outside a transaction with nothing owed. */
  #isDraining = false;
  /** The statement that runs, or ran last. */
  lastRun: Run | null = null;
  #lastEndMs = 0;
  #isServerTurn = false;
  #mustProceed = false;

  constructor(
    id: number,
    socket: Socket,
    clientIp: string,
    transport: Transport,
    context: RelayContext,
    onClosed: () => void,
  ) {
    this.transport = transport;
    this.#context = context;
    this.#onClosed = onClosed;
    this.#lastEndMs = context.clock.monotonicMs();
    const { clock, spareReplies } = context;
    this.copyIn = new CopyIn(clock);
    this.session = new Session(id, clientIp, socket.remotePort ?? null, clock.wallMs(), spareReplies);
    this.gate = new Gate(this);
    this.#rulesView = new RulesView(context.rules, this.session);
    this.client = new ClientSide(this, socket, context.settings.limits.maxStatementBytes);
    this.ownServers = new OwnServers(this, context);
    this.#router = this.ownServers;
    this.conduct = new Conduct(this, context);
    socket.on('close', () => loseClient(this));
  }

  /** The server that the current unit of work runs on. */
  get active(): ServerSide {
    if (this.#active === null) throw new Error('no server connection is held');
    return this.#active;
  }

  get hasServer(): boolean {
    return this.#active !== null;
  }

  /** How it gets to servers. */
  get router(): Routing {
    return this.#router;
  }

  useRouter(router: Routing): void {
    this.#router = router;
  }

  /** The server is somebody else's now. */
  dropServer(): void {
    this.#active = null;
  }

  /** A cancel is on its way to the server, or has just been there: it must not hit who comes next. */
  get isCancelling(): boolean {
    return this.#cancelLane?.isBusy === true || this.#killGuard?.isBusy === true;
  }

  /** Whether a cancel went out at the client's or an administrator's wish since this was asked last. */
  takeWasCancelled(): boolean {
    return this.#cancelLane?.takeWasUsed() === true;
  }

  useServer(server: ServerSide): void {
    this.#active = server;
  }

  /** Wraps a lease as a side of this connection. */
  attach(lease: Lease, isPrimary: boolean): ServerSide {
    return new ServerSide(this, lease, isPrimary, this.#context.recorder.statementDuration(lease.endpoint.name));
  }

  /** The rules as this session sees them now. */
  view(): SubjectView {
    return this.#rulesView.current();
  }

  summarize(): SessionSummary {
    return describeSession(this, this.#context.clock.wallMs(), this.#context.clock.monotonicMs());
  }

  /** Since when its statement runs, or since when none does. */
  stateSinceMs(nowWallMs: number, nowMs: number): number {
    const sinceMs = this.session.isQuiet ? this.#lastEndMs : (this.lastRun?.sentAtMs ?? nowMs);
    return Math.round(nowWallMs - (nowMs - sinceMs));
  }

  /** The gate has opened. In the middle of what a server says, the queue of owed replies is not settled yet. */
  proceed(): void {
    if (this.#isServerTurn) {
      this.#mustProceed = true;
      return;
    }
    this.client.proceed();
    // What ended was no answer of a server. A message may still be looked at, further up.
    if (this.#isDraining) setImmediate(() => this.#closeWhenQuiet());
  }

  // Back-pressure: a side is read only while the other takes what comes.

  get isServerCongested(): boolean {
    return this.#active?.isCongested === true;
  }

  resumeClient(): void {
    this.client.proceed();
  }

  resumeServer(): void {
    this.router.eachServer((server) => server.resume());
  }

  endClientTurn(): void {
    this.#active?.outlet.flush();
    this.client.outlet.flush();
    if (this.session.owed.count > MAX_OWED) this.gate.close(GATE.pipeline);
  }

  beginServerTurn(): void {
    this.#isServerTurn = true;
  }

  endServerTurn(server: ServerSide, bytes: number, broken: Broken | null): void {
    this.#isServerTurn = false;
    if (this.isClosing) return;
    this.#context.counters.bytesFromServers += bytes;
    this.client.outlet.flush();
    server.outlet.flush();
    if (broken !== null) {
      this.fail('target_protocol_violation', describeBroken(broken));
      return;
    }
    if (this.client.outlet.isCongested) server.pause();
    if (this.client.isGone) {
      this.#unheardBytes += bytes;
      if (this.#unheardBytes > MAX_UNHEARD_BYTES) {
        this.close();
        return;
      }
    }
    if (this.gate.has(GATE.pipeline) && this.session.owed.count < RESUME_OWED) this.gate.open(GATE.pipeline);
    if (this.gate.has(GATE.turn) && (this.copyIn.isRunning || !this.session.owed.hasWork)) this.gate.open(GATE.turn);
    if (this.gate.has(GATE.names) && (this.session.isQuiet || this.copyIn.isRunning)) this.gate.open(GATE.names);
    this.router.endTurn();
    if (this.#mustProceed) {
      this.#mustProceed = false;
      this.client.proceed();
    }
    if (this.isClientDone && isDoneWithShared(this)) closeAnswered(this);
    else if (this.#isDraining) this.#closeWhenQuiet();
  }

  /** Something other than a reply, such as a cancel on its way, no longer keeps the server connection with this client. */
  endTurn(): void {
    if (!this.isClosing && !this.#isServerTurn) this.router.endTurn();
  }

  countClientBytes(bytes: number): void {
    this.#context.counters.bytesFromClients += bytes;
  }

  countError(sqlstate: string): void {
    countError(this.#context.counters, sqlstate);
  }

  // The life of a statement on the server.

  watchRun(run: Run, timeoutMs: number, nowMs: number): void {
    this.#killGuard ??= new KillGuard(this, this.#context);
    this.#killGuard.watch(run, timeoutMs, nowMs);
  }

  /** What ran is answered in full, or never will be. Returns for how long it ran, in ms: not before what was sent earlier had ended. */
  finishRun(run: Run): number {
    const nowMs = this.#context.clock.monotonicMs();
    const ranMs = nowMs - Math.max(run.sentAtMs, this.#lastEndMs);
    this.#lastEndMs = nowMs;
    run.hold?.release();
    if (run.verdict !== null && run.refusal === null && run.verdict.hits.length > 0)
      this.#context.recorder.recordEnd(run.verdict, ranMs - run.dataMs, run.addServerTime(ranMs));
    if (run.kill !== null && !this.isClosing) this.#killGuard?.settle(run, run.kill);
    return ranMs;
  }

  probeAnswered(name: string): void {
    this.#killGuard?.probeAnswered(name);
  }

  beginCopyIn(isBothWays: boolean): void {
    const isOver = this.session.owed.beginCopyIn();
    this.copyIn.begin(isBothWays || !isOver, isBothWays, this.session.owed.head?.run ?? null);
    if (this.copyIn.isRunning) this.#killGuard?.beginCopyIn(isBothWays);
  }

  /** The client has sent CopyDone or CopyFail. */
  endCopyIn(): void {
    if (this.copyIn.end()) this.#killGuard?.endCopyIn();
  }

  /** The server has said an error. Returns how many Syncs were kept back that it has to answer now. */
  failCopyIn(): number {
    if (this.copyIn.isRunning) this.#killGuard?.endCopyIn();
    return this.copyIn.fail();
  }

  // Login.

  /** Authentication and BackendKeyData. True where the message goes on to the client. */
  answerLogin(server: ServerSide, type: number, buffer: Buffer, start: number, end: number): boolean {
    return answerLoginMessage(this, this.#context, server, type, buffer, start, end);
  }

  /** ReadyForQuery for which nothing was owed: the end of the login. */
  becomeReady(): boolean {
    if (this.session.phase === 'login') {
      this.session.enter('ready');
      this.client.acceptStatements();
      this.gate.open(GATE.login);
      if (this.#isDraining && !this.#isServerTurn) this.#closeWhenQuiet();
    }
    return true;
  }

  // Cancel and end.

  /** A CancelRequest of the client, or of an administrator. False where nothing runs. */
  async cancel(origin: 'client' | 'admin'): Promise<boolean> {
    if (this.conduct.abandonWait() || this.router.abandonWait()) return true;
    this.#cancelLane ??= new CancelLane(
      () => cancelRunning(this, this.#context.pool),
      () => this.endTurn(),
    );
    const isSent = await this.#cancelLane.carry();
    if (isSent) this.#context.counters[origin === 'client' ? 'cancelsFromClients' : 'cancelsFromAdmin']++;
    return isSent;
  }

  /** SIGTERM: idle clients go now, busy ones at the end of their transaction. */
  drain(): void {
    this.#isDraining = true;
    this.#closeWhenQuiet();
  }

  /** A replication stream never comes to an end by itself: it is cut off. */
  #closeWhenQuiet(): void {
    if (this.isClosing) return;
    const { isQuiet, isTransactionAhead, isUnitOpen } = this.session;
    const isDone = isQuiet && !isTransactionAhead && !isUnitOpen && this.gate.isOpen;
    if (isDone || this.copyIn.isBothWays) this.fail('shutting_down', null);
  }

  /** DELETE /sessions/{id}: what runs is cancelled too, or it would go on without anybody to hear of it. */
  terminate(): void {
    if (!this.isClosing && this.hasServer && !this.session.isQuiet) {
      this.cancel('admin').catch((error: unknown) =>
        this.#context.log.warn({ session: this.session.id, error }, 'cancel before the end was not delivered'),
      );
    }
    this.fail('terminated_by_admin', null);
  }

  /** Ends the connection with an error of pgweir's own. */
  fail(code: ErrorCode, detail: string | null): void {
    if (this.isClosing) return;
    const { sqlstate, severity, text, level } = ERRORS[code];
    this.countError(sqlstate);
    this.#context.log[level]({ session: this.session.id, code, detail }, text);
    // In the middle of a server's message the client would take the error for a part of it.
    if (this.#active?.isMidMessage !== true) {
      this.client.outlet.write(makeErrorResponse({ severity, sqlstate, message: wordError(code, detail) }));
    }
    this.client.outlet.flush();
    this.close();
  }

  /** Framing of the client is lost. */
  clientBroke(broken: Broken): void {
    if (this.isClosing || this.isClientDone) return;
    this.#context.log.info({ session: this.session.id, ...broken }, 'the client broke the protocol');
    if (this.login.dialogue !== null) this.login.dialogue.breakOff(broken);
    else this.#endInput(breakInput(this, broken));
  }

  /** Terminate: the server may finish what it was given, as without a proxy. */
  clientQuit(): void {
    this.#endInput(TERMINATE);
  }

  /**
   * The client has closed its half without a word; what it has sent is still answered, to whom may still listen. Of a message
   * that it left unfinished the server gets the type: amid COPY data that alone can be an error.
   */
  clientEnded(): void {
    const { heldType } = this.client;
    this.#endInput(heldType === null ? null : Buffer.from([heldType]));
  }

  #endInput(lastWords: Buffer | null): void {
    if (this.isClosing || this.isClientDone) return;
    this.isClientDone = true;
    endInput(this, lastWords);
  }

  /** The server's socket has ended. */
  serverEnded(server: ServerSide): void {
    if (this.isClosing) return;
    if (this.isClientDone) {
      // The last answers are those of the one at work.
      if (server === this.#active) this.close();
      return;
    }
    if (this.router.canLose(server)) return;
    if (server.hasSaidFatal) this.close();
    else this.fail('target_gone', null);
  }

  /** The one door: gives every lease back and closes the client's socket after what is still to be said. */
  close(): void {
    if (this.isClosing) return;
    this.isClosing = true;
    this.session.enter('closing');
    this.login.abandon();
    this.#killGuard?.close();
    this.conduct.giveUp();
    this.client.outlet.flush();
    // What is still owed tells that the server has not done with this client.
    this.router.leave(this.client.isMidMessage);
    this.copyIn.end();
    this.session.owed.clear((run) => this.finishRun(run));
    this.#active = null;
    endSocket(this.client.socket);
    this.#onClosed();
  }
}
