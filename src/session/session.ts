// What both sides believe now of one client's session: who it is, in which transaction state the server is, which names
// mean what, which replies are owed. State only: no socket, no timer.

import { TRANSACTION } from '../wire/codes.ts';
import { OWED, OwedQueue, type SpareReplies } from './owed.ts';
import { PHYSICAL_DATABASE, type ReplicationMode } from './replication-mode.ts';
import { ReportedParameters } from './reported-parameters.ts';
import { Portals, PreparedStatements } from './statements.ts';
import type { Subject } from './subject.ts';

/**
 * The phases of a session, in order; each step is taken once and only by `enter`.
 *
 *   startup  the startup packet has come, and is not looked at yet (what comes before it is no session's: relay/greeting)
 *   login    the server, or pgweir, asks, the client answers; ends with the server's first ReadyForQuery
 *   ready    statements
 *   closing  nothing more is read; both sides are being closed
 */
export const PHASES = ['startup', 'login', 'ready', 'closing'] as const;
export type Phase = (typeof PHASES)[number];

/** Settings that texts are read by. */
export const READING_SETTINGS: ReadonlySet<string> = new Set(['client_encoding', 'standard_conforming_strings']);

export class Session<Run> {
  readonly id: number;
  readonly connectedAtMs: number;
  readonly clientPort: number | null;
  readonly owed: OwedQueue<Run>;
  readonly statements = new PreparedStatements();
  readonly portals = new Portals();
  /** Bounded by the server's own settings. */
  readonly parameters = new ReportedParameters();
  #subject: Subject;
  #phase: Phase = 'startup';
  #replication: ReplicationMode = 'none';
  /** Transaction status behind the last ReadyForQuery (`statusBehind`). */
  status: number = TRANSACTION.idle;
  /** A BEGIN has been sent, or COMMIT not yet answered: what the status will be when all that is owed has been answered. */
  isTransactionAhead = false;
  /** Rank of the last message sent that changes that, while it is unanswered; 0: there is none. */
  #transactionSince = 0;
  /** An extended message was sent, and no ReadyForQuery has ended what it began. */
  isUnitOpen = false;
  /** A statement of the unit of work that is open may have changed a setting that texts are read by. */
  isReadingInDoubt = false;
  /** Such a setting has changed since a transaction or unit of work began: should that fail, it is changed back. */
  isReadingNew = false;
  /** Number of the piece of work that goes on: a transaction, or a unit of work outside of one. No portal outlives it. */
  work = 0;

  constructor(
    id: number,
    clientIp: string,
    clientPort: number | null,
    connectedAtMs: number,
    spareReplies: SpareReplies<Run>,
  ) {
    this.id = id;
    this.owed = new OwedQueue(spareReplies);
    this.clientPort = clientPort;
    this.connectedAtMs = connectedAtMs;
    this.#subject = Object.freeze({ user: '', database: '', applicationName: '', clientIp });
  }

  get subject(): Subject {
    return this.#subject;
  }

  get phase(): Phase {
    return this.#phase;
  }

  enter(phase: Phase): void {
    if (PHASES.indexOf(phase) < PHASES.indexOf(this.#phase))
      throw new Error(`session ${this.id} cannot go from ${this.#phase} to ${phase}`);
    this.#phase = phase;
  }

  /**
   * The startup message told who this is; application_name is the server's to report. A physical replication connection is
   * in no database, whatever it named.
   */
  identify(user: string, database: string, applicationName: string, replication: ReplicationMode = 'none'): void {
    this.#replication = replication;
    this.#subject = Object.freeze({
      user,
      database: replication === 'physical' ? PHYSICAL_DATABASE : database,
      applicationName,
      clientIp: this.#subject.clientIp,
    });
  }

  /** It is a walsender: it takes replication commands, and no extended protocol. */
  get isReplication(): boolean {
    return this.#replication !== 'none';
  }

  /** A ParameterStatus came from the server. */
  setParameter(name: string, value: string): void {
    this.parameters.set(name, value);
    this.isReadingNew ||= READING_SETTINGS.has(name);
    if (name === 'application_name' && value !== this.#subject.applicationName) {
      this.#subject = Object.freeze({ ...this.#subject, applicationName: value });
    }
  }

  get clientEncoding(): string {
    return this.parameters.clientEncoding;
  }

  /** standard_conforming_strings: whether a backslash in '…' is just a backslash. */
  get areStringsConforming(): boolean {
    return this.parameters.areStringsConforming;
  }

  /** A statement that opens or ends a transaction has been sent in the message of that rank. */
  announceTransaction(isOpen: boolean, sequence: number): void {
    this.isTransactionAhead = isOpen;
    this.#transactionSince = sequence;
  }

  /** Such a statement is unanswered, and what is sent now runs even if that one fails or is skipped. */
  get isTransactionInDoubt(): boolean {
    if (this.#transactionSince === 0 || this.#transactionSince > this.owed.syncedUpTo) return false;
    // A COPY passes over the Sync behind it: then all can be answered though no ReadyForQuery has come.
    return !this.isQuiet;
  }

  /**
   * The state that the server is in behind a ReadyForQuery, which is not always what it says there. To a Query or FunctionCall
   * amid a unit of work it says 'T', and to the Sync behind that 'I'; but where nothing has begun between the two, that Sync ends
   * nothing. What the unit has done is neither committed nor undone, its locks are held, and as in a failed transaction the
   * client's next command fails (XX000, "unexpected state STARTED") and undoes it. PostgreSQL 18 does so.
   */
  statusBehind(said: number): number {
    const isInName = said === TRANSACTION.idle && this.status !== TRANSACTION.idle && !this.owed.hasBegun;
    return isInName && this.owed.head?.kind === OWED.sync ? TRANSACTION.failed : said;
  }

  /** ReadyForQuery was answered at that rank of the stream. */
  settle(status: number, sequence: number): void {
    this.status = status;
    this.owed.hasBegun = false;
    if (status === TRANSACTION.idle) this.portals.endTransaction(sequence);
    if (sequence >= this.#transactionSince) {
      this.isTransactionAhead = status !== TRANSACTION.idle;
      this.#transactionSince = 0;
    }
    if (this.owed.count > 0) return;
    this.isUnitOpen = false;
    this.isReadingInDoubt = false;
    if (status !== TRANSACTION.idle) return;
    this.isReadingNew = false;
    this.work++;
  }

  /** What is sent now belongs to the unit of work that is open: it is skipped where something in that fails. */
  get isInUnit(): boolean {
    return this.isUnitOpen && this.owed.isUnsynced;
  }

  /** Nothing is running and nothing is owed: the next message starts a unit of work of its own. */
  get isQuiet(): boolean {
    return this.owed.count === 0;
  }
}
