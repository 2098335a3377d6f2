// Functions that SQL has words of its own for. The grammar makes nodes of most of them rather than calls, and calls some by
// another name; here they have the names that people write and PostgreSQL's manual lists.

import { type TreeNode, textOf } from './tree.ts';

const BY_NODE: Readonly<Record<string, string>> = {
  CoalesceExpr: 'coalesce',
  GroupingFunc: 'grouping',
  JsonArrayAgg: 'json_arrayagg',
  JsonArrayConstructor: 'json_array',
  JsonArrayQueryConstructor: 'json_array',
  JsonObjectAgg: 'json_objectagg',
  JsonObjectConstructor: 'json_object',
  JsonParseExpr: 'json',
  JsonScalarExpr: 'json_scalar',
  JsonSerializeExpr: 'json_serialize',
  JsonTable: 'json_table',
  MergeSupportFunc: 'merge_action',
  RangeTableFunc: 'xmltable',
  XmlSerialize: 'xmlserialize',
};

const BY_OPERATION: Readonly<Record<string, string>> = {
  AEXPR_NULLIF: 'nullif',
  IS_GREATEST: 'greatest',
  IS_LEAST: 'least',
  IS_XMLCONCAT: 'xmlconcat',
  IS_XMLELEMENT: 'xmlelement',
  IS_XMLFOREST: 'xmlforest',
  IS_XMLPARSE: 'xmlparse',
  IS_XMLPI: 'xmlpi',
  IS_XMLROOT: 'xmlroot',
  JSON_EXISTS_OP: 'json_exists',
  JSON_QUERY_OP: 'json_query',
  JSON_VALUE_OP: 'json_value',
  SVFOP_CURRENT_CATALOG: 'current_catalog',
  SVFOP_CURRENT_DATE: 'current_date',
  SVFOP_CURRENT_ROLE: 'current_role',
  SVFOP_CURRENT_SCHEMA: 'current_schema',
  SVFOP_CURRENT_TIME: 'current_time',
  SVFOP_CURRENT_TIME_N: 'current_time',
  SVFOP_CURRENT_TIMESTAMP: 'current_timestamp',
  SVFOP_CURRENT_TIMESTAMP_N: 'current_timestamp',
  SVFOP_CURRENT_USER: 'current_user',
  SVFOP_LOCALTIME: 'localtime',
  SVFOP_LOCALTIME_N: 'localtime',
  SVFOP_LOCALTIMESTAMP: 'localtimestamp',
  SVFOP_LOCALTIMESTAMP_N: 'localtimestamp',
  SVFOP_SESSION_USER: 'session_user',
  SVFOP_USER: 'user',
};

const OPERATION_FIELDS: Readonly<Record<string, string>> = {
  A_Expr: 'kind',
  JsonFuncExpr: 'op',
  MinMaxExpr: 'op',
  SQLValueFunction: 'op',
  XmlExpr: 'op',
};

/** What TRIM calls, by its side. */
const TRIMS: ReadonlySet<string> = new Set(['pg_catalog.btrim', 'pg_catalog.ltrim', 'pg_catalog.rtrim']);

const QUALIFIED: ReadonlySet<string> = new Set(
  [...Object.values(BY_NODE), ...Object.values(BY_OPERATION), 'trim'].map((word) => `pg_catalog.${word}`),
);

/** `pg_catalog.coalesce` for a COALESCE: in that schema, so that no function of a user is meant. Null for other nodes. */
export function spokenFunction(type: string, body: TreeNode): string | null {
  const field = OPERATION_FIELDS[type];
  const word = field === undefined ? BY_NODE[type] : BY_OPERATION[textOf(body[field]) ?? ''];
  return word === undefined ? null : `pg_catalog.${word}`;
}

/** The word for a call that the grammar has made of it: TRIM is a call of btrim, ltrim or rtrim. */
export function spokenCall(name: string, call: TreeNode): string | null {
  return call.funcformat === 'COERCE_SQL_SYNTAX' && TRIMS.has(name) ? 'pg_catalog.trim' : null;
}

/** A name that only the functions here give: they read, and leave nothing behind. */
export function isSpoken(name: string): boolean {
  return QUALIFIED.has(name);
}
