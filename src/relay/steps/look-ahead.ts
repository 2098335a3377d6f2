// Looks over the messages of one extended unit of work, from the first to its Sync, to see where its statements may
// run. Only a unit that lies whole in the chunk can be seen as a whole; any other goes to the primary, which is always right.

import { resolveStatements } from '../../session/statements.ts';
import type { TextFacts } from '../../sql/facts.ts';
import { NOT_PREPARED_FACTS } from '../../sql/unparsed.ts';
import { FRONTEND } from '../../wire/codes.ts';
import { findNul, readName } from '../../wire/reader.ts';
import type { Connection } from '../connection.ts';
import type { RelayContext } from '../context.ts';

/** True where every statement that the unit executes is routed to a replica, and there is one. */
export function wantsReplica(
  connection: Connection,
  context: RelayContext,
  isRoutable: (facts: TextFacts) => boolean,
): boolean {
  const statements = readExecuted(connection, context);
  if (statements === null || statements.length === 0) return false;
  const { session } = connection;
  const isRouted = statements.every((facts) => {
    const resolved = resolveStatements(facts, session.statements, session.portals, NOT_PREPARED_FACTS);
    return connection.view().judge(resolved, session.isTransactionAhead).route?.target === 'replica';
  });
  return isRouted && statements.every(isRoutable);
}

/** The statements that are bound in the unit, or null where it cannot be seen whole or executes something older. */
function readExecuted(connection: Connection, context: RelayContext): TextFacts[] | null {
  const { chunk, chunkEnd } = connection.client;
  const { session } = connection;
  const parsed = new Map<string, TextFacts>();
  const bound: TextFacts[] = [];
  let hasExecute = false;
  let at = connection.client.chunkOffset;
  while (at + 5 <= chunkEnd) {
    const end = at + 1 + chunk.readInt32BE(at + 1);
    if (end > chunkEnd || end < at + 5) return null;
    switch (chunk[at]) {
      case FRONTEND.parse: {
        const nameEnd = findNul(chunk, at + 5, end);
        const textEnd = findNul(chunk, nameEnd + 1, end);
        if (nameEnd < 0 || textEnd < 0) return null;
        parsed.set(
          readName(chunk, at + 5, nameEnd),
          context.facts.readBytes(
            chunk,
            nameEnd + 1,
            textEnd,
            session.clientEncoding,
            session.areStringsConforming,
            false,
          ),
        );
        break;
      }
      case FRONTEND.bind: {
        const portalEnd = findNul(chunk, at + 5, end);
        const nameEnd = findNul(chunk, portalEnd + 1, end);
        if (portalEnd < 0 || nameEnd < 0) return null;
        const name = readName(chunk, portalEnd + 1, nameEnd);
        const known = session.statements.find(name);
        const facts = parsed.get(name) ?? known?.facts;
        // What SQL PREPARE made cannot be repeated on another server.
        if (facts === undefined || (!parsed.has(name) && known?.preparation === null)) return null;
        bound.push(facts);
        break;
      }
      case FRONTEND.execute:
        if (bound.length === 0) return null;
        hasExecute = true;
        break;
      case FRONTEND.describe:
      case FRONTEND.flush:
        break;
      case FRONTEND.sync:
        return hasExecute ? bound : null;
      default:
        return null;
    }
    at = end;
  }
  return null;
}
