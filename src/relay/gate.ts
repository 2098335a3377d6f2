// Why a client's bytes may have to wait before they are looked at. One bit for each reason; the client is read only
// while none is set.

export const GATE = {
  /** The server has not asked, or has not let the client in yet. */
  login: 1,
  /** A statement waits for a rate limit or a free place. */
  limit: 2,
  /** A connection to another target is being opened. */
  route: 4,
  /** A statement under kill_after_ms runs: nothing may follow it that a late cancel could hit. */
  killing: 8,
  /** The same, but the Sync that belongs to it may still pass. */
  killingAfterSync: 16,
  /** Too many answers are owed. */
  pipeline: 32,
  /** A statement under kill_after_ms waits until what was sent before it has been answered: a cancel would hit that. */
  turn: 64,
  /** A server connection of those that clients share is on its way, or the client's is being asked what is left on it. */
  seat: 128,
  /** What a name or a text means to the server depends on answers that are still to come. */
  names: 256,
} as const;

/** The reasons that hold one client back right now. */
export class Gate {
  #closed: number = GATE.login;
  readonly #owner: { proceed(): void };

  /** A client begins behind `login`. `owner`: proceeds when the last reason has gone. */
  constructor(owner: { proceed(): void }) {
    this.#owner = owner;
  }

  get isOpen(): boolean {
    return this.#closed === 0;
  }

  /** Any of the reasons holds. */
  has(reasons: number): boolean {
    return (this.#closed & reasons) !== 0;
  }

  /** That reason holds, and no other. */
  hasOnly(reason: number): boolean {
    return this.#closed === reason;
  }

  close(reason: number): void {
    this.#closed |= reason;
  }

  open(reasons: number): void {
    if ((this.#closed & reasons) === 0) return;
    this.#closed &= ~reasons;
    if (this.#closed === 0) this.#owner.proceed();
  }

  /** The Sync that belongs to the statement under kill_after_ms has passed: nothing may follow it now. */
  narrowToKilling(): void {
    if (this.has(GATE.killingAfterSync)) this.#closed = (this.#closed & ~GATE.killingAfterSync) | GATE.killing;
  }
}
