// How long the event loop has kept everybody waiting lately.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Clock } from './clock.ts';

/** The monitor's mean includes its own interval. */
const RESOLUTION_MS = 20;
/** Readers may come at any pace, and more than one of them: none sees a mean of less than this, but for the first. */
const WINDOW_MS = 10_000;

export class LoopDelay {
  readonly #monitor: ReturnType<typeof monitorEventLoopDelay>;
  readonly #clock: Clock;
  readonly #windowMs: number;
  #beganMs: number;
  #lastMs: number | null = null;

  constructor(clock: Clock, windowMs = WINDOW_MS) {
    this.#clock = clock;
    this.#windowMs = windowMs;
    this.#beganMs = clock.monotonicMs();
    this.#monitor = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  }

  start(): void {
    this.#beganMs = this.#clock.monotonicMs();
    this.#monitor.enable();
  }

  /** The mean of the last window that was read: a mean of all time would hide what happens now. */
  read(): number {
    const nowMs = this.#clock.monotonicMs();
    const isOver = nowMs - this.#beganMs >= this.#windowMs;
    if (!isOver && this.#lastMs !== null) return this.#lastMs;
    // Without any sample it has not come round since.
    const { count, mean } = this.#monitor;
    const meanMs = count === 0 ? nowMs - this.#beganMs : Math.max(0, mean / 1e6 - RESOLUTION_MS);
    if (!isOver) return meanMs;
    this.#monitor.reset();
    this.#beganMs = nowMs;
    this.#lastMs = meanMs;
    return meanMs;
  }

  stop(): void {
    this.#monitor.disable();
  }
}
