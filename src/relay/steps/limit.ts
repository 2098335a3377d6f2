// rate_limit and max_concurrent: asks whether a statement may run now, and keeps the one that has to wait for it. What
// follows it waits behind the gate.

import type { Admission, Hold } from '../../policy/limit-gate.ts';
import type { TextFacts } from '../../sql/facts.ts';
import { FLUSH } from '../../wire/writer.ts';
import type { Connection } from '../connection.ts';
import type { RelayContext } from '../context.ts';
import { GATE } from '../gate.ts';
import type { Run } from '../run.ts';
import { refusalOf } from './refuse.ts';

export class WaitingRoom {
  readonly #connection: Connection;
  readonly #context: RelayContext;
  /** The statement that stands before the gate, decided but not sent. */
  #kept: Run | null = null;
  /** The statement that has given its place back while it waits for a server. */
  #placeless: { readonly run: Run; readonly hold: Hold } | null = null;
  /** The statement that was let through last, where it took tokens. */
  #tokens: { readonly run: Run; readonly giveBack: () => void } | null = null;
  #waiting: { readonly run: Run; readonly sinceMs: number; readonly abandon: () => void } | null = null;

  constructor(connection: Connection, context: RelayContext) {
    this.#connection = connection;
    this.#context = context;
  }

  /** A statement waits for a limit. */
  get isOccupied(): boolean {
    return this.#waiting !== null;
  }

  /**
   * Asks the limits of the run's verdict; afterwards it is admitted, refused, or waits.
   *
   * @param statements the run's own, and after them what stands behind those
   * @param isResumed a portal goes on
   */
  ask(run: Run, statements: TextFacts, isResumed = false): void {
    if (run.verdict === null) return;
    const nowMs = this.#context.clock.monotonicMs();
    const message = { statements, ownCount: run.facts.length };
    const admission = this.#context.admitter.admit(run.verdict, message, nowMs, this.#connection, isResumed);
    this.#apply(run, admission, nowMs);
  }

  /**
   * The statement has to wait for a server connection, and those may all be held by transactions that wait for its place: it
   * takes a place again when it has one.
   */
  giveBack(run: Run): void {
    if (run.hold === null) return;
    run.hold.release();
    this.#placeless = { run, hold: run.hold };
    run.hold = null;
  }

  /** The statement has a server connection now. Afterwards as after `ask`. */
  askAgain(run: Run): void {
    if (this.#placeless?.run !== run) return;
    const { hold } = this.#placeless;
    this.#placeless = null;
    const nowMs = this.#context.clock.monotonicMs();
    this.#apply(run, hold.askAgain(nowMs), nowMs);
  }

  /** The statement does not run on what it was given. */
  undo(run: Run): void {
    run.hold?.release();
    if (this.#tokens?.run === run) this.#tokens.giveBack();
    this.#tokens = null;
  }

  /** False while it waits. */
  isCleared(run: Run): boolean {
    return this.#waiting?.run !== run;
  }

  /** Keeps what was decided, if anything, until the same message is offered again. */
  keep(run: Run | null): false {
    this.#kept = run;
    return false;
  }

  /** What was kept, once: the message that is offered now is the one that it was decided for. */
  take(): Run | null {
    const run = this.#kept;
    this.#kept = null;
    return run;
  }

  /** What was kept, if anything, will not run. */
  drop(): void {
    const run = this.take();
    if (run !== null) this.undo(run);
  }

  /** The waiting statement will not run. True where there was one: it is refused with 57014 when it is offered again. */
  abandon(): boolean {
    const waiting = this.#waiting;
    if (waiting === null) return false;
    this.#waiting = null;
    waiting.abandon();
    waiting.run.refusal = refusalOf('wait_cancelled', 'cancel', null);
    this.#endWait(waiting.sinceMs);
    return true;
  }

  #apply(run: Run, admission: Admission, sinceMs: number): void {
    switch (admission.type) {
      case 'admitted':
        run.hold = admission.hold;
        if (admission.giveTokensBack !== null) this.#tokens = { run, giveBack: admission.giveTokensBack };
        return;
      case 'refused':
        run.refusal = admission.refusal;
        this.#context.counters.refused++;
        if (run.verdict !== null) {
          run.decisionId = this.#context.recorder.recordRefusal(
            run.verdict,
            this.#connection.session.id,
            admission.refusal,
          );
        }
        return;
      case 'waiting': {
        this.#waiting = { run, sinceMs, abandon: admission.abandon };
        this.#connection.gate.close(GATE.limit);
        // What was sent before it may hold what another waits for: the server must show when that has ended.
        if (this.#connection.session.owed.count > 0) this.#connection.active.outlet.write(FLUSH);
        admission.until.then(
          (outcome) => this.#admitLate(run, outcome, sinceMs),
          (error: unknown) => this.#connection.fail('internal', error instanceof Error ? error.message : null),
        );
      }
    }
  }

  #admitLate(run: Run, admission: Admission, sinceMs: number): void {
    if (this.#waiting?.run !== run) {
      if (admission.type === 'admitted') admission.hold?.release();
      return;
    }
    this.#waiting = null;
    this.#apply(run, admission, sinceMs);
    this.#endWait(sinceMs);
  }

  #endWait(sinceMs: number): void {
    this.#context.recorder.queueWait.observe((this.#context.clock.monotonicMs() - sinceMs) / 1000);
    this.#connection.gate.open(GATE.limit);
  }
}
