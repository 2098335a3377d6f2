// One question to a server connection at rest: what has its client left there?

import type { Member } from '../../pool/member.ts';
import { makeSettlementQuery, readSettlement, type Settlement } from '../../pool/settlement.ts';
import type { TransactionPool } from '../../pool/transaction-pool.ts';
import type { Belongings } from '../../session/belongings.ts';
import { TRACE, UNASKABLE } from '../../sql/traces.ts';
import type { Connection } from '../connection.ts';
import type { ServerSide } from '../server-side.ts';
import type { Leavings } from './leavings.ts';
import { questionOfNames, settleNames } from './prepared-check.ts';

/** Throws WeirError where the server does not answer. Notices and notifications that come meanwhile go on to the client. */
export async function askWhatIsLeft(
  connection: Connection,
  pool: TransactionPool<ServerSide>,
  member: Member<ServerSide>,
  leavings: Leavings,
  belongings: Belongings,
): Promise<Settlement> {
  // What was found before may be there still.
  const traces = leavings.traces | (member.pins & ~UNASKABLE);
  const followsSequences = pool.settings.sequences === 'keep';
  // It is asked by a DO in plpgsql. Where there is none, something may have been drawn.
  const asksSequences = followsSequences && member.loginClass.pool.catalog.last.hasPlpgsql;
  if ((traces & TRACE.hidden) !== 0) {
    member.isMixed = true;
    member.ranHidden = true;
  }
  const { rows, asides } = await pool.say(
    member,
    makeSettlementQuery(traces, leavings.names(belongings), belongings, asksSequences) + questionOfNames(traces),
  );
  if (asides.length > 0 && !connection.isClosing) {
    connection.client.outlet.write(asides);
    connection.client.outlet.flush();
  }
  const { side } = member;
  const carried = side === null ? 0 : settleNames(traces, rows, side.names, connection.session.statements);
  const settlement = readSettlement(rows, traces, belongings);
  const found = settlement.found & ~carried;
  if (followsSequences || (found & TRACE.sequence) === 0) return { ...settlement, found };
  // The next client must not see what was drawn: `hasDrawn` has it discarded first.
  member.hasDrawn = true;
  return { ...settlement, found: found & ~TRACE.sequence };
}
