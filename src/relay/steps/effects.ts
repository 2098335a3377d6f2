// What a statement does to the names of its session: announced when it goes out, so that what is pipelined behind it
// finds them; made good or taken back when the server has answered.

import type { OwedReply } from '../../session/owed.ts';
import type { Session } from '../../session/session.ts';
import type { PreparedStatement } from '../../session/statements.ts';
import type { StatementFacts, TextFacts } from '../../sql/facts.ts';
import type { Run } from '../run.ts';

const OPENING = new Set(['begin']);
const CLOSING = new Set(['commit', 'rollback', 'prepare_transaction']);

/** The message is on its way. */
export function announceEffects(facts: TextFacts, owed: OwedReply<Run>, session: Session<Run>): void {
  for (const statement of facts) {
    if (statement.shape.queryClass === 'transaction') announceTransaction(statement, session);
    const { effect } = statement;
    if (effect === null) continue;
    if (effect.type === 'prepare') {
      const declared = session.statements.declare(effect.name, [effect.inner], owed.sequence, null);
      owed.declared = [...listDeclared(owed), declared];
    } else if (effect.type === 'declare') {
      session.portals.declare(effect.name, [statement], owed.sequence, effect.isHeld);
    }
  }
}

function announceTransaction(statement: StatementFacts, session: Session<Run>): void {
  const kind = statement.shape.kinds[0] ?? '';
  if (OPENING.has(kind)) session.isTransactionAhead = true;
  else if (CLOSING.has(kind)) session.isTransactionAhead = false;
}

/** The server has completed this statement of the message. */
export function confirmEffect(statement: StatementFacts, owed: OwedReply<Run>, session: Session<Run>): void {
  const { effect } = statement;
  if (effect === null) return;
  if (effect.type === 'prepare') {
    const declared = listDeclared(owed).find((candidate) => candidate.name === effect.name && !candidate.isConfirmed);
    if (declared !== undefined) session.statements.confirm(declared);
  } else if (effect.type === 'deallocate') {
    session.statements.forget(effect.name, owed.sequence);
  } else if (effect.type === 'close_cursor') {
    session.portals.forget(effect.name, owed.sequence);
  } else if (effect.type === 'discard_all') {
    session.statements.forget(null, owed.sequence);
    session.portals.forget(null, owed.sequence);
  }
}

/** The server refused these messages, or skipped them without a look: names mean again what they meant before. */
export function undoDeclared(
  declared: readonly PreparedStatement[],
  session: Session<Run>,
  isSkipped: boolean = false,
): void {
  for (const statement of declared.toReversed()) session.statements.undo(statement, isSkipped);
}

export function listDeclared(owed: OwedReply<Run>): readonly PreparedStatement[] {
  const { declared } = owed;
  if (declared === null) return [];
  return Array.isArray(declared) ? (declared as readonly PreparedStatement[]) : [declared as PreparedStatement];
}
