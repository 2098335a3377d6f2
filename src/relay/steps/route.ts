// The servers of one client's own, for its whole life: the primary, and a replica where a rule routes. A unit of work runs on
// one of them, and only when the session is idle and outside a transaction may the next one run on another.
//
// A second server has to be told what the first one knows: settings are repeated there as the client made them, and
// a prepared statement is prepared there before it is used. What cannot be carried over keeps the session on the primary:
// that is counted, never guessed.

import { setTimeout } from 'node:timers/promises';
import { describeError } from '../../base/errors.ts';
import type { Endpoint } from '../../config/settings.ts';
import { LoginRefused } from '../../pool/login.ts';
import { OWED } from '../../session/owed.ts';
import type { StatementFacts, StatementShape, TextFacts } from '../../sql/facts.ts';
import { isPlain } from '../../sql/plain.ts';
import { TRANSACTION } from '../../wire/codes.ts';
import { isAscii } from '../../wire/reader.ts';
import { makeQuery } from '../../wire/writer.ts';
import type { Connection } from '../connection.ts';
import type { RelayContext } from '../context.ts';
import { GATE } from '../gate.ts';
import type { Routing } from '../routing.ts';
import type { Run } from '../run.ts';
import type { ServerSide } from '../server-side.ts';
import { acquireFor } from './acquire.ts';
import { StatementCarrier } from './carry-statements.ts';
import { isAmidUnit } from './holds.ts';
import { wantsReplica } from './look-ahead.ts';
import { makesState, OwnLeavings, showsSession } from './own-leavings.ts';
import { OWN_SERVERS } from './surroundings.ts';

/** A standby takes the setting, and then refuses all that runs. */
const REFUSED_BY_STANDBYS = /\bserializable\b/i;
/** Fails on a standby where the session is serializable by its role or its options: so would all that runs there. */
const FIRST_ON_REPLICA = 'SELECT 1';
/** A statement that has just been sent must have begun, or a cancel finds nothing. */
const BEGIN_MS = 50;
/** Settings repeated on a replica; a session that makes more of them stays on the primary. */
const MAX_SETTINGS = 256;
/** A session that got no replica does not try again for so long. */
const REST_MS = 2_000;

/**
 * Queries and COPY TO. Whatever else a rule routes would fail on a standby, or be believed of a server on which it never
 * ran: a BEGIN there would leave what follows it without a transaction.
 */
export function mayRunElsewhere({ queryClass, kinds, unparsed }: StatementShape): boolean {
  if (unparsed !== null) return false;
  return queryClass === 'read' || queryClass === 'copy' || (queryClass === 'unknown' && kinds[0] === 'select');
}

export class OwnServers implements Routing {
  readonly isShared = false;
  readonly isWaiting = false;
  readonly #connection: Connection;
  readonly #context: RelayContext;
  readonly #replicas: readonly Endpoint[];
  readonly statements: StatementCarrier;
  #primary: ServerSide | null = null;
  #replica: ServerSide | null = null;
  #isOpening = false;
  /** The client has cancelled what waits for a replica. */
  #isCancelled = false;
  /** The last attempt of this session to reach a replica failed: until then its units go to the primary. */
  #restUntilMs = 0;
  #isInUnit = false;
  #isWaitingForQuiet = false;
  /** Session state was made that cannot be repeated on another server. */
  #isPinned = false;
  readonly #leavings: OwnLeavings;
  /** The primary is being asked what code has made: until it answers nothing else may be said to it. */
  #asking: Promise<void> | null = null;
  #settings: string[] = [FIRST_ON_REPLICA];
  /** Settings made in the unit that runs: they hold if it ends well, with no transaction of the client's around them. */
  #unitSettings: string[] = [];
  #mayUnitBeUndone = false;
  #hasDiscarded = false;
  /** What the primary has reported to be changed since the session was last idle, and what it was before. */
  readonly #reported = new Map<string, string | null>();
  /** The replica has refused a setting that the session has: it is left when all is answered. */
  #isReplicaUnfit = false;
  /** The client's StartupMessage, for a login on a replica. */
  startup: Buffer | null = null;

  constructor(connection: Connection, context: RelayContext) {
    this.#connection = connection;
    this.#context = context;
    this.#replicas = context.settings.auth.mode === 'passthrough' ? [] : context.settings.targets.replicas;
    this.#leavings = new OwnLeavings(connection);
    this.statements = new StatementCarrier(connection, this.#replicas.length > 0 ? OWN_SERVERS : null);
  }

  usePrimary(server: ServerSide): void {
    this.#primary = server;
    this.#connection.useServer(server);
  }

  eachServer(act: (server: ServerSide) => void): void {
    if (this.#primary !== null) act(this.#primary);
    if (this.#replica !== null) act(this.#replica);
  }

  /** May this Query go now, and to the server that is active? `false`: the gate is closed until it may. */
  isReadyForQuery(run: Run): boolean {
    const target = run.verdict?.route?.target;
    this.#isInUnit = false;
    // Behind an extended message without a Sync it belongs to what that has begun.
    if ((target === undefined && this.#replica === null) || isAmidUnit(this.#connection)) return true;
    return this.#prepareServer(target === 'replica' && this.#isRoutable(run.facts));
  }

  /** The same for an extended message; only the first of a unit decides. */
  isReadyForUnit(): boolean {
    if (this.#replicas.length === 0 || this.#isInUnit || isAmidUnit(this.#connection)) return true;
    const { hasRoutes } = this.#connection.view().ruleset;
    if (hasRoutes || this.#replica !== null) {
      const isForReplica =
        hasRoutes && wantsReplica(this.#connection, this.#context, (facts) => this.#isRoutable(facts));
      if (!this.#prepareServer(isForReplica)) return false;
    }
    // It ends where it has begun, whatever the rules say by then.
    this.#isInUnit = true;
    return true;
  }

  endUnit(): void {
    this.#isInUnit = false;
  }

  /** With everything owed answered, a waiting unit may change servers; what a COPY has drawn into its own need not wait. */
  endTurn(): void {
    if (this.#primary !== null && this.#replica !== null) this.#primary.asides.passOn(this.#primary, this.#connection);
    if (!this.#isWaitingForQuiet || !(this.#isAtRest || isAmidUnit(this.#connection))) return;
    this.#isWaitingForQuiet = false;
    if (this.#isReplicaUnfit) {
      this.#isReplicaUnfit = false;
      this.#rest('it does not take the session as it is');
      this.#dropReplica();
    }
    this.#connection.gate.open(GATE.route);
  }

  noteStatement(statement: StatementFacts): void {
    if (!this.statements.isKept) return;
    const { effect, shape } = statement;
    if (shape.queryClass === 'transaction') this.#mayUnitBeUndone = true;
    if (effect?.type === 'discard_all') {
      this.#settings = [FIRST_ON_REPLICA];
      this.#unitSettings = [];
      this.#isPinned = false;
      this.#hasDiscarded = true;
      this.#dropReplica();
    } else if (effect?.type === 'set') {
      if (effect.isLocal) return;
      // The text would be repeated in UTF-8.
      const isRepeatable = this.#connection.session.clientEncoding === 'UTF8' || isAscii(statement.text);
      if (isRepeatable && !REFUSED_BY_STANDBYS.test(statement.text)) this.#unitSettings.push(statement.text);
      else this.#isPinned = true;
    } else if (effect?.type === 'create_temporary' || makesState(statement)) {
      this.#isPinned = true;
    }
  }

  /** A statement has failed, or a setting on the replica: that may not have heard yet of a role. */
  noteError(isOwn: boolean): void {
    if (isOwn) this.#isReplicaUnfit = true;
    else this.#mayUnitBeUndone = true;
  }

  /** The unit has ended; the session does not know the new status yet. */
  noteReady(status: number): void {
    const made = this.#unitSettings;
    if (made.length > 0) {
      const isIdle = status === TRANSACTION.idle && this.#connection.session.status === TRANSACTION.idle;
      if (!isIdle || this.#mayUnitBeUndone || this.#settings.length + made.length > MAX_SETTINGS) this.#isPinned = true;
      else this.#settings.push(...made);
      this.#unitSettings = [];
    }
    if (this.#reported.size > 0 && status === TRANSACTION.idle) {
      // Nobody knows what did it: a function, or a change of the server's own configuration.
      if (made.length === 0 && !this.#hasDiscarded && this.#isOtherwise()) this.#isPinned = true;
      this.#reported.clear();
    }
    this.#hasDiscarded = false;
    this.#mayUnitBeUndone = false;
  }

  #isOtherwise(): boolean {
    const { parameters } = this.#connection.session;
    for (const [name, before] of this.#reported) if ((parameters.get(name) ?? null) !== before) return true;
    return false;
  }

  /** A replica's socket ended: the session can go on without it. */
  canLose(server: ServerSide): boolean {
    if (server === this.#primary || server !== this.#replica) return server !== this.#primary;
    const { active, session, isClientDone } = this.#connection;
    if (active === server && (!session.isQuiet || session.isUnitOpen || isClientDone)) return false;
    this.#dropReplica();
    return true;
  }

  isPlain(facts: TextFacts): boolean {
    return isPlain(facts, null);
  }

  /** What code sets on a replica, to which a rule has sent it, is that one's alone. */
  noteRun(facts: TextFacts, isPlain: boolean): void {
    if (!isPlain && this.statements.isKept && this.#connection.active.isPrimary) this.#leavings.note(facts);
  }

  /** A client's view of its settings is the primary's: a replica only follows. */
  wordParameter(server: ServerSide, name: string, value: string): string | null {
    if (!server.isPrimary) return null;
    if (this.statements.isKept && !this.#reported.has(name))
      this.#reported.set(name, this.#connection.session.parameters.get(name) ?? null);
    return value;
  }

  takeRefusal(): null {
    return null;
  }

  abandonWait(): boolean {
    return false;
  }

  /**
   * What waits for a replica is cancelled: it goes to the primary at once, or behind the answer to a question. Resolves when
   * it can be found; null: nothing waits.
   */
  releaseWait(): Promise<void> | null {
    if (this.#asking !== null) return this.#asking.then(() => this.releaseWait() ?? setTimeout(BEGIN_MS));
    const { gate } = this.#connection;
    if (!this.#isOpening || this.#isWaitingForQuiet || !gate.has(GATE.route)) return null;
    this.#isCancelled = true;
    gate.open(GATE.route);
    this.#isCancelled = false;
    return setTimeout(BEGIN_MS);
  }

  listHolds(): readonly string[] {
    return this.#primary === null ? [] : ['session'];
  }

  leave(isMidMessage: boolean): void {
    this.eachServer(({ lease }) => {
      if (lease.key !== null) this.#context.cancelKeys.forget(lease.key, this.#connection);
      lease.release(isMidMessage);
    });
  }

  #isRoutable(facts: TextFacts): boolean {
    const isFree =
      !this.#isPinned &&
      !this.#connection.session.isReplication &&
      !this.#connection.session.isTransactionAhead &&
      facts.every(({ effect, shape }) => effect === null && mayRunElsewhere(shape) && !showsSession(shape));
    if (!isFree || this.#replicas.length === 0) {
      this.#context.counters.unroutable++;
      return false;
    }
    return true;
  }

  #prepareServer(isForReplica: boolean): boolean {
    const connection = this.#connection;
    const primary = this.#primary;
    if (primary === null) return true;
    // The same message may ask twice in a turn.
    if (this.#asking !== null) return false;
    if (isForReplica && this.#leavings.isInDoubt) {
      if (!this.#isAtRest) return this.#waitForQuiet();
      this.#ask(primary);
      return false;
    }
    if (isForReplica && this.#replica === null && !this.#isCancelled && this.#hasReplicaToTry()) {
      this.#open();
      return false;
    }
    const wanted = isForReplica && this.#replica !== null ? this.#replica : primary;
    if (wanted === connection.active) {
      if (isForReplica && this.#replica === null) this.#context.counters.unroutable++;
      return this.#repeatSettings(wanted);
    }
    if (!this.#isAtRest) return this.#waitForQuiet();
    connection.active.outlet.flush();
    connection.useServer(wanted);
    this.statements.enter();
    return this.#repeatSettings(wanted);
  }

  /** Nothing is owed, and the server is not in the middle of what it says by itself. */
  get #isAtRest(): boolean {
    return this.#connection.session.isQuiet && this.#connection.active.isAtBoundary;
  }

  #waitForQuiet(): false {
    this.#isWaitingForQuiet = true;
    this.#connection.gate.close(GATE.route);
    return false;
  }

  /** Nothing goes to a replica before it is known what has been made that no text has shown. */
  #ask(primary: ServerSide): void {
    this.#connection.gate.close(GATE.seat);
    this.#asking = this.#leavings
      .ask(primary)
      .then(
        (text) => this.#carry(text),
        (error: unknown) => this.#connection.fail('target_gone', describeError(error)),
      )
      .finally(() => {
        this.#asking = null;
        this.#connection.gate.open(GATE.seat);
      });
  }

  #carry(text: string | null): void {
    if (text === null) {
      this.#isPinned = true;
    } else if (text !== this.#settings.at(-1)) {
      this.#settings = [FIRST_ON_REPLICA, text];
      if (this.#replica !== null) this.#replica.settingsSeen = Math.min(this.#replica.settingsSeen, 1);
    }
  }

  /** Nothing runs there before all of them hold. */
  #repeatSettings(server: ServerSide): boolean {
    if (server === this.#primary || server.settingsSeen === this.#settings.length) return true;
    for (; server.settingsSeen < this.#settings.length; server.settingsSeen++) {
      server.outlet.write(makeQuery(this.#settings[server.settingsSeen] as string));
      this.#connection.session.owed.push(OWED.query).isSwallowed = true;
    }
    return this.#waitForQuiet();
  }

  #hasReplicaToTry(): boolean {
    const nowMs = this.#context.clock.monotonicMs();
    return (
      nowMs >= this.#restUntilMs && this.#replicas.some((endpoint) => !this.#context.pool.isResting(endpoint, nowMs))
    );
  }

  #open(): void {
    this.#connection.gate.close(GATE.route);
    if (this.#isOpening) return;
    this.#isOpening = true;
    this.#openAny()
      .catch((error: unknown) => this.#rest(describeError(error)))
      .finally(() => {
        this.#isOpening = false;
        this.#connection.gate.open(GATE.route);
      });
  }

  #rest(reason: string): void {
    const { clock, log } = this.#context;
    this.#restUntilMs = clock.monotonicMs() + REST_MS;
    log.warn({ session: this.#connection.session.id, reason }, 'no replica can be used; the primary serves');
  }

  /** The replicas in turn, starting from one that this session's number picks. */
  async #openAny(): Promise<void> {
    const { pool, clock } = this.#context;
    const { session } = this.#connection;
    const count = this.#replicas.length;
    let lastError: unknown = null;
    for (let attempt = 0; attempt < count; attempt++) {
      const endpoint = this.#replicas[(session.id + attempt) % count] as Endpoint;
      if (pool.isResting(endpoint, clock.monotonicMs())) continue;
      try {
        const startup = this.startup ?? Buffer.alloc(0);
        const { lease, welcome } = await acquireFor(this.#connection, this.#context, endpoint, startup);
        if (this.#connection.isClosing) {
          lease.release();
          return;
        }
        lease.key = welcome.key;
        this.#replica = this.#connection.attach(lease, false);
        this.#replica.resume();
        return;
      } catch (error) {
        if (this.#connection.isClosing) return;
        lastError = error;
        // A user whom it refuses says nothing about the others.
        if (!(error instanceof LoginRefused)) pool.rest(endpoint);
      }
    }
    throw lastError;
  }

  #dropReplica(): void {
    const replica = this.#replica;
    if (replica === null) return;
    this.#replica = null;
    if (this.#primary !== null && this.#connection.active === replica) this.#connection.useServer(this.#primary);
    replica.lease.release();
    this.#primary?.asides.passOn(this.#primary, this.#connection);
  }
}
