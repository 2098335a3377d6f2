// Every setting that a session may change, with values to tell clients apart by.

import type { TestServer } from '../support/postgres.ts';

export interface Settable {
  readonly name: string;
  /** SQL literals; client n takes the n-th, from the start again where there are fewer. */
  readonly values: readonly string[];
}

/** Settings of type string, whose legal values nothing tells, and those where a value picked by type would do harm. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  DateStyle: ['ISO, DMY', 'German', 'SQL, MDY', 'Postgres, YMD'],
  TimeZone: ['Europe/Rome', 'America/New_York', 'Asia/Tokyo', 'UTC'],
  application_name: ['canary zero', 'canary one', 'canary two', ''],
  backtrace_functions: ['no_function_zero', 'no_function_one'],
  client_encoding: ['LATIN1', 'SQL_ASCII', 'UTF8'],
  client_min_messages: ['warning', 'error', 'notice'],
  createrole_self_grant: ['set', 'inherit', 'set, inherit'],
  default_table_access_method: ['heap'],
  default_tablespace: ['pg_default'],
  default_text_search_config: ['pg_catalog.simple', 'pg_catalog.english', 'pg_catalog.german'],
  dynamic_library_path: ['$libdir:/nowhere/zero', '$libdir:/nowhere/one'],
  extension_control_path: ['$system:/nowhere/zero', '$system:/nowhere/one'],
  lc_messages: ['C', 'POSIX'],
  lc_monetary: ['POSIX', 'C'],
  lc_numeric: ['POSIX', 'C'],
  lc_time: ['POSIX', 'C'],
  local_preload_libraries: ['zero', 'one, two'],
  // The server writes a great deal otherwise.
  log_min_messages: ['error', 'log', 'warning'],
  log_min_error_statement: ['log', 'fatal', 'panic'],
  restrict_nonsystem_relation_kind: ['foreign-table'],
  search_path: ['attic, public', '"Odd, name", public, "$user"', 'public, pg_catalog', ''],
  session_preload_libraries: ['zero', 'one, two'],
  temp_tablespaces: ['pg_default', 'pg_default, pg_default'],
  timezone_abbreviations: ['Australia', 'India', 'Default'],
  transaction_isolation: ['serializable', 'read committed', 'repeatable read'],
  wal_consistency_checking: ['heap', 'btree', 'heap, btree'],
};
/** Their unit is ms or their effect is a log file that grows: nothing may come due while the test runs. */
const LARGE =
  /_timeout$|^log_min_duration|^client_connection_check_interval$|^post_auth|^log_temp_files$|^temp_file_limit$/;
/** Once temporary tables were used on a connection it cannot be changed there; whose they were is not told. */
const NOT_CARRIED = 'temp_buffers';
const CLIENTS = 6;

export async function findSettable(server: Pick<TestServer, 'query'>): Promise<readonly Settable[]> {
  const { rows } = await server.query(
    `SELECT name, vartype, enumvals, min_val, max_val, reset_val FROM pg_settings
     WHERE context IN ('user', 'superuser') AND name <> '${NOT_CARRIED}' ORDER BY name`,
  );
  return rows.map((row) => ({
    name: String(row.name),
    values: chooseValues(row).map((value) => `'${value.replaceAll("'", "''")}'`),
  }));
}

function chooseValues(row: Readonly<Record<string, unknown>>): readonly string[] {
  const name = String(row.name);
  const known = VALUES[name];
  if (known !== undefined) return known;
  switch (row.vartype) {
    case 'bool':
      return row.reset_val === 'on' ? ['off', 'on'] : ['on', 'off'];
    case 'enum':
      return readEnumValues(row.enumvals).filter((value) => !value.startsWith('debug'));
    case 'integer':
      return numbers(row, LARGE.test(name) ? 600_000 : Number(row.reset_val) + 1, 1);
    case 'real':
      return numbers(row, Number(row.reset_val) + 0.125, 0.125);
    default:
      throw new Error(`no values are known for ${name}, a ${String(row.vartype)}`);
  }
}

function readEnumValues(values: unknown): string[] {
  if (!Array.isArray(values)) throw new Error('enumvals is no array');
  return values.map(String);
}

/** As many different numbers as there are clients, as far as the bounds leave room. */
function numbers(row: Readonly<Record<string, unknown>>, from: number, step: number): string[] {
  const min = Number(row.min_val);
  const max = Number(row.max_val);
  const start = Math.max(min, Math.min(from, max - step * (CLIENTS - 1)));
  return Array.from({ length: CLIENTS }, (_, index) => String(Math.min(max, start + index * step)));
}
