// Which server a client's next unit of work runs on. A unit is a Query, or extended messages up to their Sync. Two ways:
// servers of its own for the client's whole life (steps/route.ts), or one of many that clients share (steps/shared-servers.ts).

import type { Refusal } from '../policy/verdict.ts';
import type { StatementFacts, TextFacts } from '../sql/facts.ts';
import type { Run } from './run.ts';
import type { ServerSide } from './server-side.ts';
import type { StatementCarrier } from './steps/carry-statements.ts';

export interface Routing {
  /** The server connection goes back when nothing is left on it, rather than with the client. */
  readonly isShared: boolean;
  eachServer(act: (server: ServerSide) => void): void;
  /** May this Query go now, and to the server that is active? `false`: the gate is closed until it may. */
  isReadyForQuery(run: Run): boolean;
  /** The same for an extended message; only the first of a unit decides. */
  isReadyForUnit(): boolean;
  /** Sync has been sent. */
  endUnit(): void;
  /** The answers of a turn have been looked at. */
  endTurn(): void;
  readonly statements: StatementCarrier;
  /** They leave nothing that would have to be followed, as far as is known (sql/plain.ts). */
  isPlain(facts: TextFacts): boolean;
  /** These statements are about to run on the active server. */
  noteRun(facts: TextFacts, isPlain: boolean): void;
  /** A statement has been completed that was not plain. */
  noteStatement(statement: StatementFacts): void;
  /** A statement has failed; `isOwn`: a Query of pgweir's own. */
  noteError(isOwn: boolean): void;
  /** The unit has ended; the session does not know the new status yet. */
  noteReady(status: number): void;
  /** The session goes on without the server whose socket has ended. */
  canLose(server: ServerSide): boolean;
  /** What a ParameterStatus says to the client; null: nothing. */
  wordParameter(server: ServerSide, name: string, value: string): string | null;
  /** Why no server was to be had for the message that waited for one, told once; null where none waited in vain. */
  takeRefusal(): Refusal | null;
  /** A message waits for a server. */
  readonly isWaiting: boolean;
  /** A wait for a server is given up; true where there was one. */
  abandonWait(): boolean;
  /** Why a server connection is held now; empty where none is. */
  listHolds(): readonly string[];
  /** The connection closes: every server goes back. */
  leave(isMidMessage: boolean): void;
}
