// What a statement can leave behind in its session when its transaction is over, as bits.

export const TRACE = {
  settings: 1,
  /** Code that is not in the text ran, or may have: anything that can be asked for. */
  hidden: 2,
  temporary: 4,
  heldCursor: 8,
  advisoryLock: 16,
  listen: 32,
  preparedSql: 64,
  sequence: 128,
  seed: 256,
  library: 512,
  extension: 1024,
  /** A setting of a name that nobody knows: a placeholder that pg_settings leaves out. */
  opaqueSetting: 2048,
  /** Nothing of the session's: what is known of the catalogs may be out of date. */
  definition: 4096,
} as const;

/** Bits of what no question to the server can find: they pin on sight, until the end of the session. */
export const UNASKABLE: number = TRACE.sequence | TRACE.seed | TRACE.library | TRACE.extension | TRACE.opaqueSetting;

/** Of those, what DISCARD ALL (and DISCARD SEQUENCES) ends; the others outlive it. */
export const DISCARDED: number = TRACE.sequence;

// Beside the bits of TRACE while traces are worked out: never in what traceOf answers.

/** It runs text that its caller's text may show. */
export const RUNS_ARGUMENT = 1 << 20;
/** Nobody knows whether it does: what no question finds is not taken from there. */
export const MAY_RUN_ARGUMENT = 1 << 21;
