// What a statement does to the names of its session (prepared statements, cursors, settings), from its tree.

import type { StatementEffect, StatementFacts } from './facts.ts';
import { bodyOf, isTreeNode, nodeTypeOf, type TreeNode, textOf } from './tree.ts';

/** nodes/parsenodes.h */
const CURSOR_OPT_HOLD = 0x0020;

/**
 * The effect of a statement, or null. `readPrepared` gives the facts of the statement inside a PREPARE, whose tree has no
 * offsets of its own.
 */
export function effectOf(tree: TreeNode, readPrepared: () => StatementFacts): StatementEffect | null {
  const type = nodeTypeOf(tree);
  const body = type === null ? null : tree[type];
  if (type === null || !isTreeNode(body)) return null;
  switch (type) {
    case 'PrepareStmt':
      return { type: 'prepare', name: textOf(body.name) ?? '', inner: readPrepared() };
    case 'ExecuteStmt':
      return { type: 'execute', name: textOf(body.name) ?? '' };
    case 'ExplainStmt':
      return executeInside(body.query);
    case 'CreateTableAsStmt':
      return executeInside(body.query) ?? temporary(isTreeNode(body.into) ? body.into.rel : null);
    case 'SelectStmt':
      return temporary(isTreeNode(body.intoClause) ? body.intoClause.rel : null);
    case 'CreateStmt':
      return temporary(body.relation);
    case 'CreateSeqStmt':
      return temporary(body.sequence);
    case 'ViewStmt':
      return temporary(body.view);
    case 'DeallocateStmt':
      return { type: 'deallocate', name: textOf(body.name) };
    case 'DiscardStmt':
      return (body.target ?? 'DISCARD_ALL') === 'DISCARD_ALL' ? { type: 'discard_all' } : null;
    case 'DeclareCursorStmt':
      return { type: 'declare', name: textOf(body.portalname) ?? '', isHeld: isHeld(body.options) };
    case 'FetchStmt':
      return { type: 'fetch', name: textOf(body.portalname) ?? '' };
    case 'ClosePortalStmt':
      return { type: 'close_cursor', name: textOf(body.portalname) };
    case 'VariableSetStmt':
      return settingChange(body);
    default:
      return null;
  }
}

function isHeld(options: unknown): boolean {
  return typeof options === 'number' && (options & CURSOR_OPT_HOLD) !== 0;
}

/** EXPLAIN EXECUTE, CREATE TABLE AS EXECUTE, and EXPLAIN of the latter run a prepared statement by its name. */
function executeInside(query: unknown): StatementEffect | null {
  const execute = bodyOf(query, 'ExecuteStmt') ?? bodyOf(bodyOf(query, 'CreateTableAsStmt')?.query, 'ExecuteStmt');
  return execute === null ? null : { type: 'execute', name: textOf(execute.name) ?? '' };
}

/** Of a relation that is made: by the word TEMPORARY, or by the schema. */
function temporary(relation: unknown): StatementEffect | null {
  if (!isTreeNode(relation)) return null;
  const isTemporary = relation.relpersistence === 't' || textOf(relation.schemaname) === 'pg_temp';
  return isTemporary ? { type: 'create_temporary' } : null;
}

function settingChange(body: TreeNode): StatementEffect {
  if (body.kind === 'VAR_RESET_ALL') return { type: 'set', name: null, isLocal: false };
  const name = (textOf(body.name) ?? '').toLowerCase();
  // SET TRANSACTION is never more than its transaction's, whatever the flag says.
  const isLocal = body.is_local === true || name === 'transaction' || name === 'transaction snapshot';
  return { type: 'set', name, isLocal };
}
