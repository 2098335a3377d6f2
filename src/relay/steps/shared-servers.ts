// Server connections that clients share: this client takes one for a unit of work or a transaction, and gives it back at
// ReadyForQuery 'I' when nothing is owed. What its statements may have left behind in the session is added up as they go.
// With nothing left behind the connection is anybody's. With something it stays here until somebody needs it: then the
// server is asked what is there. What can follow the client is remembered, and the connection goes back; else it is pinned.

import { randomBytes } from 'node:crypto';
import { describeError } from '../../base/errors.ts';
import type { Refusal } from '../../policy/verdict.ts';
import type { Catalog } from '../../pool/catalogs.ts';
import type { Guest } from '../../pool/guest.ts';
import { makeCleaning } from '../../pool/handover.ts';
import type { LoginClass } from '../../pool/login-class.ts';
import type { Member } from '../../pool/member.ts';
import type { TransactionPool } from '../../pool/transaction-pool.ts';
import { type Belongings, NO_BELONGINGS } from '../../session/belongings.ts';
import type { Circumstances } from '../../session/preparation.ts';
import { resolveStatements } from '../../session/statements.ts';
import type { StatementFacts, TextFacts } from '../../sql/facts.ts';
import { isPlain } from '../../sql/plain.ts';
import { showsOthersUse, traceOf } from '../../sql/traces.ts';
import { NOT_PREPARED_FACTS } from '../../sql/unparsed.ts';
import { TRANSACTION } from '../../wire/codes.ts';
import { FLUSH } from '../../wire/writer.ts';
import type { Connection } from '../connection.ts';
import type { RelayContext } from '../context.ts';
import { GATE } from '../gate.ts';
import type { Routing } from '../routing.ts';
import type { Run } from '../run.ts';
import type { ServerSide } from '../server-side.ts';
import { askWhatIsLeft } from './ask-what-is-left.ts';
import { StatementCarrier } from './carry-statements.ts';
import { circumstancesOf } from './circumstances.ts';
import { ClientView } from './client-view.ts';
import { DefinitionWatch, touchesDefinitions } from './definition-watch.ts';
import { isAmidUnit, isAtRest, listHolds } from './holds.ts';
import { IdleInTransaction } from './idle-in-transaction.ts';
import { Leavings } from './leavings.ts';
import { QueuePlace } from './queue-place.ts';
import type { SharedTargets } from './shared-targets.ts';
import type { Surroundings } from './surroundings.ts';

export class SharedServers implements Routing, Guest<ServerSide>, Surroundings {
  readonly isShared = true;
  readonly statements: StatementCarrier;
  readonly maxStatements: number;
  readonly generation: number;
  belongings = NO_BELONGINGS;
  home: Member<ServerSide> | null = null;
  readonly #connection: Connection;
  readonly #context: RelayContext;
  readonly #pool: TransactionPool<ServerSide>;
  readonly #targets: SharedTargets;
  readonly #catalog: Catalog;
  readonly #view: ClientView;
  #cancelKey: string | null = null;
  #member: Member<ServerSide> | null = null;
  /** application_name while no connection is held, as it was on the last one; null while one is. */
  #nameApart: string | null = null;
  readonly #place: QueuePlace;
  #isAsking = false;
  #isInUnit = false;
  #isWaitingForQuiet = false;
  /** Something may bear on the client's view of the settings. */
  #isViewTouched = false;
  readonly #leavings: Leavings;
  /** Only plain statements ran since the connection was taken. */
  #isClean = true;
  /** Statements since the connection was taken. */
  #ran = 0;
  /** Null until definitions change. */
  #definitions: DefinitionWatch | null = null;
  readonly #idle: IdleInTransaction;

  constructor(
    connection: Connection,
    context: RelayContext,
    pool: TransactionPool<ServerSide>,
    targets: SharedTargets,
    startupName: () => string,
  ) {
    this.#connection = connection;
    this.#context = context;
    this.#pool = pool;
    this.#targets = targets;
    this.#place = new QueuePlace(connection, pool);
    this.#view = new ClientView(connection, startupName);
    this.generation = targets.primary.pool.generation;
    this.#catalog = targets.primary.pool.catalog;
    this.maxStatements = pool.settings.maxPreparedStatements;
    this.statements = new StatementCarrier(connection, this);
    this.#idle = new IdleInTransaction(connection, pool.settings.idleInTransactionMs);
    this.#leavings = new Leavings(this.#catalog, pool.settings.sequences);
  }

  /** What may be in the session beside its belongings. */
  #openTraces(): number {
    const pins = this.#member?.pins ?? 0;
    return this.#isClean ? pins : this.#leavings.traces | this.#leavings.unaskable | pins;
  }

  /** The belongings as far as they are certain: traces that are open are asked about before the client goes elsewhere. */
  get #settled(): Belongings {
    return this.#leavings.traces === 0 ? this.belongings : NO_BELONGINGS;
  }

  get applicationName(): string {
    return this.#nameApart ?? this.#view.applicationName;
  }

  circumstances(): Circumstances | null {
    return circumstancesOf(this.belongings, this.#catalog, this.#openTraces());
  }

  tracesOf(statement: StatementFacts): number {
    return traceOf(statement, this.#catalog.knowledge);
  }

  /** A key for the client's CancelRequests: the process that the client was shown, and a secret of pgweir's own. */
  makeCancelKey(serverKey: string): string {
    const key = serverKey.slice(0, 4) + randomBytes(serverKey.length - 4).toString('latin1');
    this.#context.cancelKeys.register(key, this.#connection);
    this.#cancelKey = key;
    return key;
  }

  eachServer(act: (server: ServerSide) => void): void {
    if (this.#member?.side) act(this.#member.side);
  }

  isPlain(facts: TextFacts): boolean {
    return isPlain(facts, this.#catalog.knowledge);
  }

  isReadyForQuery(run: Run): boolean {
    if (!run.isPlain && run.facts.some(touchesDefinitions) && this.#watchDefinitions().mustWait(run.facts))
      return false;
    return this.#isAt(this.#targets.forQuery(run, this.#settled), !run.isPlain && run.facts.some(showsOthersUse));
  }

  isReadyForUnit(): boolean {
    if (this.#isInUnit && this.#member !== null) return true;
    this.#isInUnit = this.#isAt(this.#targets.forUnit(this.#settled), false);
    return this.#isInUnit;
  }

  /** A connection of that class is held, or one that the client cannot leave now. `isForNew`: one with nothing loaded. */
  #isAt(loginClass: LoginClass<ServerSide>, isForNew: boolean): boolean {
    const member = this.#member;
    if (member === null) return this.#take(loginClass, isForNew);
    if (this.#isAsking) return false;
    const { session, gate } = this.#connection;
    const isInside = session.isTransactionAhead || isAmidUnit(this.#connection);
    const isRight = member.loginClass === loginClass && !(isForNew && member.isMixed && isAtRest(this.#connection));
    if (isRight || isInside || member.pins !== 0 || this.#leavings.unaskable !== 0) {
      member.isReclaimable = false;
      return true;
    }
    // What runs elsewhere has to end first, and what it leaves behind comes along.
    if (!isAtRest(this.#connection)) {
      this.#isWaitingForQuiet = true;
      // It may be a Close of pgweir's own that nothing follows.
      member.side?.outlet.write(FLUSH);
      gate.close(GATE.route);
      return false;
    }
    // What has run there has ended in this very turn, and may have left something.
    if (this.#ran > 0) this.endTurn();
    else if (member.isReclaimable) this.#pool.reclaim(member);
    // Nothing has run there yet: while the client waited for it, the rest of its unit, a rule or a replica led elsewhere.
    else this.#giveBack(member);
    return this.#isAt(loginClass, isForNew);
  }

  #take(loginClass: LoginClass<ServerSide>, isForNew: boolean): boolean {
    if (this.#place.isWaiting || this.#isAsking) return false;
    const member = this.#place.ask(this, loginClass, loginClass === this.#targets.primary, isForNew);
    if (member !== null) this.#sit(member);
    return member !== null;
  }

  seat(member: Member<ServerSide>): void {
    if (this.#place.end()) this.#sit(member);
    else this.#pool.giveBack(member);
    this.#connection.gate.open(GATE.seat);
  }

  refuse(error: unknown, loginClass: LoginClass<ServerSide>): void {
    const isElsewhere = loginClass !== this.#targets.primary;
    if (isElsewhere) this.#targets.rest(loginClass, error);
    this.#place.refuse(error, isElsewhere);
  }

  takeRefusal(): Refusal | null {
    return this.#place.takeRefusal();
  }

  get isWaiting(): boolean {
    return this.#place.isWaiting;
  }

  abandonWait(): boolean {
    return this.#place.abandon();
  }

  endUnit(): void {
    this.#isInUnit = false;
  }

  noteRun(facts: TextFacts, isPlain: boolean): void {
    this.#ran++;
    if (isPlain) return;
    this.#isClean = false;
    const { session } = this.#connection;
    const statements = resolveStatements(facts, session.statements, session.portals, NOT_PREPARED_FACTS);
    const changes = this.#leavings.add(statements, this.belongings);
    if (changes.hasDrawn && this.#member !== null) this.#member.hasDrawn = true;
    if (changes.isDefinition) this.#watchDefinitions().begin(statements);
  }

  noteStatement(statement: StatementFacts): void {
    this.#leavings.noteDone(statement);
    if (!this.#isClean || statement.effect !== null || statement.shape.queryClass === 'transaction') {
      this.#isViewTouched = true;
      this.#view.noteDone(statement, this.#isClean ? null : this);
    }
    if (touchesDefinitions(statement)) this.#watchDefinitions().complete(statement);
  }

  noteError(): void {
    this.#view.noteError();
  }

  noteReady(status: number): void {
    if (this.#isViewTouched && this.#member?.side?.isPrimary === true) this.#view.noteReady(this.#member, status);
    if (status === TRANSACTION.idle && this.#connection.session.isQuiet) this.#definitions?.end();
  }

  endTurn(): void {
    const member = this.#member;
    if (member === null || this.#isAsking) return;
    const { session } = this.#connection;
    this.#idle.note(this.#context.clock);
    const isInTransaction = session.isQuiet && !session.isUnitOpen && session.status === TRANSACTION.open;
    const isResting = isAtRest(this.#connection);
    const mayBeWrong = this.#isViewTouched && (isInTransaction || isResting) && member.side?.isPrimary;
    if (mayBeWrong && this.#view.isWrong(member)) {
      this.#talk(this.#view.restore(this.#pool, member).catch(() => this.#connection.fail('target_gone', null)));
      return;
    }
    if (isResting) this.#endUse(member);
    // A COPY passes over the Sync in front of what waits, which then belongs to its unit.
    if (!this.#isWaitingForQuiet || !(isResting || isAmidUnit(this.#connection))) return;
    this.#isWaitingForQuiet = false;
    this.#connection.gate.open(GATE.route);
  }

  #endUse(member: Member<ServerSide>): void {
    this.#isViewTouched = false;
    const { ledger } = member.loginClass.pool;
    const isPinned = member.pins !== 0 || (!this.#isClean && this.#leavings.unaskable !== 0);
    if (isPinned) ledger.pinnedStatements += this.#ran;
    else ledger.sharedStatements += this.#ran;
    this.#ran = 0;
    if (!isPinned && (this.#isClean || this.#leavings.traces === 0)) this.#giveBack(member);
    else if (this.#leavings.unaskable !== 0) this.#pool.setPins(member, member.pins | this.#leavings.unaskable);
    else if (this.#leavings.traces !== 0) this.#pool.keep(member);
  }

  /** Somebody needs the connection: what has been left on it? */
  reclaim(member: Member<ServerSide>): void {
    if (!isAtRest(this.#connection)) return;
    this.#talk(
      this.#ask(member).catch((error: unknown) => {
        this.#context.log.debug({ reason: describeError(error) }, 'a server connection could not be asked');
        if (this.#member === member) this.#pool.pin(member, this.#leavings.traces);
      }),
    );
  }

  /** pgweir itself talks on the connection: what the client sends waits. */
  #talk(talk: Promise<void>): void {
    this.#isAsking = true;
    this.#connection.gate.close(GATE.seat);
    void talk.finally(() => {
      this.#isAsking = false;
      if (this.#connection.isClosing) return;
      this.#connection.gate.open(GATE.seat);
      this.#connection.endTurn();
    });
  }

  /** Nobody may see a ParameterStatus that does not concern the client's own view. */
  wordParameter(server: ServerSide, name: string, value: string): string | null {
    const member = this.#member;
    if (member === null || member.side !== server) return null;
    member.reported.set(name, value);
    if (!server.isPrimary) return null;
    this.#isViewTouched = true;
    return this.#view.word(member, name, value);
  }

  listHolds(): readonly string[] {
    return listHolds(this.#connection.session, this.#member, this.#place.isWaiting);
  }

  checkIdle(nowMs: number): void {
    this.#idle.check(nowMs);
  }

  canLose(server: ServerSide): boolean {
    const member = this.#member;
    if (member === null || member.side !== server || !isAtRest(this.#connection) || this.#openTraces() !== 0)
      return false;
    this.#detach(member);
    this.#pool.close(member);
    return true;
  }

  leave(isMidMessage: boolean): void {
    if (this.#cancelKey !== null) this.#context.cancelKeys.forget(this.#cancelKey, this.#connection);
    this.#place.leave();
    this.#definitions?.end();
    const member = this.#member;
    this.#member = null;
    if (member !== null) this.#leaveMember(member, isMidMessage);
    if (this.home?.home === this) this.home.home = null;
    this.home = null;
    this.#targets.leave();
  }

  #leaveMember(member: Member<ServerSide>, isMidMessage: boolean): void {
    const { side } = member;
    member.lastGuest = null;
    const isUsable = isAtRest(this.#connection) && !this.#isAsking && !isMidMessage && member.lease.socket.writable;
    side?.unbind();
    if (!isUsable) {
      this.#pool.abort(member, isMidMessage);
      return;
    }
    const cleaning = makeCleaning(this.#leavings.traces | this.#leavings.unaskable | member.pins);
    side?.names.clear();
    member.belongings = this.#leavings.remains(this.belongings);
    member.hasDrawn = false;
    this.#pool.cleanUp(member, cleaning);
  }

  #sit(member: Member<ServerSide>): void {
    const connection = this.#connection;
    this.#member = member;
    this.#nameApart = null;
    this.#isClean = true;
    const { side, lease } = member;
    if (side === null) member.side = connection.attach(lease, member.loginClass === this.#targets.primary);
    else side.bind(connection);
    const isAgain = member.lastGuest === this;
    member.lastGuest = this;
    if (member.side === null) return;
    if (member.wasAsked) member.side.names.loseUnnamed();
    member.wasAsked = false;
    connection.useServer(member.side);
    member.side.resume();
    this.statements.enter();
    if (isAgain) return;
    if (member.side.isPrimary) this.#view.show(member);
    this.statements.trim();
  }

  #watchDefinitions(): DefinitionWatch {
    this.#definitions ??= new DefinitionWatch(this.#connection.gate, this.#pool, this.#targets.primary.pool);
    return this.#definitions;
  }

  #giveBack(member: Member<ServerSide>): void {
    member.belongings = this.belongings;
    member.wasCancelled = this.#connection.takeWasCancelled();
    this.#detach(member);
    this.#pool.giveBack(member);
  }

  #detach(member: Member<ServerSide>): void {
    this.#member = null;
    this.#nameApart = this.#view.applicationName;
    member.side?.unbind();
    this.#connection.dropServer();
  }

  async #ask(member: Member<ServerSide>): Promise<void> {
    const left = await askWhatIsLeft(this.#connection, this.#pool, member, this.#leavings, this.belongings);
    if (this.#member !== member) return;
    member.side?.names.loseUnnamed();
    member.wasAsked = false;
    this.belongings = left.belongings;
    member.belongings = left.belongings;
    this.#leavings.settle();
    const pins = left.found | this.#leavings.unaskable;
    if (pins !== 0) this.#pool.pin(member, pins);
    else this.#giveBack(member);
  }
}
