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
} as const;
export type GateReason = (typeof GATE)[keyof typeof GATE];
