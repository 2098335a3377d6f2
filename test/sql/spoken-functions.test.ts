// Functions that SQL has words of its own for, as the rules' `functions` sees them.

import { beforeAll, expect, test } from 'vitest';
import { NO_KNOWLEDGE } from '../../src/sql/catalog-knowledge.ts';
import { loadParser } from '../../src/sql/parse.ts';
import { readStatements } from '../../src/sql/statement-reader.ts';
import { traceOf } from '../../src/sql/traces.ts';

beforeAll(loadParser);

test.each([
  ...['current_catalog', 'current_date', 'current_role', 'current_schema', 'current_time', 'current_timestamp'],
  ...['current_user', 'localtime', 'localtimestamp', 'session_user', 'user', 'system_user'],
  ...['current_time(3)', 'current_timestamp(3)', 'localtime(3)', 'localtimestamp(3)'],
  ...['coalesce(a, b)', 'greatest(a, b)', 'least(a, b)', 'nullif(a, b)', 'grouping(a)', 'merge_action()'],
  ...['json_arrayagg(a)', 'json_objectagg(a: b)', "json_object('a': b)", 'json_array(a, b)', 'json_array(select 1)'],
  ...["json('1')", 'json_scalar(1)', 'json_serialize(a)', "json_exists(a, '$')", "json_query(a, '$')"],
  ...["json_value(a, '$')", 'xmlconcat(a, b)', 'xmlelement(name a)', 'xmlforest(a)', "xmlparse(document '<a/>')"],
  ...['xmlpi(name a)', "xmlroot(a, version '1.0')", 'xmlserialize(content a as text)', "xmlexists('a' passing b)"],
  ...['trim(a)', "trim(both 'x' from a)", 'trim(leading from a)', 'trim(trailing from a)', 'extract(year from a)'],
  ...['position(a in b)', 'overlay(a placing b from 1)', 'normalize(a, nfc)'],
])('%s counts as a call, reads, and leaves nothing behind', (expression) => {
  const [statement] = readStatements(`select ${expression.toUpperCase()}`);
  if (statement === undefined) throw new Error('not read');
  expect(statement.shape.functions).toContain(`pg_catalog.${/^\w+/.exec(expression)?.[0]}`);
  expect(statement.shape.queryClass).toBe('read');
  expect(traceOf(statement, NO_KNOWLEDGE)).toBe(traceOf(plainRead(), NO_KNOWLEDGE));
});

test.each([
  ["select * from json_table('[]', '$[*]' columns (a int path '$.a')) t", 'pg_catalog.json_table'],
  ["select * from xmltable('/a' passing '<a/>' columns b int path 'b') t", 'pg_catalog.xmltable'],
])('%s counts as a call', (sql, name) => {
  expect(readStatements(sql)[0]?.shape.functions).toEqual([name]);
});

test.each([
  ['select "coalesce"(a), "current_user"()', ['coalesce', 'current_user']],
  ['select btrim(a), pg_catalog.btrim(a)', ['btrim', 'pg_catalog.btrim']],
  [`select a as json_query, 'coalesce(a)', a is document, a is json, "coalesce".a from t "coalesce"`, []],
])('%s counts as what it says', (sql, names) => {
  expect(readStatements(sql)[0]?.shape.functions).toEqual(names);
});

function plainRead() {
  const [statement] = readStatements('select a');
  if (statement === undefined) throw new Error('not read');
  return statement;
}
