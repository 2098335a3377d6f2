// What functions written in C may leave behind in a session. Their code cannot be read, so it goes by what is known of the
// extensions, and else by how they are declared.

import { RUNS_ARGUMENT, TRACE } from '../sql/trace-bits.ts';

/** Functions of these keep nothing in the session, though some are volatile. Where one does it is in BY_NAME. */
const KEEPING_NOTHING = new Set(
  `adminpack amcheck bloom btree_gin btree_gist citext cube dict_int dict_xsyn earthdistance file_fdw fuzzystrmatch hstore
  insert_username intagg intarray isn lo ltree moddatetime old_snapshot pageinspect pg_buffercache pg_freespacemap
  pg_logicalinspect pg_prewarm pg_stat_statements pg_surgery pg_trgm pg_visibility pg_walinspect pgcrypto pgrowlocks
  pgstattuple postgis postgis_raster postgis_topology seg sslinfo tablefunc tcn tsm_system_rows tsm_system_time unaccent
  uuid-ossp vector xml2 dblink postgres_fdw`.split(/\s+/),
);

const BY_NAME: readonly (readonly [pattern: RegExp, traces: number])[] = [
  [/^dblink_connect/, TRACE.extension],
  // pg_trgm: a setting, which the server knows.
  [/^set_limit$/, TRACE.settings],
  // isn: a variable of the process before PostgreSQL 18, a setting since.
  [/^(?:isn_weak|accept_weak_input)$/, TRACE.extension | TRACE.hidden],
  // spi: a trigger.
  [/^autoinc$/, TRACE.sequence],
  // They run the query that they are given.
  [/^(?:crosstab|connectby|xpath_table)/, TRACE.hidden | RUNS_ARGUMENT],
];

/** @param volatility provolatile: `i`, `s` or `v` */
export function extensionTraces(name: string, volatility: string, extension: string | null): number {
  for (const [pattern, traces] of BY_NAME) if (pattern.test(name)) return traces;
  if (volatility !== 'v' || (extension !== null && KEEPING_NOTHING.has(extension))) return 0;
  return TRACE.hidden;
}
