// What a statement does to the names of its session: announced when it goes out, so that what is pipelined behind it
// finds them; made good or taken back when the server has answered.

import type { OwedReply } from '../../session/owed.ts';
import type { ServerNames } from '../../session/server-names.ts';
import type { Session } from '../../session/session.ts';
import type { PreparedStatement } from '../../session/statements.ts';
import type { StatementEffect, StatementFacts } from '../../sql/facts.ts';
import { keepName } from '../../wire/reader.ts';
import type { Run } from '../run.ts';

const OPENING = new Set(['begin']);
const CLOSING = new Set(['commit', 'rollback', 'prepare_transaction']);

/** The message is on its way. */
export function announceEffects(run: Run, owed: OwedReply<Run>, session: Session<Run>): void {
  for (const [index, statement] of run.facts.entries()) {
    if (statement.shape.queryClass === 'transaction') announceTransaction(statement, session);
    const behind = findExecuted(statement, session);
    if (behind !== null) {
      run.executed ??= new Map();
      run.executed.set(index, behind);
    }
    const effect = effectOf(statement, behind);
    if (effect === null) continue;
    if (effect.type === 'prepare') {
      const declared = session.statements.declare(effect.name, [effect.inner], owed.sequence, null);
      session.statements.markSql(declared);
      owed.declared = [...listDeclared(owed), declared];
    } else if (effect.type === 'declare') {
      session.portals.declare(effect.name, [statement], owed.sequence, effect.isHeld);
    }
  }
}

/** The server has completed the next statement of a run: which one that was, and what it did; null where that is not known. */
export function takeCompleted(run: Run): { statement: StatementFacts; effect: StatementEffect | null } | null {
  const index = run.completed++;
  const bound = run.portal?.statement ?? null;
  const statement = (bound === null ? run.facts : meaningOf(bound).facts)[index];
  if (statement === undefined) return null;
  const behind = run.executed?.get(index) ?? null;
  return { statement, effect: effectOf(statement, behind === null ? null : meaningOf(behind)) };
}

/** What a name meant after all: a Parse or PREPARE that was refused has left it as it was. */
function meaningOf(statement: PreparedStatement): PreparedStatement {
  for (let meant: PreparedStatement | null = statement; meant !== null; meant = meant.previous)
    if (meant.isConfirmed) return meant;
  return statement;
}

/** What an EXECUTE names. */
function findExecuted({ effect, shape }: StatementFacts, session: Session<Run>): PreparedStatement | null {
  if (effect?.type !== 'execute' || shape.kinds[0] !== 'execute') return null;
  return session.statements.find(keepName(effect.name));
}

/** An EXECUTE has the effect of what it executes, which can only be SQL about names by way of a Parse. */
function effectOf({ effect }: StatementFacts, executed: PreparedStatement | null): StatementEffect | null {
  return withKeptName(executed?.facts[0]?.effect ?? effect);
}

/** The name of a statement in a text is the one that messages have. */
function withKeptName(effect: StatementEffect | null): StatementEffect | null {
  if (effect?.type !== 'prepare' && effect?.type !== 'deallocate') return effect;
  const name = effect.name === null ? null : keepName(effect.name);
  return name === null || name === effect.name ? effect : { ...effect, name };
}

function announceTransaction(statement: StatementFacts, session: Session<Run>): void {
  const kind = statement.shape.kinds[0] ?? '';
  if (OPENING.has(kind)) session.isTransactionAhead = true;
  else if (CLOSING.has(kind)) session.isTransactionAhead = false;
}

/** The server has completed a statement of that effect. What a PREPARE has made, null of others. */
export function confirmEffect(
  effect: StatementEffect,
  owed: OwedReply<Run>,
  session: Session<Run>,
): PreparedStatement | null {
  if (effect.type === 'prepare') {
    const declared = listDeclared(owed).find((candidate) => candidate.name === effect.name && !candidate.isConfirmed);
    if (declared !== undefined) session.statements.confirm(declared);
    return declared ?? null;
  }
  if (effect.type === 'deallocate') {
    session.statements.forget(effect.name, owed.sequence);
  } else if (effect.type === 'close_cursor') {
    session.portals.forget(effect.name, owed.sequence);
  } else if (effect.type === 'discard_all') {
    session.statements.forget(null, owed.sequence);
    session.portals.forget(null, owed.sequence);
  }
  return null;
}

/** The same for what the server has by name; `made` is what a PREPARE has made. */
export function noteEffect(
  effect: StatementEffect,
  made: PreparedStatement | null,
  owed: OwedReply<Run>,
  names: ServerNames,
): void {
  if (made !== null) names.fillBySql(made, owed.sequence);
  else if (effect.type === 'deallocate') names.emptyNamed(effect.name, owed.sequence);
  else if (effect.type === 'discard_all') names.emptyNamed(null, owed.sequence);
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
