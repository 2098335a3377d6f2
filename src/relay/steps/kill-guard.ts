// The kill rule of the one statement that runs on a connection: keeps what follows behind the gate, fires the cancel when
// its time is up, and opens the gate only when the cancel can hit nothing else.

import { describeError } from '../../base/errors.ts';
import { OWED } from '../../session/owed.ts';
import { FRONTEND } from '../../wire/codes.ts';
import { FLUSH, makeQuery } from '../../wire/writer.ts';
import type { Connection } from '../connection.ts';
import type { RelayContext } from '../context.ts';
import { GATE } from '../gate.ts';
import { makeNamed } from '../renaming.ts';
import type { Run } from '../run.ts';
import type { ServerSide } from '../server-side.ts';
import { KillWatch } from './kill.ts';

/** Closing a statement that nobody has is answered by CloseComplete in any state, and changes nothing: a harmless round trip. */
const PROBE_NAME = 'pgweir_probe';
const PROBE = makeNamed(FRONTEND.close, Buffer.from(PROBE_NAME, 'latin1'));
/** A cancel that could not be delivered is tried again. */
const RETRY_MS = 1_000;

export class KillGuard {
  readonly #connection: Connection;
  readonly #context: RelayContext;
  #isCancelInFlight = false;
  #mustProbe = false;
  #watch: KillWatch | null = null;

  constructor(connection: Connection, context: RelayContext) {
    this.#connection = connection;
    this.#context = context;
  }

  /** A cancel is on its way, or a round trip that is to outlast it. */
  get isBusy(): boolean {
    return this.#watch !== null || this.#isCancelInFlight || this.#mustProbe;
  }

  /** The statement goes to the server now. `usedMs`: what earlier Executes of its portal took. */
  watch(run: Run, timeoutMs: number, nowMs: number): void {
    const server = this.#connection.active;
    const watch = new KillWatch(timeoutMs, run.portal?.usedMs ?? 0, nowMs, () => this.#fire(watch, server));
    run.kill = watch;
    this.#watch = watch;
    this.#context.killClock.arm(watch);
  }

  /**
   * The client owes COPY data: its time does not count, and its bytes must come through. In a replication stream
   * (`isBothWays`) they must too, but that is the server's own time.
   */
  beginCopyIn(isBothWays: boolean): void {
    if (this.#watch === null) return;
    if (!isBothWays) this.#watch.pause(this.#context.clock.monotonicMs());
    this.#connection.gate.open(GATE.killing | GATE.killingAfterSync);
  }

  /** The client has sent its last COPY data, or the COPY has failed: what follows is another statement. */
  endCopyIn(): void {
    if (this.#watch === null) return;
    this.#watch.resume(this.#context.clock.monotonicMs());
    this.#connection.gate.close(GATE.killingAfterSync);
  }

  /** The statement has ended; `run.sqlstate` tells how. */
  settle(run: Run, watch: KillWatch): void {
    const hasFired = watch.state === 'fired';
    watch.state = 'done';
    this.#watch = null;
    this.#context.killClock.disarm(watch);
    if (!hasFired) run.onEnded?.();
    else if (run.verdict !== null)
      this.#context.recorder.recordKill(run.verdict, this.#connection.session.id, run.sqlstate !== '57014');
    this.#mustProbe = hasFired && run.sqlstate === null;
    if (!this.#isCancelInFlight) this.#release();
  }

  /** CloseComplete of pgweir's own Close, or ReadyForQuery of its Query. */
  probeAnswered(name: string): void {
    if (name === PROBE_NAME) this.#connection.gate.open(GATE.killing | GATE.killingAfterSync);
  }

  /** The connection is being closed. */
  close(): void {
    if (this.#watch !== null) this.#context.killClock.disarm(this.#watch);
    this.#watch = null;
  }

  #fire(watch: KillWatch, server: ServerSide): void {
    const { pool, counters, log } = this.#context;
    const { lease } = server;
    if (lease.key === null) return;
    this.#isCancelInFlight = true;
    counters.cancelsFromRules++;
    pool
      .cancelOn(lease)
      .catch((error: unknown) => {
        counters.cancelsFailed++;
        log.warn(
          { session: this.#connection.session.id, reason: describeError(error) },
          'cancel of a late statement was not delivered',
        );
        this.#retryLater(watch);
      })
      .finally(() => {
        this.#isCancelInFlight = false;
        if (watch.state === 'done') this.#release();
      });
  }

  #retryLater(watch: KillWatch): void {
    if (watch.state !== 'fired') return;
    watch.usedMs = watch.timeoutMs - RETRY_MS;
    watch.startedAtMs = this.#context.clock.monotonicMs();
    watch.state = 'armed';
  }

  #release(): void {
    if (this.#connection.isClosing) return;
    if (!this.#mustProbe) {
      this.#connection.gate.open(GATE.killing | GATE.killingAfterSync);
      this.#connection.endTurn();
      return;
    }
    this.#mustProbe = false;
    const { session, active } = this.#connection;
    const { outlet } = active;
    // A walsender takes no Close. An empty Query is as harmless: where it takes no SQL either, it is an error and nothing more.
    if (session.isReplication) {
      outlet.write(makeQuery(''));
    } else {
      outlet.write(PROBE);
      outlet.write(FLUSH);
    }
    const owed = session.owed.push(session.isReplication ? OWED.query : OWED.close);
    owed.isSwallowed = true;
    owed.closedName = PROBE_NAME;
    outlet.flush();
  }
}
