// What matters to a client's prepared statements besides their text: who else uses the servers, and what is known of the
// session and of the database's definitions now.

import type { Circumstances } from '../../session/preparation.ts';
import type { StatementFacts } from '../../sql/facts.ts';

/** What a client's routing knows of the servers that its statements go to. */
export interface Surroundings {
  /** Other clients use the same server connections. */
  readonly isShared: boolean;
  /** Named statements that are kept on each of them. */
  readonly maxStatements: number;
  /** What a text means now besides what it says; null where that is not certain. */
  circumstances(): Circumstances | null;
  /** What the statement may leave in its session, as bits of TRACE. */
  tracesOf(statement: StatementFacts): number;
}

/** One server, or several, of the client's own. */
export const OWN_SERVERS: Surroundings = {
  isShared: false,
  maxStatements: Number.POSITIVE_INFINITY,
  circumstances: () => null,
  tracesOf: () => 0,
};
