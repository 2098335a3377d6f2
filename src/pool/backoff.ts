// For how long a login is not tried again after it has failed.

/** After the first failure; twice as long after each further one. */
const FIRST_MS = 100;

export class Backoff {
  /** On the monotonic clock: before that nobody tries again. */
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
