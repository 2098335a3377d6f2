// What a whole statement must be asked before a name in it is taken for Oracle's, for portable.ts: names that it gives itself,
// and how often a sequence is used.

import type { ExprRef, Statement } from 'pgsql-ast-parser';
import { isTreeNode, type TreeNode } from './tree.ts';

export interface StatementSurvey {
  /** Aliases, CTE names and columns that are written to. */
  readonly declaredNames: ReadonlySet<string>;
  /**
   * Whether `x.nextval` can be a sequence (no table or alias is called x) that nextval() serves as well: Oracle gives all its
   * uses in a row one value, each call of nextval() a new one.
   */
  isSequenceSafe(ref: ExprRef): boolean;
}

export function surveyStatement(statement: Statement): StatementSurvey {
  const declaredNames = new Set<string>();
  const relationNames = new Set<string>();
  const uses: string[] = [];

  const visit = (node: unknown): void => {
    if (Array.isArray(node)) for (const item of node) visit(item);
    if (!isTreeNode(node)) return;
    if (node.type === 'ref' && isTreeNode(node.table)) uses.push(useOf(node, node.table));
    for (const [key, value] of Object.entries(node)) {
      if (key === 'alias' || key === 'column') addName(declaredNames, value);
      if ((key === 'columns' || key === 'columnNames') && Array.isArray(value)) {
        for (const item of value) if (isTreeNode(item) && item.type === undefined) addName(declaredNames, item);
      }
      const isRelation = key === 'into' || key === 'from' || (key === 'table' && node.type !== 'ref');
      if (isRelation || (key === 'name' && node.type === 'table')) addName(relationNames, value);
      visit(value);
    }
  };
  visit(statement);

  return {
    declaredNames,
    isSequenceSafe: ({ name, table }) => {
      if (table === undefined || declaredNames.has(table.name) || relationNames.has(table.name)) return false;
      const key = `${table.schema ?? ''}.${table.name}`;
      const ofSequence = uses.filter((use) => use === `${key} nextval` || use === `${key} currval`);
      return ofSequence.length === 1 || (name === 'currval' && !ofSequence.includes(`${key} nextval`));
    },
  };
}

function useOf(ref: TreeNode, table: TreeNode): string {
  return `${typeof table.schema === 'string' ? table.schema : ''}.${String(table.name)} ${String(ref.name)}`;
}

function addName(names: Set<string>, value: unknown): void {
  const name = isTreeNode(value) ? value.name : value;
  if (typeof name === 'string') names.add(name);
}
