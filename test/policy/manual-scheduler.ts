// A clock whose hands the test moves; due work runs in order of time.

import type { Scheduler } from '../../src/policy/limit-gate.ts';

export class ManualScheduler implements Scheduler {
  #nowMs = 0;
  #due: { atMs: number; run: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, run: () => void): () => void {
    const entry = { atMs: this.#nowMs + delayMs, run };
    this.#due.push(entry);
    return () => {
      this.#due = this.#due.filter((other) => other !== entry);
    };
  }

  /** Timers that are still set. */
  get pending(): number {
    return this.#due.length;
  }

  advanceTo(atMs: number): void {
    for (;;) {
      const next = this.#due.filter((entry) => entry.atMs <= atMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#due = this.#due.filter((entry) => entry !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.run();
    }
    this.#nowMs = Math.max(this.#nowMs, atMs);
  }
}
