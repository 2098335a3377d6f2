// A suggestion for a person: the text with those Oracle constructs rewritten that PostgreSQL's grammar can read and that have a
// sound counterpart. Only for `pgweir explain`; pgsql-ast-parser takes milliseconds, not microseconds. What it reads or prints
// differently from PostgreSQL (it moves the ORDER BY of a UNION, and loses digits) is noticed by PostgreSQL's own grammar and
// given up.

import type { Expr, ExprRef, SelectFromStatement, SelectStatement, Statement } from 'pgsql-ast-parser';
import { astMapper, parse, toSql } from 'pgsql-ast-parser';
import { parseSql } from './parse.ts';
import { limitRownum } from './portable-limit.ts';
import { replaceDecode, replaceNvl, replaceNvl2 } from './portable-null.ts';
import { surveyStatement } from './portable-survey.ts';
import { isTreeNode } from './tree.ts';

export interface PortableSuggestion {
  /** PostgreSQL reads it; comments and layout of the original are lost. */
  readonly text: string;
  /** What was rewritten, each kind once. What is not named here was left as it was. */
  readonly changes: readonly string[];
}

/** Longer texts get no suggestion: the parser's time grows with the square of a chain of operators (0.8 s at 12,000). */
export const MAX_PORTABLE_CHARACTERS = 20_000;

const WORTH_READING = /\b(?:dual|nvl2?|decode|sysdate|systimestamp|nextval|currval|rownum)\b/i;
const SECONDS_NOW: Expr = {
  type: 'cast',
  operand: {
    type: 'call',
    function: { name: 'date_trunc' },
    args: [{ type: 'string', value: 'second' }, callOf('statement_timestamp')],
  },
  to: { name: 'timestamp' },
};
/** Operators under which a timestamp of PostgreSQL does what a DATE of Oracle does. Not `-`: days there, an interval here. */
const TIME_SAFE_OPERATORS: ReadonlySet<string> = new Set([
  'AND',
  'OR',
  '=',
  '!=',
  '<',
  '<=',
  '>',
  '>=',
  'IN',
  'NOT IN',
]);
const TIME_SAFE_CALLS: ReadonlySet<string> = new Set(
  'nvl nvl2 decode coalesce greatest least to_char min max count'.split(' '),
);

/**
 * Null when there is nothing to suggest: no such construct, none that can be rewritten soundly, or a text that one of the two
 * parsers cannot read. Needs loadParser() awaited. String literals are read as under standard_conforming_strings.
 */
export function suggestPortable(text: string): PortableSuggestion | null {
  if (text.length > MAX_PORTABLE_CHARACTERS || !WORTH_READING.test(text)) return null;
  try {
    return suggest(text);
  } catch (error) {
    // A chain of thousands of operators is too deep for the second parser's walks.
    if (error instanceof RangeError) return null;
    throw error;
  }
}

function suggest(text: string): PortableSuggestion | null {
  const original = readTrees(text);
  if (original === null) return null;
  const statements = readStatements(text, original);
  if (statements === null) return null;
  const changes = new Set<string>();
  const rewritten = print(statements.map((statement) => rewrite(statement, text, changes)));
  if (changes.size === 0) return null;
  const trees = readTrees(rewritten);
  if (trees === null) return null;
  const tidied = tidy(rewritten);
  return { text: readTrees(tidied) === trees ? tidied : rewritten, changes: [...changes] };
}

/** Null for what the second parser cannot read: what it cannot even print, or not unchanged, it has not understood. */
function readStatements(text: string, original: string): Statement[] | null {
  try {
    const statements = parse(text);
    return readTrees(print(statements)) === original ? statements : null;
  } catch {
    return null;
  }
}

function print(statements: readonly Statement[]): string {
  return statements.map((statement) => toSql.statement(statement)).join('; ');
}

/** What PostgreSQL's grammar sees in a text, without where it stands. */
function readTrees(text: string): string | null {
  const outcome = parseSql(text);
  if (!outcome.isParsed) return null;
  return JSON.stringify(
    outcome.statements.map((statement) => statement.tree),
    (key, value: unknown) => (/location$|list_(?:start|end)$/.test(key) ? undefined : value),
  );
}

function rewrite(statement: Statement, text: string, changes: Set<string>): Statement {
  const survey = surveyStatement(statement);
  // Quoted names lose their quotes in the tree, and "dual" is a table of somebody, not Oracle's.
  const isOracles = (name: string): boolean => !survey.declaredNames.has(name) && !text.includes(`"${name}"`);
  let timeUnsafeDepth = 0;
  const under = <Result>(isTimeSafe: boolean, map: () => Result): Result => {
    if (!isTimeSafe) timeUnsafeDepth++;
    const result = map();
    if (!isTimeSafe) timeUnsafeDepth--;
    return result;
  };
  const replaced = <Node>(before: Node, after: Node | null, change: string): Node => {
    if (after === null) return before;
    changes.add(change);
    return after;
  };

  const replaceRef = (ref: ExprRef): Expr => {
    if (ref.table !== undefined) {
      if (ref.name !== 'nextval' && ref.name !== 'currval') return ref;
      const isSound = survey.isSequenceSafe(ref) && isOracles(ref.name);
      return replaced<Expr>(
        ref,
        isSound ? callOf(ref.name, sequenceName(ref)) : null,
        `sequence.${ref.name.toUpperCase()} → ${ref.name}('sequence')`,
      );
    }
    if (timeUnsafeDepth > 0 || !isOracles(ref.name)) return ref;
    // Both stand still in a statement and move on in a transaction, as Oracle's do; localtimestamp would stand still there.
    // SYSDATE is cut to the second; localtimestamp(0) would round, up to half a second into the future.
    if (ref.name === 'sysdate')
      return replaced<Expr>(
        ref,
        SECONDS_NOW,
        "SYSDATE → date_trunc('second', statement_timestamp())::timestamp, in the session's time zone",
      );
    if (ref.name === 'systimestamp')
      return replaced<Expr>(ref, callOf('statement_timestamp'), 'SYSTIMESTAMP → statement_timestamp()');
    return ref;
  };

  const mapper = astMapper((base) => ({
    ref: replaceRef,
    binary: (node) => under(TIME_SAFE_OPERATORS.has(node.op), () => base.super().binary(node)),
    unary: (node) => under(node.op !== '-' && node.op !== '+', () => base.super().unary(node)),
    cast: (node) => under(false, () => base.super().cast(node)),
    // A function in FROM names a relation; the mapper would drop it when it becomes something else.
    fromCall: (from) => from,
    call: (call) => {
      const { name, schema } = call.function;
      const isOwn = schema === undefined;
      const mapped = under(isOwn && TIME_SAFE_CALLS.has(name), () => base.super().call(call));
      if (mapped === null || mapped === undefined || mapped.type !== 'call' || !isOwn || !isOracles(name))
        return mapped;
      if (name === 'nvl') return replaced<Expr>(mapped, replaceNvl(mapped), 'NVL → COALESCE');
      if (name === 'nvl2') return replaced<Expr>(mapped, replaceNvl2(mapped), 'NVL2 → CASE WHEN … IS NOT NULL');
      if (name === 'decode')
        return replaced<Expr>(mapped, replaceDecode(mapped), 'DECODE → CASE, NULL still equal to NULL');
      return mapped;
    },
    selectionColumn: (column) => {
      const mapped = base.super().selectionColumn(column);
      const before = column.expr;
      if (mapped === null || mapped === undefined || column.alias !== undefined) return mapped;
      // Clients read the column by this name.
      const isRenamed = before.type === 'ref' && before.table === undefined && mapped.expr !== before;
      return isRenamed ? { ...mapped, alias: { name: before.name } } : mapped;
    },
    selection: (select) => {
      const mapped = base.super().selection(select);
      if (mapped === null || mapped === undefined || mapped.type !== 'select') return mapped;
      const limited = replaced(mapped, isOracles('rownum') ? limitRownum(mapped) : null, 'ROWNUM → LIMIT');
      return replaced<SelectStatement>(limited, isOracles('dual') ? dropDual(limited) : null, 'FROM DUAL dropped');
    },
  }));
  return mapper.statement(statement) ?? statement;
}

function callOf(name: string, ...args: Expr[]): Expr {
  return { type: 'call', function: { name }, args };
}

/** As regclass reads it: folded unless quoted. */
function sequenceName(ref: ExprRef): Expr {
  const parts = [ref.table?.schema, ref.table?.name].filter((part) => part !== undefined);
  const quoted = parts.map((part) => (/^[a-z_][a-z0-9_$]*$/.test(part) ? part : `"${part.replaceAll('"', '""')}"`));
  return { type: 'string', value: quoted.join('.') };
}

/** Null where DUAL is joined, or where its one row, its column or its name is asked for. */
function dropDual(select: SelectFromStatement): SelectFromStatement | null {
  const [dual, ...others] = select.from ?? [];
  if (dual?.type !== 'table' || others.length > 0 || dual.name.name !== 'dual') return null;
  if (dual.name.schema !== undefined && dual.name.schema !== 'sys') return null;
  if (select.for !== undefined || dual.name.columnNames) return null;
  if (select.columns?.some(({ expr }) => expr.type === 'ref' && expr.name === '*')) return null;
  const asked = new Set(['dual', 'dummy', dual.name.alias ?? 'dual']);
  return mentions(select, asked) ? null : { ...select, from: null };
}

function mentions(node: unknown, names: ReadonlySet<string>): boolean {
  if (Array.isArray(node)) return node.some((item) => mentions(item, names));
  if (!isTreeNode(node)) return false;
  if (node.type === 'ref') {
    const table = isTreeNode(node.table) ? node.table.name : node.name;
    return typeof table === 'string' && names.has(table);
  }
  return Object.values(node).some((value) => mentions(value, names));
}

const LITERAL = String.raw`\d+|'(?:[^'\\]|'')*'|\$\d+|null`;
const TIDY = new RegExp(
  String.raw`(?<=(?:[(,=<>+*/|-]|\b(?:SELECT|THEN|ELSE|WHEN|LIMIT|OFFSET|AND|OR|LIKE|CASE|AS)) *)\((${LITERAL})\)|('(?:[^'\\]|'')*'|"(?:[^"]|"")*")|\s+`,
  'g',
);

/** Its printer puts every literal in parentheses and spaces in odd places. The caller checks that nothing else changed. */
function tidy(text: string): string {
  return text
    .replace(TIDY, (_, literal?: string, quoted?: string) => literal ?? quoted ?? ' ')
    .replace(/('(?:[^'\\]|'')*'|"(?:[^"]|"")*")| (?=[),;.]|$)|(?<=\w) (?=\(\))/g, (_, quoted?: string) => quoted ?? '')
    .replace(
      /('(?:[^'\\]|'')*'|"(?:[^"]|"")*")|\b(coalesce|nextval|currval|date_trunc|greatest) \(/g,
      (_, quoted?: string, name?: string) => quoted ?? `${name}(`,
    );
}
