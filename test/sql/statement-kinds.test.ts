// The vocabulary of kinds, statement by statement.

import { beforeAll, expect, test } from 'vitest';
import { loadParser } from '../../src/sql/parse.ts';
import { STATEMENT_KINDS } from '../../src/sql/statement-kinds.ts';
import { readStatements } from '../../src/sql/statement-reader.ts';

beforeAll(loadParser);

const DDL: readonly (readonly [sql: string, kind: string])[] = [
  ['alter large object 1 owner to a', 'alter_large_object'],
  ['alter function f() rename to g', 'alter_function'],
  ['alter function f() stable', 'alter_function'],
  ['alter aggregate a(int) owner to b', 'alter_aggregate'],
  ['alter table t rename constraint a to b', 'alter_table'],
  ['alter table t set schema s', 'alter_table'],
  ['alter table all in tablespace a set tablespace b', 'alter_tablespace'],
  ['alter index i attach partition j', 'alter_index'],
  ['alter sequence s restart', 'alter_sequence'],
  ["alter type t add value 'a'", 'alter_type'],
  ['alter type t rename attribute a to b', 'alter_type'],
  ['alter domain d rename constraint a to b', 'alter_domain'],
  ['alter materialized view v rename to w', 'alter_materialized_view'],
  ['alter foreign table t add column a int', 'alter_foreign_table'],
  ['alter default privileges grant select on tables to a', 'alter_default_privileges'],
  ["alter user mapping for a server b options (set c 'd')", 'alter_user_mapping'],
  ['alter publication p add table t', 'alter_publication'],
  ['alter subscription s disable', 'alter_subscription'],
  ['alter event trigger e disable', 'alter_event_trigger'],
  ['alter text search dictionary d (a = b)', 'alter_text_search_dictionary'],
  ['alter text search configuration c drop mapping for a', 'alter_text_search_configuration'],
  ["alter server s version '1'", 'alter_server'],
  ['alter extension e update', 'alter_extension'],
  ['alter extension e add table t', 'alter_extension'],
  ['alter database d rename to e', 'alter_database'],
  ['alter role a rename to b', 'alter_role'],
  ['alter schema a rename to b', 'alter_schema'],
  ['alter policy p on t using (true)', 'alter_policy'],
  ['alter trigger a on t rename to b', 'alter_trigger'],
  ['alter function f() depends on extension e', 'alter_object_depends'],
  ['create aggregate a(int) (sfunc = f, stype = int)', 'create_aggregate'],
  ['create operator + (leftarg = int, function = f)', 'create_operator'],
  ['create operator class c for type int using btree as operator 1 <', 'create_operator_class'],
  ['create operator family f using btree', 'create_operator_family'],
  ['create type t as (a int)', 'create_type'],
  ["create type t as enum ('a')", 'create_type'],
  ['create type t as range (subtype = int)', 'create_type'],
  ['create type t', 'create_type'],
  ['create domain d as int', 'create_domain'],
  ['create collation c from "C"', 'create_collation'],
  ['create text search parser p (a = b)', 'create_text_search_parser'],
  ['create cast (a as b) without function', 'create_cast'],
  ["create conversion c for 'a' to 'b' from f", 'create_conversion'],
  ['create language l handler h', 'create_language'],
  ["create procedure p() language sql as ''", 'create_procedure'],
  ['create transform for a language b (from sql with function f(internal))', 'create_transform'],
  ['create access method a type index handler h', 'create_access_method'],
  ['create event trigger e on sql_drop execute function f()', 'create_event_trigger'],
  ['create foreign data wrapper w', 'create_foreign_data_wrapper'],
  ['create server s foreign data wrapper w', 'create_server'],
  ['create foreign table t (a int) server s', 'create_foreign_table'],
  ['create user mapping for a server b', 'create_user_mapping'],
  ['create publication p for table t', 'create_publication'],
  ["create subscription s connection '' publication p", 'create_subscription'],
  ['create statistics s on a, b from t', 'create_statistics'],
  ["create tablespace s location '/x'", 'create_tablespace'],
  ['create database d', 'create_database'],
  ['create sequence s', 'create_sequence'],
  ['create view v as select 1', 'create_view'],
  ['drop function f()', 'drop_function'],
  ['drop routine f()', 'drop_routine'],
  ['drop cast (a as b)', 'drop_cast'],
  ['drop access method a', 'drop_access_method'],
  ['drop text search template t', 'drop_text_search_template'],
  ['drop operator class c using btree', 'drop_operator_class'],
  ['drop foreign data wrapper w', 'drop_foreign_data_wrapper'],
  ['drop server s', 'drop_server'],
  ['drop statistics s', 'drop_statistics'],
  ['drop user mapping for a server b', 'drop_user_mapping'],
  ['drop subscription s', 'drop_subscription'],
  ['drop role r', 'drop_role'],
  ['drop tablespace s', 'drop_tablespace'],
  ['drop materialized view v', 'drop_materialized_view'],
  ['drop type t', 'drop_type'],
  ['drop policy p on t', 'drop_policy'],
  ['drop transform for a language b', 'drop_transform'],
  ['reassign owned by a to b', 'reassign_owned'],
  ['cluster t', 'cluster'],
];

test.each(DDL)('%s', (sql, kind) => {
  const [facts] = readStatements(sql);
  expect(facts?.shape).toMatchObject({ kinds: [kind], queryClass: 'ddl', unparsed: null });
  expect(STATEMENT_KINDS).toContain(kind);
});

test('the vocabulary has no kind twice and no word outside lower snake case', () => {
  expect(new Set(STATEMENT_KINDS).size).toBe(STATEMENT_KINDS.length);
  for (const kind of STATEMENT_KINDS) expect(kind).toMatch(/^[a-z]+(_[a-z]+)*$/);
});

test('a word that is no kind is not in the vocabulary', () => {
  for (const word of ['with', 'values', 'table', 'upsert', 'SELECT', '']) expect(STATEMENT_KINDS).not.toContain(word);
});
