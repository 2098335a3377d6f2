// What is to become of a message: its facts, the verdict of the rules, the answer of the limits, all of it recorded.

import type { ErrorCode } from '../../base/errors.ts';
import { isSameTreatment, type Refusal, type RuleHit, type Verdict } from '../../policy/verdict.ts';
import type { Session } from '../../session/session.ts';
import { type Portal, resolveStatements } from '../../session/statements.ts';
import { NO_STATEMENTS, type TextFacts } from '../../sql/facts.ts';
import { readReplicationCommand } from '../../sql/replication.ts';
import { NOT_PREPARED_FACTS, unparsedFacts } from '../../sql/unparsed.ts';
import { MAX_NAME_BYTES } from '../../wire/reader.ts';
import type { Connection } from '../connection.ts';
import type { RelayContext } from '../context.ts';
import { Run } from '../run.ts';
import { awaitAnswers } from './await-answers.ts';
import type { WaitingRoom } from './limit.ts';
import { readingOf } from './reading.ts';
import { refusalOf } from './refuse.ts';

/** What stands behind a name that nobody has prepared. */
export const NOT_PREPARED: TextFacts = Object.freeze([NOT_PREPARED_FACTS]);
/** One judgement in 64 is timed: reading the clock costs about as much as a remembered verdict. */
const SAMPLING_MASK = 63;

export class Decider {
  readonly #connection: Connection;
  readonly #context: RelayContext;
  readonly #session: Session<Run>;
  readonly #waiting: WaitingRoom;
  /** Portals that take places again, or whose time goes on counting, when they are resumed. */
  readonly #resumable = new WeakMap<Portal, Verdict>();
  #judged = 0;

  constructor(connection: Connection, context: RelayContext, waiting: WaitingRoom) {
    this.#connection = connection;
    this.#context = context;
    this.#session = connection.session;
    this.#waiting = waiting;
  }

  /**
   * The facts of the text at `buffer[start, end)`; null: not now, the gate is closed until it can be read.
   *
   * @param isForGood the text itself will be needed, not only what is to be done about it
   */
  read(buffer: Buffer, start: number, end: number, isForGood: boolean): TextFacts | null {
    const session = this.#session;
    const { facts, rules } = this.#context;
    if (session.isReplication) {
      const command = readReplicationCommand(buffer.toString('latin1', start, end), session.clientEncoding);
      if (command !== null) return [command];
    }
    const isSettled = session.isQuiet && !session.isReadingInDoubt;
    const reading = isSettled ? 'certain' : readingOf(this.#connection, buffer, start, end);
    if (reading === 'later') return null;
    const mayBeTwin = !isForGood && rules.active.isNumberBlind;
    const read = facts.readBytes(buffer, start, end, session.clientEncoding, session.areStringsConforming, mayBeTwin);
    // Whatever else it may say.
    return reading === 'certain' ? read : [...read, unparsedFacts(buffer.toString('latin1', start, end), 'unsettled')];
  }

  /** The rules ask whether it runs in a transaction, and that depends on answers that are still to come. */
  get isTooEarly(): boolean {
    if (!this.#session.isTransactionInDoubt || !this.#context.rules.active.asksForTransaction) return false;
    return !this.#connection.copyIn.isRunning;
  }

  /** It is too early for a message that is not decided yet, or was under other rules: the gate is closed until the answers are there. */
  mustWait(kept: Run | null): boolean {
    if ((kept !== null && !this.isOutdated(kept)) || !this.isTooEarly) return false;
    awaitAnswers(this.#connection);
    return true;
  }

  /**
   * The verdict alone: nothing is recorded.
   *
   * @param isImplicitBlock the message runs its statements as one transaction
   * @param isPlain no statement stands behind them
   */
  judge(facts: TextFacts, isImplicitBlock: boolean, isPlain: boolean): Verdict {
    return this.#judge(isPlain ? facts : this.#resolve(facts), isImplicitBlock);
  }

  #judge(statements: TextFacts, isImplicitBlock: boolean): Verdict {
    const isInTransaction = isImplicitBlock || this.#session.isTransactionAhead;
    this.#judged++;
    if ((this.#judged & SAMPLING_MASK) !== 0) return this.#connection.view().judge(statements, isInTransaction);
    const { clock, recorder } = this.#context;
    const startedMs = clock.monotonicMs();
    const verdict = this.#connection.view().judge(statements, isInTransaction);
    recorder.decisionDuration.observe((clock.monotonicMs() - startedMs) / 1000);
    return verdict;
  }

  /** Judges, records, and asks the limits. `facts`: the message's own statements. */
  decide(facts: TextFacts, isImplicitBlock: boolean): Run {
    this.#context.counters.statements++;
    const isPlain = this.#connection.router.isPlain(facts);
    const statements = isPlain ? facts : this.#resolve(facts);
    if (statements.length === 0) return new Run(facts, null);
    const verdict = this.#judge(statements, isImplicitBlock);
    if (verdict.refusal !== null) return this.refuse(facts, verdict);
    this.#context.recorder.recordVerdict(verdict);
    const run = new Run(facts, verdict);
    run.isPlain = isPlain;
    if (hasLimits(verdict)) this.#waiting.ask(run, statements);
    return run;
  }

  /** The same for a plain statement that the rules simply let through; null for any other, and then nothing is recorded. */
  decidePlain(facts: TextFacts): Run | null {
    const verdict = this.#judge(facts, false);
    if (verdict.refusal !== null || verdict.kill !== null || hasLimits(verdict)) return null;
    this.#context.counters.statements++;
    this.#context.recorder.recordVerdict(verdict);
    const run = new Run(facts, verdict);
    run.isPlain = true;
    return run;
  }

  /**
   * A portal is judged when it first runs; what resumes it is the same statement, under the rules it began with: it needs
   * a place to run again.
   */
  decideExecute(portal: Portal | null): Run {
    const facts = portal?.facts ?? NOT_PREPARED;
    if (portal?.hasRun === true) {
      const resumed = new Run(facts, this.#resumable.get(portal) ?? null);
      if (hasLimits(resumed.verdict)) this.#waiting.ask(resumed, this.#resolve(facts), true);
      return resumed;
    }
    const run = this.decide(facts, false);
    if (portal === null) return run;
    if (run.verdict !== null && (hasLimits(run.verdict) || run.verdict.hits.some(isKill)))
      this.#resumable.set(portal, run.verdict);
    // What was decided before, under other rules, did not come to run.
    else this.#resumable.delete(portal);
    return run;
  }

  /** It was decided under other rules than those of now, and has not run. */
  isOutdated({ verdict, refusal }: Run): boolean {
    return verdict !== null && refusal === null && verdict.ruleset !== this.#context.rules.active;
  }

  /**
   * Takes back what was decided, and what that holds, where the rules of now would treat the statements otherwise: they have to
   * be decided anew. False: it stands.
   */
  takeBack(run: Run, facts: TextFacts, isImplicitBlock: boolean): boolean {
    if (run.verdict === null || isSameTreatment(run.verdict, this.judge(facts, isImplicitBlock, run.isPlain)))
      return false;
    this.#waiting.undo(run);
    // It is one statement, though decided twice.
    this.#context.counters.statements--;
    return true;
  }

  /** Records a refusal. */
  refuse(facts: TextFacts, verdict: Verdict): Run {
    const { recorder, counters } = this.#context;
    const run = new Run(facts, verdict);
    recorder.recordVerdict(verdict);
    run.refusal = verdict.refusal;
    if (verdict.refusal !== null) run.decisionId = recorder.recordRefusal(verdict, this.#session.id, verdict.refusal);
    counters.refused++;
    return run;
  }

  /** A Query or Parse over max_statement_bytes is refused unread. */
  refuseTooLong(): { readonly run: Run; readonly refusal: Refusal } {
    return this.#refuseUnread('statement_too_long', 'raise limits.max_statement_bytes in the settings of pgweir');
  }

  /** So is a Bind whose names go on beyond what is shown of it: to the server such a name is one of 63 bytes. */
  refuseLongName(): { readonly run: Run; readonly refusal: Refusal } {
    return this.#refuseUnread('name_too_long', `names are no longer than ${MAX_NAME_BYTES} bytes`);
  }

  #refuseUnread(code: ErrorCode, hint: string): { readonly run: Run; readonly refusal: Refusal } {
    const { recorder, counters, rules } = this.#context;
    const run = new Run(NO_STATEMENTS, null);
    const refusal = refusalOf(code, 'max_statement_bytes', hint);
    run.refusal = refusal;
    run.decisionId = recorder.recordUnjudgedRefusal(
      this.#session.subject,
      rules.active.version,
      this.#session.id,
      refusal,
    );
    counters.refused++;
    return { run, refusal };
  }

  #resolve(facts: TextFacts): TextFacts {
    return resolveStatements(facts, this.#session.statements, this.#session.portals, NOT_PREPARED_FACTS);
  }
}

function hasLimits(verdict: Verdict | null): boolean {
  return verdict !== null && (verdict.limits.length > 0 || verdict.observedLimits.length > 0);
}

function isKill({ effect }: RuleHit): boolean {
  return effect === 'kill';
}
