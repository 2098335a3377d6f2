// How a pool looks from outside: its server connections by state, who waits, and the ledger. Made when somebody asks.

/** A server connection that a client holds although no transaction is open, by why. */
export interface PinSummary {
  /** A name of sql/traces.ts (`temporary`, `listen`, …), or of what else holds; bounded, never what a client chose. */
  readonly reason: string;
  /** Connections that are pinned for it now. One may be pinned for several reasons. */
  readonly current: number;
  readonly total: number;
  /** Time in ms that connections were pinned for it, those that still are included. */
  readonly heldMs: number;
}

/** The server connections that one user has in one database of one target. Numbers without a state only rise. */
export interface PoolSummary {
  readonly target: string;
  readonly database: string;
  readonly user: string;
  readonly isPaused: boolean;
  /** Connections at most, the reserve not counted. */
  readonly limit: number;
  /**
   * `active` runs something, is inside a transaction, or is made ready for its next client; `reclaimable` is kept for its
   * client until somebody else needs it; `pinned` until its client has given up what pins it.
   */
  readonly connections: {
    readonly idle: number;
    readonly active: number;
    readonly reclaimable: number;
    readonly pinned: number;
    readonly opening: number;
  };
  readonly waiting: number;
  /** Of those that wait now; 0 where nobody does. */
  readonly longestWaitMs: number;
  /** Always `releases` plus `held`. */
  readonly acquires: number;
  readonly releases: number;
  readonly held: number;
  readonly handovers: number;
  readonly settlements: number;
  readonly opened: number;
  readonly closed: number;
  readonly waitTimeouts: number;
  /** Statements after which the connection was free for others, and those on a pinned one. */
  readonly statements: { readonly shared: number; readonly pinned: number };
  readonly pins: readonly PinSummary[];
  /** Why the last login or connection attempt failed; null when it did not. Free of credentials. */
  readonly lastError: string | null;
}

/** Which pools; a part that is left out means all. */
export interface PoolFilter {
  readonly database?: string | undefined;
  readonly user?: string | undefined;
}
