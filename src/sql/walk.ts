// One pass over a statement's tree that gathers what rules match on: kinds, tables, functions, columns, class, missing
// WHERE. Iterative, because a long UNION or `||` chain is a tree thousands of levels deep.

import type { QueryClass } from './facts.ts';
import { classOfFunction, givesRow } from './function-class.ts';
import { namedColumns, targetColumns } from './named-columns.ts';
import { spokenCall, spokenFunction } from './spoken-functions.ts';
import { kindOf, namedTables, ownClassOf } from './statement-kinds.ts';
import { bodyOf, isTreeNode, listOf, nameParts, nodeTypeOf, type TreeNode, textOf } from './tree.ts';
import { WholeRows } from './whole-rows.ts';

export interface TreeFindings {
  readonly queryClass: QueryClass;
  readonly kinds: readonly string[];
  readonly tables: readonly string[];
  readonly functions: readonly string[];
  readonly columns: readonly string[];
  readonly isMissingWhere: boolean;
}

/** Strongest last: what a statement may do is the strongest of what its parts may do. */
const STRENGTH: readonly QueryClass[] = [
  'read',
  'utility',
  'transaction',
  'session',
  'copy',
  'unknown',
  'write',
  'ddl',
];

/** They run code that is not in their text, and stay `unknown` whatever their arguments do. */
const OPAQUE = new Set(['CallStmt', 'DoStmt', 'ExecuteStmt', 'LoadStmt']);

/** Names of common table expressions, visible from here outwards. */
interface Scope {
  readonly names: ReadonlySet<string>;
  readonly outer: Scope | null;
}

/**
 * `statement`: runs, and its kind counts. `part`: runs as a piece of a statement (subquery, arm of a UNION).
 * `planned`: does not run (EXPLAIN without ANALYZE), but planning calls functions that are marked as stable or immutable.
 * `quiet`: only mentioned (the body of a view, rule or function).
 */
type Role = 'statement' | 'part' | 'planned' | 'quiet';

interface Visit {
  readonly node: TreeNode;
  readonly scope: Scope | null;
  readonly role: Role;
}

/** Gathers the facts of one statement from its tree, `{ SelectStmt: { … } }`. */
export function walkStatement(tree: TreeNode): TreeFindings {
  return new Walk().run(tree);
}

class Walk {
  readonly #kinds = new Set<string>();
  readonly #tables = new Set<string>();
  readonly #functions = new Set<string>();
  readonly #columns = new Set<string>();
  readonly #wholeRows = new WholeRows();
  readonly #stack: Visit[] = [];
  #strength = 0;
  #isMissingWhere = false;

  run(tree: TreeNode): TreeFindings {
    this.#push(tree, null, 'statement');
    for (let next = this.#stack.pop(); next !== undefined; next = this.#stack.pop()) {
      const type = nodeTypeOf(next.node);
      const body = type === null ? next.node : next.node[type];
      if (isTreeNode(body)) this.#visit(type, body, next.scope, next.role);
    }
    if (this.#wholeRows.areRead) this.#columns.add('*');
    const isOpaque = OPAQUE.has(nodeTypeOf(tree) ?? '');
    return {
      queryClass: isOpaque ? 'unknown' : (STRENGTH[this.#strength] ?? 'unknown'),
      kinds: [...this.#kinds],
      tables: [...this.#tables],
      functions: [...this.#functions],
      columns: [...this.#columns],
      isMissingWhere: this.#isMissingWhere,
    };
  }

  #visit(type: string | null, body: TreeNode, scope: Scope | null, role: Role): void {
    if (type?.endsWith('Stmt')) {
      if (role === 'statement') this.#kinds.add(kindOf(type, body));
      if (runs(role)) this.#strengthen(ownClassOf(type, body));
      for (const name of namedTables(type, body)) this.#tables.add(name);
    }
    if (type !== null) this.#addNames(type, body);
    const inner: Role = runs(role) ? 'part' : role;
    switch (type) {
      case 'SelectStmt':
        if (role === 'statement' && body.intoClause !== undefined) this.#kinds.add('create_table_as');
        this.#visitQuery(body, scope, inner);
        return;
      case 'InsertStmt':
      case 'UpdateStmt':
      case 'DeleteStmt':
      case 'MergeStmt':
        this.#visitDml(type, body, scope, role);
        return;
      case 'ExplainStmt':
        this.#push(body.query, scope, isAnalyzed(body) || !runs(role) ? role : 'planned');
        return;
      case 'PrepareStmt':
      case 'DeclareCursorStmt':
      case 'CopyStmt':
      case 'CreateTableAsStmt':
        if (type === 'CopyStmt') this.#wholeRows.addCopy(body);
        this.#push(body.query, scope, role);
        this.#pushFields(body, scope, inner, SKIP_QUERY);
        return;
      case 'CreateSchemaStmt':
        this.#pushAll(body.schemaElts, scope, role);
        return;
      case 'ViewStmt':
      case 'RuleStmt':
      case 'CreateFunctionStmt':
        this.#pushFields(body, scope, 'quiet', NO_SKIP);
        return;
      case 'CallStmt':
        if (isTreeNode(body.funccall)) this.#push({ FuncCall: body.funccall }, scope, inner);
        return;
      case 'RangeVar':
        this.#addTable(body, scope);
        return;
      case 'FuncCall':
        this.#addCall(body, role);
        this.#pushFields(body, scope, inner, NO_SKIP);
        return;
      case 'RangeTableSample':
        this.#addFunction(nameParts(body.method), role, SAMPLING);
        this.#pushFields(body, scope, inner, NO_SKIP);
        return;
      case 'A_Indirection':
        this.#addAttributes(body, role);
        this.#pushFields(body, scope, inner, bodyOf(body.arg, 'ColumnRef') === null ? NO_SKIP : SKIP_ARGUMENT);
        return;
      case 'JoinExpr':
        if (isTreeNode(body.alias)) this.#wholeRows.addAlias(body.alias);
        this.#pushFields(body, scope, inner, NO_SKIP);
        return;
      case 'RangeFunction':
        this.#pushFields(body, scope, inner, SKIP_ALIASES);
        return;
      case 'A_Expr':
      case 'SubLink':
      case 'SortBy':
        this.#checkOperator(nameParts(body.name ?? body.operName ?? body.useOp), role);
        this.#pushFields(body, scope, inner, NO_SKIP);
        return;
      case 'ColumnRef':
        this.#columns.add(columnName(body));
        this.#wholeRows.addColumn(body);
        return;
      default:
        // A relation whose field has only that type is not wrapped; it is always a target, never a CTE's name.
        if (type === null && typeof body.relname === 'string') this.#addTable(body, null);
        else this.#pushFields(body, scope, inner, NO_SKIP);
    }
  }

  #visitQuery(body: TreeNode, scope: Scope | null, role: Role): void {
    const visible = this.#enterWith(body.withClause, scope, role);
    // The arms of UNION, INTERSECT and EXCEPT are bare bodies.
    if (isTreeNode(body.rarg)) this.#push({ SelectStmt: body.rarg }, visible, role);
    if (isTreeNode(body.larg)) this.#push({ SelectStmt: body.larg }, visible, role);
    this.#pushFields(body, visible, role, SKIP_IN_QUERY);
  }

  #visitDml(type: string, body: TreeNode, scope: Scope | null, role: Role): void {
    const inner: Role = runs(role) ? 'part' : role;
    const hasOptionalWhere = type === 'UpdateStmt' || type === 'DeleteStmt';
    if (hasOptionalWhere && runs(role) && body.whereClause === undefined) this.#isMissingWhere = true;
    // The target is a real table even where a CTE has its name (setTargetTable, parse_clause.c).
    if (isTreeNode(body.relation)) this.#addTable(body.relation, null);
    this.#wholeRows.addReturned(body.returningClause);
    this.#addTargetColumns(body.cols);
    if (type === 'UpdateStmt') this.#addTargetColumns(body.targetList);
    if (isTreeNode(body.onConflictClause)) this.#addTargetColumns(body.onConflictClause.targetList);
    for (const clause of listOf(body.mergeWhenClauses)) {
      this.#addTargetColumns(bodyOf(clause, 'MergeWhenClause')?.targetList);
    }
    const visible = this.#enterWith(body.withClause, scope, inner);
    this.#pushFields(body, visible, inner, SKIP_IN_DML);
  }

  /** Visits the queries of a WITH clause and returns the scope in which its names are known. */
  #enterWith(withClause: unknown, outer: Scope | null, role: Role): Scope | null {
    if (!isTreeNode(withClause)) return outer;
    const bodies = listOf(withClause.ctes)
      .map((cte) => bodyOf(cte, 'CommonTableExpr'))
      .filter((cte) => cte !== null);
    const all: Scope = { names: new Set(bodies.map((cte) => textOf(cte.ctename) ?? '')), outer };
    const visits: Visit[] = [];
    const earlier = new Set<string>();
    for (const cte of bodies) {
      // Without RECURSIVE a query sees only the names before its own.
      const scope = withClause.recursive === true ? all : { names: new Set(earlier), outer };
      if (isTreeNode(cte.ctequery)) {
        visits.push({ node: cte.ctequery, scope, role: runs(role) ? 'statement' : role });
      }
      earlier.add(textOf(cte.ctename) ?? '');
    }
    for (const visit of visits.reverse()) this.#stack.push(visit);
    return all;
  }

  #addTable(body: TreeNode, scope: Scope | null): void {
    const name = textOf(body.relname);
    if (name === null) return;
    const schema = textOf(body.schemaname);
    // The columns of a common table expression are named in it.
    if (schema === null && isVisible(name, scope)) return;
    this.#tables.add(schema === null ? name : `${schema}.${name}`);
    this.#wholeRows.addRelation(body);
  }

  /** What a node names by words of its own. */
  #addNames(type: string, body: TreeNode): void {
    for (const name of namedColumns(type, body)) this.#columns.add(name);
    const spoken = spokenFunction(type, body);
    if (spoken !== null) this.#functions.add(spoken);
  }

  #addCall(call: TreeNode, role: Role): void {
    const parts = nameParts(call.funcname);
    this.#addFunction(parts, role);
    const spoken = spokenCall(parts.join('.'), call);
    if (spoken !== null) this.#functions.add(spoken);
  }

  #addFunction(parts: readonly string[], role: Role, known: ReadonlySet<string> | null = null): void {
    const name = parts.join('.');
    this.#functions.add(name);
    if (role === 'quiet' || known?.has(name) === true) return;
    const own = classOfFunction(parts);
    if (runs(role) || own === 'unknown') this.#strengthen(own);
  }

  /**
   * `(x).name` is a field of a row, or else a call of that function (ParseFuncOrColumn, parse_func.c): which one depends on
   * the type of x, so it counts as both, but as no call where x is surely a row.
   */
  #addAttributes(body: TreeNode, role: Role): void {
    const row = bodyOf(body.arg, 'ColumnRef');
    // Of (t).a only a is read.
    if (row !== null) this.#columns.add(columnName(row));
    let isRow = givesRow(nameParts(bodyOf(body.arg, 'FuncCall')?.funcname));
    for (const step of listOf(body.indirection)) {
      if (bodyOf(step, 'A_Star') !== null) this.#columns.add('*');
      const name = textOf(bodyOf(step, 'String')?.sval);
      if (name !== null) this.#columns.add(name);
      if (name !== null && !isRow) this.#addFunction([name], role);
      isRow = false;
    }
  }

  /** OPERATOR(schema.+) outside pg_catalog is somebody's function by another name. */
  #checkOperator(parts: readonly string[], role: Role): void {
    if (role !== 'quiet' && parts.length > 1 && parts[0] !== 'pg_catalog') this.#strengthen('unknown');
  }

  #addTargetColumns(targets: unknown): void {
    for (const target of listOf(targets)) for (const name of targetColumns(target)) this.#columns.add(name);
  }

  #strengthen(queryClass: QueryClass): void {
    this.#strength = Math.max(this.#strength, STRENGTH.indexOf(queryClass));
  }

  #push(node: unknown, scope: Scope | null, role: Role): void {
    if (isTreeNode(node)) this.#stack.push({ node, scope, role });
    else if (Array.isArray(node)) this.#pushAll(node, scope, role);
  }

  #pushAll(nodes: unknown, scope: Scope | null, role: Role): void {
    const list = listOf(nodes);
    for (let index = list.length - 1; index >= 0; index--) this.#push(list[index], scope, role);
  }

  /** In reverse, so that the stack gives the fields back in the tree's order. */
  #pushFields(body: TreeNode, scope: Scope | null, role: Role, skipped: ReadonlySet<string>): void {
    const fields = Object.keys(body);
    for (let index = fields.length - 1; index >= 0; index--) {
      const field = fields[index];
      if (field === undefined || skipped.has(field)) continue;
      const value = body[field];
      if (typeof value === 'object') this.#push(value, scope, role);
    }
  }
}

const NO_SKIP: ReadonlySet<string> = new Set();
const SKIP_ARGUMENT: ReadonlySet<string> = new Set(['arg']);
const SKIP_QUERY: ReadonlySet<string> = new Set(['query', 'attlist']);
// FOR UPDATE OF names aliases of FROM, not tables.
const SKIP_IN_QUERY: ReadonlySet<string> = new Set(['withClause', 'larg', 'rarg', 'lockingClause']);
const SKIP_IN_DML: ReadonlySet<string> = new Set(['withClause', 'relation']);
// Names and types that a function's result is given.
const SKIP_ALIASES: ReadonlySet<string> = new Set(['coldeflist']);
const SAMPLING: ReadonlySet<string> = new Set(['system', 'bernoulli']);

function runs(role: Role): boolean {
  return role === 'statement' || role === 'part';
}

function isVisible(name: string, scope: Scope | null): boolean {
  for (let at = scope; at !== null; at = at.outer) if (at.names.has(name)) return true;
  return false;
}

function columnName(columnRef: TreeNode): string {
  return listOf(columnRef.fields)
    .map((field) => textOf(bodyOf(field, 'String')?.sval) ?? '*')
    .join('.');
}

/**
 * Any ANALYZE option that is not spelled off counts (defGetBoolean, commands/define.c). PostgreSQL lets the last one win;
 * here one is enough, so that a repeated option can never hide what runs.
 */
function isAnalyzed(explain: TreeNode): boolean {
  return listOf(explain.options).some((option) => {
    const element = bodyOf(option, 'DefElem');
    return element?.defname === 'analyze' && !isOff(element.arg);
  });
}

function isOff(arg: unknown): boolean {
  if (!isTreeNode(arg)) return false;
  const word = textOf(bodyOf(arg, 'String')?.sval)?.toLowerCase();
  if (word !== undefined) return word === 'off' || word === 'false';
  const integer = bodyOf(arg, 'Integer');
  if (integer !== null) return (integer.ival ?? 0) === 0;
  const boolean = bodyOf(arg, 'Boolean');
  return boolean !== null && boolean.boolval !== true;
}
