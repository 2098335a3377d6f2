// How long logins that fail are not tried again.

/** At first; twice as long after each further failure. */
const FIRST_MS = 100;

export class Backoff {
  /** Before that nobody need try again. */
  untilMs = 0;
  #delayMs = FIRST_MS;

  succeed(): void {
    this.untilMs = 0;
    this.#delayMs = FIRST_MS;
  }

  fail(nowMs: number, maxDelayMs: number): void {
    this.untilMs = nowMs + this.#delayMs;
    this.#delayMs = Math.min(this.#delayMs * 2, maxDelayMs);
  }
}
