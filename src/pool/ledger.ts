// What a pool has lent, to be read when somebody asks: leases, and the reasons that kept connections with their clients.

import { nameTraces } from '../sql/traces.ts';
import type { PinSummary } from './pool-summary.ts';

interface Pin {
  current: number;
  total: number;
  /** Of those that have ended. */
  heldMs: number;
  /** Sum of the moments at which the current ones began. */
  startedMs: number;
}

export class Ledger {
  acquires = 0;
  releases = 0;
  handovers = 0;
  settlements = 0;
  opened = 0;
  closed = 0;
  waitTimeouts = 0;
  /** Statements after which the connection was free for others, and after which it was not. */
  sharedStatements = 0;
  pinnedStatements = 0;
  readonly #pins = new Map<number, Pin>();

  get held(): number {
    return this.acquires - this.releases;
  }

  /** The reasons of one connection have changed, bits of TRACE. */
  changePins(before: number, after: number, nowMs: number): void {
    if (before === after) return;
    for (let bit = 1; bit <= (before | after); bit <<= 1) {
      if ((before & bit) === (after & bit)) continue;
      let pin = this.#pins.get(bit);
      if (pin === undefined) {
        pin = { current: 0, total: 0, heldMs: 0, startedMs: 0 };
        this.#pins.set(bit, pin);
      }
      if ((after & bit) !== 0) {
        pin.current++;
        pin.total++;
        pin.startedMs += nowMs;
        continue;
      }
      // Which of them ends does not matter to the sum.
      const startedMs = pin.startedMs / pin.current;
      pin.current--;
      pin.startedMs -= startedMs;
      pin.heldMs += nowMs - startedMs;
    }
  }

  pins(nowMs: number): PinSummary[] {
    return [...this.#pins].map(([bit, { current, total, heldMs, startedMs }]) => ({
      reason: nameTraces(bit)[0] ?? String(bit),
      current,
      total,
      heldMs: Math.round(heldMs + current * nowMs - startedMs),
    }));
  }
}
