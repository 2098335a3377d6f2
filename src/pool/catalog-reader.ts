// Reads what is known of a database's objects from its catalogs, by one Query: the relations and functions of users, who
// uses whom, and where an expression that the catalogs keep calls a built-in that leaves something behind. catalog-graph.ts
// draws the conclusions. Object identifiers below 16384 (FirstNormalObjectId) are PostgreSQL's own.

import { LEAVING_NAMES } from '../sql/builtin-traces.ts';
import type { CatalogKnowledge } from '../sql/catalog-knowledge.ts';
import { type CatalogObjects, concludeKnowledge } from './catalog-graph.ts';
import type { Inquiry } from './inquiry.ts';

/** A longer body is not read, and counts as able to do anything; so does what is beyond all of them together. */
const MAX_BODY_BYTES = 256 * 1024;
const MAX_BODIES_BYTES = 16 * 1024 * 1024;

/** Functions whose users are of interest: those that may run SQL, or keep state of their own. */
const SUSPECTS = `
  SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
  WHERE p.oid >= 16384 AND (l.lanname NOT IN ('internal', 'c') OR p.provolatile = 'v' OR l.lanname = 'internal'
    OR p.proname ~ '^(crosstab|connectby|xpath_table|isn_weak|accept_weak)')`;

/** PostgreSQL's own functions that leave something behind. */
const LEAVING = `'{${LEAVING_NAMES.join(',')}}'::name[]`;

/** A default that draws from a sequence. nextval() has had that identifier since it exists. */
const NEXTVAL = ':funcid 1574 ';

/** That of a domain belongs to no relation. */
const OF_CONSTRAINT = "CASE WHEN conrelid = 0 THEN 'operator' ELSE 'relation' END";

/** The functions that parsed expressions (pg_node_tree as text) call, with their owners. */
const called = (what: string, owner: string, expression: string, from: string): string => `
  SELECT what, owner, split_part(part, ' ', 1) AS called
  FROM (SELECT ${what} AS what, ${owner} AS owner, ${expression} AS tree FROM ${from} OFFSET 0) trees,
    unnest((string_to_array(tree, ':funcid '))[2:]) part
  WHERE strpos(tree, ':funcid ') > 0`;

/** One row of each: its name, and a JSON array of arrays (or of values). */
const SECTIONS: Readonly<Record<keyof CatalogObjects, string>> = {
  // Temporary ones pin where they are made; where a login makes them, nobody sees it before they are used.
  relations: `
    SELECT json_agg(json_build_array(oid, relname, relkind)) FROM pg_class
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND (relpersistence <> 't'
      OR NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtevent = 'login'))`,
  functions: `
    SELECT json_agg(json_build_array(oid, proname, lanname, provolatile, extname, prokind, proconfig, takes_row,
      CASE WHEN length <= ${MAX_BODY_BYTES} AND total <= ${MAX_BODIES_BYTES} THEN body END))
    FROM (
      SELECT *, octet_length(body) AS length, sum(octet_length(body)) OVER (ORDER BY octet_length(body), oid) AS total
      FROM (
        SELECT p.oid, p.proname, l.lanname, p.provolatile, e.extname, p.prokind, p.proconfig,
          p.pronargs >= 1 AND p.pronargs - p.pronargdefaults <= 1
            AND EXISTS (SELECT FROM pg_type t WHERE t.oid = p.proargtypes[0] AND t.typtype IN ('c', 'p')) AS takes_row,
          CASE WHEN p.prokind = 'a' OR l.lanname = 'c' THEN ''
            WHEN l.lanname = 'internal' THEN (SELECT min(b.proname::text) FROM pg_proc b
              WHERE b.oid < 16384 AND b.prosrc = p.prosrc AND b.proname = ANY (${LEAVING}))
            WHEN l.lanname = 'sql' AND p.prosrc = '' THEN pg_get_functiondef(p.oid)
            ELSE p.prosrc END AS body
        FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
          LEFT JOIN pg_depend d ON d.classid = 1255 AND d.objid = p.oid AND d.refclassid = 3079 AND d.deptype = 'e'
          LEFT JOIN pg_extension e ON e.oid = d.refobjid
        WHERE p.oid >= 16384) written) measured`,
  uses: `
    WITH used AS (
      SELECT d.classid, d.objid, d.refobjid FROM (${SUSPECTS}) s
        JOIN pg_depend d ON d.refclassid = 1255 AND d.refobjid = s.oid)
    SELECT json_agg(json_build_array(what, owner, refobjid)) FROM (
      SELECT 'relation' AS what, t.tgrelid AS owner, u.refobjid
        FROM used u JOIN pg_trigger t ON u.classid = 2620 AND t.oid = u.objid
      UNION ALL SELECT 'relation', a.adrelid, u.refobjid
        FROM used u JOIN pg_attrdef a ON u.classid = 2604 AND a.oid = u.objid
      UNION ALL SELECT ${OF_CONSTRAINT}, c.conrelid, u.refobjid
        FROM used u JOIN pg_constraint c ON u.classid = 2606 AND c.oid = u.objid
      UNION ALL SELECT 'relation', p.polrelid, u.refobjid
        FROM used u JOIN pg_policy p ON u.classid = 3256 AND p.oid = u.objid
      UNION ALL SELECT 'relation', r.ev_class, u.refobjid
        FROM used u JOIN pg_rewrite r ON u.classid = 2618 AND r.oid = u.objid
      UNION ALL SELECT 'relation', coalesce(i.indrelid, u.objid), u.refobjid
        FROM used u LEFT JOIN pg_index i ON i.indexrelid = u.objid WHERE u.classid = 1259
      UNION ALL SELECT 'relation', s.stxrelid, u.refobjid
        FROM used u JOIN pg_statistic_ext s ON u.classid = 3381 AND s.oid = u.objid
      UNION ALL SELECT 'function', u.objid, u.refobjid FROM used u WHERE u.classid = 1255
      -- Operators, casts, types, operator classes and families with their support functions.
      UNION ALL SELECT 'operator', 0, u.refobjid FROM used u
        WHERE u.classid IN (2617, 2605, 1247, 2616, 2753, 2602, 2603)) owners`,
  calls: `
    SELECT json_agg(json_build_array(what, owner, proname)) FROM (
      ${called("'relation'", 'adrelid', 'adbin::text', `pg_attrdef WHERE strpos(adbin::text, '${NEXTVAL}') = 0`)}
      UNION ALL ${called(OF_CONSTRAINT, 'conrelid', 'conbin::text', "pg_constraint WHERE contype = 'c'")}
      UNION ALL ${called("'relation'", 'tgrelid', 'tgqual::text', 'pg_trigger WHERE tgqual IS NOT NULL')}
      UNION ALL ${called("'relation'", 'polrelid', "concat(polqual::text, ' ', polwithcheck::text)", 'pg_policy')}
      UNION ALL ${called("'relation'", 'ev_class', "concat(ev_qual::text, ' ', ev_action::text)", 'pg_rewrite WHERE oid >= 16384')}
      UNION ALL ${called("'function'", 'oid', 'proargdefaults::text', 'pg_proc WHERE oid >= 16384 AND pronargdefaults > 0')}
      UNION ALL ${called("'operator'", '0', 'typdefaultbin::text', `pg_type WHERE typtype = 'd' AND strpos(typdefaultbin::text, '${NEXTVAL}') = 0`)}
      UNION ALL SELECT 'operator', 0, oprcode::oid::text FROM pg_operator WHERE oid >= 16384
      UNION ALL SELECT 'operator', 0, castfunc::text FROM pg_cast WHERE oid >= 16384
      ) calls
      JOIN (SELECT oid::text AS called, proname FROM pg_proc
        WHERE oid < 16384 AND proname = ANY (${LEAVING})) builtins USING (called)`,
  drawing: `
    SELECT json_agg(relid) FROM (
      SELECT adrelid AS relid FROM pg_attrdef WHERE strpos(adbin::text, '${NEXTVAL}') > 0
      UNION ALL SELECT attrelid FROM pg_attribute WHERE attidentity <> '' AND attrelid >= 16384
      UNION ALL SELECT attrelid FROM pg_type y JOIN pg_attribute a ON a.atttypid = y.oid
        WHERE y.typtype = 'd' AND strpos(y.typdefaultbin::text, '${NEXTVAL}') > 0) drawing`,
  reads: `
    SELECT json_agg(json_build_array(view, relation)) FROM (
      SELECT DISTINCT r.ev_class AS view, d.refobjid AS relation
      FROM pg_rewrite r JOIN pg_depend d ON d.classid = 2618 AND d.objid = r.oid AND d.refclassid = 1259
      WHERE r.oid >= 16384 AND d.refobjid <> r.ev_class) read`,
  // Statements on a parent reach its children, and its policies what they look up; cascades of a foreign key reach the
  // tables that refer to it.
  reaches: `
    SELECT json_agg(json_build_array(parent, child)) FROM (
      SELECT inhparent AS parent, inhrelid AS child FROM pg_inherits
      UNION ALL SELECT p.polrelid, d.refobjid FROM pg_policy p
        JOIN pg_depend d ON d.classid = 3256 AND d.objid = p.oid AND d.refclassid = 1259 AND d.refobjid <> p.polrelid
      UNION ALL SELECT confrelid, conrelid FROM pg_constraint
        WHERE contype = 'f' AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))) reached`,
  rules: `SELECT json_agg(DISTINCT ev_class) FROM pg_rewrite WHERE rulename <> '_RETURN' AND oid >= 16384`,
  events: `SELECT json_agg(json_build_array(evtevent, evtfoid)) FROM pg_event_trigger WHERE evtenabled <> 'D'`,
  languages: `
    SELECT json_agg(lanname) FROM pg_language WHERE lanname = 'plpgsql' AND has_language_privilege(oid, 'USAGE')`,
};

/** Under a search_path and an encoding of its own, for the time of the transaction. One row for each section. */
export const CATALOG_QUERY: string = [
  'BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY NOT DEFERRABLE',
  'SET LOCAL search_path = pg_catalog, pg_temp',
  "SET LOCAL client_encoding = 'UTF8'",
  // Compiling, and starting other processes, would take longer than the query.
  'SET LOCAL jit = off',
  'SET LOCAL max_parallel_workers_per_gather = 0',
  'SET LOCAL statement_timeout = 0',
  // It ends the connection, and servers before PostgreSQL 17 do not know it.
  "SELECT CASE WHEN current_setting('transaction_timeout', true) <> '0' THEN set_config('transaction_timeout', '0', true) END",
  ...Object.entries(SECTIONS).map(([name, query]) => `SELECT '${name}', (${query})`),
  'COMMIT',
].join(';\n');

/** @param rows the answer to CATALOG_QUERY */
export function readCatalog(rows: Inquiry['rows']): CatalogKnowledge {
  const objects: Record<keyof CatalogObjects, unknown[]> = {
    relations: [],
    functions: [],
    uses: [],
    calls: [],
    drawing: [],
    reads: [],
    reaches: [],
    rules: [],
    events: [],
    languages: [],
  };
  for (const [name, json] of rows) {
    if (name === null || name === undefined || !(name in objects)) continue;
    objects[name as keyof CatalogObjects] = JSON.parse(json ?? '[]') ?? [];
  }
  return concludeKnowledge(objects as CatalogObjects);
}
