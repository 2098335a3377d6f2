// How long logins that fail are not tried again.

/** At first; twice as long after each further attempt. */
const FIRST_MS = 100;

export class Backoff {
  /** Before that nobody need try again. */
  untilMs = 0;
  #delayMs = FIRST_MS;

  succeed(): void {
    this.untilMs = 0;
    this.#delayMs = FIRST_MS;
  }

  /** Of several that were under way together only the first counts: they tell of one and the same trouble. */
  fail(nowMs: number, maxDelayMs: number): void {
    if (nowMs < this.untilMs) return;
    this.untilMs = nowMs + this.#delayMs;
    this.#delayMs = Math.min(this.#delayMs * 2, maxDelayMs);
  }
}
