// NVL, NVL2 and DECODE in PostgreSQL's words, for portable.ts. Each gives null where the value could differ: Oracle takes ''
// for NULL, so a call with an empty literal is left to a person.

import type { Expr, ExprCall, ExprWhen } from 'pgsql-ast-parser';

/** They change with each row or look like columns without being one: not to be written twice. */
const PSEUDO_COLUMNS: ReadonlySet<string> = new Set([
  'rownum',
  'level',
  'sysdate',
  'systimestamp',
  'nextval',
  'currval',
  '*',
]);

export function replaceNvl(call: ExprCall): Expr | null {
  if (!isPlainCall(call) || call.args.length !== 2) return null;
  return { ...call, function: { name: 'coalesce' } };
}

export function replaceNvl2(call: ExprCall): Expr | null {
  const [tested, present, absent, ...others] = call.args;
  if (!isPlainCall(call) || tested === undefined || present === undefined || absent === undefined) return null;
  // A row is NOT NULL to PostgreSQL only when all its fields are.
  if (others.length > 0 || tested.type === 'list' || tested.type === 'null') return null;
  return {
    type: 'case',
    whens: [{ when: { type: 'unary', op: 'IS NOT NULL', operand: tested }, value: present }],
    else: absent,
  };
}

/** DECODE finds NULL equal to NULL. Two arguments are PostgreSQL's own decode(text, format). */
export function replaceDecode(call: ExprCall): Expr | null {
  const [sought, ...pairs] = call.args;
  if (!isPlainCall(call) || sought === undefined || sought.type === 'null' || pairs.length < 2) return null;
  const fallback = pairs.length % 2 === 1 ? pairs.at(-1) : undefined;
  const searches: Expr[] = [];
  const whens: ExprWhen[] = [];
  let areAllValues = true;
  for (let at = 0; at + 1 < pairs.length; at += 2) {
    const search = pairs[at];
    const value = pairs[at + 1];
    if (search === undefined || value === undefined) return null;
    if (!isValue(search)) areAllValues = false;
    searches.push(search);
    whens.push({ when: search, value });
  }
  if (areAllValues)
    return { type: 'case', value: sought, whens, ...(fallback === undefined ? {} : { else: fallback }) };
  // From here on the sought expression is written more than once.
  if (!isColumn(sought)) return null;
  const tests: ExprWhen[] = [];
  for (const { when: search, value } of whens) {
    const test = matchOf(sought, search);
    if (test === null) return null;
    tests.push({ when: test, value });
  }
  return { type: 'case', whens: tests, ...(fallback === undefined ? {} : { else: fallback }) };
}

/** IS NOT DISTINCT FROM, which pgsql-ast-parser cannot say, spelt out; unknown counts as false behind WHEN. */
function matchOf(sought: Expr, search: Expr): Expr | null {
  if (search.type === 'null') return isNull(sought);
  const isEqual: Expr = { type: 'binary', op: '=', left: sought, right: search };
  if (isValue(search)) return isEqual;
  if (!isColumn(search)) return null;
  const areBothNull: Expr = { type: 'binary', op: 'AND', left: isNull(sought), right: isNull(search) };
  return { type: 'binary', op: 'OR', left: isEqual, right: areBothNull };
}

function isNull(operand: Expr): Expr {
  return { type: 'unary', op: 'IS NULL', operand };
}

function isValue(node: Expr): boolean {
  return node.type === 'integer' || node.type === 'numeric' || node.type === 'string';
}

function isColumn(node: Expr): boolean {
  return node.type === 'ref' && !PSEUDO_COLUMNS.has(node.name);
}

/** Neither an aggregate's clauses nor an empty literal. */
function isPlainCall(call: ExprCall): boolean {
  if (call.distinct || call.orderBy || call.filter || call.withinGroup || call.over) return false;
  return !call.args.some((argument) => argument.type === 'string' && argument.value === '');
}
