// Asking a server connection at rest what its session has, and reading the answer.
//
// The server alone keeps the stack of SET, SET LOCAL and savepoints, so it is asked for the outcome: pg_settings says of
// which settings the value is the session's own (source 'session'). It leaves out role, session_authorization and
// placeholders such as myapp.user; those are read by name, and again behind a local RESET, which shows what they were at
// login. Everything is named by its schema, operators too: search_path is the client's. Names and values come as hex of
// the database's own encoding, because client_encoding is the client's as well.

import { type Belongings, makeBelongings } from '../session/belongings.ts';
import { TRACE } from '../sql/traces.ts';
import { literalOf, readHex } from './carried-text.ts';
import type { Inquiry } from './inquiry.ts';

export interface Settlement {
  readonly belongings: Belongings;
  /** Bits of TRACE that are really there and cannot be carried over. */
  readonly found: number;
}

/** What a session has that is found by whether a query gives a row. */
const HOLDINGS: readonly (readonly [bit: number, query: string])[] = [
  [
    TRACE.temporary,
    // The dependency on the session's temporary schema is what the server itself drops its contents by.
    `FROM pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=) 2615
      AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()`,
  ],
  [
    TRACE.temporary,
    `FROM pg_catalog.pg_get_replication_slots() WHERE temporary
      AND active_pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()`,
  ],
  [TRACE.heldCursor, 'FROM pg_catalog.pg_cursor()'],
  [
    TRACE.advisoryLock,
    `FROM pg_catalog.pg_lock_status() WHERE locktype OPERATOR(pg_catalog.=) 'advisory'
      AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()`,
  ],
  [TRACE.listen, 'FROM pg_catalog.pg_listening_channels()'],
  [TRACE.preparedSql, 'FROM pg_catalog.pg_prepared_statement() WHERE from_sql'],
];

/**
 * lastval() fails where nothing was drawn from a sequence, and an error would be written to the server's log. The answer
 * travels in a setting of this transaction. With exit_on_error an error that is caught ends the session, too.
 */
const ASK_SEQUENCE = `SET LOCAL exit_on_error = off;
DO LANGUAGE plpgsql $pgweir$BEGIN
  PERFORM pg_catalog.lastval();
  PERFORM pg_catalog.set_config('geqo_seed', '0.25', true);
EXCEPTION WHEN object_not_in_prerequisite_state THEN
  PERFORM pg_catalog.set_config('geqo_seed', '0.125', true);
WHEN OTHERS THEN
  PERFORM pg_catalog.set_config('geqo_seed', '0.25', true);
END$pgweir$;
SELECT 'sequence', NULL, pg_catalog.current_setting('geqo_seed')`;
const NONE_DRAWN = '0.125';

/** Not read from pg_settings: each transaction has them anew, or the pool keeps them itself. */
const NOT_TAKEN: ReadonlySet<string> = new Set([
  'transaction_isolation',
  'transaction_read_only',
  'transaction_deferrable',
  'application_name',
  // Read by name, because it is changed while all others are read.
  'statement_timeout',
]);

const hexOf = (expression: string): string =>
  `pg_catalog.encode(pg_catalog.convert_to(${expression}, pg_catalog.getdatabaseencoding()), 'hex')`;

/**
 * One Query that asks for what `traces` (bits of TRACE) may stand for; `hidden` stands for everything.
 *
 * @param customNames dotted settings that may have been made
 * @param previous what the connection carried when its client took it
 * @param asksSequences by DO, where that is possible (CatalogKnowledge); else drawing by hidden code cannot be ruled out
 */
export function makeSettlementQuery(
  traces: number,
  customNames: readonly string[],
  previous: Belongings,
  asksSequences = true,
): string {
  const isHidden = (traces & TRACE.hidden) !== 0;
  // Not serializable, which a standby refuses; not deferrable, which may wait for others.
  const statements = ['BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY NOT DEFERRABLE'];
  if (asksSettings(traces)) statements.push(...settingQueries(namesToAsk(customNames, previous)));
  const holdings = HOLDINGS.filter(([bit]) => isHidden || (traces & bit) !== 0);
  if (holdings.length > 0) {
    const parts = holdings.map(([bit, query]) => `CASE WHEN EXISTS (SELECT ${query}) THEN ${bit} END`);
    statements.push(`SELECT 'holdings', NULL, pg_catalog.array_to_string(ARRAY[${parts.join(',\n')}], ',')`);
  }
  if (isHidden && asksSequences) statements.push(ASK_SEQUENCE);
  statements.push('COMMIT');
  return statements.join(';\n');
}

function asksSettings(traces: number): boolean {
  return (traces & (TRACE.settings | TRACE.hidden)) !== 0;
}

function namesToAsk(customNames: readonly string[], previous: Belongings): string[] {
  const names = new Set(customNames.map((name) => name.toLowerCase()));
  for (const name of previous.custom.keys()) names.add(name);
  // Of a library that may not be loaded on this connection: there it is a placeholder.
  for (const name of previous.settings.keys()) if (name.includes('.')) names.add(name);
  return [...names];
}

function settingQueries(names: readonly string[]): string[] {
  const wanted = ['role', 'session_authorization', 'is_superuser', 'statement_timeout', ...names].map(literalOf);
  const read = (kind: string): string =>
    `SELECT '${kind}', ${hexOf('n.name')}, ${hexOf('pg_catalog.current_setting(n.name, true)')}
      FROM pg_catalog.unnest(ARRAY[${wanted.join(', ')}]::pg_catalog.text[]) AS n(name)`;
  const isKnown =
    names.length === 0
      ? ''
      : ` OR pg_catalog.lower(name) OPERATOR(pg_catalog.=) ANY (ARRAY[${names.map(literalOf).join(', ')}]::pg_catalog.text[])`;
  const loginValues = [read('login')];
  // RESET of one name would make a placeholder of it; a savepoint leaves no rollback in the server's statistics.
  if (names.length > 0) {
    loginValues.unshift('SAVEPOINT pgweir', 'RESET ALL');
    loginValues.push('ROLLBACK TO SAVEPOINT pgweir');
  }
  return [
    read('now'),
    'SET LOCAL SESSION AUTHORIZATION DEFAULT',
    'SET LOCAL role TO DEFAULT',
    'SET LOCAL statement_timeout TO DEFAULT',
    ...loginValues,
    // All settings take longer to read than some clients give their statements.
    'SET LOCAL statement_timeout = 0',
    `SELECT CASE WHEN source OPERATOR(pg_catalog.=) 'session' THEN 'set' ELSE 'default' END,
      ${hexOf('name')}, ${hexOf('setting')}, context
      FROM pg_catalog.pg_show_all_settings() WHERE source OPERATOR(pg_catalog.=) 'session'${isKnown}`,
  ];
}

/**
 * @param rows the answer to makeSettlementQuery with the same `traces`
 * @param previous holds still where the settings were not asked for
 */
export function readSettlement(rows: Inquiry['rows'], traces: number, previous: Belongings): Settlement {
  const answer = sortRows(rows);
  let found = 0;
  for (const bit of answer.holdings.split(',')) found |= Number(bit);
  if ((traces & TRACE.hidden) !== 0 && answer.sequence !== NONE_DRAWN) found |= TRACE.sequence;
  if (!asksSettings(traces)) return { belongings: previous, found };
  // Made by a function that runs as its owner, say: the login user could not set it again.
  if (answer.hasPrivilegedSetting && answer.login.get('is_superuser') !== 'on') found |= TRACE.opaqueSetting;
  return { belongings: belongingsOf(answer), found };
}

interface SortedAnswer {
  readonly now: ReadonlyMap<string, string>;
  readonly login: ReadonlyMap<string, string>;
  /** Of pg_settings: what the session has set. */
  readonly set: ReadonlyMap<string, string>;
  /** Names that were asked for, and that pg_settings has at their default. */
  readonly atDefault: ReadonlySet<string>;
  readonly hasPrivilegedSetting: boolean;
  readonly holdings: string;
  readonly sequence: string | null;
}

function sortRows(rows: Inquiry['rows']): SortedAnswer {
  const now = new Map<string, string>();
  const login = new Map<string, string>();
  const set = new Map<string, string>();
  const atDefault = new Set<string>();
  let hasPrivilegedSetting = false;
  let holdings = '';
  let sequence: string | null = null;
  for (const [kind, hexName, value, context] of rows) {
    if (kind === 'holdings') holdings = value ?? '';
    if (kind === 'sequence') sequence = value ?? null;
    if (hexName === null || hexName === undefined) continue;
    const name = readHex(hexName).toLowerCase();
    if (kind === 'default') atDefault.add(name);
    // A string setting that was never given a value (temp_tablespaces of old versions) shows as null.
    if (kind === 'set' && !NOT_TAKEN.has(name)) {
      set.set(name, readHex(value ?? ''));
      if (context === 'superuser') hasPrivilegedSetting = true;
    }
    if (value === null || value === undefined) continue;
    if (kind === 'now') now.set(name, readHex(value));
    if (kind === 'login') login.set(name, readHex(value));
  }
  return { now, login, set, atDefault, hasPrivilegedSetting, holdings, sequence };
}

function belongingsOf({ now, login, set, atDefault }: SortedAnswer): Belongings {
  const settings = new Map(set);
  const custom = new Map<string, string>();
  for (const [name, value] of now) {
    if (!name.includes('.') || set.has(name) || atDefault.has(name)) continue;
    const loginValue = login.get(name) ?? '';
    // Of ALTER ROLE, ALTER DATABASE or the startup packet: RESET leads back to it, as with any other setting.
    if (loginValue === '') custom.set(name, value);
    else if (value !== loginValue) settings.set(name, value);
  }
  const timeout = now.get('statement_timeout');
  if (timeout !== undefined && timeout !== login.get('statement_timeout')) settings.set('statement_timeout', timeout);
  const user = now.get('session_authorization') ?? null;
  const sessionUser = user === login.get('session_authorization') ? null : user;
  const roleNow = now.get('role') ?? null;
  // SET SESSION AUTHORIZATION also ends the role, whatever it is at login.
  const role = sessionUser === null && roleNow === login.get('role') ? null : roleNow;
  return makeBelongings({ settings, custom, role, sessionUser });
}
