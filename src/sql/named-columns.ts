// The columns that a node names by words of its own rather than by references: in keys, in privileges, in commands about one
// column. Names of a result's columns (aliases) are none.

import { bodyOf, isTreeNode, listOf, nameParts, type TreeNode, textOf } from './tree.ts';

/** Commands of ALTER TABLE that are about a column, beside those that say so in their names. */
const COLUMN_COMMANDS: ReadonlySet<string> = new Set(
  [
    ...['SetNotNull', 'DropNotNull', 'SetExpression', 'DropExpression', 'SetStatistics', 'SetOptions', 'ResetOptions'],
    ...['SetStorage', 'SetCompression', 'AddIdentity', 'SetIdentity', 'DropIdentity'],
  ].map((word) => `AT_${word}`),
);

const READERS: ReadonlyMap<string, (body: TreeNode) => readonly string[]> = new Map([
  ['AccessPriv', ({ cols }: TreeNode) => nameParts(cols)],
  ['AlterTableCmd', namedByCommand],
  ['ColumnDef', ({ colname }: TreeNode) => one(colname)],
  ['CommentStmt', ({ objtype, object }: TreeNode) => namedAsObject(objtype, object)],
  ['Constraint', namedInConstraint],
  // With FORCE_QUOTE and its kin.
  ['CopyStmt', ({ attlist, options }: TreeNode) => [...nameParts(attlist), ...listOf(options).flatMap(listedInOption)]],
  ['CreateTrigStmt', ({ columns }: TreeNode) => nameParts(columns)],
  ['DefElem', namedAsOwner],
  // Of an index, or of ON CONFLICT; an expression has no name.
  ['IndexElem', ({ name }: TreeNode) => one(name)],
  ['JoinExpr', ({ usingClause }: TreeNode) => nameParts(usingClause)],
  ['PartitionElem', ({ name }: TreeNode) => one(name)],
  ['PublicationObjSpec', ({ pubtable }: TreeNode) => (isTreeNode(pubtable) ? nameParts(pubtable.columns) : [])],
  ['RenameStmt', namedByRename],
  ['SecLabelStmt', ({ objtype, object }: TreeNode) => namedAsObject(objtype, object)],
  ['StatsElem', ({ name }: TreeNode) => one(name)],
  ['VacuumRelation', ({ va_cols }: TreeNode) => nameParts(va_cols)],
]);

const NONE: readonly string[] = [];

/** `type`: of the node with that body. */
export function namedColumns(type: string, body: TreeNode): readonly string[] {
  return READERS.get(type)?.(body) ?? NONE;
}

/** The column that is set, and the fields of it: `SET address.street = …`. */
export function targetColumns(target: unknown): readonly string[] {
  const body = bodyOf(target, 'ResTarget');
  return body === null ? NONE : [...one(body.name), ...nameParts(body.indirection)];
}

function namedByCommand({ subtype, name }: TreeNode): readonly string[] {
  const command = textOf(subtype) ?? '';
  return command.includes('Column') || COLUMN_COMMANDS.has(command) ? one(name) : NONE;
}

function namedAsObject(objectType: unknown, object: unknown): readonly string[] {
  return objectType === 'OBJECT_COLUMN' ? nameParts(bodyOf(object, 'List')?.items).slice(-1) : NONE;
}

function namedAsOwner({ defname, arg }: TreeNode): readonly string[] {
  const parts = defname === 'owned_by' ? nameParts(bodyOf(arg, 'List')?.items) : NONE;
  // OWNED BY NONE is no column.
  return parts.length > 1 ? parts.slice(-1) : NONE;
}

function namedByRename({ renameType, subname, newname }: TreeNode): readonly string[] {
  const isColumn = renameType === 'OBJECT_COLUMN' || renameType === 'OBJECT_ATTRIBUTE';
  return isColumn ? [...one(subname), ...one(newname)] : NONE;
}

function namedInConstraint(body: TreeNode): readonly string[] {
  return [body.keys, body.including, body.fk_attrs, body.pk_attrs, body.fk_del_set_cols].flatMap(nameParts);
}

function listedInOption(option: unknown): readonly string[] {
  return nameParts(bodyOf(bodyOf(option, 'DefElem')?.arg, 'List')?.items);
}

function one(name: unknown): readonly string[] {
  return typeof name === 'string' ? [name] : NONE;
}
