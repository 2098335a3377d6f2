// The observation matrix as a list that a migration team hands to the owners of the code: rows, JSON, CSV and a table.

import { formatTextTable, type TextColumn } from '../base/text-table.ts';
import type { ObservationMatrix, RuleLine } from './observation-matrix.ts';
import type { Tally, TallyField } from './tally.ts';
import { createTally } from './tally.ts';

export interface ObservationFilter {
  readonly rule?: string | undefined;
  readonly fingerprint?: string | undefined;
  readonly applicationName?: string | undefined;
  readonly user?: string | undefined;
  readonly clientPrefix?: string | undefined;
  readonly database?: string | undefined;
  /** Only cells seen at or after this moment. */
  readonly sinceMs?: number | undefined;
}

/** One cell as people read it; snake_case because it goes out as JSON and as a CSV head. */
export interface ObservationRow {
  readonly rule: string;
  readonly action: string;
  readonly mode: string;
  readonly fingerprint: string;
  readonly application_name: string;
  readonly user: string;
  readonly client_prefix: string;
  readonly database: string;
  readonly matched: number;
  readonly would_refuse: number;
  readonly refused: number;
  readonly would_kill: number;
  readonly killed: number;
  readonly kill_raced: number;
  readonly would_route: number;
  readonly routed: number;
  readonly waited: number;
  readonly in_transaction: number;
  /** Share of the matches that were inside a transaction block, 0 to 1. */
  readonly in_transaction_share: number;
  readonly first_seen: string;
  readonly last_seen: string;
  /** `matched` may be too low by at most this much: what a cell of the same key had counted before it was evicted. */
  readonly possibly_missed: number;
  readonly sample: string;
}

/** A rule's exact totals, and how much of them lies outside all cells. */
export interface ObservationTotals {
  readonly rule: string;
  readonly action: string;
  readonly mode: string;
  readonly since: string;
  readonly cells: number;
  /** A statement without a cell was matched at most this often. */
  readonly other_bound: number;
  readonly totals: Readonly<Record<string, number>>;
  readonly other: Readonly<Record<string, number>>;
}

export interface ObservationReport {
  readonly max_cells: number;
  readonly cells: number;
  /** Rows that fit the filter, before `top` cut them. */
  readonly rows_found: number;
  readonly rules: readonly ObservationTotals[];
  readonly rows: readonly ObservationRow[];
}

/** Rows by matches, most first; `top` bounds the rows, never the totals. Rows are copies: later counts do not change them. */
export function reportObservations(
  matrix: ObservationMatrix,
  filter: ObservationFilter,
  top: number,
): ObservationReport {
  const lines = [...matrix.lines()].filter((line) => filter.rule === undefined || line.rule.name === filter.rule);
  const rows = lines.flatMap((line) => listRows(line, filter));
  rows.sort(
    (left, right) =>
      right.matched - left.matched || compare(left.rule, right.rule) || compare(left.fingerprint, right.fingerprint),
  );
  return {
    max_cells: matrix.maxCells,
    cells: matrix.cellCount,
    rows_found: rows.length,
    rules: lines.map(describeLine).sort((left, right) => compare(left.rule, right.rule)),
    rows: rows.slice(0, top),
  };
}

const CSV_COLUMNS = [
  'rule',
  'action',
  'mode',
  'fingerprint',
  'application_name',
  'user',
  'client_prefix',
  'database',
  'matched',
  'would_refuse',
  'refused',
  'would_kill',
  'killed',
  'kill_raced',
  'would_route',
  'routed',
  'waited',
  'in_transaction',
  'in_transaction_share',
  'first_seen',
  'last_seen',
  'possibly_missed',
  'sample',
] as const satisfies readonly (keyof ObservationRow)[];

/**
 * The rows as CSV (RFC 4180: CRLF, quotes doubled). Each rule that lost cells gets a last row with the fingerprint
 * `(other)`. Cells that a spreadsheet would run as a formula get a leading apostrophe.
 */
export function formatObservationsCsv(report: ObservationReport): string {
  const rows = [...report.rows, ...report.rules.filter(hasOther).map(describeOther)];
  const lines = rows.map((row) => CSV_COLUMNS.map((column) => quoteCsv(row[column])).join(','));
  return `${[CSV_COLUMNS.join(','), ...lines].join('\r\n')}\r\n`;
}

/** One CSV field. Application names and statements come from clients, so none may start a formula (OWASP, CSV injection). */
export function quoteCsv(value: string | number): string {
  if (typeof value === 'number') return String(value);
  const safe = /^\s*[=+\-@]|^[\t\r\n]/.test(value) ? `'${value}` : value;
  return /[",\r\n']/.test(safe) || safe !== safe.trim() ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const TEXT_COLUMNS: readonly TextColumn<ObservationRow>[] = [
  { title: 'RULE', isNumber: false, read: (row) => row.rule },
  { title: 'MODE', isNumber: false, read: (row) => row.mode },
  { title: 'MATCHED', isNumber: true, read: (row) => String(row.matched) },
  { title: 'WOULD', isNumber: true, read: (row) => String(row.would_refuse + row.would_kill + row.would_route) },
  { title: 'DONE', isNumber: true, read: (row) => String(row.refused + row.killed + row.routed) },
  { title: 'IN TX', isNumber: true, read: (row) => `${Math.round(row.in_transaction_share * 100)}%` },
  { title: 'APPLICATION', isNumber: false, read: (row) => cut(row.application_name, 24) },
  { title: 'USER', isNumber: false, read: (row) => cut(row.user, 20) },
  { title: 'CLIENT', isNumber: false, read: (row) => row.client_prefix },
  { title: 'DATABASE', isNumber: false, read: (row) => cut(row.database, 20) },
  {
    title: 'LAST SEEN',
    isNumber: false,
    read: (row) => (row.last_seen === '' ? '' : `${row.last_seen.slice(0, 19)}Z`),
  },
  { title: 'FINGERPRINT', isNumber: false, read: (row) => row.fingerprint },
  { title: 'STATEMENT', isNumber: false, read: (row) => cut(row.sample, 100) },
];

/** The rows as a table for a terminal; control characters of clients' names and texts are shown, never sent. */
export function formatObservationsText(report: ObservationReport): string {
  const rows = [...report.rows, ...report.rules.filter(hasOther).map(describeOther)];
  const table = formatTextTable(TEXT_COLUMNS, rows);
  const hidden = report.rows_found - report.rows.length;
  return hidden > 0 ? `${table}\n(${hidden} more rows)\n` : `${table}\n`;
}

function listRows(line: RuleLine, filter: ObservationFilter): ObservationRow[] {
  const rows: ObservationRow[] = [];
  for (const cell of line.cells.values()) {
    const { key } = cell;
    const isWanted =
      (filter.fingerprint === undefined || key.fingerprint === filter.fingerprint) &&
      (filter.applicationName === undefined || key.applicationName === filter.applicationName) &&
      (filter.user === undefined || key.user === filter.user) &&
      (filter.clientPrefix === undefined || key.clientPrefix === filter.clientPrefix) &&
      (filter.database === undefined || key.database === filter.database) &&
      (filter.sinceMs === undefined || cell.lastSeenMs >= filter.sinceMs);
    if (!isWanted) continue;
    rows.push({
      ...describeRule(line),
      fingerprint: key.fingerprint,
      application_name: key.applicationName,
      user: key.user,
      client_prefix: key.clientPrefix,
      database: key.database,
      ...describeTally(cell.tally),
      first_seen: new Date(cell.firstSeenMs).toISOString(),
      last_seen: new Date(cell.lastSeenMs).toISOString(),
      possibly_missed: cell.possiblyMissed,
      sample: cell.sample,
    });
  }
  return rows;
}

function describeLine(line: RuleLine): ObservationTotals {
  return {
    ...describeRule(line),
    since: new Date(line.sinceMs).toISOString(),
    cells: line.cells.size,
    other_bound: line.erosion,
    totals: describeTally(line.totals),
    other: describeTally(line.other),
  };
}

function describeRule(line: RuleLine): { rule: string; action: string; mode: string } {
  return { rule: line.rule.name, action: line.rule.action, mode: line.rule.mode };
}

function hasOther(totals: ObservationTotals): boolean {
  return Object.values(totals.other).some((count) => count > 0);
}

function describeOther(totals: ObservationTotals): ObservationRow {
  const { rule, action, mode, other } = totals;
  return {
    rule,
    action,
    mode,
    fingerprint: '(other)',
    application_name: '',
    user: '',
    client_prefix: '',
    database: '',
    ...EMPTY_COUNTS,
    ...other,
    first_seen: '',
    last_seen: '',
    possibly_missed: 0,
    sample: '',
  };
}

function describeTally(tally: Tally): typeof EMPTY_COUNTS {
  const counts = countsOf(tally);
  return { ...counts, in_transaction_share: share(tally.inTransaction, tally.matched) };
}

const FIELD_NAMES = {
  matched: 'matched',
  would_refuse: 'wouldRefuse',
  refused: 'refused',
  would_kill: 'wouldKill',
  killed: 'killed',
  kill_raced: 'killRaced',
  would_route: 'wouldRoute',
  routed: 'routed',
  waited: 'waited',
  in_transaction: 'inTransaction',
} as const satisfies Record<string, TallyField>;

type CountName = keyof typeof FIELD_NAMES;

const EMPTY_COUNTS = { ...countsOf(createTally()), in_transaction_share: 0 };

function countsOf(tally: Tally): Record<CountName, number> {
  const names = Object.keys(FIELD_NAMES) as CountName[];
  return Object.fromEntries(names.map((name) => [name, tally[FIELD_NAMES[name]]])) as Record<CountName, number>;
}

/** To four digits: enough for a report, and short in CSV. */
function share(part: number, whole: number): number {
  return whole === 0 ? 0 : Math.round((part / whole) * 10_000) / 10_000;
}

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

function cut(text: string, maxLength: number): string {
  return text.length <= maxLength ? text : `${text.slice(0, maxLength - 1)}…`;
}
