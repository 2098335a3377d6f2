// What a statement does to the names of its session: announced when it goes out, so that what is pipelined behind it
// finds them; made good or taken back when the server has answered.

import type { OwedReply } from '../../session/owed.ts';
import type { ServerNames } from '../../session/server-names.ts';
import type { Session } from '../../session/session.ts';
import { findByText, type Portal, type PreparedStatement } from '../../session/statements.ts';
import type { StatementEffect, StatementFacts } from '../../sql/facts.ts';
import { keepName, MAX_NAME_BYTES } from '../../wire/reader.ts';
import type { Run } from '../run.ts';

const OPENING = new Set(['begin']);
const CLOSING = new Set(['commit', 'rollback', 'prepare_transaction']);
/** One EXECUTE behind another. They can go in a circle, which the server ends with an error. */
const MAX_EXECUTES = 8;

/** The message is on its way. */
export function announceEffects(run: Run, owed: OwedReply<Run>, session: Session<Run>): void {
  for (const [index, statement] of run.facts.entries()) {
    const executed = findExecuted(statement, session);
    if (executed !== null) {
      run.executed ??= new Map();
      run.executed.set(index, executed);
    }
    announceTransaction(executed?.facts[0] ?? statement, owed.sequence, session);
    const effect = effectOf(statement, executed, session);
    if (effect === null) continue;
    if (effect.type === 'prepare') {
      const declared = session.statements.declare(effect.name, [effect.inner], owed.sequence, null);
      session.statements.markSql(declared);
      owed.declared = [...listDeclared(owed), declared];
    } else if (effect.type === 'declare') {
      const portal = session.portals.declare(effect.name, [statement], owed.sequence, effect.isHeld);
      portal.beside = owed.portal;
      owed.portal = portal;
    }
  }
}

/** The server has completed the next statement of a run: which one that was, and what it did; null where that is not known. */
export function takeCompleted(
  run: Run,
  session: Session<Run>,
): { statement: StatementFacts; effect: StatementEffect | null } | null {
  const index = run.completed++;
  const bound = run.portal?.statement ?? null;
  const statement = (bound === null ? run.facts : meaningOf(bound).facts)[index];
  if (statement === undefined) return null;
  const executed = run.executed?.get(index) ?? null;
  return { statement, effect: effectOf(statement, executed === null ? null : meaningOf(executed), session) };
}

/** What a name meant after all: a Parse or PREPARE that was refused has left it as it was. */
function meaningOf(statement: PreparedStatement): PreparedStatement {
  for (let meant: PreparedStatement | null = statement; meant !== null; meant = meant.previous)
    if (meant.isConfirmed) return meant;
  return statement;
}

/** What an EXECUTE runs, through further EXECUTEs to the end, as far as that is known. Null for any other statement. */
function findExecuted(statement: StatementFacts, session: Session<Run>): PreparedStatement | null {
  let executed: PreparedStatement | null = null;
  let last: StatementFacts | undefined = statement;
  for (let depth = 0; depth < MAX_EXECUTES && last?.effect?.type === 'execute'; depth++) {
    if (last.shape.kinds[0] !== 'execute') break;
    const next: PreparedStatement | null = findByText(session.statements, last.effect.name);
    if (next === null) break;
    executed = next;
    last = next.facts[0];
  }
  return executed;
}

/** An EXECUTE has the effect of what it runs. That has one on names only where a Parse prepared it: SQL PREPARE takes no such statement. */
function effectOf(
  statement: StatementFacts,
  executed: PreparedStatement | null,
  session: Session<Run>,
): StatementEffect | null {
  const effect = executed?.facts[0]?.effect ?? statement.effect;
  switch (effect?.type) {
    case 'prepare':
    case 'deallocate':
      return withKeptName(effect, keepName);
    case 'declare':
    case 'close_cursor':
      return withKeptName(effect, session.clientEncoding === 'LATIN1' ? cutName : keepName);
    default:
      return effect;
  }
}

/** The name in a text is the one that messages have. */
function withKeptName(
  effect: Extract<StatementEffect, { type: 'prepare' | 'deallocate' | 'declare' | 'close_cursor' }>,
  keep: (name: string) => string,
): StatementEffect {
  if (effect.name === null) return effect;
  const name = keep(effect.name);
  return name === effect.name ? effect : { ...effect, name };
}

/** Latin-1 has a byte for each character. */
function cutName(name: string): string {
  return name.slice(0, MAX_NAME_BYTES);
}

function announceTransaction({ shape }: StatementFacts, sequence: number, session: Session<Run>): void {
  if (shape.queryClass !== 'transaction') return;
  const kind = shape.kinds[0] ?? '';
  if (OPENING.has(kind)) session.announceTransaction(true, sequence);
  else if (CLOSING.has(kind)) {
    // AND CHAIN goes on in a transaction, and is an error where there is none.
    const isChained = /\band chain\b/i.test(shape.normalized);
    session.announceTransaction(isChained && session.isTransactionAhead, sequence);
  }
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
  } else if (effect.type === 'declare') {
    confirmPortal(effect.name, owed, session);
  } else if (effect.type === 'close_cursor') {
    session.portals.forget(effect.name, owed.sequence);
  } else if (effect.type === 'discard_all') {
    session.statements.forget(null, owed.sequence);
    session.portals.forget(null, owed.sequence);
  }
  return null;
}

/** The first of that name that waits: a Query may declare it, close it, and declare it again. */
function confirmPortal(name: string, owed: OwedReply<Run>, session: Session<Run>): void {
  let first: Portal | null = null;
  for (let portal = owed.portal; portal !== null; portal = portal.beside)
    if (portal.isPending && portal.name === name) first = portal;
  if (first !== null) session.portals.confirmOne(first);
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
