// The numbers kept for a rule, for one cell of the observation matrix, and for what no longer has a cell of its own.

/** What a rule did to statements, or in observe mode would have done. One shape for all: these are hot objects. */
export interface Tally {
  /** Statements that matched. */
  matched: number;
  /** Of those: inside a transaction block. */
  inTransaction: number;
  refused: number;
  wouldRefuse: number;
  routed: number;
  wouldRoute: number;
  killed: number;
  wouldKill: number;
  killRaced: number;
  /** Held back by a limit, then let through. */
  waited: number;
}

export const TALLY_FIELDS = [
  'matched',
  'inTransaction',
  'refused',
  'wouldRefuse',
  'routed',
  'wouldRoute',
  'killed',
  'wouldKill',
  'killRaced',
  'waited',
] as const satisfies readonly (keyof Tally)[];

export type TallyField = (typeof TALLY_FIELDS)[number];

export function createTally(): Tally {
  return {
    matched: 0,
    inTransaction: 0,
    refused: 0,
    wouldRefuse: 0,
    routed: 0,
    wouldRoute: 0,
    killed: 0,
    wouldKill: 0,
    killRaced: 0,
    waited: 0,
  };
}

export function addTally(into: Tally, from: Tally): void {
  for (const field of TALLY_FIELDS) into[field] += from[field];
}
