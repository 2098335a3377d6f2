// Two roads compared: which tests came out otherwise through pgweir than directly, and the table that says so.

import { findLedgerFaults, formatLedger, formatShare, type Ledger } from './ledger.ts';
import type { TestOutcome } from './suite.ts';

export interface SuiteComparison {
  readonly suite: string;
  readonly mode: string;
  readonly tests: number;
  readonly directOk: number;
  readonly throughOk: number;
  readonly differences: readonly Difference[];
  /** What the suite entered, where server connections were shared. */
  readonly ledger: Ledger | null;
}

export interface Difference {
  readonly test: string;
  readonly what: string;
  readonly place: string;
}

/** Stands for a run that broke off. */
export const THE_RUN = 'the run itself';
/** Stands for what pgweir's pools had entered by the end of a suite. */
export const THE_LEDGER = 'the ledger';

/** A test that fails both ways in the same words is no difference; one that ran only once is. */
export function compareOutcomes(
  suite: string,
  mode: string,
  direct: readonly TestOutcome[],
  through: readonly TestOutcome[],
  ledger: Ledger | null = null,
): SuiteComparison {
  const crash = [...direct, ...through].find((outcome) => outcome.name === THE_RUN);
  if (crash !== undefined) {
    const differences = [{ test: THE_RUN, what: `came to nothing: ${crash.output}`, place: crash.place }];
    return { suite, mode, tests: direct.length, directOk: 0, throughOk: 0, differences, ledger };
  }
  const names = new Set([...direct, ...through].map((outcome) => outcome.name));
  const differences: Difference[] = [];
  for (const name of names) {
    const before = direct.find((outcome) => outcome.name === name);
    const after = through.find((outcome) => outcome.name === name);
    const place = after?.place || before?.place || '';
    if (before === undefined || after === undefined) {
      differences.push({ test: name, what: `ran only ${before === undefined ? 'through pgweir' : 'directly'}`, place });
    } else if (before.isOk !== after.isOk) {
      differences.push({ test: name, what: after.isOk ? 'fails directly only' : 'fails through pgweir only', place });
    } else if (before.output !== after.output) {
      differences.push({ test: name, what: 'fails both ways, differently', place });
    }
  }
  for (const what of ledger === null ? [] : findLedgerFaults(ledger)) {
    differences.push({ test: THE_LEDGER, what: `does not add up: ${what}`, place: '' });
  }
  const countOk = (outcomes: readonly TestOutcome[]): number => outcomes.filter((outcome) => outcome.isOk).length;
  return {
    suite,
    mode,
    tests: names.size,
    directOk: countOk(direct),
    throughOk: countOk(through),
    differences,
    ledger,
  };
}

/** A Markdown table, one row for each suite and mode; below it the ledgers and a line for each difference. */
export function formatComparisons(comparisons: readonly SuiteComparison[]): string {
  const hasLedger = comparisons.some((comparison) => comparison.ledger !== null);
  const lines = [
    `| suite | mode | tests | ok directly | ok through pgweir | differ |${hasLedger ? ' on shared connections |' : ''}`,
    `|---|---|---|---|---|---|${hasLedger ? '---|' : ''}`,
  ];
  const remarks: string[] = [];
  for (const { suite, mode, tests, directOk, throughOk, differences, ledger } of comparisons) {
    const share = hasLedger ? ` ${ledger === null ? '–' : formatShare(ledger)} |` : '';
    lines.push(`| ${suite} | ${mode} | ${tests} | ${directOk} | ${throughOk} | ${differences.length} |${share}`);
    if (ledger !== null) remarks.push(`- ${suite}, ${mode}: ${formatLedger(ledger)}`);
  }
  if (remarks.length > 0) lines.push('', ...remarks, '');
  for (const { suite, mode, differences } of comparisons) {
    for (const { test, what, place } of differences) {
      lines.push(`${suite}, ${mode}: ${test} ${what}${place === '' ? '' : `; see ${place}`}`);
    }
  }
  return `${lines.join('\n')}\n`;
}
