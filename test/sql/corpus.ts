// Evasions and look-alikes: texts that try to be taken for something else, each with what it really is. Used by the tests
// of src/sql and, with `denied`, through the proxy against a real server.
//
// The guardrail behind `denied` is one rule: the classes `write`, `ddl` and `unknown` are refused; `read`, `copy` (rows out
// to the client), `transaction`, `session` and `utility` may pass. Text that cannot be read is `unknown`, so it is refused.

import type { QueryClass, UnparsedReason } from '../../src/sql/facts.ts';

export interface CorpusCase {
  readonly name: string;
  readonly sql: string;
  /** The strongest class among the statements of the text. */
  readonly class: QueryClass;
  /** Of all statements, in order. */
  readonly kinds?: readonly string[];
  readonly tables?: readonly string[];
  readonly functions?: readonly string[];
  readonly columns?: readonly string[];
  readonly isMissingWhere?: boolean;
  readonly unparsed?: UnparsedReason;
  readonly denied: boolean;
}

type Expected = Omit<CorpusCase, 'name' | 'sql' | 'class' | 'denied'>;
type Row = readonly [name: string, sql: string, expected?: Expected];

const DENIED_CLASSES: readonly QueryClass[] = ['write', 'ddl', 'unknown'];

function cases(queryClass: QueryClass, rows: readonly Row[]): CorpusCase[] {
  return rows.map(([name, sql, expected]) => ({
    name,
    sql,
    class: queryClass,
    ...expected,
    denied: DENIED_CLASSES.includes(queryClass),
  }));
}

function unreadable(reason: UnparsedReason, rows: readonly (readonly [name: string, sql: string])[]): CorpusCase[] {
  return rows.map(([name, sql]) => ({
    name,
    sql,
    class: 'unknown',
    kinds: [],
    tables: [],
    unparsed: reason,
    denied: true,
  }));
}

const del = { kinds: ['delete'], tables: ['t'] } as const;
const unboundedDelete = { ...del, isMissingWhere: true } as const;
const select = { kinds: ['select'] } as const;

const DELETES_IN_DISGUISE = cases('write', [
  ['plain delete', 'delete from t', unboundedDelete],
  ['delete with a WHERE', 'delete from t where a = 1', { ...del, isMissingWhere: false }],
  ['mixed case', 'DeLeTe FrOm t', unboundedDelete],
  ['block comments for spaces', 'delete/**/from/**/t', unboundedDelete],
  ['comment before', '/* select */ delete from t', unboundedDelete],
  ['line comment before', '-- select 1\ndelete from t', unboundedDelete],
  ['line comment ended by carriage return', '-- select 1\rdelete from t', unboundedDelete],
  ['nested comment', '/* /* */ select 1 */ delete from t', unboundedDelete],
  ['comment that opens with /*/', '/*/ select 1 */ delete from t', unboundedDelete],
  ['MySQL executable comment is only a comment', '/*! select 1 */ delete from t', unboundedDelete],
  ['comment inside NOT IN', 'delete from t where a not/**/in (1)', { ...del, isMissingWhere: false }],
  ['line comment inside NOT LIKE', "delete from t where a::text not--\nlike 'x'", { ...del, isMissingWhere: false }],
  [
    'comment in a string that goes on',
    "delete from t where a::text = 'x' -- c'\n--\r 'y'",
    { ...del, isMissingWhere: false },
  ],
  ['comment before UESCAPE', 'delete from U&"!0074"/* é */uescape \'!\'', unboundedDelete],
  ['newlines and tabs', 'delete\n\t\r\n from\f\v t\n;\n', unboundedDelete],
  ['several semicolons', ';;; delete from t;;;', unboundedDelete],
  ['quoted table', 'delete from "t"', unboundedDelete],
  ['quoted table with capitals', 'delete from "T"', { kinds: ['delete'], tables: ['T'], isMissingWhere: true }],
  ['upper-case table is folded', 'DELETE FROM T', unboundedDelete],
  ['unicode identifier', 'delete from U&"\\0074"', unboundedDelete],
  ['unicode identifier with its own escape', 'delete from u&"!0074" uescape \'!\'', unboundedDelete],
  ['ONLY', 'delete from only t', unboundedDelete],
  ['star', 'delete from t *', unboundedDelete],
  ['alias', 'delete from t as x', unboundedDelete],
  ['alias named where', 'delete from t as "where"', unboundedDelete],
  ['RETURNING', 'delete from t returning *', unboundedDelete],
  ['USING only', 'delete from t using u', { kinds: ['delete'], tables: ['t', 'u'], isMissingWhere: true }],
  ['WHERE in a comment', 'delete from t /* where a = 1 */', unboundedDelete],
  ['WHERE in a line comment', 'delete from t -- where a = 1', unboundedDelete],
  ['WHERE in a string', "delete from t returning 'where a = 1'", unboundedDelete],
  ['WHERE in a subquery only', 'delete from t using (select * from u where a = 1) x', { isMissingWhere: true }],
  ['WHERE CURRENT OF', 'delete from t where current of c', { ...del, isMissingWhere: false }],
  ['WHERE true is a WHERE', 'delete from t where true', { ...del, isMissingWhere: false }],
  ['schema and catalog', 'delete from db.s.t', { kinds: ['delete'], tables: ['s.t'] }],
  ['no spaces around a quoted name', 'delete from"t"where"a"=1', { ...del, isMissingWhere: false }],
  ['update without WHERE', 'update t set a = 1', { kinds: ['update'], tables: ['t'], isMissingWhere: true }],
  ['update with a WHERE in its subquery only', 'update t set a = (select 1 where true)', { isMissingWhere: true }],
  ['update from', 'update t set a = u.a from u where t.b = u.b', { tables: ['t', 'u'], isMissingWhere: false }],
  ['two spellings of a comment in an operator', 'delete from t where a =/*-- */1', { ...del, isMissingWhere: false }],
  ['dollar quote that looks like a comment start', 'delete from t where a = $$/*$$ or true', del],
  ['escape string that hides its end', "delete from t where a = E'\\' or b = \\''", del],
  ['string continued on the next line', "delete from t where a = 'x'\n'y'", { ...del, isMissingWhere: false }],
]);

const HIDDEN_WRITES = cases('write', [
  [
    'CTE delete',
    'with x as (delete from t returning *) select * from x',
    { kinds: ['select', 'delete'], tables: ['t'], isMissingWhere: true },
  ],
  [
    'CTE insert',
    'with x as (insert into t values (1) returning *) select * from x',
    { kinds: ['select', 'insert'], tables: ['t'] },
  ],
  [
    'CTE update',
    'with x as (update t set a = 1 where b = 2 returning a) table x',
    { kinds: ['select', 'update'], tables: ['t'], isMissingWhere: false },
  ],
  [
    'CTE merge',
    'with x as (merge into t using u on t.a = u.a when matched then delete returning *) select 1',
    { kinds: ['select', 'merge'], tables: ['t', 'u'] },
  ],
  [
    'second CTE',
    'with a as (select 1), b as (delete from t) select * from a',
    { kinds: ['select', 'delete'], isMissingWhere: true },
  ],
  [
    'CTE of an insert',
    'with x as (delete from t) insert into u select 1',
    { kinds: ['insert', 'delete'], tables: ['u', 't'] },
  ],
  [
    'CTE materialized',
    'with x as materialized (delete from t returning 1) select * from x',
    { kinds: ['select', 'delete'] },
  ],
  [
    'recursive CTE',
    'with recursive r as (select 1), d as (delete from t) select * from r',
    { kinds: ['select', 'delete'], tables: ['t'] },
  ],
  [
    'EXPLAIN ANALYZE',
    'explain analyze delete from t',
    { kinds: ['explain', 'delete'], tables: ['t'], isMissingWhere: true },
  ],
  ['EXPLAIN (ANALYZE)', 'explain (analyze) delete from t', { kinds: ['explain', 'delete'] }],
  ['EXPLAIN (ANALYZE on)', 'explain (costs off, analyze on) delete from t', { kinds: ['explain', 'delete'] }],
  ['EXPLAIN (ANALYZE true)', 'explain (analyze true) delete from t', { kinds: ['explain', 'delete'] }],
  ['EXPLAIN (ANALYZE 1)', 'explain (analyze 1) delete from t', { kinds: ['explain', 'delete'] }],
  ['EXPLAIN (ANALYZE quoted)', "explain (analyze 'true') delete from t", { kinds: ['explain', 'delete'] }],
  ['EXPLAIN (ANALYZE off, ANALYZE)', 'explain (analyze off, analyze) delete from t', { kinds: ['explain', 'delete'] }],
  [
    'EXPLAIN ANALYSE',
    'explain analyse verbose update t set a = 1',
    { kinds: ['explain', 'update'], isMissingWhere: true },
  ],
  [
    'EXPLAIN ANALYZE of a CTE write',
    'explain analyze with x as (delete from t) select 1',
    { kinds: ['explain', 'select', 'delete'] },
  ],
  [
    'COPY (INSERT …) TO',
    'copy (insert into t values (1) returning *) to stdout',
    { kinds: ['copy', 'insert'], tables: ['t'] },
  ],
  [
    'COPY (DELETE …) TO',
    'copy (delete from t returning *) to stdout',
    { kinds: ['copy', 'delete'], isMissingWhere: true },
  ],
  ['COPY FROM STDIN', 'copy t (a, b) from stdin', { kinds: ['copy'], tables: ['t'] }],
  ['COPY FROM PROGRAM', "copy t from program 'id'", { kinds: ['copy'], tables: ['t'] }],
  [
    'PREPARE of a delete',
    'prepare p as delete from t',
    { kinds: ['prepare', 'delete'], tables: ['t'], isMissingWhere: true },
  ],
  [
    'PREPARE of a CTE write',
    'prepare p (int) as with x as (delete from t) select $1',
    { kinds: ['prepare', 'select', 'delete'] },
  ],
  ['FOR UPDATE', 'select * from t for update', { kinds: ['select'], tables: ['t'] }],
  [
    'FOR KEY SHARE in a subquery',
    'select * from (select * from t for key share) x',
    { kinds: ['select'], tables: ['t'] },
  ],
  ['FOR UPDATE OF an alias', 'select * from t x for update of x', { tables: ['t'] }],
  ['DECLARE FOR UPDATE', 'declare c cursor for select * from t for update', { kinds: ['declare', 'select'] }],
  ['nextval', "select nextval('s')", { kinds: ['select'], functions: ['nextval'] }],
  [
    'nextval in a CASE',
    "select case when false then pg_catalog.nextval('s') end",
    { functions: ['pg_catalog.nextval'] },
  ],
  ['setval in VALUES', "values (setval('s', 1))", { kinds: ['select'] }],
  ['large object', 'select lo_unlink(1)', select],
  ['pg_notify', "select pg_notify('a', 'b')", select],
  ['quoted built-in', 'select "nextval"(\'s\')', { functions: ['nextval'] }],
  ['write in ORDER BY', "select 1 order by nextval('s')", select],
  ['write in LIMIT', "select 1 limit nextval('s')", select],
  ['write in a join condition', "select 1 from a join b on nextval('s') > 0", { tables: ['a', 'b'] }],
  ['write in a window', "select sum(1) over (order by nextval('s')) from t", { tables: ['t'] }],
  ['write in FROM', "select * from nextval('s') n", select],
  ['write in ROWS FROM', "select * from rows from (nextval('s')) as n", select],
  ['write in LATERAL', "select * from t, lateral (select nextval('s')) x", { tables: ['t'] }],
  ['write in an EXISTS', "select 1 where exists (select nextval('s'))", select],
  ['write in an ARRAY', "select array(select nextval('s'))", select],
  ['write in a FILTER', "select count(*) filter (where nextval('s') > 1) from t", select],
  ['write in the arm of a UNION', "select 1 union all select nextval('s')", select],
  ['a transaction ID is assigned', 'select txid_current()', select],
  ['insert with a select', 'insert into t select * from u', { kinds: ['insert'], tables: ['t', 'u'] }],
  [
    'insert on conflict',
    'insert into t (a) values (1) on conflict (b) do update set c = 2',
    { kinds: ['insert'], columns: ['a', 'b', 'c'], isMissingWhere: false },
  ],
  ['insert default values', 'insert into t default values', { kinds: ['insert'] }],
  [
    'merge',
    'merge into t using u on t.a = u.a when not matched then insert values (1)',
    { kinds: ['merge'], tables: ['t', 'u'] },
  ],
  ['truncate', 'truncate t, s.u', { kinds: ['truncate'], tables: ['t', 's.u'] }],
  ['truncate only', 'truncate table only t restart identity cascade', { kinds: ['truncate'], tables: ['t'] }],
  ['NOTIFY', "notify a, 'b'", { kinds: ['notify'] }],
  ['second statement', 'select 1; delete from t', { kinds: ['select', 'delete'], isMissingWhere: true }],
  ['delete between selects', "select ';'; delete from t; select 1", { kinds: ['select', 'delete', 'select'] }],
  ['after a begin', 'begin; delete from t where a = 1; commit', { kinds: ['begin', 'delete', 'commit'] }],
  [
    'a target is a table even where a CTE has its name',
    'with t as (select 1) delete from t',
    { kinds: ['delete', 'select'], tables: ['t'] },
  ],
]);

const HIDDEN_CODE = cases('unknown', [
  ['DO', 'do $$ begin delete from t; end $$', { kinds: ['do'], tables: [] }],
  ['DO with a tag', 'do $x$ begin null; end $x$', { kinds: ['do'] }],
  ['DO in another language', "do language plpgsql 'begin end'", { kinds: ['do'] }],
  ['CALL', 'call p(1)', { kinds: ['call'], functions: ['p'] }],
  ['CALL with a writing argument', "call p(nextval('s'))", { kinds: ['call'] }],
  ['own function', 'select f()', { kinds: ['select'], functions: ['f'] }],
  ['own function in a schema', 'select s.lower(1)', { functions: ['s.lower'] }],
  ['built-in name in public', "select public.lower('a')", { functions: ['public.lower'] }],
  ['quoted name that is not the built-in', 'select "Lower"(\'a\')', { functions: ['Lower'] }],
  ['VALUES of a function', 'values (f())', { kinds: ['select'], functions: ['f'] }],
  ['DECLARE of a function', 'declare c cursor for select f()', { kinds: ['declare', 'select'], functions: ['f'] }],
  ['function in FROM', 'select * from f()', { functions: ['f'], tables: [] }],
  ['function in COPY', 'copy (select f()) to stdout', { kinds: ['copy', 'select'] }],
  ['function in EXPLAIN ANALYZE', 'explain analyze select f()', { kinds: ['explain', 'select'] }],
  // Planning calls it, should it be marked as immutable or stable.
  ['function in EXPLAIN', 'explain select f()', { kinds: ['explain'], functions: ['f'] }],
  ['function in a CTE in EXPLAIN', 'explain with x as (select f()) select 1', { kinds: ['explain'], functions: ['f'] }],
  ['operator of some schema in EXPLAIN', 'explain select 1 operator(s.+) 2', { kinds: ['explain'] }],
  ['PREPARE of a function', 'prepare p as select f()', { kinds: ['prepare', 'select'] }],
  ['operator in a schema', 'select 1 operator(public.+) 2', select],
  ['operator in a schema in front of ANY', 'select 1 operator(public.=) any (select 2)', select],
  ['operator in a schema that sorts', 'select * from t order by a using operator(public.<)', { tables: ['t'] }],
  ['function by attribute notation', 'select (1).f', { kinds: ['select'], functions: ['f'] }],
  ['column of a whole row', 'select (t).a from t', { functions: ['a'], columns: ['t', 'a'] }],
  ['column of a row of a subquery', 'select (select t from t).a', { tables: ['t'], columns: ['a'] }],
  ['function of a column', 'select (a.b).f from t a', { functions: ['f'] }],
  ['function of an element', 'select a[1].f from t', { functions: ['f'] }],
  ['function of a field', "select (json_each('{}')).value.f", { functions: ['f', 'json_each'] }],
  ['own sampling method', 'select * from t tablesample mine(1)', { tables: ['t'] }],
  ['terminate', 'select pg_terminate_backend(1)', select],
  ['server file', "select pg_read_file('/etc/passwd')", select],
  ['query in a string', "select query_to_xml('delete from t', true, true, '')", select],
  ['table in a string', "select table_to_xml('t', true, true, '')", { tables: [] }],
  ['dblink', "select dblink_exec('x', 'delete from t')", select],
  ['COPY TO PROGRAM', "copy t to program 'cat'", { kinds: ['copy'], tables: ['t'] }],
  ['COPY TO a server file', "copy t to '/x'", { kinds: ['copy'] }],
  ['LOAD', "load 'x'", { kinds: ['load'] }],
  ['EXECUTE', 'execute p(1)', { kinds: ['execute'] }],
  ['EXPLAIN ANALYZE EXECUTE', 'explain analyze execute p', { kinds: ['explain', 'execute'] }],
]);

const DDL = cases('ddl', [
  ['SELECT INTO', 'select * into u from t', { kinds: ['select', 'create_table_as'], tables: ['u', 't'] }],
  ['SELECT INTO TEMP', 'select 1 as a into temp u', { kinds: ['select', 'create_table_as'] }],
  [
    'SELECT INTO in EXPLAIN ANALYZE',
    'explain analyze select 1 as a into u',
    { kinds: ['explain', 'select', 'create_table_as'] },
  ],
  [
    'CREATE TABLE AS',
    'create table u as select * from t',
    { kinds: ['create_table_as', 'select'], tables: ['u', 't'] },
  ],
  ['CREATE TABLE AS EXECUTE', 'create table u as execute p', { kinds: ['create_table_as', 'execute'], tables: ['u'] }],
  ['materialized view', 'create materialized view v as select 1', { kinds: ['create_materialized_view', 'select'] }],
  ['refresh', 'refresh materialized view v', { kinds: ['refresh_materialized_view'], tables: ['v'] }],
  ['create table', 'create table t (a int)', { kinds: ['create_table'], tables: ['t'] }],
  ['create temp table', 'create temp table t (a int)', { kinds: ['create_table'] }],
  ['drop table', 'drop table if exists s.t, u cascade', { kinds: ['drop_table'], tables: ['s.t', 'u'] }],
  ['drop with comments', 'drop/* */table--\nt', { kinds: ['drop_table'], tables: ['t'] }],
  ['drop schema', 'drop schema s cascade', { kinds: ['drop_schema'], tables: [] }],
  ['drop database', 'drop database d', { kinds: ['drop_database'] }],
  ['drop trigger', 'drop trigger x on t', { kinds: ['drop_trigger'], tables: ['t'] }],
  ['alter table', 'alter table t add column b int', { kinds: ['alter_table'], tables: ['t'] }],
  ['rename column', 'alter table t rename a to b', { kinds: ['alter_table'], tables: ['t'] }],
  ['alter view', 'alter view v rename to w', { kinds: ['alter_view'], tables: ['v'] }],
  ['create index', 'create unique index concurrently i on t (a)', { kinds: ['create_index'], tables: ['t'] }],
  [
    'view that mentions a delete rule',
    'create rule r as on insert to t do also delete from u',
    { kinds: ['create_rule'], isMissingWhere: false },
  ],
  [
    'create function',
    "create function f() returns int language sql as 'delete from t returning 1'",
    { kinds: ['create_function'] },
  ],
  [
    'function with a body',
    'create function f() returns void begin atomic delete from t; end',
    { kinds: ['create_function'], isMissingWhere: false },
  ],
  ['trigger', 'create trigger x before insert on t execute function f()', { kinds: ['create_trigger'], tables: ['t'] }],
  ['grant', 'grant all on t to public', { kinds: ['grant'], tables: ['t'] }],
  ['grant role', 'grant a to b', { kinds: ['grant'] }],
  ['revoke', 'revoke select on t from u', { kinds: ['revoke'], tables: ['t'] }],
  ['comment on', "comment on column s.t.a is 'x'", { kinds: ['comment'], tables: ['s.t'] }],
  [
    'sequence given to a column',
    'alter sequence q owned by s.t.a',
    { kinds: ['alter_sequence'], tables: ['s.t', 'q'] },
  ],
  ['sequence of nobody', 'create sequence q owned by none', { kinds: ['create_sequence'], tables: ['q'] }],
  ['table into an extension', 'alter extension e add table s.t', { kinds: ['alter_extension'], tables: ['s.t'] }],
  ['security label', "security label on table t is 'x'", { kinds: ['security_label'], tables: ['t'] }],
  ['alter system', "alter system set work_mem = '1GB'", { kinds: ['alter_system'] }],
  ['alter role', 'alter role r superuser', { kinds: ['alter_role'] }],
  ['alter role set', "alter role r set search_path = 'x'", { kinds: ['alter_role'] }],
  ['alter database set', 'alter database d set a.b = 1', { kinds: ['alter_database'] }],
  ['create role', 'create user u', { kinds: ['create_role'] }],
  ['create extension', 'create extension dblink', { kinds: ['create_extension'] }],
  [
    'schema with elements',
    'create schema s create table t (a int)',
    { kinds: ['create_schema', 'create_table'], tables: ['t'] },
  ],
  ['import foreign schema', 'import foreign schema a from server b into c', { kinds: ['import_foreign_schema'] }],
  ['row level security', 'create policy p on t using (true)', { kinds: ['create_policy'], tables: ['t'] }],
  ['drop owned', 'drop owned by u', { kinds: ['drop_owned'] }],
  ['strongest of several', 'select 1; delete from t; drop table t', { kinds: ['select', 'delete', 'drop_table'] }],
]);

const LOOK_ALIKES = cases('read', [
  [
    'comment inside NULLS FIRST',
    'select a from t order by a nulls /* delete */ first',
    { tables: ['t'], columns: ['a'] },
  ],
  ['comment in an escape string that goes on', "select E'a\\''--\n'\\'; delete from t --'", select],
  ['comment inside WITH TIME ZONE', "select '0:00'::time with/**/time zone", select],
  ['comment inside WITH ORDINALITY', 'select * from unnest(array[1]) with--\n ordinality', select],
  ['alias delete', 'select 1 as delete', { kinds: ['select'], tables: [] }],
  ['alias without AS', 'select a "delete from t" from u', { tables: ['u'] }],
  ['delete in a string', "select 'delete from t'", { tables: [] }],
  ['delete in a doubled quote', "select 'it''s; delete from t'", select],
  ['delete in a dollar string', 'select $$delete from t$$', select],
  ['delete in a tagged dollar string', 'select $a$ $$; delete from t; $b$ $a$', select],
  ['delete in an escape string', "select E'\\'; delete from t; --'", select],
  ['delete in a unicode string', "select U&'\\0027; delete from t'", select],
  ['delete in a bit string column', "select B'101', X'1F', N'delete'", select],
  ['delete in a comment', 'select 1 /* ; delete from t */', select],
  ['delete in a nested comment', 'select 1 /* /* */ ; delete from t */', select],
  ['delete in a line comment', 'select 1 -- ; delete from t', select],
  ['column named delete', 'select "delete", "update" from t', { tables: ['t'] }],
  ['table named delete', 'select * from "delete"', { tables: ['delete'] }],
  ['deleted', 'select deleted, updated_at from deletes', { tables: ['deletes'] }],
  ['TABLE', 'table t', { kinds: ['select'], tables: ['t'] }],
  ['fields of a built-in row', "select (json_each('{}')).value", { functions: ['json_each'] }],
  ['all columns of a whole row', 'select (t).* from t', { columns: ['*'] }],
  ['column that is joined by', 'select 1 from t join u using (a)', { tables: ['t', 'u'], columns: ['a'] }],
  ['built-in by attribute notation', "select ('a'::text).upper", { functions: ['upper'] }],
  ['VALUES', "values (1, 'delete from t')", { kinds: ['select'], tables: [] }],
  ['empty target list', 'select', select],
  ['EXPLAIN of a delete', 'explain delete from t', { kinds: ['explain'], tables: ['t'], isMissingWhere: false }],
  ['EXPLAIN (ANALYZE off)', 'explain (analyze off) delete from t', { kinds: ['explain'] }],
  ['EXPLAIN (ANALYZE 0)', 'explain (analyze 0) delete from t', { kinds: ['explain'] }],
  ['EXPLAIN (ANALYZE FALSE)', "explain (analyze 'FALSE') delete from t", { kinds: ['explain'] }],
  ["EXPLAIN of PostgreSQL's functions", "explain select nextval('q'), upper('a')", { kinds: ['explain'] }],
  ['EXPLAIN ANALYZE of a read', 'explain analyze select * from t', { kinds: ['explain', 'select'], tables: ['t'] }],
  ['CTE name is no table', 'with t as (select 1) select * from t', { tables: [] }],
  [
    'CTE name only in its scope',
    'select * from t where a in (with t as (select 1 a) select a from t)',
    { tables: ['t'] },
  ],
  ['a CTE does not see itself', 'with t as (select * from t) select * from t', { tables: ['t'] }],
  [
    'a recursive CTE sees itself',
    'with recursive t as (select 1 union all select * from t) select * from t limit 3',
    { tables: [] },
  ],
  ['a CTE does not see later ones', 'with a as (select * from b), b as (select 1) select * from a', { tables: ['b'] }],
  ['qualified name is never a CTE', 'with t as (select 1) select * from s.t', { tables: ['s.t'] }],
  [
    'tables in all corners',
    'select (select 1 from a), b.* from b join c using (x) left join lateral (select 1 from d) y on true where exists (select 1 from e) union select 1, 2 from f',
    { tables: ['a', 'b', 'c', 'd', 'e', 'f'] },
  ],
  ['built-ins', "select lower('A'), now(), coalesce(1, 2), count(*), pg_catalog.upper('a')", select],
  ['harmless volatile', 'select random(), clock_timestamp(), gen_random_uuid(), pg_sleep(0)', select],
  ['SQL value functions', 'select current_user, current_timestamp, extract(year from now())', select],
  [
    'special syntax',
    "select trim(both 'x' from 'a'), substring('abc' from 1 for 2), position('a' in 'b'), now() at time zone 'utc'",
    select,
  ],
  ['json', `select '{"a": 1}'::jsonb -> 'a' ->> 'b', '{}'::jsonb ? 'a'`, select],
  ['set-returning built-in', 'select * from generate_series(1, 3) g', { tables: [], functions: ['generate_series'] }],
  ['sampling', 'select * from t tablesample bernoulli (1)', { tables: ['t'] }],
  ['SHOW', 'show all', { kinds: ['show'] }],
  ['FETCH', 'fetch 3 from c', { kinds: ['fetch'] }],
  ['MOVE', 'move all in c', { kinds: ['move'] }],
  ['DECLARE', 'declare c cursor with hold for select * from t', { kinds: ['declare', 'select'], tables: ['t'] }],
  ['PREPARE of a read', 'prepare p as select $1', { kinds: ['prepare', 'select'] }],
  ['homoglyph column', 'select dеlete from t', { tables: ['t'] }],
  ['full-width letters are a name', 'select ｄｅｌｅｔｅ from t', { tables: ['t'] }],
  ['no-break space is part of a name', 'select a\u00a0b from t', { tables: ['t'] }],
  ['parentheses around it all', '((select 1))', select],
  ['two reads', 'select 1; select 2', { kinds: ['select', 'select'] }],
  ['not a delete but minus', 'select 1 --delete\n- 1', select],
  ['parameters', 'select $1, $2::int from t where a = any ($3)', { tables: ['t'] }],
  ['deep but readable', `select ${'('.repeat(1000)}1${')'.repeat(1000)}`, select],
  ['long chain of operators', `select a${' || b'.repeat(2000)} from t`, { tables: ['t'] }],
  ['long UNION', `select 1${' union all select 1'.repeat(1000)}`, select],
]);

const EVERYDAY = [
  ...cases('transaction', [
    ['begin', 'begin', { kinds: ['begin'] }],
    ['start', 'start transaction isolation level serializable', { kinds: ['begin'] }],
    ['commit', 'COMMIT;', { kinds: ['commit'] }],
    ['end', 'end', { kinds: ['commit'] }],
    ['rollback', 'rollback', { kinds: ['rollback'] }],
    ['savepoint', 'savepoint a', { kinds: ['savepoint'] }],
    ['rollback to', 'rollback to a', { kinds: ['rollback_to'] }],
    ['release', 'release a', { kinds: ['release'] }],
    ['prepare transaction', "prepare transaction 'a'", { kinds: ['prepare_transaction'] }],
    ['commit prepared', "commit prepared 'a'", { kinds: ['commit_prepared'] }],
    ['set transaction', 'set transaction read only', { kinds: ['set'] }],
    ['set constraints', 'set constraints all deferred', { kinds: ['set_constraints'] }],
  ]),
  ...cases('session', [
    ['set', "set application_name = 'delete from t'", { kinds: ['set'] }],
    ['set role', 'set role x', { kinds: ['set'] }],
    ['reset', 'reset all', { kinds: ['reset'] }],
    ['discard', 'discard all', { kinds: ['discard'] }],
    ['deallocate', 'deallocate all', { kinds: ['deallocate'] }],
    ['listen', 'listen a', { kinds: ['listen'] }],
    ['unlisten', 'unlisten *', { kinds: ['unlisten'] }],
    ['close', 'close all', { kinds: ['close'] }],
    ['set_config', "select set_config('a.b', 'c', false)", { kinds: ['select'] }],
    ['advisory lock', 'select pg_advisory_lock(1)', { kinds: ['select'] }],
  ]),
  ...cases('copy', [
    ['COPY TO STDOUT', 'copy t to stdout', { kinds: ['copy'], tables: ['t'] }],
    ['COPY of a query', 'copy (select * from t) to stdout (format csv)', { kinds: ['copy', 'select'], tables: ['t'] }],
  ]),
  ...cases('utility', [
    ['vacuum', 'vacuum (analyze) t', { kinds: ['vacuum'], tables: ['t'] }],
    ['analyze', 'analyze t', { kinds: ['analyze'], tables: ['t'] }],
    ['lock', 'lock table t in share mode', { kinds: ['lock'], tables: ['t'] }],
    ['checkpoint', 'checkpoint', { kinds: ['checkpoint'] }],
    ['reindex', 'reindex table t', { kinds: ['reindex'], tables: ['t'] }],
  ]),
];

const UNREADABLE = [
  ...unreadable('syntax', [
    ['full-width keyword', 'ｄｅｌｅｔｅ from t'],
    ['homoglyph keyword', 'dеlete from t'],
    ['no-break space between keywords', 'delete\u00a0from t'],
    ['zero-width space in a keyword', 'del\u200bete from t'],
    ['byte order mark', '\ufeffdelete from t'],
    ['unterminated comment', 'delete from t /* '],
    ['unterminated string', "delete from t where a = 'x"],
    ['unterminated dollar string', 'do $$ delete from t'],
    ['comment closed once too few', '/* /* */ delete from t'],
    ['comment closed once too often', '/* */ */ delete from t'],
    ['backtick quotes', 'delete from `t`'],
    ['hash comment', '# comment\ndelete from t'],
    ['one bad statement spoils the message', 'delete from t; selec 1'],
    ['lone semicolon inside', 'delete ; from t'],
    ['oracle join', 'select * from a, b where a.x = b.x(+)'],
    ['unknown statement', 'replace into t values (1)'],
    ['MySQL limit', 'select * from t limit 1, 2'],
    ['trailing junk after a number', 'select 1x from t'],
  ]),
  ...unreadable('nul_byte', [
    ['NUL after a harmless statement', 'select 1\0; delete from t'],
    ['NUL at the start', '\0delete from t'],
  ]),
  ...unreadable('too_deep', [
    ['100,000 parentheses', `select ${'('.repeat(100_000)}1${')'.repeat(100_000)}`],
    ['20,000 casts', `delete from t where a = 1${'::int'.repeat(20_000)}`],
  ]),
];

/** Empty queries have no statements: nothing to judge. */
export const EMPTY_TEXTS: readonly string[] = [
  '',
  ' ',
  '\n\t',
  ';',
  ';;',
  '/* delete from t */',
  '-- delete from t',
  '/**/;--',
];

export const CORPUS: readonly CorpusCase[] = [
  ...DELETES_IN_DISGUISE,
  ...HIDDEN_WRITES,
  ...HIDDEN_CODE,
  ...DDL,
  ...LOOK_ALIKES,
  ...EVERYDAY,
  ...UNREADABLE,
];
