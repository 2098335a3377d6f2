// COPY data on its way from the client, as both sides see it.

import type { Clock } from '../base/clock.ts';
import type { Run } from './run.ts';

/** How long the news that a COPY has failed may take, after data that the server has had for as long. */
const FAILURE_MS = 500;

export class CopyIn {
  readonly #clock: Clock;
  /** The statement that takes the data, and since when. */
  #run: Run | null = null;
  #sinceMs = 0;
  /** The server takes COPY data from the client. */
  isRunning = false;
  /** The server sends data too, as long as it likes: a replication stream (CopyBothResponse). */
  isBothWays = false;
  /**
   * Syncs that came among COPY data, and after which none has come yet. While it takes data the server ignores them, so they
   * are kept back; it would answer them if the COPY had failed by then, so they are sent when it fails.
   */
  keptSyncs = 0;
  /** For a statement under kill_after_ms that came in its place. */
  #wait: 'none' | 'running' | 'over' = 'none';

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  begin(isRunning: boolean, isBothWays: boolean, run: Run | null): void {
    // In a stream of both ways the server does not only wait.
    this.#run = isRunning && !isBothWays ? run : null;
    this.#sinceMs = this.#clock.monotonicMs();
    this.keptSyncs = 0;
    this.isRunning = isRunning;
    this.isBothWays = isBothWays;
  }

  /** The client has sent CopyDone or CopyFail. True where the server had been taking data until then. */
  end(): boolean {
    const wasRunning = this.isRunning;
    if (this.#run !== null) this.#run.dataMs += this.#clock.monotonicMs() - this.#sinceMs;
    this.#run = null;
    this.keptSyncs = 0;
    this.isRunning = false;
    this.isBothWays = false;
    return wasRunning;
  }

  /** The server has given the COPY up. Returns how many Syncs were kept back that it has to answer now. */
  fail(): number {
    const { keptSyncs } = this;
    this.end();
    return keptSyncs;
  }

  /**
   * The client goes on as if it were over: either the server has failed it and will say so in a moment, or the client breaks the
   * protocol. True after that moment, when `onWaited` has been called: what the client sent goes on then, and the server ends the
   * connection for it.
   */
  isGivenUp(onWaited: () => void): boolean {
    if (this.#wait === 'none') {
      this.#wait = 'running';
      setTimeout(() => {
        this.#wait = this.isRunning ? 'over' : 'none';
        onWaited();
      }, FAILURE_MS).unref();
    }
    return this.#wait === 'over';
  }

  /** What has waited for it has been sent. */
  forgetWait(): void {
    if (this.#wait === 'over') this.#wait = 'none';
  }
}
