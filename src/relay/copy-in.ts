// COPY data on its way from the client, as both sides see it.

import type { Clock } from '../base/clock.ts';
import type { Run } from './run.ts';

/** How long the server may take to report that a COPY has failed. */
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
  /** How far `isGivenUp` is with its wait. */
  #wait: 'none' | 'running' | 'over' = 'none';

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  begin(isRunning: boolean, isBothWays: boolean, run: Run | null): void {
    // While data goes both ways the server is at work too, so the time is its own.
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
   * Asked when a statement under kill_after_ms comes although the COPY is not over: either the server has failed the COPY and will say
   * so in a moment, or the client breaks the protocol. The first call begins to wait for that moment; `onWaited` is called at its
   * end. True from then on: what the client sent goes on, and the server ends the connection for it.
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

  /** The statement that waited has been sent. */
  forgetWait(): void {
    if (this.#wait === 'over') this.#wait = 'none';
  }
}
