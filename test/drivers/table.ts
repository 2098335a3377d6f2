// The matrix as people read it: one row for each driver, one column for each check, and below it what needs words.

import { CHECKS, type Check, HEADINGS } from './checks.ts';
import type { Way } from './ground.ts';
import type { Outcome } from './outcome.ts';

export type Row = {
  readonly driver: string;
  readonly way: Way;
  readonly version: string | null;
} & (
  | { readonly isRun: true; readonly outcomes: ReadonlyMap<Check, Outcome> }
  | { readonly isRun: false; readonly reason: string }
);

export interface Tally {
  readonly equal: number;
  readonly noApi: number;
  readonly failed: number;
  readonly notRun: number;
}

export function countCells(rows: readonly Row[]): Tally {
  const tally = { equal: 0, noApi: 0, failed: 0, notRun: 0 };
  for (const row of rows) {
    for (const check of CHECKS) {
      const mark = row.isRun ? markOf(row.outcomes.get(check)) : 'not run';
      if (mark === 'ok') tally.equal++;
      else if (mark === '–') tally.noApi++;
      else if (mark === 'not run') tally.notRun++;
      else tally.failed++;
    }
  }
  return tally;
}

/** The table in Markdown; it also reads well in a terminal. */
export function formatMatrix(rows: readonly Row[]): string {
  const header = ['driver', ...CHECKS.map((check) => HEADINGS[check])];
  const cells = rows.map((row) => [
    row.version === null ? row.driver : `${row.driver} ${row.version}`,
    ...CHECKS.map((check) => (row.isRun ? markOf(row.outcomes.get(check)) : 'not run')),
  ]);
  const widths = header.map((title, column) =>
    Math.max(title.length, ...cells.map((line) => (line[column] ?? '').length)),
  );
  const line = (values: readonly string[]): string =>
    `| ${values.map((value, column) => value.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  return [line(header), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...cells.map(line)].join('\n');
}

/** Every cell that is not "ok", with its reason: failures first. What holds for every way is said once. */
export function formatRemarks(rows: readonly Row[]): string {
  const failures = new Set<string>();
  const others = new Set<string>();
  for (const row of rows) {
    if (!row.isRun) {
      others.add(`- ${row.driver}: not run: ${row.reason}`);
      continue;
    }
    for (const [check, outcome] of row.outcomes) {
      const place = `- ${row.driver}, ${HEADINGS[check]}`;
      if (outcome.kind === 'no API') others.add(`${place}: – ${outcome.detail}`);
      else if (outcome.kind !== 'equal') {
        const seen = `  - bare server: ${outcome.direct}\n  - pgweir: ${outcome.weir}`;
        failures.add(`${place}, ${row.way}: ${outcome.kind}\n${seen}`);
      }
    }
  }
  return [...failures, ...others].join('\n');
}

/** How each driver tells its caller of a refusal, in the driver's own words: the first part of what its program saw. */
export function formatRefusals(rows: readonly Row[]): string {
  const lines = rows.flatMap((row) => {
    const outcome = row.isRun ? row.outcomes.get('refused') : undefined;
    return outcome?.kind === 'equal' ? [[row.driver, outcome.detail.split('; ')[0] ?? ''] as const] : [];
  });
  return [...new Map(lines)].map(([driver, detail]) => `- ${driver}: \`${detail.replace(/\s+/g, ' ')}\``).join('\n');
}

function markOf(outcome: Outcome | undefined): string {
  if (outcome === undefined) return 'broken';
  switch (outcome.kind) {
    case 'equal':
      return 'ok';
    case 'no API':
      return '–';
    case 'different':
    case 'broken':
      return outcome.kind;
    default:
      throw new Error(`unknown outcome ${outcome satisfies never}`);
  }
}
