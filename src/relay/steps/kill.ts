// kill_after_ms: a real CancelRequest to the server that runs the statement, so made that it can hit no other.
//
// While a statement with a kill rule runs, nothing that would start another one is sent behind it. When its time is up
// the cancel goes out on a connection of its own; the next statement waits until the server has closed that connection (the
// signal is then on its way) and, where the statement had ended by itself meanwhile, until one more round trip has been
// answered (the signal has then been taken, by an idle server, which ignores it).

import type { Clock } from '../../base/clock.ts';

/** How often running statements are looked at. */
const TICK_MS = 10;

export type KillState =
  /** running, and not late yet */
  | 'armed'
  /** the client owes COPY data: server time stands still */
  | 'paused'
  /** the cancel is on its way */
  | 'fired'
  /** the statement has ended */
  | 'done';

/** One statement under watch. */
export class KillWatch {
  readonly timeoutMs: number;
  readonly #onDue: () => void;
  state: KillState = 'armed';
  /** Server time used up before `startedAtMs`. */
  usedMs: number;
  startedAtMs: number;

  constructor(timeoutMs: number, usedMs: number, nowMs: number, onDue: () => void) {
    this.timeoutMs = timeoutMs;
    this.usedMs = usedMs;
    this.startedAtMs = nowMs;
    this.#onDue = onDue;
  }

  serverMs(nowMs: number): number {
    return this.state === 'paused' ? this.usedMs : this.usedMs + nowMs - this.startedAtMs;
  }

  isDue(nowMs: number): boolean {
    return this.state === 'armed' && this.serverMs(nowMs) >= this.timeoutMs;
  }

  pause(nowMs: number): void {
    if (this.state !== 'armed') return;
    this.usedMs = this.serverMs(nowMs);
    this.state = 'paused';
  }

  resume(nowMs: number): void {
    if (this.state !== 'paused') return;
    this.startedAtMs = nowMs;
    this.state = 'armed';
  }

  fire(): void {
    this.state = 'fired';
    this.#onDue();
  }
}

/** The one timer for all running statements under watch; it stands still while there are none. */
export class KillClock {
  readonly #clock: Clock;
  readonly #watches = new Set<KillWatch>();
  #timer: NodeJS.Timeout | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  arm(watch: KillWatch): void {
    this.#watches.add(watch);
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
  }

  disarm(watch: KillWatch): void {
    this.#watches.delete(watch);
    if (this.#watches.size === 0 && this.#timer !== null) {
      clearInterval(this.#timer);
      this.#timer = null;
    }
  }

  #tick(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const watch of this.#watches) {
      if (watch.isDue(nowMs)) watch.fire();
    }
  }
}
