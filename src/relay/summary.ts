// How a session looks from outside, for the people who run the database. Free of literals.

export interface SessionSummary {
  readonly id: number;
  readonly user: string;
  readonly database: string;
  readonly applicationName: string;
  readonly clientIp: string;
  readonly clientPort: number | null;
  readonly connectedAtMs: number;
  /** `login`, `idle`, `active`, `idle_in_transaction`, `failed_transaction`, `waiting` (held by a limit), `closing`. */
  readonly state: string;
  readonly stateSinceMs: number;
  /** The target that runs its statements now. */
  readonly target: string;
  readonly serverPid: number | null;
  /** Why it holds a server connection: `transaction`, `statement`, or what is pinned (`temporary`, …); empty: it holds none. */
  readonly holds: readonly string[];
  /** Literal-free text of the statement that runs, or ran last. */
  readonly statement: string | null;
  readonly fingerprint: string | null;
}
