// Whole rows that a statement reads without a star: by the name of a table (SELECT p FROM p, to_json(p), RETURNING old),
// under other names for its columns (FROM p AS x(a, b)), or by a COPY TO that lists none.

import { bodyOf, isTreeNode, listOf, type TreeNode, textOf } from './tree.ts';

export class WholeRows {
  /** What a row can be named by. */
  readonly #rows = new Set<string>();
  /** What stands alone where a column could. */
  readonly #alone = new Set<string>();
  #isSure = false;

  /** Some row is read whole, or may be: where a column and a table have one name, only the catalog tells them apart. */
  get areRead(): boolean {
    return this.#isSure || [...this.#alone].some((name) => this.#rows.has(name));
  }

  addRelation(rangeVar: TreeNode): void {
    const name = textOf(rangeVar.relname);
    if (isTreeNode(rangeVar.alias)) this.addAlias(rangeVar.alias);
    else if (name !== null) this.#rows.add(name);
  }

  /** Of a table or a join of tables. Other names for the columns hide which ones are read. */
  addAlias(alias: TreeNode): void {
    const name = textOf(alias.aliasname);
    if (name !== null) this.#rows.add(name);
    if (listOf(alias.colnames).length > 0) this.#isSure = true;
  }

  /** The rows that a RETURNING has before and after, under their own names or others. */
  addReturned(returningClause: unknown): void {
    if (!isTreeNode(returningClause)) return;
    for (const name of ['old', 'new']) this.#rows.add(name);
    for (const option of listOf(returningClause.options)) {
      const name = textOf(bodyOf(option, 'ReturningOption')?.value);
      if (name !== null) this.#rows.add(name);
    }
  }

  addCopy(copy: TreeNode): void {
    const isOfTable = isTreeNode(copy.relation) && copy.is_from !== true;
    if (isOfTable && listOf(copy.attlist).length === 0) this.#isSure = true;
  }

  addColumn(columnRef: TreeNode): void {
    const [first, ...others] = listOf(columnRef.fields);
    const name = textOf(bodyOf(first, 'String')?.sval);
    if (name !== null && others.length === 0) this.#alone.add(name);
  }
}
