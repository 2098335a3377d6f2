// WHERE ROWNUM <= n as LIMIT n, for portable.ts. ROWNUM counts rows before they are sorted, grouped or made distinct, LIMIT
// after, so both mean the same only where none of these happens.

import type { Expr, SelectFromStatement } from 'pgsql-ast-parser';
import { isTreeNode } from './tree.ts';

/** Known to give one value for one row; any other function could be an aggregate or give many rows. */
const SCALAR_FUNCTIONS: ReadonlySet<string> = new Set(
  (
    'abs ceil coalesce concat currval date_trunc decode floor greatest initcap instr least length lower lpad ltrim mod ' +
    'nextval nvl nvl2 power replace round rpad rtrim sign statement_timestamp substr to_char to_date to_number ' +
    'to_timestamp trim trunc upper'
  ).split(' '),
);

/** Null where there is no such condition, or it is not alone in bounding the rows. */
export function limitRownum(select: SelectFromStatement): SelectFromStatement | null {
  if (!select.where || select.orderBy || select.groupBy || select.having) return null;
  if (select.distinct || select.limit || select.for || select.skip) return null;
  const terms = termsOf(select.where);
  const bounds = terms.map(boundOf);
  const limit = bounds.find((bound) => bound !== null) ?? null;
  if (limit === null) return null;
  const rest = terms.filter((_, index) => bounds[index] === null);
  const limited: SelectFromStatement = {
    ...select,
    where: rest.reduce<Expr | null>(
      (left, right) => (left === null ? right : { type: 'binary', op: 'AND', left, right }),
      null,
    ),
    limit: { limit },
  };
  const isBoundOnce = terms.length - rest.length === 1;
  return isBoundOnce && !mentionsRownum(limited) && isOneForOne(select.columns) ? limited : null;
}

function termsOf(condition: Expr): Expr[] {
  if (condition.type !== 'binary' || condition.op !== 'AND') return [condition];
  return [...termsOf(condition.left), ...termsOf(condition.right)];
}

/** How many rows a term lets through. */
function boundOf(term: Expr): Expr | null {
  if (term.type !== 'binary' || !isRownum(term.left)) return null;
  const { op, right } = term;
  // LIMIT NULL is no limit and a negative one an error, where ROWNUM finds no row; greatest() passes over NULL.
  if (op === '<=' && right.type === 'parameter')
    return { type: 'call', function: { name: 'greatest' }, args: [right, { type: 'integer', value: 0 }] };
  if (right.type !== 'integer') return null;
  if (op === '<=' && right.value >= 0) return right;
  if (op === '<' && right.value >= 1) return { type: 'integer', value: right.value - 1 };
  return op === '=' && right.value === 1 ? right : null;
}

function isRownum(node: unknown): boolean {
  return isTreeNode(node) && node.type === 'ref' && node.table === undefined && node.name === 'rownum';
}

function mentionsRownum(node: unknown): boolean {
  if (isRownum(node)) return true;
  if (Array.isArray(node)) return node.some(mentionsRownum);
  return isTreeNode(node) && Object.values(node).some(mentionsRownum);
}

function isOneForOne(node: unknown): boolean {
  if (Array.isArray(node)) return node.every(isOneForOne);
  if (!isTreeNode(node)) return true;
  if (node.type === 'call') {
    const name = isTreeNode(node.function) && node.function.schema === undefined ? node.function.name : null;
    if (typeof name !== 'string' || !SCALAR_FUNCTIONS.has(name) || node.over) return false;
  }
  return Object.values(node).every(isOneForOne);
}
