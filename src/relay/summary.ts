// How a session looks from outside, for the people who run the database. Free of literals.

export interface SessionSummary {
  readonly id: number;
  readonly user: string;
  readonly database: string;
  readonly applicationName: string;
  readonly clientIp: string;
  readonly clientPort: number | null;
  readonly connectedAtMs: number;
  /**
   * `login`, `idle`, `active`, `idle_in_transaction`, `failed_transaction`, `waiting` (for a limit, or for a server
   * connection that others have), `closing`.
   */
  readonly state: string;
  /** Of one that waits: when its last statement ended. */
  readonly stateSinceMs: number;
  /** The target that runs its statements now. */
  readonly target: string;
  readonly serverPid: number | null;
  /**
   * Why it holds a server connection: `session` (its own, in mode session), `transaction`, `statement`, what is pinned
   * (`temporary`, …), or `reclaimable` (kept until somebody needs it). `waiting`: it holds none and waits for one; empty: it
   * needs none.
   */
  readonly holds: readonly string[];
  /** Literal-free text of the statement that runs, or ran last. */
  readonly statement: string | null;
  readonly fingerprint: string | null;
}
